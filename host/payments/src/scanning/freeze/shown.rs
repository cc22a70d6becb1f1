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

    /// Whether the nodes show a block; one at a height that they do not have is not shown.
    ///
    /// # Errors
    /// [`ChainError`].
    pub(super) async fn has(&mut self, block: BlockRef) -> Result<bool, ChainError> {
        Ok(self.hash_at(block.number).await? == Some(block.hash))
    }

    /// Whether a block left the chain: only another one in its place says so.
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] when too few nodes have a block at its height: they lag, which says nothing about ours.
    pub(super) async fn lost(&mut self, block: BlockRef) -> Result<bool, ChainError> {
        let unknown =
            || ChainError::Unavailable { reason: format!("block {} is not known to enough nodes", block.number) };
        Ok(self.hash_at(block.number).await?.ok_or_else(unknown)? != block.hash)
    }

    async fn hash_at(&mut self, number: BlockNumber) -> Result<Option<BlockHash>, ChainError> {
        Ok(match self.hashes.entry(number) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let there = if number <= self.finalized.number {
                    self.source.final_block(number).await?
                } else {
                    self.source.block(number).await?
                };
                *unknown.insert(there.map(|there| there.hash))
            }
        })
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
