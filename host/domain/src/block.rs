//! Blocks as the scanner remembers them.

use core::fmt;

use crate::hash::BlockHash;
use crate::time::Timestamp;

/// The height of a block above the genesis block, which has height 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockNumber(pub u64);

impl BlockNumber {
    /// The block above; `None` at the end of the range.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The block below; `None` at the genesis block.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// How many blocks confirm a transaction of this block when `tip` is the newest: 1 in the newest block itself, 0 when
    /// the block lies above `tip`.
    #[must_use]
    pub fn confirmations(self, tip: Self) -> u64 {
        tip.0.checked_sub(self.0).map_or(0, |depth| depth.saturating_add(1))
    }
}

impl fmt::Display for BlockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A block's place in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Height.
    pub number: BlockNumber,
    /// Hash of the header.
    pub hash: BlockHash,
    /// Hash of the header below.
    pub parent: BlockHash,
    /// The time that the header states.
    pub time: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_confirmations_from_one() {
        let block = BlockNumber(10);
        assert_eq!(block.confirmations(BlockNumber(9)), 0);
        assert_eq!(block.confirmations(BlockNumber(10)), 1);
        assert_eq!(block.confirmations(BlockNumber(12)), 3);
        assert_eq!(BlockNumber(u64::MAX).next(), None);
        assert_eq!(BlockNumber(0).previous(), None);
    }
}
