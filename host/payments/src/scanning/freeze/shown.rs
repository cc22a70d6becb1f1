//! The chain as the nodes show it now, held against blocks of ours.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::hash::BlockHash;

use crate::port::chain::{ChainError, ChainSource};

/// What the nodes show, each height asked for once.
pub(super) struct Shown<'a> {
    source: &'a dyn ChainSource,
    /// Up to here they have to agree; above, one node's word counts.
    pub(super) finalized: BlockRef,
    hashes: BTreeMap<BlockNumber, Option<BlockHash>>,
}

impl<'a> Shown<'a> {
    /// Nothing but the newest final block is asked yet.
    pub(super) async fn by(source: &'a dyn ChainSource) -> Result<Self, ChainError> {
        Ok(Self { source, finalized: source.finalized().await?, hashes: BTreeMap::new() })
    }

    /// Whether a block is in the chain.
    pub(super) async fn has(&mut self, block: BlockRef) -> Result<bool, ChainError> {
        let hash = match self.hashes.entry(block.number) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let there = if block.number <= self.finalized.number {
                    self.source.final_block(block.number).await?
                } else {
                    self.source.block(block.number).await?
                };
                *unknown.insert(there.map(|there| there.hash))
            }
        };
        Ok(hash == Some(block.hash))
    }

    /// The newest of `blocks`, which are in descending order, that is in the chain. Whatever lies below a block of the chain is
    /// in it too, so the halves tell.
    pub(super) async fn newest_of(&mut self, blocks: &[BlockRef]) -> Result<Option<BlockRef>, ChainError> {
        let mut among = blocks;
        let mut newest = None;
        while let Some(middle) = among.get(among.len() / 2).copied() {
            let (above, from_middle) = among.split_at(among.len() / 2);
            if self.has(middle).await? {
                newest = Some(middle);
                among = above;
            } else {
                among = from_middle.get(1..).unwrap_or_default();
            }
        }
        Ok(newest)
    }
}
