//! Who may start a call: places per plugin, a bounded queue for them, and places for all plugins together.
//!
//! Relies on semaphores that serve in the order of arrival, so no caller waits for ever behind later ones.

use core::time::Duration;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::{Limit, Limits};
use crate::meter::LimitHit;

/// The places of one plugin.
pub(crate) struct Admission {
    /// Places for calls that run or wait.
    inside: Arc<Semaphore>,
    /// Places for calls that run.
    running: Arc<Semaphore>,
    /// Places for running calls of all plugins.
    shared: Arc<Semaphore>,
    wait_max: Duration,
}

/// A place of a running call; free again when it is dropped.
pub(crate) struct Place {
    _held: [OwnedSemaphorePermit; 3],
}

impl Admission {
    pub(crate) fn new(limits: &Limits, shared: Arc<Semaphore>) -> Self {
        let running = limits.count(Limit::ConcurrentCalls);
        let inside = running.saturating_add(limits.count(Limit::QueuedCalls));
        Self {
            inside: Arc::new(Semaphore::new(inside)),
            running: Arc::new(Semaphore::new(running)),
            shared,
            wait_max: Duration::from_millis(limits.get(Limit::QueueWaitMs)),
        }
    }

    /// Waits for a place. May be dropped at any time.
    ///
    /// # Errors
    /// [`LimitHit`] when the queue is full, or the wait too long.
    pub(crate) async fn enter(&self) -> Result<Place, LimitHit> {
        let full = |_| LimitHit { limit: Limit::QueuedCalls, used: None };
        let inside = Arc::clone(&self.inside).try_acquire_owned().map_err(full)?;
        let places = async {
            // The plugin's own place first: a plugin with a long queue must not hold places of the others while it waits.
            let running = Arc::clone(&self.running).acquire_owned().await;
            let shared = Arc::clone(&self.shared).acquire_owned().await;
            (running, shared)
        };
        let late = |_| LimitHit { limit: Limit::QueueWaitMs, used: None };
        let (running, shared) = timeout(self.wait_max, places).await.map_err(late)?;
        let open = "these semaphores are never closed";
        Ok(Place { _held: [inside, running.expect(open), shared.expect(open)] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;
    use crate::limits::LimitsConfig;

    fn admission(shared: &Arc<Semaphore>) -> Admission {
        let text = "concurrent_calls = 1\nqueued_calls = 1\nqueue_wait_ms = 20";
        let config: LimitsConfig = toml::from_str(text).expect("known keys");
        let limits = Limits::resolve("mine", Hook::InvoiceRules, &config, &mut Vec::new());
        Admission::new(&limits, Arc::clone(shared))
    }

    fn limit(entered: Result<Place, LimitHit>) -> Option<Limit> {
        entered.err().map(|hit| hit.limit)
    }

    #[tokio::test]
    async fn one_runs_one_waits_and_one_is_turned_away() {
        let admission = admission(&Arc::new(Semaphore::new(9)));
        let first = admission.enter().await.expect("is free");
        let (second, third) = tokio::join!(admission.enter(), admission.enter());
        assert_eq!(limit(second), Some(Limit::QueueWaitMs));
        assert_eq!(limit(third), Some(Limit::QueuedCalls));
        drop(first);
        assert_eq!(limit(admission.enter().await), None);
    }

    #[tokio::test]
    async fn waits_for_a_place_among_all_plugins() {
        let shared = Arc::new(Semaphore::new(1));
        let (one, other) = (admission(&shared), admission(&shared));
        let place = one.enter().await.expect("is free");
        assert_eq!(limit(other.enter().await), Some(Limit::QueueWaitMs));
        drop(place);
        assert_eq!(limit(other.enter().await), None);
    }
}
