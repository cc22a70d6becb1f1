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

/// A run of neighbouring blocks: both ends belong to it, and it holds at least one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    first: BlockNumber,
    last: BlockNumber,
}

impl BlockRange {
    /// The blocks from `first` to `last`; `None` when `last` lies below `first`.
    #[must_use]
    pub fn new(first: BlockNumber, last: BlockNumber) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest block.
    #[must_use]
    pub fn first(self) -> BlockNumber {
        self.first
    }

    /// The highest block.
    #[must_use]
    pub fn last(self) -> BlockNumber {
        self.last
    }

    /// How many blocks there are, at least 1.
    #[must_use]
    pub fn blocks(self) -> u64 {
        self.last.0.saturating_sub(self.first.0).saturating_add(1)
    }

    /// The lowest `blocks` blocks, and what remains above them. At least one block is taken.
    #[must_use]
    pub fn split_first(self, blocks: u64) -> (Self, Option<Self>) {
        let last = BlockNumber(self.first.0.saturating_add(blocks.max(1).saturating_sub(1))).min(self.last);
        let rest = last.next().and_then(|first| Self::new(first, self.last));
        (Self { first: self.first, last }, rest)
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.first, self.last)
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

    #[test]
    fn ranges_hold_both_ends_and_split_without_a_gap() {
        let range = |first, last| BlockRange::new(BlockNumber(first), BlockNumber(last));
        assert_eq!(range(5, 4), None);
        let whole = range(5, 9).expect("in order");
        assert_eq!((whole.blocks(), whole.to_string()), (5, "5 to 9".to_owned()));
        assert_eq!(whole.split_first(2), (range(5, 6).expect("in order"), range(7, 9)));
        assert_eq!(whole.split_first(0), (range(5, 5).expect("in order"), range(6, 9)));
        assert_eq!(whole.split_first(5), (whole, None));
        assert_eq!(whole.split_first(u64::MAX), (whole, None));
    }
}
