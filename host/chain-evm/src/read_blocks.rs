//! The newest blocks whose content was read.
//!
//! A node that calls one of them final has the blocks that are being read. That does not show the chain's number, which a split can
//! change; but it shows that the node is not one of another chain altogether, so the number need not be asked every time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use xthonpay_domain::block::BlockRef;

/// Blocks remembered. Finality follows the head of BNB Smart Chain at two or three blocks; behind one that stands still for
/// longer than this, the question is asked.
const REMEMBERED_MAX: usize = 64;

/// Blocks whose content was read, the newest last.
#[derive(Default)]
pub(crate) struct ReadBlocks(Mutex<VecDeque<BlockRef>>);

impl ReadBlocks {
    /// The content of this block was read.
    pub(crate) fn add(&self, block: BlockRef) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.len() >= REMEMBERED_MAX {
            blocks.pop_front();
        }
        blocks.push_back(block);
    }

    /// Whether this very block is among them.
    pub(crate) fn contain(&self, block: &BlockRef) -> bool {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.iter().any(|read| read.number == block.number && read.hash == block.hash)
    }
}
