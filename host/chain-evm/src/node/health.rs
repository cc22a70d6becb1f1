//! How well a node does: its failures, its speed, and how far it follows the chain.
//!
//! Pure: the moment is given. Chooses nothing; that is the pool's affair.

use core::time::Duration;

use tokio::time::Instant;
use xthonpay_domain::block::BlockNumber;

use crate::pool::choice::RETURN_AFTER;

/// What one failure adds to the penalty. A success takes a quarter off, so that it is forgotten after some ten of them.
pub(crate) const PENALTY_FAILURE: u32 = 100;
/// What an answer that contradicts itself adds: worse than none.
pub(crate) const PENALTY_CONTRADICTION: u32 = 200;
/// What it adds when another node answered first although it was asked later.
pub(crate) const PENALTY_OVERTAKEN: u32 = 20;
/// Bounds how long a long outage is held against a node.
const PENALTY_MAX: u32 = 1_000;

/// Answers that the usual time of an answer is taken from.
const LATENCIES: usize = 64;
/// Fewer say nothing about the slowest of twenty.
const LATENCIES_MIN: usize = 8;
/// How long an answer is waited for before another node is asked too: not below what a busy machine takes by itself...
const PATIENCE_MIN: Duration = Duration::from_millis(100);
/// ...not so long that a block is seen late...
const PATIENCE_MAX: Duration = Duration::from_secs(2);
/// ...and this while too few answers are known.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(1);

/// A head that stays the same for so long stands still: 60 blocks of BNB Smart Chain, two of the slowest common chains.
pub(crate) const STALL_MIN: Duration = Duration::from_secs(30);

/// How much work a question is for a node; what is usual is known for each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// A number or a header.
    Light,
    /// One block with what belongs to it.
    Block,
    /// More than that: it takes its time, and no second node is asked on the side.
    Heavy,
}

/// The times that the last answers took.
#[derive(Clone, Debug, Default)]
struct Latencies {
    last: Vec<Duration>,
    /// Where the next one goes once there are [`LATENCIES`].
    next: usize,
}

impl Latencies {
    fn add(&mut self, latency: Duration) {
        if self.last.len() < LATENCIES {
            self.last.push(latency);
        } else if let Some(place) = self.last.get_mut(self.next) {
            *place = latency;
            self.next = self.next.saturating_add(1) % LATENCIES;
        }
    }

    /// What nineteen of twenty answers stay below; `None` while too few are known.
    fn p95(&self) -> Option<Duration> {
        if self.last.len() < LATENCIES_MIN {
            return None;
        }
        let mut sorted = self.last.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len().saturating_mul(19) / 20).copied()
    }
}

/// What a node told about the newest block.
#[derive(Clone, Copy, Debug)]
struct Head {
    number: BlockNumber,
    told_at: Instant,
    /// When it first told of this number.
    moved_at: Instant,
}

/// How well a node does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// For light questions.
    penalty: u32,
    /// For blocks and runs of them. A node that answers numbers in no time may still be no use for blocks.
    content_penalty: u32,
    troubled_at: Option<Instant>,
    light: Latencies,
    block: Latencies,
    head: Option<Head>,
    pub(crate) finalized: Option<BlockNumber>,
}

impl Health {
    pub(crate) fn penalty(&self, now: Instant) -> u32 {
        let content = if self.is_content_forgiven(now) { 0 } else { self.content_penalty };
        self.penalty.saturating_add(content).min(PENALTY_MAX)
    }

    /// A node that is not asked for blocks cannot make good what it did wrong about them: time does.
    fn is_content_forgiven(&self, now: Instant) -> bool {
        self.untroubled_for(now).is_none_or(|time| time >= RETURN_AFTER)
    }

    fn penalty_for(&mut self, weight: Weight) -> &mut u32 {
        match weight {
            Weight::Light => &mut self.penalty,
            Weight::Block | Weight::Heavy => &mut self.content_penalty,
        }
    }

    /// The newest block that the node told of.
    pub(crate) fn head(&self) -> Option<BlockNumber> {
        self.head.map(|head| head.number)
    }

    /// For how long nothing was wrong; `None` when nothing ever was.
    pub(crate) fn untroubled_for(&self, now: Instant) -> Option<Duration> {
        self.troubled_at.map(|troubled_at| now.saturating_duration_since(troubled_at))
    }

    /// For how long the head was the same when the node was last asked; `None` unless that is remarkable.
    pub(crate) fn stalled_for(&self) -> Option<Duration> {
        let head = self.head?;
        Some(head.told_at.saturating_duration_since(head.moved_at)).filter(|stall| *stall >= STALL_MIN)
    }

    /// How long an answer is waited for before another node is asked too; `None` when none should be.
    pub(crate) fn patience(&self, weight: Weight) -> Option<Duration> {
        let latencies = match weight {
            Weight::Light => &self.light,
            Weight::Block => &self.block,
            Weight::Heavy => return None,
        };
        Some(latencies.p95().map_or(PATIENCE_UNKNOWN, |usual| usual.clamp(PATIENCE_MIN, PATIENCE_MAX)))
    }

    pub(crate) fn answered(&mut self, weight: Weight, latency: Duration) {
        self.penalty = repaid(self.penalty);
        if weight != Weight::Light {
            self.content_penalty = repaid(self.content_penalty);
        }
        self.took(weight, latency);
    }

    /// Another node was faster, although this one had `latency` already.
    pub(crate) fn overtaken(&mut self, weight: Weight, latency: Duration) {
        let penalty = self.penalty_for(weight);
        *penalty = penalty.saturating_add(PENALTY_OVERTAKEN).min(PENALTY_MAX);
        self.took(weight, latency);
    }

