//! Which blocks are final, by the word of several nodes.
//!
//! A node's word alone makes nothing final: as many nodes as the operator's quorum asks for must name the same block, and more
//! of them than name another. A node that is outvoted about a block that it calls final is lying or forked, and is not asked
//! again before it passes its self-check. When the nodes' own finality has stood still for a while, a depth below the head takes
//! its place, if the operator gave one.

mod standstill;
mod vote;

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_payments::port::chain::ChainError;

use crate::config::Finality;
use crate::node::health::Weight;
use crate::node::{Node, Tip, TipWanted};
use crate::pool::{Answered, Pool};
use crate::read_blocks::ReadBlocks;
use standstill::Standstill;
use vote::{Claim, Tally, Vote, agreed_height, tally};

/// What the operator says about final blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FinalityRule {
    pub(crate) finality: Finality,
    /// How many nodes must agree.
    pub(crate) quorum: usize,
    /// Below the head, for when the nodes' tag stands still.
    pub(crate) fallback_depth: Option<u64>,
    /// How long the tag must have stood still before that.
    pub(crate) fallback_after: Duration,
}

/// The final blocks of one chain.
pub(crate) struct FinalBlocks {
    pool: Arc<Pool>,
    rule: FinalityRule,
    by_depth: AtomicBool,
    tag: Mutex<Standstill>,
    /// What the last vote could not decide.
    undecided: Mutex<Option<String>>,
    /// The highest block that was agreed on.
    agreed: Mutex<Option<BlockRef>>,
    read: Arc<ReadBlocks>,
}

impl FinalBlocks {
    pub(crate) fn new(pool: Arc<Pool>, rule: FinalityRule) -> Self {
        Self {
            pool,
            rule,
            by_depth: AtomicBool::new(false),
            tag: Mutex::default(),
            undecided: Mutex::default(),
            agreed: Mutex::default(),
            read: Arc::default(),
        }
    }

    /// The content of this block was read.
    pub(crate) fn was_read(&self, block: BlockRef) {
        self.read.add(block);
    }

    pub(crate) fn quorum(&self) -> usize {
        self.rule.quorum
    }

    /// Whether the depth rather than the nodes' tag decided last.
    pub(crate) fn by_depth(&self) -> bool {
        self.by_depth.load(Ordering::Relaxed)
    }

