//! What one node shows, and what several of them agree on.

use std::collections::BTreeMap;
use std::sync::Arc;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::transfer::{BlockTransfers, Transfer};

use super::{Mined, at, kept};

/// One of so many transactions is hidden by a node that hides.
const HIDDEN_ONE_IN: u8 = 3;

/// A branch, and how much of it is called final.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// From block 0 on; never empty.
    pub(super) blocks: Vec<Arc<Mined>>,
    pub(super) finalized: BlockNumber,
}

/// How a node behaves. The default is an honest one that shows everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) silent: bool,
    pub(super) hollow: bool,
    /// Hides some of the transfers in its blocks.
    pub(super) hides: bool,
    /// Blocks at the top that it does not show.
    pub(super) lag: u64,
    /// What it shows in place of the chain.
    pub(super) own: Option<View>,
}

/// What a node shows at one moment.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    blocks: &'a [Arc<Mined>],
    finalized: BlockNumber,
    hides: bool,
}

impl Node {
    /// What it shows of the chain.
    pub(super) fn shows<'a>(&'a self, chain: &'a [Arc<Mined>], finalized: BlockNumber) -> Shown<'a> {
        let (blocks, finalized) = match &self.own {
            Some(own) => (own.blocks.as_slice(), own.finalized),
            None => (chain, finalized),
        };
        let blocks = &blocks[..kept(blocks.len(), self.lag)];
        Shown { blocks, finalized, hides: self.hides }
    }
}

impl<'a> Shown<'a> {
    pub(super) fn head(self) -> BlockNumber {
        self.top().number
    }

    pub(super) fn at(self, number: BlockNumber) -> Option<&'a Arc<Mined>> {
        at(self.blocks, number)
    }

    /// What it says is in a block.
    pub(super) fn contents(self, mined: &Mined) -> BlockTransfers {
        let mut found = mined.found.clone();
        found.transfers.retain(|transfer| !self.hides || !is_hidden(transfer));
        found
    }

    pub(super) fn blocks(self) -> &'a [Arc<Mined>] {
        self.blocks
    }

    /// The newest block that it calls final.
    pub(super) fn final_block(self) -> BlockRef {
        self.at(self.finalized).map_or_else(|| self.top(), |mined| mined.found.block)
    }

    /// Whether it calls this block final.
    fn calls_final(self, block: &BlockRef) -> bool {
        block.number <= self.final_block().number && self.has(block)
    }

    /// Whether the block is on its branch.
    pub(super) fn has(self, block: &BlockRef) -> bool {
        self.at(block.number).is_some_and(|mined| mined.found.block.hash == block.hash)
    }

    /// What an address holds in the native coin after a block.
    pub(super) fn balance(self, native: &AssetId, address: &Address, at: BlockNumber) -> Result<Amount, AmountError> {
        let until = self.blocks.iter().take_while(|mined| mined.found.block.number <= at);
        Amount::sum(until.flat_map(|mined| received(mined, native, address)))
    }

    fn top(self) -> BlockRef {
        // A view is never empty, and a lag leaves the first block.
        self.blocks.last().expect("a node has the first block").found.block
    }
}

/// Whether a node that hides some transfers hides this one: those of every third transaction.
fn is_hidden(transfer: &Transfer) -> bool {
    let number = transfer.identity.origin.tx().and_then(|tx| tx.as_bytes().last().copied());
    number.is_some_and(|number| number.checked_rem(HIDDEN_ONE_IN) == Some(0))
}

/// What an address receives of the native coin in a block, seen or not.
fn received<'a>(mined: &'a Mined, native: &'a AssetId, address: &'a Address) -> impl Iterator<Item = Amount> + 'a {
    let shown = mined.found.transfers.iter().map(|transfer| (&transfer.identity, transfer.amount));
    let shown = shown.filter(move |(identity, _)| identity.asset == *native && identity.to == *address);
    let hidden = mined.passed_on.iter().filter(move |(to, _)| to == address);
    shown.map(|(_, amount)| amount).chain(hidden.map(|(_, amount)| *amount))
}

/// The highest block that at least `quorum` of the nodes call final.
pub(super) fn agreed_final(shown: &[Shown<'_>], quorum: usize) -> Option<BlockRef> {
    let told = shown.iter().map(|shown| shown.final_block());
    let agreed = |block: &BlockRef| shown.iter().filter(|shown| shown.calls_final(block)).count() >= quorum;
    told.filter(agreed).max_by_key(|block| block.number)
}

/// What nodes say about a height.
pub(super) enum Vote {
    /// At least a quorum of them shows this block.
    Agreed(BlockRef),
    /// Fewer have a block there.
    TooFew,
    /// Enough have one, but not the same.
    Contradiction,
}

/// The block at a height that at least `quorum` of the nodes show.
pub(super) fn vote(shown: &[Shown<'_>], number: BlockNumber, quorum: usize) -> Vote {
    let mut votes: BTreeMap<BlockHash, (BlockRef, usize)> = BTreeMap::new();
    for mined in shown.iter().filter_map(|shown| shown.at(number)) {
        let block = mined.found.block;
        let (_, count) = votes.entry(block.hash).or_insert((block, 0));
        *count = count.saturating_add(1);
    }
    let total: usize = votes.values().map(|(_, count)| *count).sum();
    match votes.into_values().find(|(_, count)| *count >= quorum) {
        Some((block, _)) => Vote::Agreed(block),
        None if total < quorum => Vote::TooFew,
        None => Vote::Contradiction,
    }
}