    pub(crate) fn failed(&mut self, now: Instant, weight: Weight, penalty: u32) {
        if self.is_content_forgiven(now) {
            self.content_penalty = 0;
        }
        let sum = self.penalty_for(weight);
        *sum = sum.saturating_add(penalty).min(PENALTY_MAX);
        self.troubled(now);
    }

    /// Something is wrong that is no failure.
    pub(crate) fn troubled(&mut self, now: Instant) {
        self.troubled_at = Some(now);
    }

    pub(crate) fn saw_head(&mut self, number: BlockNumber, now: Instant) {
        let moved_at = self.head.filter(|head| head.number == number).map_or(now, |head| head.moved_at);
        self.head = Some(Head { number, told_at: now, moved_at });
    }

    /// The node does not have this block; tells whether it said that it is there.
    pub(crate) fn lacks(&mut self, number: BlockNumber, now: Instant) -> bool {
        let owed = self.head().is_some_and(|head| number <= head);
        if owed {
            self.saw_head(number.previous().unwrap_or_default(), now);
        }
        owed
    }

    /// Forgets how far the node is: it told of another chain.
    pub(crate) fn forget_heights(&mut self) {
        (self.head, self.finalized) = (None, None);
    }

    /// The node has this block, so that its head is not below it.
    pub(crate) fn saw_block(&mut self, number: BlockNumber, now: Instant) {
        if self.head().is_none_or(|head| head < number) {
            self.saw_head(number, now);
        }
    }

    fn took(&mut self, weight: Weight, latency: Duration) {
        match weight {
            Weight::Light => self.light.add(latency),
            Weight::Block => self.block.add(latency),
            Weight::Heavy => {}
        }
    }
}

/// What is left of a penalty after a success.
fn repaid(penalty: u32) -> u32 {
    penalty.saturating_sub(penalty.div_ceil(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_the_slowest_of_twenty_within_its_bounds() {
        let mut health = Health::default();
        assert_eq!(health.patience(Weight::Light), Some(PATIENCE_UNKNOWN));
        assert_eq!(health.patience(Weight::Heavy), None);
        (0..100).for_each(|_| health.answered(Weight::Light, Duration::from_millis(1)));
        assert_eq!(health.patience(Weight::Light), Some(PATIENCE_MIN));
        (0..8).for_each(|_| health.answered(Weight::Light, Duration::from_millis(300)));
        assert_eq!(health.patience(Weight::Light), Some(Duration::from_millis(300)));
        (0..8).for_each(|_| health.answered(Weight::Light, Duration::from_secs(60)));
        assert_eq!(health.patience(Weight::Light), Some(PATIENCE_MAX));
        assert_eq!(health.patience(Weight::Block), Some(PATIENCE_UNKNOWN), "known for each weight by itself");
        assert!(health.light.last.len() <= LATENCIES);
    }

    #[test]
    fn failures_are_forgotten_by_successes() {
        let (now, mut health) = (Instant::now(), Health::default());
        for weight in [Weight::Light, Weight::Block, Weight::Heavy] {
            (0..100).for_each(|_| health.failed(now, weight, PENALTY_FAILURE));
            assert_eq!(health.penalty(now), PENALTY_MAX);
            (0..30).for_each(|_| health.answered(Weight::Heavy, Duration::ZERO));
            assert_eq!(health.penalty(now), 0);
        }
        assert_eq!(health.untroubled_for(now + Duration::from_secs(7)), Some(Duration::from_secs(7)));
    }

    #[test]
    fn numbers_do_not_make_good_what_blocks_cost() {
        let (now, mut health) = (Instant::now(), Health::default());
        health.failed(now, Weight::Heavy, PENALTY_FAILURE);
        (0..100).for_each(|_| health.answered(Weight::Light, Duration::ZERO));
        assert_eq!(health.penalty(now), PENALTY_FAILURE);
        health.answered(Weight::Block, Duration::ZERO);
        assert!(health.penalty(now) < PENALTY_FAILURE);
        assert_eq!(health.penalty(now + RETURN_AFTER), 0, "time does");
        health.failed(now + RETURN_AFTER, Weight::Block, PENALTY_FAILURE);
        assert_eq!(health.penalty(now + RETURN_AFTER), PENALTY_FAILURE, "what was forgiven does not come back");
    }

    #[test]
    fn a_block_that_was_told_of_is_owed() {
        let (now, mut health) = (Instant::now(), Health::default());
        assert!(!health.lacks(BlockNumber(7), now));
        health.saw_head(BlockNumber(u64::MAX), now);
        assert!(health.lacks(BlockNumber(7), now));
        assert_eq!(health.head(), Some(BlockNumber(6)), "its head is below");
        assert!(!health.lacks(BlockNumber(7), now));
    }

    #[test]
    fn a_head_stands_still_only_while_the_node_says_so() {
        let (start, mut health) = (Instant::now(), Health::default());
        health.saw_head(BlockNumber(7), start);
        assert_eq!(health.stalled_for(), None);
        health.saw_head(BlockNumber(7), start + STALL_MIN);
        assert_eq!(health.stalled_for(), Some(STALL_MIN));
        health.saw_block(BlockNumber(6), start + STALL_MIN);
        assert_eq!(health.stalled_for(), Some(STALL_MIN), "an older block says nothing about the head");
        health.saw_block(BlockNumber(8), start + STALL_MIN);
        assert_eq!((health.stalled_for(), health.head()), (None, Some(BlockNumber(8))));
    }
}
