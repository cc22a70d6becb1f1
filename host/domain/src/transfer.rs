//! Transfers: movements of value that a chain shows.

use crate::address::Address;
use crate::amount::Amount;
use crate::asset::AssetId;
use crate::block::BlockRef;
use crate::hash::TxHash;
use crate::id::DepositId;

/// A successful movement of an accepted asset in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What makes it the same transfer wherever it is seen.
    pub identity: TransferIdentity,
    /// Who sent it. For a payment from an exchange this is the exchange's wallet: never a refund address.
    pub from: Address,
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
    /// The transaction.
    pub tx: TxHash,
    /// The address that received.
    pub to: Address,
    /// Which one among the transaction's transfers of this asset to this address, from 0, in the order of execution.
    pub nth: u32,
}

impl TransferIdentity {
    /// The id of the deposit that this transfer makes.
    #[must_use]
    pub fn deposit_id(&self) -> DepositId {
        DepositId::from_fact(&[
            &self.asset.to_string(),
            &self.tx.to_string(),
            &self.to.to_lower_hex(),
            &self.nth.to_string(),
        ])
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
