//! What the dispatcher counts for the operator's monitoring, from the start of the process on.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that only grow.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    attempts_failed: AtomicU64,
    given_up: AtomicU64,
    endpoints_disabled: AtomicU64,
}

/// How often each of these happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// A receiver took a delivery.
    pub delivered: u64,
    /// An attempt failed and another one follows.
    pub attempts_failed: u64,
    /// A delivery will not be tried again by itself.
    pub given_up: u64,
    /// An endpoint was switched off because it failed for too long, or asked for it. The operator should look.
    pub endpoints_disabled: u64,
}

impl Tally {
    /// The counts at this moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            delivered: get(&self.delivered),
            attempts_failed: get(&self.attempts_failed),
            given_up: get(&self.given_up),
            endpoints_disabled: get(&self.endpoints_disabled),
        }
    }

    pub(super) fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attempt_failed(&self) {
        self.attempts_failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn endpoint_disabled(&self) {
        self.endpoints_disabled.fetch_add(1, Ordering::Relaxed);
    }
}
