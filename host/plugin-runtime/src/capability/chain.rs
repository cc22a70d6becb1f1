//! The capability `chain`: where a chain stands, and what concerns the calling merchant. Read-only.

use std::sync::Arc;

use wasmtime::component::Resource;
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_payments::port::lending::chain_reader::{ChainReadError, ChainReader};

use super::refusal::Refusal;
use crate::bindings::base::xthonpay::host::chain as wit;
use crate::bindings::base::xthonpay::host::types::Transfer;
use crate::capture::whole;
use crate::grant::Capability;
use crate::hook::transfers;
use crate::instance::CallState;

/// A chain that the guest has opened.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenChain {
    name: String,
    reader: Arc<dyn ChainReader>,
}

impl CallState {
    fn reader(&self, handle: &Resource<OpenChain>) -> Result<Arc<dyn ChainReader>, Refusal> {
        Ok(Arc::clone(&self.table.get(handle)?.reader))
    }

    fn chain_name(&self, handle: &Resource<OpenChain>) -> Result<String, Refusal> {
        Ok(self.table.get(handle)?.name.clone())
    }

    /// The merchant of the call. To a call about nobody nothing belongs.
    fn merchant(&self) -> Result<MerchantId, Refusal> {
        self.call.merchant.clone().ok_or_else(|| Refusal::not_found("no_merchant", "the call is about no merchant"))
    }
}

fn refusal(error: ChainReadError) -> Refusal {
    match error {
        ChainReadError::NotFound { what } => Refusal::not_found("not_found", what),
        ChainReadError::NothingYet => Refusal::unavailable("nothing_yet", error.to_string()),
        // A node's own words may hold its address.
        ChainReadError::Chain(_) => Refusal::unavailable("nodes", "the chain's nodes do not answer now"),
        ChainReadError::Store(error) => error.into(),
    }
}

impl wit::Host for CallState {}

impl wit::HostNetwork for CallState {
    async fn open(&mut self, name: String) -> Result<Resource<OpenChain>, Refusal> {
        self.ask(Capability::Chain, "open")?;
        let granted = self.profile.borrowed.chains.iter().find(|(known, _)| known.as_str() == name);
        let Some((_, reader)) = granted else { return Err(self.not_granted(Capability::Chain, &name)) };
        let reader = Arc::clone(reader);
        Ok(self.table.push(OpenChain { name, reader })?)
    }

    async fn tip(&mut self, handle: Resource<OpenChain>) -> Result<wit::Tip, Refusal> {
        self.ask(Capability::Chain, "tip")?;
        let (name, at) = (self.chain_name(&handle)?, self.reader(&handle)?.tip().await.map_err(refusal)?);
        let facts = [
            ("height", whole(at.tip.number.0)),
            ("block-time", whole(at.tip.time.as_millis())),
            ("final-height", whole(at.finalized.number.0)),
        ];
        self.notes.chain(&name, facts);
        Ok(wit::Tip {
            height: at.tip.number.0,
            hash: at.tip.hash.to_string(),
            block_time: at.tip.time.as_millis(),
            final_height: Some(at.finalized.number.0),
            attrs: Vec::new(),
        })
    }

    async fn transfers(&mut self, handle: Resource<OpenChain>, invoice: String) -> Result<Vec<Transfer>, Refusal> {
        self.ask(Capability::Chain, "transfers")?;
        let (name, reader, merchant) = (self.chain_name(&handle)?, self.reader(&handle)?, self.merchant()?);
        let unknown = |_| Refusal::not_found("not_found", "the merchant has no such invoice on this chain");
        let invoice: InvoiceId = invoice.parse().map_err(unknown)?;
        let found = reader.payments(&merchant, &invoice).await.map_err(refusal)?;
        let shown = transfers::of_invoice(&found.deposits, &found.asset, found.decimals, found.tip.number);
        self.notes.chain(&name, [("height", whole(found.tip.number.0))]);
        self.notes.transfers(&name, "payments", invoice.as_str(), &shown);
        Ok(shown)
    }

    async fn transaction(&mut self, handle: Resource<OpenChain>, tx: String) -> Result<wit::Transaction, Refusal> {
        self.ask(Capability::Chain, "transaction")?;
        let (name, reader, merchant) = (self.chain_name(&handle)?, self.reader(&handle)?, self.merchant()?);
        let malformed = |_| Refusal::invalid("bad_hash", "a hash is `0x` and 64 hex digits");
        let hash = tx.parse().map_err(malformed)?;
        let found = reader.transaction(&merchant, hash).await.map_err(refusal)?;
        let shown = |(transfer, decimals): &(_, _)| {
            transfers::of_block(transfer, *decimals, found.block, found.is_final, found.tip.number)
        };
        let (tx, transfers) = (hash.to_string(), found.transfers.iter().map(shown).collect::<Vec<_>>());
        self.notes.chain(&name, [("height", whole(found.tip.number.0))]);
        self.notes.transfers(&name, "transactions", &tx, &transfers);
        Ok(wit::Transaction { tx, block: found.block.number.0, is_final: found.is_final, transfers, attrs: Vec::new() })
    }

    async fn fee(&mut self, handle: Resource<OpenChain>) -> Result<wit::FeeEstimate, Refusal> {
        self.ask(Capability::Chain, "fee")?;
        let (name, fee) = (self.chain_name(&handle)?, self.reader(&handle)?.fee().await.map_err(refusal)?);
        self.notes.chain(&name, [("per-gas", fee.per_gas.to_decimal(fee.decimals).into())]);
        Ok(wit::FeeEstimate {
            asset: fee.asset.to_string(),
            per_gas: fee.per_gas.to_decimal(fee.decimals),
            token_transfer: fee.token_transfer.to_decimal(fee.decimals),
            attrs: Vec::new(),
        })
    }

    async fn drop(&mut self, handle: Resource<OpenChain>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
