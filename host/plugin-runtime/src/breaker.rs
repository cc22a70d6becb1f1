//! When a plugin that keeps failing is left alone: its hook then uses the failure policy without a call.
//!
//! A state machine over calls and their ends; the time is told. One belongs to one function of one loaded plugin, so a plugin
//! that is loaded anew begins with a clean record. Which failures are the plugin's own is decided in [`crate::fault`].

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Failures in a row after which a plugin is left alone.
const FAILURES_IN_A_ROW: u32 = 5;
/// Calls of one window among which half may not fail.
const WINDOW_CALLS_MIN: u32 = 20;
/// How long calls are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// Facts whose failure is remembered, so that a merchant who repeats one request cannot count it again. More different ones
/// in a row would have stopped the calls long before.
const FACTS_REMEMBERED: usize = 32;
/// The first pause. Short: most trouble of a plugin is about single facts.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// No pause is longer, so that a plugin that works again is used again soon.
const PAUSE_LONGEST: Duration = Duration::from_secs(300);
/// Good calls after a pause until the plugin is trusted again, one at a time.
const TRIALS: u32 = 3;
/// Time of trust after which an earlier pause no longer makes the next one longer.
const HEALTHY: Duration = Duration::from_secs(60);
/// Pauses within [`PAUSES_COUNTED`] after which only an operator lets the plugin be called again.
const PAUSES_MAX: u32 = 10;
/// How long pauses are counted together.
const PAUSES_COUNTED: Duration = Duration::from_secs(3_600);

/// Why a plugin is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standstill {
    /// It failed too often, and is tried again after this time. Zero while it is being tried.
    Pause(Duration),
    /// It was paused too often, and is called again when it is loaded anew.
    Quarantine,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With an answer.
    Good,
    /// With a failure that is the plugin's own.
    Bad,
    /// In a way that says nothing about the plugin.
    Neither,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is called, since then.
    Trusted(Instant),
    /// It is not called until then.
    Paused(Instant),
    /// It was called well so often after a pause; `under_way` while a call is.
    Tried { good: u32, under_way: bool },
    /// It is not called.
    Quarantined,
}

#[derive(Debug)]
struct Record {
    phase: Phase,
    in_a_row: u32,
    window: Instant,
    calls: u32,
    failures: u32,
    /// Facts that failed, the newest last.
    failed: VecDeque<String>,
    pause: Duration,
    pauses: u32,
    pauses_since: Instant,
}

/// The record of one function of a plugin.
#[derive(Clone, Debug)]
pub(crate) struct Breaker(Arc<Mutex<Record>>);

/// Leave to make one call, which ends with it. Says nothing about the plugin if it is dropped before that.
#[derive(Debug)]
pub(crate) struct Leave {
    breaker: Breaker,
    /// Whether the plugin is on trial with this call.
    trial: bool,
    ended: bool,
}

