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

/// The counts of one function of one plugin.
#[derive(Debug, Default)]
pub struct FunctionTally {
    outcomes: [AtomicU64; HookOutcome::ALL.len()],
    nanos: AtomicU64,
}

impl FunctionTally {
    /// Counts a call that took so long, from its question to its end.
    pub fn count(&self, outcome: HookOutcome, took: Duration) {
        let place = HookOutcome::ALL.iter().position(|known| *known == outcome);
        if let Some(count) = place.and_then(|place| self.outcomes.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // Wraps after five hundred years of calls.
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many calls ended in each way.
    pub fn counts(&self) -> impl Iterator<Item = (HookOutcome, u64)> {
        HookOutcome::ALL
            .into_iter()
            .zip(&self.outcomes)
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }

    /// How long all calls took together.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
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
        assert_eq!(draft.total(), Duration::from_millis(7));
    }
}
