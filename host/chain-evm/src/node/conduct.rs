//! What is known about a node from its answers so far, and what follows from it: whether it may be asked, and why not.
//!
//! Two things keep a node from being asked. A rest follows failures and ends by itself. A ban follows a lie or another chain
//! and ends only when the node passes its self-check: of what it says in the meantime nothing could be believed.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_payments::port::chain::{ChainError, NodeReport, Verification};
use xthonpay_payments::port::random::{self, Random};

use super::breaker::{Breaker, Circuit};
use super::health::{Health, PENALTY_CONTRADICTION, PENALTY_FAILURE, Weight};
use crate::pool::choice::Standing;

/// Blocks behind the others from which on a node is not asked first: a turn of one validator of BNB Smart Chain.
const LAG_BLOCKS_MAX: u64 = 16;

/// Why a node is held back.
const HELD_BACK: &str = "not asked until it has passed its first self-check, which the checkpoint asks for";

/// How long a node that contradicted what the nodes agree on is not asked first: many blocks, and no long time for one that
/// was merely the first to see a fork.
const DOUBTED_FOR: Duration = Duration::from_secs(30);

/// What is known about one node. Shared by all questions to it.
pub(crate) struct Conduct {
    known: Mutex<Known>,
    random: Arc<dyn Random>,
    /// How long one question may take at the longest.
    question_max: Duration,
}

#[derive(Default)]
struct Known {
    breaker: Breaker,
    health: Health,
    /// Set once the node has answered with the configured chain id.
    on_chain: bool,
    /// When it last did.
    told_chain_at: Option<Instant>,
    banned: Option<ChainError>,
    /// Whether it must pass a self-check before it is asked at all.
    held_back: bool,
    /// What it last contradicted the other nodes about.
    dispute: Option<String>,
    /// What speaks against it besides failures, such as a wrong clock.
    concern: Option<String>,
    verification: Option<Verification>,
    /// Until when it is not asked first because it contradicted what the nodes agree on.
    doubted_until: Option<Instant>,
    /// Whether it was told that its blocks are verified less than those of another node.
    short: bool,
    announces: Option<bool>,
    last_failure: Option<String>,
    checked: Option<Checked>,
}

/// The last self-check.
#[derive(Clone, Copy)]
struct Checked {
    at: Instant,
    passed: bool,
}

impl Conduct {
    pub(crate) fn new(random: Arc<dyn Random>, question_max: Duration) -> Self {
        Self { known: Mutex::default(), random, question_max }
    }

    /// Whether a question may go out now. After a rest one alone may, until its outcome is known.
    pub(crate) fn admit(&self) -> Result<(), ChainError> {
        let mut known = self.known();
        if let Some(error) = &known.banned {
            return Err(error.clone());
        }
        if known.held_back {
            return Err(ChainError::Unavailable { reason: HELD_BACK.to_owned() });
        }
        if known.breaker.admit(Instant::now(), self.question_max) {
            return Ok(());
        }
        let last = known.last_failure.clone().unwrap_or_default();
        Err(ChainError::Unavailable { reason: format!("left alone for a moment after failures, the last one: {last}") })
    }

    /// Whether the node has proved to serve the configured chain.
    pub(crate) fn is_on_chain(&self) -> bool {
        self.known().on_chain
    }

    /// Remembers that the node serves the configured chain.
    pub(crate) fn proved_chain(&self) {
        self.known().on_chain = true;
    }

    /// Remembers that the node has just said which chain it serves, and that it is the configured one.
    pub(crate) fn told_chain(&self) {
        self.known().told_chain_at = Some(Instant::now());
    }

    /// Whether the node said so within `age` and could be reached since.
    pub(crate) fn told_chain_within(&self, age: Duration) -> bool {
        let known = self.known();
        known.on_chain && known.told_chain_at.is_some_and(|at| at.elapsed() < age)
    }

    /// A question was answered, and the answer held.
    pub(crate) fn answered(&self, weight: Weight, latency: Duration) {
        let mut known = self.known();
        known.breaker.succeeded();
        known.health.answered(weight, latency);
    }

