//! Transfers: movements of value that a chain shows.

use crate::address::Address;
use crate::amount::Amount;
use crate::asset::AssetId;
use crate::block::{BlockNumber, BlockRef};
use crate::hash::{BlockHash, TxHash};
use crate::id::DepositId;

/// A successful movement of an accepted asset in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What makes it the same transfer wherever it is seen.
    pub identity: TransferIdentity,
    /// Who sent it, where the chain proves it: for tokens, not for the chain's own coins. For a payment from an exchange this is the exchange's wallet: never a refund
    /// address.
    pub from: Option<Address>,
    /// How much, in base units; above zero.
    pub amount: Amount,
}

/// What makes two sightings one transfer.
///
/// Neither the block's hash nor the log's index is part of it: both change when a reorganisation mines the same transaction
/// again in another block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransferIdentity {
    /// The asset, which names the chain too.
    pub asset: AssetId,
    /// The address that received.
    pub to: Address,
    /// Where it was found.
    pub origin: Origin,
}

/// Where a transfer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// In a transaction that shows it: a log of a token, or the value of the transaction itself.
    Transaction {
        /// The transaction.
        tx: TxHash,
        /// Which one among the transaction's transfers of this asset to this address, from 0, in the order of execution.
        nth: u32,
    },
    /// In the balance of the address: at this final block it was higher than all known transfers explain. Coins that a
    /// contract passes on leave no other trace.
    Balance {
        /// The final block at which the balance was read.
        block: BlockNumber,
    },
}

impl Origin {
    /// The transaction, where one is known.
    #[must_use]
    pub fn tx(&self) -> Option<TxHash> {
        match self {
            Self::Transaction { tx, .. } => Some(*tx),
            Self::Balance { .. } => None,
        }
    }
}

impl TransferIdentity {
    /// The id of the deposit that this transfer makes.
    #[must_use]
    pub fn deposit_id(&self) -> DepositId {
        let (asset, to) = (self.asset.to_string(), self.to.to_lower_hex());
        match self.origin {
            Origin::Transaction { tx, nth } => DepositId::from_fact(&[&asset, &tx.to_string(), &to, &nth.to_string()]),
            // No transaction hash reads like this word.
            Origin::Balance { block } => DepositId::from_fact(&[&asset, "balance", &to, &block.to_string()]),
        }
    }
}

/// All transfers of accepted assets in one block, as a chain source reports them after its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockTransfers {
    /// The block.
    pub block: BlockRef,
    /// Its transfers in the order of execution.
    pub transfers: Vec<Transfer>,
}

/// The transfers of a run of neighbouring blocks, as a chain source reports them after its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeTransfers {
    /// The hash of the block below the first one of the run.
    pub parent: BlockHash,
    /// The blocks that hold transfers of accepted assets, in ascending order; the others are left out.
    pub blocks: Vec<BlockTransfers>,
    /// The last block of the run, whether it holds transfers or not.
    pub last: BlockRef,
}
