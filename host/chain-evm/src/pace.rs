//! How much one node takes at a time: what is learned by asking, and kept while the host runs.
//!
//! Limits of nodes differ a hundredfold and are not told beforehand, so that every run begins small, grows while it works and
//! shrinks by half when it does not. Nothing here depends on what a node says, only on whether it answered.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use xthonpay_payments::port::chain::BALANCES_MAX;

/// Requests on their way to one node at once, at the beginning, at least and at most. Fewer leave the wire idle at the round
/// trip of a distant node; more are what public nodes refuse.
const IN_FLIGHT_FIRST: usize = 8;
const IN_FLIGHT_MIN: usize = 4;
/// The most requests that are on their way at once.
pub(crate) const IN_FLIGHT_MAX: usize = 16;

/// The size of an answer beyond which a run grows no longer. Sixteen of them are 64 MiB at most, and the time that one takes
/// stays far below the usual time limit.
const ANSWER_BYTES_ENOUGH: usize = 4 * 1024 * 1024;

/// Answers after which a size that was refused is tried again: blocks differ, and so do nodes behind one address.
const REFUSALS_FORGOTTEN_AFTER: usize = 256;

/// How long a refused size of questions for balances is remembered: asking address by address costs a hundred times as much,
/// and a refusal may have had a reason that is gone.
const BALANCES_FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// How many addresses one question for balances that carries its own code may hold.
struct BalancesAtOnce {
    /// 0 when the node refuses such questions.
    size: usize,
    /// When a question was last refused.
    refused: Option<Instant>,
}

/// What is known about one node.
pub(crate) struct Habits {
    /// Runs of whole blocks.
    pub(crate) blocks: Pace,
    /// Runs of logs alone.
    pub(crate) logs: Pace,
    balances: Mutex<BalancesAtOnce>,
    hashes_refused: AtomicBool,
    roots_unknown: AtomicBool,
}

impl Habits {
    pub(crate) fn new() -> Self {
        Self {
            // A batch of 10 to 100 questions, which nodes commonly take.
            blocks: Pace::new(5, 50),
            // From what free nodes grant to what the host asks for at once.
            logs: Pace::new(100, xthonpay_payments::port::chain::RANGE_BLOCKS_MAX),
            balances: Mutex::new(BalancesAtOnce { size: BALANCES_MAX, refused: None }),
            hashes_refused: AtomicBool::new(false),
            roots_unknown: AtomicBool::new(false),
        }
    }

    /// Whether no block of the node has shown so far that its chain has other roots than Ethereum's.
    pub(crate) fn are_roots_known(&self) -> bool {
        !self.roots_unknown.load(Ordering::Relaxed)
    }

    /// Remembers that a block cannot be verified by roots, so that the next self-check says so too, whichever blocks it sees.
    pub(crate) fn forget_roots(&self) {
        self.roots_unknown.store(true, Ordering::Relaxed);
    }

    /// Whether the node may be asked about the state of a block by its hash.
    pub(crate) fn takes_hashes(&self) -> bool {
        !self.hashes_refused.load(Ordering::Relaxed)
    }

    /// Remembers that the node wants numbers.
    pub(crate) fn takes_no_hashes(&self) {
        self.hashes_refused.store(true, Ordering::Relaxed);
    }

    /// How many addresses one question for balances may hold; 0 when such questions are refused.
    pub(crate) fn balances_at_once(&self) -> usize {
        self.balances_at(Instant::now())
    }

    /// Remembers for a while that a question for balances was refused: halves its size, or gives such questions up.
    pub(crate) fn refused_balances(&self, size: usize, least: usize) {
        let half = if size > least { size / 2 } else { 0 };
        let mut balances = self.balances();
        balances.size = balances.size.min(half);
        balances.refused = Some(Instant::now());
    }

    fn balances_at(&self, now: Instant) -> usize {
        let mut balances = self.balances();
        let since = |refused| now.saturating_duration_since(refused);
        if balances.refused.is_some_and(|refused| since(refused) >= BALANCES_FORGOTTEN_AFTER) {
            *balances = BalancesAtOnce { size: BALANCES_MAX, refused: None };
        }
        balances.size
    }

    fn balances(&self) -> MutexGuard<'_, BalancesAtOnce> {
        // No code that holds the lock can leave it half-changed.
        self.balances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size of runs, and how many are on their way.
pub(crate) struct Pace {
    blocks: AtomicU64,
    blocks_max: u64,
    /// The smallest run that was too much.
    refused: AtomicU64,
    places: Semaphore,
    in_flight: AtomicUsize,
    answered: AtomicUsize,
}

impl Pace {
    fn new(blocks: u64, blocks_max: u64) -> Self {
        Self {
            blocks: AtomicU64::new(blocks),
            blocks_max,
            refused: AtomicU64::new(u64::MAX),
            places: Semaphore::new(IN_FLIGHT_FIRST),
            in_flight: AtomicUsize::new(IN_FLIGHT_FIRST),
            answered: AtomicUsize::new(0),
        }
    }