    /// Another node answered first although it was asked later.
    pub(crate) fn overtaken(&self, weight: Weight, latency: Duration) {
        self.known().health.overtaken(weight, latency);
    }

    /// A question got no usable answer. One that contradicts itself is held against the node; a refusal alone is not, since
    /// there may be a good reason for it.
    pub(crate) fn disappointed(&self, error: &ChainError) {
        self.disappointed_by(Weight::Light, error);
    }

    /// The same about a question of this weight.
    pub(crate) fn disappointed_by(&self, weight: Weight, error: &ChainError) {
        let chance = self.chance();
        let (mut known, now) = (self.known(), Instant::now());
        let penalty = match error {
            ChainError::Inconsistent { .. } => {
                known.breaker.failed(now, chance);
                PENALTY_CONTRADICTION
            }
            ChainError::Unavailable { .. } | ChainError::Mismatch { .. } => PENALTY_FAILURE,
        };
        known.health.failed(now, weight, penalty);
        known.last_failure = Some(error.to_string());
    }

    /// What the node said does not fit what the nodes agree on: it loses its place, and does not get it back for a while.
    pub(crate) fn contradicted(&self) {
        let (mut known, now) = (self.known(), Instant::now());
        known.health.failed(now, Weight::Heavy, PENALTY_CONTRADICTION);
        known.doubted_until = now.checked_add(DOUBTED_FOR);
    }

    /// A question takes longer than one of its kind should; it may still be answered.
    pub(crate) fn is_slow(&self, weight: Weight) {
        self.known().health.failed(Instant::now(), weight, PENALTY_FAILURE);
    }

    /// The node does not have this block. One that said it has it failed.
    pub(crate) fn lacks(&self, number: BlockNumber, weight: Weight) {
        let (mut known, now) = (self.known(), Instant::now());
        if known.health.lacks(number, now) {
            known.health.failed(now, weight, PENALTY_FAILURE);
        }
    }

    /// The content of the node's blocks is not believed; tells whether that is new.
    pub(crate) fn falls_short(&self) -> bool {
        !core::mem::replace(&mut self.known().short, true)
    }

    /// The node could not be reached, or wants to be left alone.
    pub(crate) fn absent(&self) {
        let chance = self.chance();
        let mut known = self.known();
        known.breaker.failed(Instant::now(), chance);
        // Whoever answers after a failure may be somebody else.
        known.on_chain = false;
    }

    /// Stops asking the node until it passes its self-check.
    pub(crate) fn ban(&self, error: ChainError) {
        let chance = self.chance();
        let mut known = self.known();
        let now = Instant::now();
        known.breaker.trip(now, chance);
        known.health.failed(now, Weight::Light, PENALTY_CONTRADICTION);
        // What it told of may belong to another chain.
        known.health.forget_heights();
        known.on_chain = false;
        known.checked = known.checked.map(|checked| Checked { passed: false, ..checked });
        known.banned = Some(error);
    }

    /// Does not ask the node anything before it has passed a self-check once.
    pub(crate) fn hold_back(&self) {
        self.known().held_back = true;
    }

    /// Notes what the node contradicts the others about, or that it agrees with them.
    pub(crate) fn dispute(&self, dispute: Option<String>) {
        self.known().dispute = dispute;
    }

    /// What the node contradicts the others about.
    pub(crate) fn disputed(&self) -> Option<String> {
        self.known().dispute.clone()
    }

    pub(crate) fn saw_head(&self, number: BlockNumber) {
        self.known().health.saw_head(number, Instant::now());
    }

    pub(crate) fn saw_block(&self, block: &BlockRef) {
        self.known().health.saw_block(block.number, Instant::now());
    }

    pub(crate) fn saw_finalized(&self, number: BlockNumber) {
        self.known().health.finalized = Some(number);
    }

    /// The newest final block that the node told of.
    pub(crate) fn finalized(&self) -> Option<BlockNumber> {
        self.known().health.finalized
    }

