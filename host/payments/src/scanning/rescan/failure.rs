//! Why a rescan was not made.

use thiserror::Error;
use xthonpay_domain::address::Address;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::text::ChainName;

use super::{RESCAN_BLOCKS_MAX, TRIES_MAX};
use crate::port::chain::ChainError;
use crate::port::store::{CommitError, StoreError};
use crate::scanning::changes::ScanError;

/// A rescan that was not made.
#[derive(Debug, Error)]
pub enum RescanError {
    /// No such chain.
    #[error("there is no chain {name}; this deployment has: {known}")]
    UnknownChain {
        /// What was asked for.
        name: ChainName,
        /// The chains of the deployment.
        known: String,
    },
    /// There are several chains and none was named.
    #[error("name the chain; this deployment has: {known}")]
    ChainNotNamed {
        /// The chains of the deployment.
        known: String,
    },
    /// No node knows the transaction as mined.
    #[error("no node of {chain} knows the transaction {tx} as mined")]
    UnknownTransaction {
        /// The chain.
        chain: ChainName,
        /// The transaction.
        tx: TxHash,
    },
    /// The address is none of ours.
    #[error("{address} is neither the address of an invoice nor a merchant's deposit address")]
    UnknownAddress {
        /// The address.
        address: Address,
    },
    /// The chain's native coin is not accepted.
    #[error("this deployment does not accept the native coin of {chain}")]
    NoNativeAsset {
        /// The chain.
        chain: ChainName,
    },
    /// More blocks than one call looks at.
    #[error("{blocks} blocks are more than the {RESCAN_BLOCKS_MAX} of one call")]
    RangeTooLarge {
        /// How many were asked for.
        blocks: u64,
    },
    /// The run reaches above what is final.
    #[error("block {last} is not final yet: the newest final block that was scanned is {finalized}")]
    NotFinal {
        /// The last block that was asked for.
        last: BlockNumber,
        /// The newest final block of the scanner.
        finalized: BlockNumber,
    },
    /// The scan of the chain has not begun.
    #[error("the scan of {chain} has not begun")]
    NotBegun {
        /// The chain.
        chain: ChainName,
    },
    /// The chain is frozen.
    #[error("{chain} is frozen: {reason}")]
    Frozen {
        /// The chain.
        chain: ChainName,
        /// Why.
        reason: String,
    },
    /// The nodes do not agree on the block.
    #[error("block {number} {reason}; nothing was recorded")]
    Disputed {
        /// The block.
        number: BlockNumber,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The merchant has another rescan under way, or too many merchants have.
    #[error("another rescan is under way")]
    Busy,
    /// The signature of the request was used before.
    #[error("this signature was used before; sign every request with a fresh timestamp")]
    SignatureReplayed,
    /// The scanner was faster every time.
    #[error("the scanner changed the records {TRIES_MAX} times in a row")]
    Overtaken,
    /// The nodes, the store or an amount.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

impl RescanError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotFinal { .. } | Self::NotBegun { .. } | Self::Busy | Self::Overtaken | Self::Disputed { .. } => {
                true
            }
            Self::Scan(error) => error.is_transient(),
            // A transaction that is unknown now may be mined later; but then the scanner finds it by itself.
            Self::UnknownChain { .. }
            | Self::ChainNotNamed { .. }
            | Self::UnknownTransaction { .. }
            | Self::UnknownAddress { .. }
            | Self::NoNativeAsset { .. }
            | Self::RangeTooLarge { .. }
            | Self::Frozen { .. }
            | Self::SignatureReplayed => false,
        }
    }
}

impl From<ChainError> for RescanError {
    fn from(error: ChainError) -> Self {
        Self::Scan(error.into())
    }
}

impl From<StoreError> for RescanError {
    fn from(error: StoreError) -> Self {
        Self::Scan(error.into())
    }
}

impl From<CommitError> for RescanError {
    fn from(error: CommitError) -> Self {
        Self::Scan(error.into())
    }
}