impl Breaker {
    /// A clean record.
    pub(crate) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Record {
            phase: Phase::Trusted(now),
            in_a_row: 0,
            window: now,
            calls: 0,
            failures: 0,
            failed: VecDeque::new(),
            pause: PAUSE_FIRST,
            pauses: 0,
            pauses_since: now,
        })))
    }

    /// Leave to call, or why there is none.
    ///
    /// # Errors
    /// [`Standstill`].
    pub(crate) fn leave(&self, now: Instant) -> Result<Leave, Standstill> {
        let trial = self.with(|record| record.admit(now))?;
        Ok(Leave { breaker: self.clone(), trial, ended: false })
    }

    /// Why the plugin is not called now, if it is not.
    pub(crate) fn standstill(&self, now: Instant) -> Option<Standstill> {
        self.with(|record| match record.phase {
            Phase::Paused(until) => Some(Standstill::Pause(until.saturating_duration_since(now))),
            Phase::Tried { .. } => Some(Standstill::Pause(Duration::ZERO)),
            Phase::Quarantined => Some(Standstill::Quarantine),
            Phase::Trusted(_) => None,
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Record) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Leave {
    /// The call about a fact ended. Tells why the plugin is not called from now on, when this end is the reason.
    pub(crate) fn end(mut self, end: End, fact: &str, now: Instant) -> Option<Standstill> {
        self.ended = true;
        let trial = self.trial;
        self.breaker.with(|record| if trial { record.judge(end, now) } else { record.note(end, fact, now) })
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if self.trial && !self.ended {
            self.breaker.with(Record::forgo);
        }
    }
}

impl Record {
    /// Whether the call is a trial.
    fn admit(&mut self, now: Instant) -> Result<bool, Standstill> {
        let good = match self.phase {
            Phase::Trusted(_) => return Ok(false),
            Phase::Paused(until) if now < until => {
                return Err(Standstill::Pause(until.saturating_duration_since(now)));
            }
            Phase::Tried { under_way: true, .. } => return Err(Standstill::Pause(Duration::ZERO)),
            Phase::Quarantined => return Err(Standstill::Quarantine),
            Phase::Paused(_) => 0,
            Phase::Tried { good, under_way: false } => good,
        };
        self.phase = Phase::Tried { good, under_way: true };
        Ok(true)
    }

    /// A trial came to nothing; the next call is one.
    fn forgo(&mut self) {
        if let Phase::Tried { good, .. } = self.phase {
            self.phase = Phase::Tried { good, under_way: false };
        }
    }

    /// A trial ended.
    fn judge(&mut self, end: End, now: Instant) -> Option<Standstill> {
        let Phase::Tried { good, .. } = self.phase else { return None };
        match end {
            End::Bad => return Some(self.stop(now)),
            End::Good if good.saturating_add(1) >= TRIALS => self.phase = self.trust(now),
            End::Good => self.phase = Phase::Tried { good: good.saturating_add(1), under_way: false },
            End::Neither => self.forgo(),
        }
        None
    }

    /// Any other call ended. One that began before the plugin was stopped changes nothing.
    fn note(&mut self, end: End, fact: &str, now: Instant) -> Option<Standstill> {
        let Phase::Trusted(since) = self.phase else { return None };
        match end {
            End::Bad => self.note_failure(fact, since, now),
            End::Good => {
                self.count(false, now);
                None
            }
            End::Neither => None,
        }
    }

    fn note_failure(&mut self, fact: &str, since: Instant, now: Instant) -> Option<Standstill> {
        if self.failed.iter().any(|known| known == fact) {
            return None;
        }
        if self.failed.len() >= FACTS_REMEMBERED {
            self.failed.pop_front();
        }
        self.failed.push_back(fact.to_owned());
        self.count(true, now);
        let too_many = self.calls >= WINDOW_CALLS_MIN && self.failures.saturating_mul(2) >= self.calls;
        if self.in_a_row < FAILURES_IN_A_ROW && !too_many {
            return None;
        }
        if now.saturating_duration_since(since) >= HEALTHY {
            self.pause = PAUSE_FIRST;
        }
        Some(self.stop(now))
    }

    fn count(&mut self, failed: bool, now: Instant) {
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.window, self.calls, self.failures) = (now, 0, 0);
        }
        self.calls = self.calls.saturating_add(1);
        self.in_a_row = if failed { self.in_a_row.saturating_add(1) } else { 0 };
        self.failures = self.failures.saturating_add(u32::from(failed));
    }

    fn stop(&mut self, now: Instant) -> Standstill {
        if now.saturating_duration_since(self.pauses_since) >= PAUSES_COUNTED {
            (self.pauses, self.pauses_since) = (0, now);
        }
        self.pauses = self.pauses.saturating_add(1);
        if self.pauses >= PAUSES_MAX {
            self.phase = Phase::Quarantined;
            return Standstill::Quarantine;
        }
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(PAUSE_LONGEST);
        self.phase = now.checked_add(pause).map_or(Phase::Quarantined, Phase::Paused);
        Standstill::Pause(pause)
    }

    fn trust(&mut self, now: Instant) -> Phase {
        (self.in_a_row, self.window, self.calls, self.failures) = (0, now, 0, 0);
        self.failed.clear();
        Phase::Trusted(now)
    }
}

#[cfg(test)]
mod tests;