    /// The newest block that the node told of.
    pub(crate) fn head(&self) -> Option<BlockNumber> {
        self.known().health.head()
    }

    /// How blocks from the node are verified; `None` until it was checked.
    pub(crate) fn verification(&self) -> Option<Verification> {
        self.known().verification
    }

    pub(crate) fn announces(&self, announces: bool) {
        self.known().announces = Some(announces);
    }

    pub(crate) fn patience(&self, weight: Weight) -> Option<Duration> {
        self.known().health.patience(weight)
    }

    /// The node passed its self-check.
    pub(crate) fn passed(&self, verification: Verification, concern: Option<String>) {
        let mut known = self.known();
        known.checked = Some(Checked { at: Instant::now(), passed: true });
        known.on_chain = true;
        known.held_back = false;
        known.verification = Some(verification);
        known.concern = concern;
        if known.banned.take().is_some() {
            known.breaker.succeeded();
            known.dispute = None;
        }
    }

    /// The node could not be checked, or failed.
    pub(crate) fn not_passed(&self) {
        self.known().checked = Some(Checked { at: Instant::now(), passed: false });
    }

    /// When the node was last checked and whether it passed.
    pub(crate) fn last_check(&self) -> Option<(Instant, bool)> {
        self.known().checked.map(|checked| (checked.at, checked.passed))
    }

    /// Why the node is not believed until it passes its self-check; `None` when it is.
    pub(crate) fn banned(&self) -> Option<ChainError> {
        self.known().banned.clone()
    }

    /// Remembers how blocks from the node are verified.
    pub(crate) fn verified_by(&self, verification: Verification) {
        self.known().verification = Some(verification);
    }

    /// What speaks for and against asking the node first, when the others' heads are at `best`.
    pub(crate) fn standing(&self, best: Option<BlockNumber>) -> Standing {
        let (mut known, now) = (self.known(), Instant::now());
        let circuit = known.breaker.circuit(now);
        let follows = known.trails(best).is_none();
        if !follows {
            known.health.troubled(now);
        }
        let believed = known.banned.is_none() && !known.held_back;
        let usable = believed && matches!(circuit, Circuit::Closed | Circuit::HalfOpen);
        Standing {
            usable,
            fit: usable
                && circuit == Circuit::Closed
                && follows
                && !known.is_doubted(now)
                && known.concern.is_none()
                && known.dispute.is_none(),
            penalty: known.health.penalty(now),
            untroubled_for: known.health.untroubled_for(now),
        }
    }

    /// All of it for people.
    pub(crate) fn report(&self, label: &str, primary: bool, best: Option<BlockNumber>) -> NodeReport {
        let known = self.known();
        NodeReport {
            label: label.to_owned(),
            primary,
            problem: known.problem(best),
            verification: known.verification,
            head: known.health.head(),
            finalized: known.health.finalized,
            announces: known.announces,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No code that holds the lock can leave it half-changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self) -> u64 {
        u64::from_le_bytes(random::bytes(self.random.as_ref()))
    }
}

impl Known {
    fn is_doubted(&self, now: Instant) -> bool {
        self.doubted_until.is_some_and(|until| now < until)
    }

    /// How the node falls behind the others, in words.
    fn trails(&self, best: Option<BlockNumber>) -> Option<String> {
        let BlockNumber(head) = self.health.head()?;
        let behind = best?.0.saturating_sub(head);
        match self.health.stalled_for() {
            Some(stall) if behind > 0 => {
                Some(format!("its newest block has been {head} for {} s, {behind} behind the others", stall.as_secs()))
            }
            _ if behind > LAG_BLOCKS_MAX => Some(format!("its newest block {head} is {behind} behind the others")),
            _ => None,
        }
    }