    /// How many blocks the next run may have, at least 1.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed).max(1)
    }

    /// Waits for a place among the requests on their way; `None` never happens while the node is in use.
    pub(crate) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// Learns from an answer of so many bytes to a run of so many blocks.
    pub(crate) fn answered(&self, blocks: u64, bytes: usize) {
        let size = self.blocks();
        if bytes > ANSWER_BYTES_ENOUGH {
            self.blocks.fetch_min((blocks.saturating_mul(4) / 5).max(1), Ordering::Relaxed);
        } else if blocks >= size {
            // A third more. Runs of the same size that come back together count once.
            // A size that was refused is not tried again, since every refusal costs the node what an answer costs.
            let refused = self.refused.load(Ordering::Relaxed);
            let grown = size.saturating_add((size / 3).max(1)).min(self.blocks_max).min(refused.saturating_sub(1));
            let _ = self.blocks.compare_exchange(size, grown, Ordering::Relaxed, Ordering::Relaxed);
        }
        // One more request at once for each full round of them.
        let rounds = self.answered.fetch_add(1, Ordering::Relaxed);
        if rounds.checked_rem(REFUSALS_FORGOTTEN_AFTER) == Some(0) {
            self.refused.store(u64::MAX, Ordering::Relaxed);
        }
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        if in_flight < IN_FLIGHT_MAX && rounds.checked_rem(in_flight) == Some(0) {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            self.places.add_permits(1);
        }
    }

    /// Learns that a run of so many blocks was too much.
    pub(crate) fn too_much(&self, blocks: u64) {
        self.blocks.fetch_min((blocks / 2).max(1), Ordering::Relaxed);
        self.refused.fetch_min(blocks.max(2), Ordering::Relaxed);
    }

    /// Learns that there were too many requests: gives up this one's place.
    pub(crate) fn too_many(&self, place: SemaphorePermit<'_>) {
        let fewer = |in_flight: usize| in_flight.checked_sub(1).filter(|fewer| *fewer >= IN_FLIGHT_MIN);
        if self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            place.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_grow_by_a_third_and_shrink_by_half() {
        let pace = Pace::new(3, 10);
        let mut sizes = Vec::new();
        for _ in 0..6 {
            sizes.push(pace.blocks());
            pace.answered(pace.blocks(), 1_000);
        }
        assert_eq!(sizes, [3, 4, 5, 6, 8, 10]);
        pace.answered(2, 1_000);
        assert_eq!(pace.blocks(), 10, "a short run says nothing about a long one");
        pace.too_much(10);
        assert_eq!(pace.blocks(), 5);
        (0..9).for_each(|_| pace.answered(pace.blocks(), 1_000));
        assert_eq!(pace.blocks(), 9, "what was refused is not tried again at once");
        (0..REFUSALS_FORGOTTEN_AFTER).for_each(|_| pace.answered(pace.blocks(), 1_000));
        assert_eq!(pace.blocks(), 10, "but after a while");
        pace.too_much(1);
        assert_eq!(pace.blocks(), 1, "a run has at least one block");
    }

    #[test]
    fn large_answers_make_smaller_runs() {
        let pace = Pace::new(10, 50);
        pace.answered(10, ANSWER_BYTES_ENOUGH + 1);
        assert_eq!(pace.blocks(), 8);
        pace.answered(1, usize::MAX);
        assert_eq!(pace.blocks(), 1);
    }

    #[tokio::test]
    async fn requests_at_once_stay_within_their_bounds() {
        let pace = Pace::new(1, 1);
        for _ in 0..1_000 {
            pace.answered(1, 1);
        }
        assert_eq!(pace.places.available_permits(), IN_FLIGHT_MAX);
        for _ in 0..1_000 {
            let place = pace.place().await.expect("never closed");
            pace.too_many(place);
        }
        assert_eq!(pace.places.available_permits(), IN_FLIGHT_MIN);
    }

    #[test]
    fn questions_for_balances_shrink_until_they_are_given_up() {
        let habits = Habits::new();
        let mut sizes = Vec::new();
        while habits.balances_at_once() > 0 {
            sizes.push(habits.balances_at_once());
            habits.refused_balances(habits.balances_at_once(), 1_250);
        }
        assert_eq!(sizes, [10_000, 5_000, 2_500, 1_250]);
        let later = Instant::now() + BALANCES_FORGOTTEN_AFTER;
        assert_eq!(habits.balances_at(Instant::now()), 0);
        assert_eq!(habits.balances_at(later), BALANCES_MAX, "but not for ever");
        assert!(habits.are_roots_known());
        habits.forget_roots();
        assert!(!habits.are_roots_known());
    }
}
