//! Making the blocks of the simulated chain. They are read as those of every chain, by
//! [`ChainSource`](super::chain::ChainSource).

use thiserror::Error;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::hash::TxHash;

/// Blocks above one that make it final: as many as on BNB Smart Chain.
pub const FINAL_BEHIND: u64 = 2;

/// A movement of value that shall stand in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Of what.
    pub asset: AssetId,
    /// To whom.
    pub to: Address,
    /// How much, in base units; above zero and at most [`Amount::PAYMENT_MAX`].
    pub amount: Amount,
    /// What shows it.
    pub way: Way,
}

/// What shows a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A transaction of its own.
    Transaction(TxHash),
    /// The balance of the receiver alone, as when a contract passes on the native coin.
    PassedOn,
}

/// Blocks that cannot be replaced.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("block {from} is final or not there yet")]
pub struct ForkRefused {
    /// From where on they should be replaced.
    pub from: BlockNumber,
}

impl ForkRefused {
    /// Always `false`: what is final stays so.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// Makes the blocks of the simulated chain. Nothing here waits; whoever makes several blocks that belong together keeps others
/// from making some between them.
pub trait BlockMaker: Send + Sync {
    /// The newest block.
    fn tip(&self) -> BlockRef;

    /// Puts a block with these movements on top. Its time is that of the host's clock, and always later than that of the block
    /// below.
    fn mine(&self, movements: &[Movement]) -> BlockRef;

    /// Replaces the blocks from `from` on by others, one more than there were. The transaction `without` is not among them; all
    /// other movements of the replaced blocks are mined again in the lowest new one. Returns the newest block.
    ///
    /// # Errors
    /// [`ForkRefused`] when the lowest of them is final, or none is there.
    fn fork(&self, from: BlockNumber, without: TxHash) -> Result<BlockRef, ForkRefused>;
}
