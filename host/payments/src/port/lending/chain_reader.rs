//! What plugins may know about a chain: where it stands, and what concerns the calling merchant.

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::transfer::Transfer;

use crate::port::chain::ChainError;
use crate::port::store::StoreError;

/// Where a chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainTip {
    /// The newest block that is processed.
    pub tip: BlockRef,
    /// The newest irreversible one that is processed.
    pub finalized: BlockRef,
}

/// The payments of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoicePayments {
    /// Its asset.
    pub asset: AssetId,
    /// Decimals of that asset.
    pub decimals: Decimals,
    /// Every deposit on its address.
    pub deposits: Vec<Deposit>,
    /// The newest block that is processed.
    pub tip: BlockRef,
}

/// A transaction as far as it concerns a merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerchantTransaction {
    /// The block that holds it.
    pub block: BlockRef,
    /// Whether that block is irreversible.
    pub is_final: bool,
    /// The newest block that is processed.
    pub tip: BlockRef,
    /// The movements to addresses of the merchant in their order, with the decimals of each asset.
    pub transfers: Vec<(Transfer, Decimals)>,
}

/// What a transaction costs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fee {
    /// The chain's own coin.
    pub asset: AssetId,
    /// Its decimals.
    pub decimals: Decimals,
    /// The price of one unit of gas, in base units.
    pub per_gas: Amount,
    /// The price of moving a token once, in base units.
    pub token_transfer: Amount,
}

/// A question about a chain without an answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChainReadError {
    /// There is no such thing, or it is not the merchant's.
    #[error("{what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// Nothing is known yet.
    #[error("nothing of the chain is processed yet")]
    NothingYet,
    /// The nodes do not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChainReadError {
    /// Whether the same question may have an answer later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotFound { .. } => false,
            Self::NothingYet => true,
            Self::Chain(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
        }
    }
}

/// Reads about one chain. Sends nothing.
#[async_trait]
pub trait ChainReader: Send + Sync {
    /// Where the scanner stands.
    ///
    /// # Errors
    /// [`ChainReadError`].
    async fn tip(&self) -> Result<ChainTip, ChainReadError>;

    /// The payments of the merchant's invoice.
    ///
    /// # Errors
    /// [`ChainReadError::NotFound`] for an unknown invoice, one of another merchant, and one on another chain.
    async fn payments(&self, merchant: &MerchantId, invoice: &InvoiceId) -> Result<InvoicePayments, ChainReadError>;

    /// A transaction with its movements to addresses of the merchant.
    ///
    /// # Errors
    /// [`ChainReadError::NotFound`] when the nodes do not know it, and when it does not concern the merchant.
    async fn transaction(&self, merchant: &MerchantId, tx: TxHash) -> Result<MerchantTransaction, ChainReadError>;

    /// What a transaction costs now.
    ///
    /// # Errors
    /// [`ChainReadError`].
    async fn fee(&self) -> Result<Fee, ChainReadError>;
}
