//! What the host knows about a chain that the operator granted. Read-only. In native tests the bench answers.

use std::string::String;
use std::vec::Vec;

use crate::Decimal;
use crate::backend;
use crate::error::{Detail, HostError};
use crate::invoice_rules::Transfer;
use crate::plugin::Attrs;
pub use crate::raw::base::xthonpay::host::chain::Tip;

/// What a transaction costs now, in whole units of the chain's own coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fee {
    /// The coin: `bsc:BNB`.
    pub asset: String,
    /// The price of one unit of gas.
    pub per_gas: Decimal,
    /// The price of moving a token once.
    pub token_transfer: Decimal,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

/// A transaction that concerns the merchant of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its hash.
    pub tx: String,
    /// The number of the block that holds it.
    pub block: u64,
    /// Whether that block is irreversible.
    pub is_final: bool,
    /// Its movements of value to addresses of the merchant.
    pub transfers: Vec<Transfer>,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

/// An opened chain.
#[derive(Debug)]
pub struct Network(backend::Network);

fn malformed<E>(_: E) -> HostError {
    HostError::Other(Detail::new("bad_amount", "the host's amount is not a decimal"))
}

impl Network {
    /// Opens the chain with this name of the operator's configuration.
    ///
    /// # Errors
    /// [`HostError::Denied`] when the operator did not grant it.
    pub fn open(name: &str) -> Result<Self, HostError> {
        backend::network_open(name).map(Self)
    }

    /// Where the scanner stands.
    ///
    /// # Errors
    /// [`HostError::Unavailable`] when nothing was scanned yet.
    pub fn tip(&self) -> Result<Tip, HostError> {
        backend::network_tip(&self.0)
    }

    /// The payments of an invoice of the merchant that are on the chain now, oldest first.
    ///
    /// # Errors
    /// [`HostError::NotFound`] for an unknown invoice or one of another merchant.
    pub fn transfers(&self, invoice_id: &str) -> Result<Vec<Transfer>, HostError> {
        let found = backend::network_transfers(&self.0, invoice_id)?;
        found.into_iter().map(|transfer| Transfer::try_from(transfer).map_err(malformed)).collect()
    }

    /// A transaction by its hash.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for a malformed hash, [`HostError::NotFound`] when the host does not know it or it does not
    /// concern the merchant.
    pub fn transaction(&self, tx: &str) -> Result<Transaction, HostError> {
        let found = backend::network_transaction(&self.0, tx)?;
        let transfers = found.transfers.into_iter().map(|transfer| Transfer::try_from(transfer).map_err(malformed));
        Ok(Transaction {
            tx: found.tx,
            block: found.block,
            is_final: found.is_final,
            transfers: transfers.collect::<Result<_, _>>()?,
            attrs: found.attrs,
        })
    }

    /// What a transaction costs now.
    ///
    /// # Errors
    /// [`HostError::Unavailable`].
    pub fn fee(&self) -> Result<Fee, HostError> {
        let fee = backend::network_fee(&self.0)?;
        let per_gas = Decimal::parse(&fee.per_gas).map_err(malformed)?;
        let token_transfer = Decimal::parse(&fee.token_transfer).map_err(malformed)?;
        Ok(Fee { asset: fee.asset, per_gas, token_transfer, attrs: fee.attrs })
    }
}
