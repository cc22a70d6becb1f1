//! How fast a chain makes blocks, by the times that the blocks state. Only told: nothing is decided by it but what counts as
//! slow.

use std::collections::VecDeque;
use std::time::Duration;

use xthonpay_domain::block::BlockRef;

/// Blocks that are averaged over. Headers tell whole seconds on many chains, so few of them would tell little.
const BLOCKS_MAX: usize = 64;

/// The newest blocks of a chain.
#[derive(Default)]
pub(super) struct Rhythm {
    newest: VecDeque<BlockRef>,
}

impl Rhythm {
    /// The tip is here.
    pub(super) fn note(&mut self, tip: BlockRef) {
        // A chain that went back is another one from there on.
        self.newest.retain(|block| block.number < tip.number);
        self.newest.push_back(tip);
        if self.newest.len() > BLOCKS_MAX {
            self.newest.pop_front();
        }
    }

    /// The average time from one block to the next; `None` before there are two.
    pub(super) fn interval(&self) -> Option<Duration> {
        let (first, last) = (self.newest.front()?, self.newest.back()?);
        let blocks = u32::try_from(last.number.0.checked_sub(first.number.0)?).ok()?;
        last.time.since(first.time).checked_div(blocks)
    }
}
