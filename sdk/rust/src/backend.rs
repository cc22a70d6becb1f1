//! Where capabilities lead: to the host in a component, to the test bench everywhere else. The only place that knows
//! the difference.

#[cfg(target_arch = "wasm32")]
pub(crate) use host::*;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testbench::{clock_now, config_entries, config_get, loans::*, log_write};

#[cfg(target_arch = "wasm32")]
mod host {
    //! The imports of the component.

    use std::vec::Vec;

    use crate::error::HostError;
    use crate::raw::base::xthonpay::host as raw;
    pub(crate) use raw::chain::Network;
    pub(crate) use raw::clock::now as clock_now;
    pub(crate) use raw::config::{entries as config_entries, get as config_get};
    pub(crate) use raw::http::Endpoint;
    pub(crate) use raw::log::write as log_write;
    pub(crate) use raw::rates::latest as rates_latest;
    pub(crate) use raw::signing::Signer;
    pub(crate) use raw::storage::Space;

    pub(crate) fn space_open(label: &str) -> Result<Space, HostError> {
        Space::open(label)
    }

    pub(crate) fn space_get(space: &Space, key: &str) -> Result<Option<raw::storage::Item>, HostError> {
        space.get(key)
    }

    pub(crate) fn space_put(space: &Space, key: &str, value: &[u8], ttl_s: Option<u32>) -> Result<(), HostError> {
        space.put(key, value, ttl_s)
    }

    pub(crate) fn space_swap(space: &Space, key: &str, expected: Option<u64>, value: &[u8]) -> Result<bool, HostError> {
        space.swap(key, expected, value)
    }

    pub(crate) fn space_remove(space: &Space, key: &str) -> Result<(), HostError> {
        space.remove(key)
    }

    pub(crate) fn space_scan(
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        max: u32,
    ) -> Result<raw::storage::Page, HostError> {
        space.scan(prefix, after, max)
    }

    pub(crate) fn endpoint_open(label: &str) -> Result<Endpoint, HostError> {
        Endpoint::open(label)
    }

    pub(crate) fn endpoint_send(
        endpoint: &Endpoint,
        request: &raw::http::Request,
    ) -> Result<raw::http::Response, HostError> {
        endpoint.send(request)
    }

    pub(crate) fn network_open(name: &str) -> Result<Network, HostError> {
        Network::open(name)
    }

    pub(crate) fn network_tip(network: &Network) -> Result<raw::chain::Tip, HostError> {
        network.tip()
    }

    pub(crate) fn network_transfers(
        network: &Network,
        invoice_id: &str,
    ) -> Result<Vec<raw::types::Transfer>, HostError> {
        network.transfers(invoice_id)
    }

    pub(crate) fn network_transaction(network: &Network, tx: &str) -> Result<raw::chain::Transaction, HostError> {
        network.transaction(tx)
    }

    pub(crate) fn network_fee(network: &Network) -> Result<raw::chain::FeeEstimate, HostError> {
        network.fee()
    }

    pub(crate) fn signer_open(label: &str) -> Result<Signer, HostError> {
        Signer::open(label)
    }

    pub(crate) fn signer_public_key(signer: &Signer) -> Option<Vec<u8>> {
        signer.public_key()
    }

    pub(crate) fn signer_attest(
        signer: &Signer,
        purpose: &str,
        message: &[u8],
    ) -> Result<raw::signing::Signature, HostError> {
        signer.attest(purpose, message)
    }
}
