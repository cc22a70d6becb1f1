//! Many lives, on all cores, and what they came to.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Builder;
use xthonpay_payments::port::store::Store;
use xthonpay_tests::crash_points::CrashPoint;
use xthonpay_tests::memory_store::MemoryStore;
use xthonpay_tests::seeded::Seeded;

use crate::findings::{Findings, Kind};
use crate::scenario::{Outcome, live};
use crate::temper::Story;

/// One of so many lives is on the store of the host, the others on the double that the store's own tests hold it against: a
/// life on the real one takes many times as long.
const LIVES_PER_REAL_STORE: u64 = 100;
/// From how many lives on every crash point must have been hit: each life dies at one or two drawn points, and some are
/// reached in few lives only.
const EXHAUSTED_FROM: usize = 1_500;
/// Lives that went wrong and are told. The first of them says enough.
const TOLD_MAX: usize = 5;

/// What many lives came to.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) lives: usize,
    pub(crate) findings: Findings,
    pub(crate) deposits: usize,
    pub(crate) blocks: u64,
    pub(crate) on_real_store: usize,
    pub(crate) crashes: BTreeMap<CrashPoint, usize>,
    pub(crate) stories: BTreeMap<&'static str, usize>,
    /// The lives that went wrong, by their place in the run: the seed, and what was found.
    pub(crate) bad: BTreeMap<usize, (u64, Vec<String>)>,
}

impl Totals {
    /// The points at which no process died, where there were enough lives for all of them.
    pub(crate) fn never_hit(&self) -> Vec<CrashPoint> {
        CrashPoint::all().filter(|point| !self.crashes.contains_key(point)).collect()
    }

    /// Whether everything that is promised holds.
    pub(crate) fn holds(&self) -> bool {
        self.findings.is_clean() && (self.lives < EXHAUSTED_FROM || self.never_hit().is_empty())
    }

    fn add(&mut self, index: usize, seed: u64, outcome: Outcome) {
        self.lives = self.lives.saturating_add(1);
        self.deposits = self.deposits.saturating_add(outcome.deposits);
        self.blocks = self.blocks.saturating_add(outcome.blocks);
        self.on_real_store = self.on_real_store.saturating_add(usize::from(is_on_real_store(seed)));
        for point in outcome.crashes {
            let count = self.crashes.entry(point).or_default();
            *count = count.saturating_add(1);
        }
        let count = self.stories.entry(outcome.story.name()).or_default();
        *count = count.saturating_add(1);
        self.findings.merge(&outcome.findings);
        if !outcome.findings.is_clean() {
            self.bad.insert(index, (seed, outcome.findings.told));
            if self.bad.len() > TOLD_MAX {
                self.bad.pop_last();
            }
        }
    }
}

fn is_on_real_store(seed: u64) -> bool {
    cfg!(feature = "surreal") && seed.checked_rem(LIVES_PER_REAL_STORE) == Some(0)
}

/// An empty store for the life of a seed.
async fn store_for(seed: u64) -> Arc<dyn Store> {
    #[cfg(feature = "surreal")]
    if is_on_real_store(seed) {
        let config = xthonpay_store_surreal::SurrealConfig {
            endpoint: "mem://".to_owned(),
            namespace: "xthonpay".to_owned(),
            database: "chaos".to_owned(),
            credentials: None,
            allow_volatile: true,
        };
        let store = xthonpay_store_surreal::SurrealStore::open(config).await;
        return Arc::new(store.expect("memory is always free"));
    }
    let _ = seed;
    Arc::new(MemoryStore::default())
}

/// Lives the life of one seed. A panic in it is a finding.
pub(crate) fn live_one(seed: u64) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build().expect("the system gives a thread its timer");
    let life = AssertUnwindSafe(|| runtime.block_on(async { Box::pin(live(seed, store_for(seed).await)).await }));
    std::panic::catch_unwind(life).unwrap_or_else(|_| {
        let mut findings = Findings::default();
        findings.add(Kind::Wrong, "the life broke off with a panic, which stands above");
        Outcome { findings, crashes: Vec::new(), deposits: 0, blocks: 0, story: Story::Ordinary }
    })
}

/// Lives `scenarios` lives that are drawn from `seed`.
pub(crate) fn run(scenarios: usize, seed: u64, until_found: bool, progress: &(dyn Fn(usize) + Sync)) -> Totals {
    let mut drawn = Seeded::new(seed);
    let seeds: Vec<u64> = (0..scenarios).map(|_| drawn.next_u64()).collect();
    let next = AtomicUsize::new(0);
    let found = AtomicBool::new(false);
    let totals = Mutex::new(Totals::default());
    let work = || {
        while !(until_found && found.load(Ordering::Relaxed)) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = seeds.get(index).copied() else { return };
            let outcome = live_one(seed);
            found.fetch_or(!outcome.findings.is_clean(), Ordering::Relaxed);
            let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
            totals.add(index, seed, outcome);
            progress(totals.lives);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    totals.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_doubled_or_credited_too_early_in_two_thousand_lives() {
        let seed = Seeded::announced("chaos").expect("the seed is a number").next_u64();
        let totals = run(2_000, seed, false, &|_| {});
        let never_hit: Vec<String> = totals.never_hit().iter().map(ToString::to_string).collect();
        assert!(totals.findings.is_clean(), "seed {seed}: {:#?}", totals.bad);
        assert_eq!(never_hit, [""; 0], "seed {seed}: no process died at these points");
        assert!(totals.deposits > totals.lives, "{} deposits", totals.deposits);
    }

    #[test]
    fn a_life_is_the_same_each_time() {
        let outcomes = [(); 2].map(|()| live_one(4_711));
        let told = |outcome: &Outcome| (outcome.deposits, outcome.blocks, outcome.crashes.clone());
        assert_eq!(told(&outcomes[0]), told(&outcomes[1]));
    }
}
