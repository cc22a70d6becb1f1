//! Simulations that did not come to their end.

use thiserror::Error;
use xthonpay_domain::amount::AmountError;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::assessment::InvoiceState;

use crate::port::simulation::ForkRefused;
use crate::port::store::{CommitError, StoreError};

/// A simulation that did not come to its end.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SimulationError {
    /// The merchant has no such invoice on the simulated chain.
    #[error("there is no invoice {invoice} on the simulated chain")]
    UnknownInvoice {
        /// What was asked for.
        invoice: InvoiceId,
    },
    /// Only the native coin can be passed on without a trace.
    #[error(
        "internal_bnb is for invoices in BNB: a token leaves a log whoever moves it, and this invoice is in {asset}"
    )]
    OnlyNative {
        /// The invoice's asset.
        asset: AssetId,
    },
    /// Balances are looked at only while an invoice can still expire.
    #[error(
        "coins that a contract passes on are looked for only while an invoice is pending or partially_paid; this one is {}",
        .state.name()
    )]
    NotOpen {
        /// Where the invoice stands.
        state: InvoiceState,
    },
    /// The chain does not have the asset that the case needs.
    #[error("the simulated chain has no asset for this case")]
    NoAsset,
    /// There would be nothing to pay, or it could not be divided.
    #[error("the amount is too small for this case")]
    TooSmall,
    /// More than any asset has.
    #[error("the amount is larger than any payment can be")]
    TooLarge,
    /// The signature of the request was used before.
    #[error("this signature was used before; sign every request with a fresh timestamp")]
    SignatureReplayed,
    /// Too many simulations are under way.
    #[error("too many simulations are under way; try again")]
    Busy,
    /// The scanner of the simulated chain did not process the blocks in time.
    #[error("the scanner of the simulated chain does not keep up")]
    Behind,
    /// The blocks were not there any more.
    #[error(transparent)]
    Fork(#[from] ForkRefused),
    /// Amounts left the range of 256 bits.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The records were not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SimulationError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy | Self::Behind => true,
            Self::Fork(error) => error.is_transient(),
            Self::Commit(error) => matches!(error, CommitError::Refused) || error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::UnknownInvoice { .. }
            | Self::OnlyNative { .. }
            | Self::NotOpen { .. }
            | Self::NoAsset
            | Self::TooSmall
            | Self::TooLarge
            | Self::SignatureReplayed
            | Self::Amount(_) => false,
        }
    }
}