    /// The highest block that was agreed on.
    pub(crate) fn agreed(&self) -> Option<BlockRef> {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the nodes contradict each other about.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner).clone();
        undecided.or_else(|| self.pool.nodes().iter().find_map(|node| node.conduct.disputed()))
    }

    /// The newest final block.
    pub(crate) async fn newest(&self) -> Result<BlockRef, ChainError> {
        let wanted = self.wanted();
        let answers = self
            .pool
            .ask_each(Weight::Light, self.pool.places(), self.rule.quorum, |node| {
                let read = Arc::clone(&self.read);
                Box::pin(async move { node.tip_above(wanted, &read).await })
            })
            .await;
        if answers.is_empty() {
            return Err(self.pool.nobody());
        }
        let (tips, failures) = self.on_chain(answers, |tip: &Tip| tip.chain_id);
        let by_tag = || claims(&tips, |tip| tip.finalized.map(|block| (block.number, Some(block))));
        let by_depth = |depth: u64| {
            claims(&tips, |tip| tip.head.map(|head| (BlockNumber(head.number.0.saturating_sub(depth)), None)))
        };
        let (claims, deep) = match self.rule.finality {
            Finality::Depth(depth) => (by_depth(depth), Vec::new()),
            Finality::Tag => (by_tag(), self.rule.fallback_depth.map(by_depth).unwrap_or_default()),
        };
        let tag = agreed_height(&claims, self.rule.quorum);
        let depth = agreed_height(&deep, self.rule.quorum);
        // What the nodes disagree about by their own word is not settled by a depth.
        let decided = self.decide(&claims, tag, &failures).await;
        let still = self.tag.lock().unwrap_or_else(PoisonError::into_inner).lasts(tag, Instant::now());
        let deeper = depth.filter(|depth| still >= self.rule.fallback_after && tag.is_none_or(|tag| tag < *depth));
        let stands_still = deeper.is_some() && !matches!(decided, Err(ChainError::Inconsistent { .. }));
        if self.by_depth.swap(stands_still, Ordering::Relaxed) != stands_still {
            tracing::warn!(chain = %self.pool.chain(), stands_still, "the nodes' own finality stands still, or moves again");
        }
        if stands_still { self.decide(&deep, deeper, &failures).await } else { decided }
    }

    /// How far a node's own word about what is final reaches at the moment.
    fn reach(&self) -> Reach {
        match self.rule.finality {
            Finality::Depth(depth) => Reach { tag: false, depth: Some(depth) },
            Finality::Tag => Reach { tag: true, depth: self.rule.fallback_depth.filter(|_| self.by_depth()) },
        }
    }

    /// The block at a height, by the word of nodes that call the height final; `None` when too few of them have it.
    pub(crate) async fn at(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError> {
        let quorum = self.rule.quorum;
        let (wanted, reach) = (self.wanted(), self.reach());
        let answers = self
            .pool
            .ask_each(Weight::Light, self.pool.places(), quorum, move |node| {
                Box::pin(final_at(node, number, wanted, reach))
            })
            .await;
        if answers.is_empty() {
            return Err(self.pool.nobody());
        }
        let (found, failures) = self.on_chain(answers, |(chain_id, _)| *chain_id);
        let votes: Vec<Vote> =
            found.iter().filter_map(|(node, (_, block))| Some(Vote { node: *node, block: (*block)? })).collect();
        // With those who failed or rest it might have been enough: that is no answer yet.
        let missing = self.pool.nodes().len().saturating_sub(found.len());
        if votes.len() < quorum && votes.len().saturating_add(missing) >= quorum {
            return Err(self.too_few(votes.len(), &failures));
        }
        if votes.is_empty() { Ok(None) } else { self.judge(number, &votes) }
    }

    /// What a node is asked for about its newest blocks.
    pub(crate) fn wanted(&self) -> TipWanted {
        let without_tag = self.rule.fallback_depth.is_some();
        match self.rule.finality {
            Finality::Depth(_) => TipWanted { finalized: false, head: true, without_tag },
            // With others to compare, or a depth to measure, the head is worth asking for.
            Finality::Tag => {
                TipWanted { finalized: true, head: self.pool.nodes().len() > 1 || without_tag, without_tag }
            }
        }
    }

    /// The answers of nodes that serve the configured chain, and the errors of all others.
    fn on_chain<T>(
        &self,
        answers: Vec<Answered<T>>,
        chain_id: impl Fn(&T) -> u64,
    ) -> (Vec<(usize, T)>, Vec<ChainError>) {
        let (mut held, mut failures) = (Vec::with_capacity(answers.len()), Vec::new());
        for (place, answer) in answers {
            let judged = answer.and_then(|answer| match self.pool.node(place) {
                Some(node) => self.pool.judge_chain(node, chain_id(&answer)).map(|()| answer),
                None => Err(self.pool.nobody()),
            });
            match judged {
                Ok(answer) => held.push((place, answer)),
                Err(error) => failures.push(error),
            }
        }
        (held, failures)
    }

    /// The block at `height`, voted on by the nodes that claim it or a higher one to be final.
    async fn decide(
        &self,
        claims: &[Claim],
        height: Option<BlockNumber>,
        failures: &[ChainError],
    ) -> Result<BlockRef, ChainError> {
        let Some(height) = height else { return Err(self.too_few(claims.len(), failures)) };
        let (mut votes, ahead) = vote::at(claims, height);
        let answers =
            self.pool.ask_each(Weight::Light, ahead, self.rule.quorum, move |node| Box::pin(node.block(height))).await;
        let mut failures = failures.to_vec();
        for (node, answer) in answers {
            match answer {
                Ok(Some(block)) => votes.push(Vote { node, block }),
                Ok(None) => failures.extend(self.pool.node(node).map(|node| {
                    node.unavailable(&format!("block {height} is missing, although it calls a higher one final"))
                })),
                Err(error) => failures.push(error),
            }
        }
        match self.judge(height, &votes)? {
            Some(block) => Ok(block),
            None => Err(self.too_few(votes.len(), &failures)),
        }
    }

    /// Counts the votes about one height. `None` when too few were cast.
    fn judge(&self, height: BlockNumber, votes: &[Vote]) -> Result<Option<BlockRef>, ChainError> {
        match tally(votes, self.rule.quorum) {
            Tally::TooFew => Ok(None),
            Tally::Agreed(block) => {
                self.agree(votes, block);
                Ok(Some(block))
            }
            Tally::Split => {
                let reason = self.contradiction(height, votes);
                *self.undecided.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
                tracing::error!(chain = %self.pool.chain(), reason, "no block can become final");
                Err(ChainError::Inconsistent { reason })
            }
        }
    }

    /// Takes note of an agreement and of those who stand against it.
    fn agree(&self, votes: &[Vote], block: BlockRef) {
        *self.undecided.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        if agreed.is_none_or(|agreed| agreed.number <= block.number) {
            *agreed = Some(block);
        }
        drop(agreed);
        for vote in votes {
            let Some(node) = self.pool.node(vote.node) else { continue };
            if vote.block == block {
                node.conduct.dispute(None);
                continue;
            }
            let reason = self.contradiction(block.number, votes);
            node.conduct.dispute(Some(reason.clone()));
            // Below what it calls final itself, a node cannot be on a branch that merely lost.
            if node.conduct.finalized().is_some_and(|finalized| finalized >= block.number) {
                self.pool.ban(node, ChainError::Inconsistent { reason });
            }
        }
    }

    /// Who says what about a height.
    fn contradiction(&self, height: BlockNumber, votes: &[Vote]) -> String {
        let said = votes.iter().filter_map(|vote| {
            let node = self.pool.node(vote.node)?;
            Some(format!("{} names {}", node.label(), vote.block.hash))
        });
        format!("final block {height}: {}", said.collect::<Vec<_>>().join(", "))
    }

    fn too_few(&self, agreeing: usize, failures: &[ChainError]) -> ChainError {
        let quorum = self.rule.quorum;
        let silent = self.pool.nodes().iter().filter(|node| node.conduct.banned().is_some());
        let silent = silent.map(|node| format!("{} is not believed", node.label()));
        let reasons: Vec<String> = failures.iter().map(ToString::to_string).chain(silent).collect();
        let reasons = if reasons.is_empty() { "no block is final yet".to_owned() } else { reasons.join("; ") };
        // A single node's own failure says more than the count.
        match failures {
            [only] if self.pool.nodes().len() == 1 => only.clone(),
            _ => ChainError::Unavailable {
                reason: format!("a final block takes the word of {quorum} nodes, {agreeing} gave theirs: {reasons}"),
            },
        }
    }
}

