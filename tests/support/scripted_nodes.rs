//! Several nodes over one scripted chain, each with its own view of it, and the source that asks them.
//!
//! Models what a chain source promises, and nothing more. What is agreed (the final blocks, the balances) needs the same answer
//! from a quorum of the nodes. Everything else is the word of one node, which may give no answer, lag, stand on a branch that
//! the others have left, have blocks without receipts, or lie. A lie is always a block of its own: the hash of a header
//! commits to what is in the block, so one hash never shows two contents, unless a script lets a node hide transfers. Between two questions the source may turn to
//! another node.
//!
//! Requests, time limits and encodings are not modelled: what a real source makes of them is tested with the source.

mod source;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{BlockTransfers, Transfer};

use crate::scripted_chain::{BLOCK_TIME, numbered};
use crate::seeded::Seeded;
use view::{Node, View};

/// A block of the scripted chain.
#[derive(Clone, Debug)]
pub struct Mined {
    /// The block with the transfers that it shows.
    pub found: BlockTransfers,
    /// Native coins that contracts passed on in it: only balances show them.
    pub passed_on: Vec<(Address, Amount)>,
}

/// How often a question fails or goes to another node than the one before, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrest {
    /// A node gives no answer.
    pub no_answer: u64,
    /// A node's answer contradicts itself.
    pub inconsistent: u64,
    /// The next question goes to another node.
    pub hop: u64,
}

/// Some nodes, and the chain that honest ones show.
pub struct ScriptedNodes {
    name: ChainName,
    native: AssetId,
    quorum: usize,
    state: Mutex<State>,
}

struct State {
    /// The chain from block 0 on, as it really is.
    chain: Vec<Arc<Mined>>,
    finalized: BlockNumber,
    /// Time that passes before the next block.
    pause: Duration,
    /// Tells blocks of the same height apart.
    branches: u64,
    transactions: u64,
    nodes: Vec<Node>,
    primary: usize,
    unrest: Unrest,
    random: Seeded,
}

