//! What the parts of a proxy share: the faults that are on, what they need to remember, the node behind, and the counts.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::branch::Branch;
use super::counts::SharedCounts;
use super::fault::Fault;
use super::upstream::Upstream;
use crate::BoxError;
use crate::seeded::Seeded;

/// Blocks whose first showing is remembered: older ones are no longer asked about as new.
const AGES_KEPT: usize = 1_024;

/// Everything that a request needs.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) upstream: Upstream,
    pub(super) faults: Faults,
    pub(super) counts: SharedCounts,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    first_shown: BTreeMap<u64, Instant>,
    branch: Option<Arc<Branch>>,
}

impl Shared {
    pub(super) fn new(upstream: &str, seed: u64) -> Result<Self, BoxError> {
        Ok(Self {
            upstream: Upstream::new(upstream)?,
            faults: Faults::new(seed),
            counts: SharedCounts::default(),
            memory: Arc::default(),
        })
    }

    /// How long the block has been shown; asking shows it.
    pub(super) fn age(&self, number: u64) -> Duration {
        let mut memory = self.memory();
        let shown = *memory.first_shown.entry(number).or_insert_with(Instant::now);
        while memory.first_shown.len() > AGES_KEPT {
            memory.first_shown.pop_first();
        }
        shown.elapsed()
    }

    pub(super) fn save(&self, branch: Branch) {
        self.memory().branch = Some(Arc::new(branch));
    }

    pub(super) fn branch(&self) -> Option<Arc<Branch>> {
        self.memory().branch.clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The faults that are on.
#[derive(Clone)]
pub(super) struct Faults(Arc<Mutex<Active>>);

struct Active {
    faults: Vec<Fault>,
    percent: u8,
    random: Seeded,
}

impl Faults {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Active { faults: Vec::new(), percent: 0, random: Seeded::new(seed) })))
    }

    pub(super) fn replace(&self, percent: u8, faults: Vec<Fault>) {
        let mut active = self.active();
        (active.faults, active.percent) = (faults, percent);
    }

    /// The faults that hit one request.
    pub(super) fn draw(&self) -> Vec<Fault> {
        let mut active = self.active();
        let Active { faults, percent, random, .. } = &mut *active;
        faults.iter().filter(|_| random.next_u64() % 100 < u64::from(*percent)).cloned().collect()
    }

    /// Whether a fault is on at all, whatever its share.
    pub(super) fn any(&self, wanted: impl Fn(&Fault) -> bool) -> bool {
        self.active().faults.iter().any(wanted)
    }

    /// A random place in a list of this length; 0 for an empty one.
    pub(super) fn place(&self, length: usize) -> usize {
        let drawn = self.active().random.next_u64();
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        drawn.checked_rem(length).and_then(|place| usize::try_from(place).ok()).unwrap_or(0)
    }

    fn active(&self) -> MutexGuard<'_, Active> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
