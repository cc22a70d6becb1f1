//! Blocks and the transfers in them.

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::BlockTransfers;

/// One chain, as its nodes show it. Everything it returns has passed the source's own checks.
#[async_trait]
pub trait ChainSource: Send + Sync {
    /// The operator's name of the chain.
    fn name(&self) -> &ChainName;

    /// Whether the nodes serve the configured chain and the assets look as configured.
    ///
    /// # Errors
    /// [`ChainError::Mismatch`] when they serve another chain or other decimals, else as for reads.
    async fn self_check(&self) -> Result<(), ChainError>;

    /// The newest block that the nodes know.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn head(&self) -> Result<BlockNumber, ChainError>;

    /// The newest block that the chain's finality rule calls irreversible.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn finalized(&self) -> Result<BlockRef, ChainError>;

    /// The block at `number` without its transfers, or `None` when the nodes do not have it yet.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError>;

    /// The block at `number` with every successful transfer of a configured asset, or `None` when the nodes do not have it
    /// yet. Failed transactions, transfers of nothing and foreign contracts are not among them.
    ///
    /// # Errors
    /// [`ChainError::Inconsistent`] when the answer contradicts itself; then nothing may be concluded from it.
    async fn transfers(&self, number: BlockNumber) -> Result<Option<BlockTransfers>, ChainError>;
}

/// A question that no node answered usably.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChainError {
    /// No answer: network, time-out, rate limit, server error.
    #[error("no usable answer from the node: {reason}")]
    Unavailable {
        /// What happened, without credentials of the node's URL.
        reason: String,
    },
    /// An answer that contradicts itself or the protocol.
    #[error("the node's answer is inconsistent: {reason}")]
    Inconsistent {
        /// Which check failed.
        reason: String,
    },
    /// The node serves something else than the config says.
    #[error("the node does not serve the configured chain: {reason}")]
    Mismatch {
        /// What differs, and the config key to change.
        reason: String,
    },
}

impl ChainError {
    /// Whether the same question may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Inconsistent { .. } => true,
            Self::Mismatch { .. } => false,
        }
    }
}
