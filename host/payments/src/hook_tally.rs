//! What is counted about calls of plugins, for the operator's monitoring.
//!
//! Counts belong to a plugin's name and a function of its hook, so they outlive an exchange of the plugin. The names come from the
//! config, so their number is bounded by it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a call of a plugin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookOutcome {
    /// With an answer, also with a "no".
    Answered,
    /// The plugin said that it has no answer.
    Declined,
    /// The guest trapped.
    Trapped,
    /// A limit was reached.
    OverLimit,
    /// The answer is none by the contract.
    BadOutput,
    /// Values did not cross the boundary, or no instance could be made.
    BadBoundary,
    /// The plugin is not loaded.
    NotLoaded,
    /// The plugin failed too often and was not asked.
    LeftAlone,
    /// The operator switched the plugin off.
    SwitchedOff,
    /// The host itself failed.
    HostFailed,
}

impl HookOutcome {
    /// Every outcome, in the order of the counts.
    pub const ALL: [Self; 10] = [
        Self::Answered,
        Self::Declined,
        Self::Trapped,
        Self::OverLimit,
        Self::BadOutput,
        Self::BadBoundary,
        Self::NotLoaded,
        Self::LeftAlone,
        Self::SwitchedOff,
        Self::HostFailed,
    ];

    /// The word for monitoring.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Declined => "declined",
            Self::Trapped => "trapped",
            Self::OverLimit => "over_limit",
            Self::BadOutput => "bad_output",
            Self::BadBoundary => "bad_boundary",
            Self::NotLoaded => "not_loaded",
            Self::LeftAlone => "left_alone",
            Self::SwitchedOff => "switched_off",
            Self::HostFailed => "host_failed",
        }
    }
}

/// The upper ends of the ranges in which times are counted, in microseconds: from a plain rule in Rust to a call that waits for
/// an upstream.
pub const RANGES_US: [u64; 14] =
    [25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000, 5_000_000];

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Times {
    /// By range; the last one is everything above.
    ranges: [AtomicU64; RANGES_US.len() + 1],
    nanos: AtomicU64,
}

impl Times {
    fn count(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = RANGES_US.iter().position(|end| micros <= *end).unwrap_or(RANGES_US.len());
        if let Some(range) = self.ranges.get(place) {
            range.fetch_add(1, Ordering::Relaxed);
        }
        // Wraps after five hundred years of calls.
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many were in each range of [`RANGES_US`], and above all of them.
    #[must_use]
    pub fn ranges(&self) -> Vec<u64> {
        self.ranges.iter().map(|range| range.load(Ordering::Relaxed)).collect()
    }

    /// All of it together.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// How the call of a capability ended, told to the guest or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoanOutcome {
    /// With what was asked for.
    Done,
    /// Not granted, or not with these words.
    Denied,
    /// Not understood.
    Invalid,
    /// Nothing of the kind.
    NotFound,
    /// A budget is spent.
    OverLimit,
    /// It would work at another time.
    Unavailable,
    /// With the end of the guest.
    Ended,
}

impl LoanOutcome {
    /// The word for monitoring.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::OverLimit => "over_limit",
            Self::Unavailable => "unavailable",
            Self::Ended => "ended",
        }
    }
}

