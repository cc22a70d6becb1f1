//! The port on top of the nodes: one node's word, or that of a quorum.

use async_trait::async_trait;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers, Transfer};
use xthonpay_payments::port::chain::{ChainError, ChainSource, NodeReport, SourceReport, Verification};

use super::view::{Shown, Vote, agreed_final, vote};
use super::{ScriptedNodes, State};
use crate::scripted_chain::{GAS_PRICE, no_answer};

impl State {
    /// Whether this question to this node fails, and how.
    fn trouble(&mut self, node: usize) -> Option<ChainError> {
        let drawn = self.random.below(100);
        let (silent, inconsistent) = (self.unrest.no_answer, self.unrest.inconsistent);
        if self.nodes.get(node).is_none_or(|node| node.silent) || drawn < silent {
            Some(no_answer())
        } else if drawn < silent.saturating_add(inconsistent) {
            Some(ChainError::Inconsistent { reason: "scripted".to_owned() })
        } else {
            None
        }
    }

    /// The first node that answers, from the primary on; it becomes the primary.
    fn answering(&mut self, needs_contents: bool) -> Result<usize, ChainError> {
        let count = self.nodes.len();
        if self.random.below(100) < self.unrest.hop {
            self.primary = self.random.index(count);
        }
        let mut failure = no_answer();
        for offset in 0..count {
            let node = self.primary.saturating_add(offset).checked_rem(count).unwrap_or(0);
            if needs_contents && self.nodes.get(node).is_some_and(|node| node.hollow) {
                failure = ChainError::Inconsistent { reason: "a block without its receipts".to_owned() };
                continue;
            }
            match self.trouble(node) {
                None => {
                    self.primary = node;
                    return Ok(node);
                }
                Some(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// What all the nodes show that answer.
    fn all_answering(&mut self) -> Vec<Shown<'_>> {
        let answering: Vec<bool> = (0..self.nodes.len()).map(|node| self.trouble(node).is_none()).collect();
        let nodes = self.nodes.iter().zip(answering).filter(|(_, answers)| *answers);
        nodes.map(|(node, _)| node.shows(&self.chain, self.finalized)).collect()
    }
}

impl ScriptedNodes {
    /// Asks one node.
    fn ask<T>(
        &self,
        needs_contents: bool,
        answer: impl FnOnce(Shown<'_>) -> Result<T, ChainError>,
    ) -> Result<T, ChainError> {
        let mut state = self.state();
        let node = state.answering(needs_contents)?;
        let node = state.nodes.get(node).ok_or_else(no_answer)?;
        answer(node.shows(&state.chain, state.finalized))
    }

    /// Asks all nodes, of which enough must answer.
    fn ask_all<T>(&self, answer: impl FnOnce(&[Shown<'_>]) -> Result<T, ChainError>) -> Result<T, ChainError> {
        let mut state = self.state();
        let shown = state.all_answering();
        if shown.len() < self.quorum { Err(no_answer()) } else { answer(&shown) }
    }
}

fn contradiction(what: &str) -> ChainError {
    ChainError::Inconsistent { reason: format!("the nodes contradict each other about {what}") }
}

#[async_trait]
impl ChainSource for ScriptedNodes {
    fn name(&self) -> &ChainName {
        &self.name
    }

    async fn self_check(&self) -> Result<(), ChainError> {
        self.ask(false, |_| Ok(()))
    }

    async fn gas_price(&self) -> Result<Amount, ChainError> {
        self.ask(false, |_| Ok(Amount::from_units(GAS_PRICE)))
    }

    async fn head(&self) -> Result<BlockNumber, ChainError> {
        self.ask(false, |shown| Ok(shown.head()))
    }

    async fn finalized(&self) -> Result<BlockRef, ChainError> {
        self.ask_all(|shown| agreed_final(shown, self.quorum).ok_or_else(|| contradiction("what is final")))
    }

    async fn final_block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        self.ask_all(|shown| match vote(shown, number, self.quorum) {
            Vote::Agreed(block) => Ok(Some(block)),
            Vote::TooFew => Ok(None),
            Vote::Contradiction => Err(contradiction("a block")),
        })
    }

    async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        self.ask(false, |shown| Ok(shown.at(number).map(|mined| mined.found.block)))
    }

    async fn transfers(&self, number: BlockNumber) -> Result<Option<BlockTransfers>, ChainError> {
        self.ask(true, |shown| Ok(shown.at(number).map(|mined| shown.contents(mined))))
    }

    async fn transfers_in(&self, range: BlockRange) -> Result<RangeTransfers, ChainError> {
        let missing = || ChainError::Unavailable { reason: format!("a block of {range} is missing") };
        self.ask(true, |shown| {
            let first = shown.at(range.first()).ok_or_else(missing)?;
            let last = shown.at(range.last()).ok_or_else(missing)?;
            let numbers = range.first().0..=range.last().0;
            let blocks = numbers.filter_map(|number| shown.at(BlockNumber(number))).map(|mined| shown.contents(mined));
            Ok(RangeTransfers {
                parent: first.found.block.parent,
                blocks: blocks.filter(|found| !found.transfers.is_empty()).collect(),
                last: last.found.block,
            })
        })
    }

    async fn transfers_of(&self, tx: TxHash) -> Result<Option<BlockTransfers>, ChainError> {
        let of_tx = |transfer: &&Transfer| transfer.identity.origin.tx() == Some(tx);
        self.ask(true, |shown| {
            let holds = |found: &BlockTransfers| found.transfers.iter().any(|transfer| of_tx(&transfer));
            let found = shown.blocks().iter().map(|mined| &mined.found).find(|found| holds(found));
            Ok(found.map(|found| BlockTransfers {
                block: found.block,
                transfers: found.transfers.iter().filter(of_tx).cloned().collect(),
            }))
        })
    }

    async fn native_balances(&self, block: BlockRef, addresses: &[Address]) -> Result<Vec<Amount>, ChainError> {
        self.token_balances(block, &self.native, addresses).await
    }

    async fn token_balances(
        &self,
        block: BlockRef,
        token: &AssetId,
        addresses: &[Address],
    ) -> Result<Vec<Amount>, ChainError> {
        self.ask_all(|shown| {
            let knowing: Vec<&Shown<'_>> = shown.iter().filter(|shown| shown.has(&block)).collect();
            let Some(one) = knowing.first().filter(|_| knowing.len() >= self.quorum) else {
                return Err(ChainError::Unavailable { reason: format!("too few know the state of {}", block.hash) });
            };
            let sums: Result<Vec<Amount>, _> =
                addresses.iter().map(|address| one.balance(token, address, block.number)).collect();
            sums.map_err(|_| ChainError::Inconsistent { reason: "more than there can be".to_owned() })
        })
    }

    fn contradicted(&self) {
        let mut state = self.state();
        let count = state.nodes.len();
        state.primary = state.primary.saturating_add(1).checked_rem(count).unwrap_or(0);
    }

    async fn announced(&self) {
        std::future::pending().await
    }

    fn report(&self) -> SourceReport {
        let state = self.state();
        let nodes = state.nodes.iter().enumerate().map(|(index, node)| {
            let shown = node.shows(&state.chain, state.finalized);
            NodeReport {
                label: format!("node {index}"),
                primary: index == state.primary,
                problem: node.silent.then(|| "gives no answer".to_owned()),
                verification: Some(Verification::Roots),
                head: Some(shown.head()),
                finalized: Some(shown.final_block().number),
                announces: None,
            }
        });
        let nodes: Vec<NodeReport> = nodes.collect();
        let head = nodes.iter().filter_map(|node| node.head).max();
        SourceReport { nodes, head, quorum: self.quorum, ..SourceReport::default() }
    }
}
