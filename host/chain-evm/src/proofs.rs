//! What the nodes of a chain have shown about its roots, and how much of a block's content follows from one node's word.
//!
//! A block whose roots were computed here is what its hash says, and the hash is what nodes vote on. A block that merely fits
//! together may hold anything. Which of the two a chain offers must not be up to the node that is asked: once a node has
//! proved blocks, the others must prove theirs as well, or only their votes count. Where no node can, and several must agree,
//! they must agree on the content too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::text::ChainName;

/// Blocks remembered for each node that could not be proved: as many as may be on their way at once, twice.
const UNPROVED_MAX: usize = 32;

/// What a node showed, and whether its hash covers it.
#[derive(Debug)]
pub(crate) struct Shown<T> {
    pub(crate) content: T,
    /// Whether the roots of the blocks were computed anew.
    pub(crate) proven: bool,
}

/// The roots of one chain. Shared by its nodes, which are told apart by their position in the config.
pub(crate) struct Proofs {
    chain: ChainName,
    quorum: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The nodes that have proved blocks and since then shown none that cannot be proved.
    proving: BTreeSet<usize>,
    /// Whether any node ever was among them.
    proved: bool,
    /// Whether enough nodes have shown that blocks of the chain cannot be proved any more.
    given_up: bool,
    /// The latest blocks that each node showed and that could not be proved.
    unproved: BTreeMap<usize, VecDeque<(BlockNumber, BlockHash)>>,
}

impl Proofs {
    pub(crate) fn new(chain: ChainName, quorum: usize) -> Self {
        Self { chain, quorum, known: Mutex::default() }
    }

    /// How many nodes must agree.
    pub(crate) fn quorum(&self) -> usize {
        self.quorum
    }

    /// Whether blocks of the chain must be proved by their roots: a node has done so, and what speaks against it is less than
    /// a quorum's word. Where the quorum is one, that is as long as any node does.
    pub(crate) fn are_demanded(&self) -> bool {
        let known = self.known();
        if self.quorum < 2 { !known.proving.is_empty() } else { known.proved && !known.given_up }
    }

    /// Whether blocks of the chain turned out not to be provable any more.
    pub(crate) fn are_given_up(&self) -> bool {
        self.known().given_up
    }

    /// A node has proved its newest blocks.
    pub(crate) fn proved(&self, node: usize) {
        let mut known = self.known();
        known.proving.insert(node);
        known.proved = true;
    }

    /// A node has shown a block that cannot be proved. Only when a quorum of nodes shows the same one, it is the chain that
    /// has changed and not a node that lies.
    pub(crate) fn failed(&self, node: usize, block: (BlockNumber, BlockHash)) {
        let mut known = self.known();
        known.proving.remove(&node);
        let blocks = known.unproved.entry(node).or_default();
        if !blocks.contains(&block) {
            blocks.push_back(block);
        }
        if blocks.len() > UNPROVED_MAX {
            blocks.pop_front();
        }
        let witnesses = known.unproved.values().filter(|blocks| blocks.contains(&block)).count();
        if self.quorum < 2 || !known.proved || known.given_up || witnesses < self.quorum {
            return;
        }
        known.given_up = true;
        drop(known);
        let (chain, quorum, (number, hash)) = (&self.chain, self.quorum, block);
        tracing::error!(
            %chain, %number, %hash, quorum,
            "a quorum of nodes shows a block that this version cannot prove: until the host is started again, nodes must \
             agree on what is in each block; look for an update"
        );
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No code that holds the lock can leave it half-changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proofs(quorum: usize) -> Proofs {
        Proofs::new("bsc".parse().expect("a name"), quorum)
    }

    fn block(number: u64) -> (BlockNumber, BlockHash) {
        (BlockNumber(number), BlockHash::new([7; 32]))
    }

    #[test]
    fn one_node_alone_does_not_lower_what_all_must_prove() {
        let proofs = proofs(2);
        assert!(!proofs.are_demanded());
        proofs.proved(1);
        (0..100).for_each(|number| proofs.failed(2, block(number)));
        proofs.failed(1, block(1_000));
        assert!(proofs.are_demanded(), "no two show the same block");
        proofs.failed(1, block(99));
        assert!(!proofs.are_demanded() && proofs.are_given_up());
        proofs.proved(3);
        assert!(!proofs.are_demanded(), "one alone does not raise it again");
    }

    #[test]
    fn with_a_quorum_of_one_it_holds_as_long_as_a_node_proves() {
        let proofs = proofs(1);
        proofs.proved(1);
        proofs.failed(2, block(1));
        assert!(proofs.are_demanded());
        proofs.failed(1, block(1));
        assert!(!proofs.are_demanded() && !proofs.are_given_up());
    }
}