    fn problem(&self, best: Option<BlockNumber>) -> Option<String> {
        if let Some(error) = &self.banned {
            return Some(format!("not asked until it passes its self-check: {error}"));
        }
        if self.held_back && self.checked.is_none() {
            return Some(HELD_BACK.to_owned());
        }
        let last = || self.last_failure.as_deref().unwrap_or("unknown");
        match self.breaker.circuit(Instant::now()) {
            Circuit::Open(rest) => {
                return Some(format!(
                    "left alone for {} ms after failures, the last one: {}",
                    rest.as_millis(),
                    last()
                ));
            }
            Circuit::HalfOpen | Circuit::Probing => {
                return Some(format!("tried again after failures, the last one: {}", last()));
            }
            Circuit::Closed => {}
        }
        let unchecked = || {
            let failed = self.checked.is_some_and(|checked| !checked.passed);
            failed.then(|| format!("could not be checked: {}", last()))
        };
        let stalled = || {
            let stall = self.health.stalled_for()?;
            Some(format!("its newest block has been the same for {} s", stall.as_secs()))
        };
        let doubted = || {
            let doubted = self.is_doubted(Instant::now());
            doubted.then(|| "not asked first for a while: it contradicted what the nodes agree on".to_owned())
        };
        self.trails(best).or_else(stalled).or_else(doubted).or_else(|| self.concern.clone()).or_else(unchecked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::no_random::NoRandom;

    fn conduct() -> Conduct {
        Conduct::new(Arc::new(NoRandom), Duration::from_secs(10))
    }

    fn lie() -> ChainError {
        ChainError::Inconsistent { reason: "it invents blocks".to_owned() }
    }

    #[test]
    fn a_banned_node_is_asked_again_only_after_its_self_check() {
        let conduct = conduct();
        assert!(conduct.standing(None).fit && conduct.admit().is_ok());
        conduct.ban(lie());
        conduct.answered(Weight::Light, Duration::ZERO);
        conduct.not_passed();
        assert_eq!(conduct.admit(), Err(lie()), "no answer lifts a ban");
        assert!(!conduct.standing(None).usable);
        conduct.passed(Verification::Roots, None);
        assert_eq!(conduct.admit(), Ok(()));
        assert!(conduct.standing(None).fit);
    }

    #[test]
    fn a_refusal_alone_is_no_reason_for_a_rest_and_a_contradiction_is() {
        let refused = ChainError::Unavailable { reason: "no such state".to_owned() };
        let conduct = conduct();
        (0..10).for_each(|_| conduct.disappointed(&refused));
        assert!(conduct.admit().is_ok() && conduct.standing(None).penalty > 0);
        (0..3).for_each(|_| conduct.disappointed(&lie()));
        let refusal = conduct.admit().expect_err("it rests");
        assert!(refusal.to_string().contains("it invents blocks"), "{refusal}");
    }

    #[test]
    fn a_head_that_stands_still_or_lags_costs_the_first_place() {
        let start = Instant::now();
        let stalled = start + Duration::from_secs(31);
        let table: [(&str, Instant, u64, bool, Option<&str>); 6] = [
            ("follows", start, 100, true, None),
            ("a little late", start, 100 + LAG_BLOCKS_MAX, true, None),
            ("lags", start, 101 + LAG_BLOCKS_MAX, false, Some("17 behind the others")),
            ("stands still while others move", stalled, 101, false, Some("for 31 s, 1 behind the others")),
            ("stands still with all others", stalled, 100, true, Some("has been the same for 31 s")),
            ("is ahead", start, 99, true, None),
        ];
        for (name, told_at, best, fit, problem) in table {
            let conduct = conduct();
            conduct.known().health.saw_head(BlockNumber(100), start);
            conduct.known().health.saw_head(BlockNumber(100), told_at);
            let best = Some(BlockNumber(best));
            assert_eq!(conduct.standing(best).fit, fit, "{name}");
            let told = conduct.report("node 1 (a)", true, best).problem;
            let as_expected = match (&told, problem) {
                (Some(told), Some(part)) => told.contains(part),
                (told, part) => told.is_none() && part.is_none(),
            };
            assert!(as_expected, "{name}: {told:?}");
        }
    }
}