/// Capabilities that were called, by interface and outcome. The names are the contract's, so there are few.
pub type LoanCounts = BTreeMap<(&'static str, LoanOutcome), u64>;

/// What one call used.
#[derive(Clone, Debug, Default)]
pub struct CallUse {
    /// How long it waited for a place.
    pub waited: Duration,
    /// How long it took to make the instance; `None` when there was none.
    pub instantiated: Option<Duration>,
    /// How long the guest itself worked. Its instance is not in it, nor is time in which other work went first.
    pub guest: Duration,
    /// How long capabilities worked for it, waiting for others included.
    pub lent: Duration,
    /// The most linear memory that it had, in bytes.
    pub memory_bytes: u64,
    /// Capabilities that it called.
    pub loans: LoanCounts,
    /// Bytes of bodies that it sent to upstreams.
    pub sent_bytes: u64,
    /// Bytes of bodies that upstreams answered.
    pub received_bytes: u64,
    /// Lines of its log that were dropped.
    pub dropped_lines: u64,
}

/// The counts of one function of one plugin.
#[derive(Debug, Default)]
pub struct FunctionTally {
    outcomes: [AtomicU64; HookOutcome::ALL.len()],
    times: Times,
    waits: Times,
    instantiations: Times,
    guest_times: Times,
    loan_times: Times,
    memory_bytes_max: AtomicU64,
    loans: Mutex<LoanCounts>,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    dropped_lines: AtomicU64,
}

impl FunctionTally {
    /// Counts a call that took so long, from its question to its end.
    pub fn count(&self, outcome: HookOutcome, took: Duration) {
        let place = HookOutcome::ALL.iter().position(|known| *known == outcome);
        if let Some(count) = place.and_then(|place| self.outcomes.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.times.count(took);
    }

    /// Counts what a call used.
    pub fn note(&self, used: &CallUse) {
        self.waits.count(used.waited);
        if let Some(took) = used.instantiated {
            self.instantiations.count(took);
            self.guest_times.count(used.guest);
            self.loan_times.count(used.lent);
        }
        self.memory_bytes_max.fetch_max(used.memory_bytes, Ordering::Relaxed);
        self.sent_bytes.fetch_add(used.sent_bytes, Ordering::Relaxed);
        self.received_bytes.fetch_add(used.received_bytes, Ordering::Relaxed);
        self.dropped_lines.fetch_add(used.dropped_lines, Ordering::Relaxed);
        if !used.loans.is_empty() {
            let mut loans = self.loans.lock().unwrap_or_else(PoisonError::into_inner);
            for (kind, count) in &used.loans {
                let known = loans.entry(*kind).or_default();
                *known = known.saturating_add(*count);
            }
        }
    }

    /// How long calls took, from question to end.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// How long calls waited for a place.
    #[must_use]
    pub fn waits(&self) -> &Times {
        &self.waits
    }

    /// The most linear memory that a call has had, in bytes.
    #[must_use]
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.load(Ordering::Relaxed)
    }

    /// How long it took to make instances.
    #[must_use]
    pub fn instantiations(&self) -> &Times {
        &self.instantiations
    }

    /// How long the guests themselves worked, by call.
    #[must_use]
    pub fn guest_times(&self) -> &Times {
        &self.guest_times
    }

    /// How long capabilities worked for them, by call.
    #[must_use]
    pub fn loan_times(&self) -> &Times {
        &self.loan_times
    }

    /// Capabilities that calls have called.
    #[must_use]
    pub fn loans(&self) -> LoanCounts {
        self.loans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of bodies that were sent to upstreams, and that they answered.
    #[must_use]
    pub fn upstream_bytes(&self) -> [u64; 2] {
        [self.sent_bytes.load(Ordering::Relaxed), self.received_bytes.load(Ordering::Relaxed)]
    }

    /// Lines of the log that were dropped.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_lines.load(Ordering::Relaxed)
    }

    /// How many calls ended in each way.
    pub fn counts(&self) -> impl Iterator<Item = (HookOutcome, u64)> {
        HookOutcome::ALL
            .into_iter()
            .zip(&self.outcomes)
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }
}

/// The counts of all plugins.
#[derive(Debug, Default)]
pub struct HookTally {
    functions: Mutex<BTreeMap<(String, &'static str), Arc<FunctionTally>>>,
}

impl HookTally {
    /// The counts of a function of a plugin; the same each time.
    #[must_use]
    pub fn of(&self, plugin: &str, function: &'static str) -> Arc<FunctionTally> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(functions.entry((plugin.to_owned(), function)).or_default())
    }

    /// All of them, by plugin and function.
    #[must_use]
    pub fn all(&self) -> Vec<(String, &'static str, Arc<FunctionTally>)> {
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        functions.iter().map(|((plugin, function), tally)| (plugin.clone(), *function, Arc::clone(tally))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_function_and_outcome_and_outlives_an_exchange() {
        let tally = HookTally::default();
        tally.of("rules", "on-draft").count(HookOutcome::Answered, Duration::from_millis(3));
        tally.of("rules", "on-draft").count(HookOutcome::HostFailed, Duration::from_millis(4));
        tally.of("rules", "on-payment").count(HookOutcome::Trapped, Duration::ZERO);
        let all = tally.all();
        let names: Vec<_> = all.iter().map(|(plugin, function, _)| (plugin.as_str(), *function)).collect();
        assert_eq!(names, [("rules", "on-draft"), ("rules", "on-payment")]);
        let draft = &all[0].2;
        let counted: Vec<_> = draft.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(HookOutcome::Answered, 1), (HookOutcome::HostFailed, 1)]);
        assert_eq!(draft.times().total(), Duration::from_millis(7));
    }

    #[test]
    fn times_fall_into_their_ranges() {
        let tally = FunctionTally::default();
        for micros in [0, 25, 26, 1_000, 5_000_000, 5_000_001, 60_000_000] {
            tally.note(&CallUse { waited: Duration::from_micros(micros), memory_bytes: micros, ..CallUse::default() });
        }
        let ranges = tally.waits().ranges();
        assert_eq!((ranges[0], ranges[1], ranges[5], ranges[13], ranges[14]), (2, 1, 1, 1, 2));
        assert_eq!((ranges.iter().sum::<u64>(), tally.memory_bytes_max()), (7, 60_000_000));
    }
}