impl ScriptedNodes {
    /// A chain of one block, which is final, and `nodes` honest nodes of which `quorum` must agree.
    #[must_use]
    pub fn new(name: ChainName, native: AssetId, genesis: Timestamp, (nodes, quorum): (usize, usize)) -> Self {
        let block =
            BlockRef { number: BlockNumber(0), hash: block_hash(0, 0), parent: BlockHash::new([0; 32]), time: genesis };
        let first = Mined { found: BlockTransfers { block, transfers: Vec::new() }, passed_on: Vec::new() };
        let state = State {
            chain: vec![Arc::new(first)],
            finalized: BlockNumber(0),
            pause: BLOCK_TIME,
            branches: 0,
            transactions: 0,
            nodes: vec![Node::default(); nodes],
            primary: 0,
            unrest: Unrest::default(),
            random: Seeded::new(0),
        };
        Self { name, native, quorum, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash of a transaction that there was not before.
    #[must_use]
    pub fn new_transaction(&self) -> TxHash {
        let mut state = self.state();
        state.transactions = state.transactions.saturating_add(1);
        TxHash::new(numbered(0xaa, state.transactions, 0))
    }

    /// Mines a block with these transfers, in which contracts pass on these coins.
    pub fn mine(&self, transfers: Vec<Transfer>, passed_on: Vec<(Address, Amount)>) -> BlockRef {
        let mut state = self.state();
        let parent = state.tip();
        let block = child(&parent, state.pause, state.branches);
        state.pause = BLOCK_TIME;
        state.chain.push(Arc::new(Mined { found: BlockTransfers { block, transfers }, passed_on }));
        block
    }

    /// Lets the next block have the time `time`, or that of its parent if it is later.
    pub fn wait_until(&self, time: Timestamp) {
        let mut state = self.state();
        state.pause = time.since(state.tip().time);
    }

    /// Makes everything up to `depth` blocks below the newest one final; never takes finality back.
    pub fn finalise_below(&self, depth: u64) {
        let mut state = self.state();
        let number = BlockNumber(state.tip().number.0.saturating_sub(depth));
        state.finalized = state.finalized.max(number);
    }

    /// Takes away the newest `depth` blocks that are not final; what is mined next has other hashes. Returns what was in them.
    pub fn fork(&self, depth: u64) -> Vec<Arc<Mined>> {
        let mut state = self.state();
        let room = state.tip().number.0.saturating_sub(state.finalized.0);
        state.cut(depth.min(room))
    }

    /// Takes away the newest `depth` blocks, final or not. What remains is final.
    pub fn break_finality(&self, depth: u64) -> Vec<Arc<Mined>> {
        let mut state = self.state();
        let taken = state.cut(depth);
        state.finalized = state.finalized.min(state.tip().number);
        taken
    }

    /// The newest block.
    #[must_use]
    pub fn tip(&self) -> BlockRef {
        self.state().tip()
    }

    /// The newest final block's number.
    #[must_use]
    pub fn finalized_number(&self) -> BlockNumber {
        self.state().finalized
    }

    /// The chain from block 0 on.
    #[must_use]
    pub fn blocks(&self) -> Vec<Arc<Mined>> {
        self.state().chain.clone()
    }

    /// The block at a height of the chain.
    #[must_use]
    pub fn block_at(&self, number: BlockNumber) -> Option<Arc<Mined>> {
        at(&self.state().chain, number).cloned()
    }

    /// How many nodes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().nodes.len()
    }

    /// Lets questions go wrong that often, drawn from `random`.
    pub fn disturb(&self, unrest: Unrest, random: Seeded) {
        let mut state = self.state();
        state.unrest = unrest;
        state.random = random;
    }

    /// Turns to this node first.
    pub fn prefer(&self, node: usize) {
        self.state().primary = node;
    }

    /// A node gives no answer until it is healed.
    pub fn silence(&self, node: usize) {
        self.change(node, |node| node.silent = true);
    }

    /// A node does not show the newest `blocks` blocks.
    pub fn delay(&self, node: usize, blocks: u64) {
        self.change(node, |node| node.lag = blocks);
    }

    /// A node knows blocks but not what is in them.
    pub fn hollow(&self, node: usize) {
        self.change(node, |node| node.hollow = true);
    }

    /// A node hides some of the transfers in its blocks, as one can whose blocks are not verified by their roots.
    pub fn hide(&self, node: usize) {
        self.change(node, |node| node.hides = true);
    }

    /// A node stays where it is: it shows neither new blocks nor forks.
    pub fn strand(&self, node: usize) {
        let mut state = self.state();
        let view = View { blocks: state.chain.clone(), finalized: state.finalized };
        state.change(node, |node| node.own = Some(view));
    }

    /// A node shows blocks of its own behind the newest `replaced` ones, and calls them all final.
    pub fn lie(&self, node: usize, replaced: u64, invented: Vec<Vec<Transfer>>) {
        let mut state = self.state();
        state.branches = state.branches.saturating_add(1);
        let mut blocks = state.chain.clone();
        blocks.truncate(kept(blocks.len(), replaced));
        for transfers in invented {
            let parent = blocks.last().map_or_else(|| state.tip(), |block| block.found.block);
            let block = child(&parent, BLOCK_TIME, state.branches);
            blocks.push(Arc::new(Mined { found: BlockTransfers { block, transfers }, passed_on: Vec::new() }));
        }
        // Its blocks must not share a hash with those that are really mined behind the same parent.
        state.branches = state.branches.saturating_add(1);
        let finalized = blocks.last().map_or(BlockNumber(0), |block| block.found.block.number);
        state.change(node, |node| node.own = Some(View { blocks, finalized }));
    }

    /// A node is honest and shows everything again.
    pub fn heal(&self, node: usize) {
        self.change(node, |node| *node = Node::default());
    }

    /// All nodes are, and no question fails any more.
    pub fn heal_all(&self) {
        let mut state = self.state();
        state.unrest = Unrest::default();
        state.nodes.fill(Node::default());
    }

    fn change(&self, node: usize, change: impl FnOnce(&mut Node)) {
        self.state().change(node, change);
    }
}

impl State {
    fn tip(&self) -> BlockRef {
        // Block 0 is never taken away.
        self.chain.last().expect("a chain has a first block").found.block
    }

    fn cut(&mut self, depth: u64) -> Vec<Arc<Mined>> {
        self.branches = self.branches.saturating_add(1);
        let keep = kept(self.chain.len(), depth);
        self.chain.split_off(keep)
    }

    fn change(&mut self, node: usize, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(node) {
            change(node);
        }
    }
}

/// How many of `blocks` blocks remain without the newest `taken`: always the first.
fn kept(blocks: usize, taken: u64) -> usize {
    blocks.saturating_sub(usize::try_from(taken).unwrap_or(usize::MAX)).max(1)
}

fn at(blocks: &[Arc<Mined>], number: BlockNumber) -> Option<&Arc<Mined>> {
    blocks.get(usize::try_from(number.0).ok()?)
}

fn child(parent: &BlockRef, pause: Duration, branch: u64) -> BlockRef {
    let number = BlockNumber(parent.number.0.saturating_add(1));
    BlockRef { number, hash: block_hash(number.0, branch), parent: parent.hash, time: parent.time.after(pause) }
}

fn block_hash(number: u64, branch: u64) -> BlockHash {
    BlockHash::new(numbered(0xbb, number, branch))
}

#[cfg(test)]
mod tests;