/// By which rules a height is final for a node.
#[derive(Clone, Copy)]
struct Reach {
    /// By the node's own tag.
    tag: bool,
    /// By so many blocks above it.
    depth: Option<u64>,
}

impl Reach {
    /// Whether the node has called the height final, as far as it was asked.
    fn holds(self, node: &Node, number: BlockNumber) -> bool {
        let by_tag = || node.conduct.finalized().is_some_and(|finalized| finalized >= number);
        let deep = |(depth, head): (u64, BlockNumber)| head.0.saturating_sub(depth) >= number.0;
        (self.tag && by_tag()) || self.depth.zip(node.conduct.head()).is_some_and(deep)
    }
}

/// The chain that a node serves, and its block at a height that it calls final. A node that does not has no vote: its block
/// may still be replaced, and nothing would be held against it for a lie.
async fn final_at(
    node: &Node,
    number: BlockNumber,
    wanted: TipWanted,
    reach: Reach,
) -> Result<(u64, Option<BlockRef>), ChainError> {
    if !reach.holds(node, number) {
        // What it said last may be old.
        let tip = node.tip(wanted).await?;
        if !reach.holds(node, number) {
            return Ok((tip.chain_id, None));
        }
    }
    node.chain_and_block(number).await
}

/// What nodes call final, by one of the rules.
fn claims(tips: &[(usize, Tip)], rule: impl Fn(&Tip) -> Option<(BlockNumber, Option<BlockRef>)>) -> Vec<Claim> {
    let claim = |(node, tip): &(usize, Tip)| rule(tip).map(|(height, block)| Claim { node: *node, height, block });
    tips.iter().filter_map(claim).collect()
}
