//! When a node is left alone after failures, and when it is tried again.
//!
//! Pure: the moment and the chance are given. Whether a failure is a reason is decided by who reports it.

use core::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a node is left alone. One is a lost packet, two a restart of a proxy.
const FAILURES_MAX: u32 = 3;
/// The first rest: about a block of a fast chain, so that a short fault costs next to nothing.
const REST_MIN: Duration = Duration::from_millis(500);
/// The longest rest. A node is back in use so soon after its fault ends, and a dead one costs a question each time.
const REST_MAX: Duration = Duration::from_secs(10);
/// Doublings after which the longest rest is surely reached.
const DOUBLINGS_MAX: u32 = 8;

/// Whether a node may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circuit {
    /// It may.
    Closed,
    /// It rests for this long.
    Open(Duration),
    /// Its rest is over, and one question may find out whether it recovered.
    HalfOpen,
    /// That question is on its way.
    Probing,
}

/// Counts failures in a row and measures the rests after them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    /// Rests without a success between them.
    rests: u32,
    resting_until: Option<Instant>,
    /// Until when the question that tries the node counts as being on its way. It may be dropped without a word.
    probing_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn circuit(&self, now: Instant) -> Circuit {
        let Some(until) = self.resting_until else { return Circuit::Closed };
        match until.checked_duration_since(now) {
            Some(rest) if !rest.is_zero() => Circuit::Open(rest),
            _ if self.probing_until.is_some_and(|until| now < until) => Circuit::Probing,
            _ => Circuit::HalfOpen,
        }
    }

    /// Whether a question may go out now. After a rest that is one alone until it is answered, or until `probe_max` is over.
    pub(crate) fn admit(&mut self, now: Instant, probe_max: Duration) -> bool {
        match self.circuit(now) {
            Circuit::Closed => true,
            Circuit::HalfOpen => {
                self.probing_until = now.checked_add(probe_max);
                true
            }
            Circuit::Open(_) | Circuit::Probing => false,
        }
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Takes note of a failure; `chance` is any number, for the jitter.
    pub(crate) fn failed(&mut self, now: Instant, chance: u64) {
        match self.circuit(now) {
            Circuit::Closed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES_MAX {
                    self.trip(now, chance);
                }
            }
            Circuit::HalfOpen | Circuit::Probing => self.trip(now, chance),
            // An answer to an older question says nothing new.
            Circuit::Open(_) => {}
        }
    }

    /// Begins a rest at once. Each is twice as long as the one before, up to a bound, and shortened by chance to between half
    /// and all of it: hosts that lost a node together do not come back to it together.
    pub(crate) fn trip(&mut self, now: Instant, chance: u64) {
        let doubled = REST_MIN.saturating_mul(1_u32 << self.rests.min(DOUBLINGS_MAX));
        let half = doubled.min(REST_MAX) / 2;
        let half_ms = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        let rest = half.saturating_add(Duration::from_millis(chance % half_ms));
        self.rests = self.rests.saturating_add(1);
        self.resting_until = now.checked_add(rest);
        self.probing_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Duration = Duration::from_secs(10);

    fn rest(breaker: &Breaker, now: Instant) -> Duration {
        match breaker.circuit(now) {
            Circuit::Open(rest) => rest,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn opens_after_failures_in_a_row_and_not_before() {
        let (now, mut breaker) = (Instant::now(), Breaker::default());
        for _ in 0..10 {
            breaker.failed(now, 0);
            breaker.failed(now, 0);
            breaker.succeeded();
        }
        assert_eq!(breaker.circuit(now), Circuit::Closed);
        for _ in 0..FAILURES_MAX {
            assert!(breaker.admit(now, PROBE));
            breaker.failed(now, 0);
        }
        assert!(!breaker.admit(now, PROBE));
        assert_eq!(rest(&breaker, now), REST_MIN / 2);
    }

    #[test]
    fn lets_one_question_through_after_the_rest_and_closes_when_it_succeeds() {
        let (start, mut breaker) = (Instant::now(), Breaker::default());
        breaker.trip(start, u64::MAX);
        let after = start + REST_MIN;
        assert_eq!(breaker.circuit(after), Circuit::HalfOpen);
        assert!(breaker.admit(after, PROBE));
        assert!(!breaker.admit(after, PROBE), "one question alone");
        assert!(breaker.admit(after + PROBE, PROBE), "the first one was dropped without a word");
        breaker.succeeded();
        assert_eq!(breaker.circuit(after), Circuit::Closed);
    }

    #[test]
    fn rests_longer_after_each_failed_try_up_to_a_bound() {
        let (mut now, mut breaker) = (Instant::now(), Breaker::default());
        breaker.trip(now, 0);
        let mut rests = vec![rest(&breaker, now)];
        for _ in 0..40 {
            now += REST_MAX;
            assert!(breaker.admit(now, PROBE));
            breaker.failed(now, 0);
            rests.push(rest(&breaker, now));
        }
        assert!(rests.is_sorted(), "{rests:?}");
        assert_eq!(rests.last(), Some(&(REST_MAX / 2)));
        for chance in [0, 1, 4_999, 5_000, u64::MAX] {
            now += REST_MAX;
            breaker.trip(now, chance);
            assert!((REST_MAX / 2..=REST_MAX).contains(&rest(&breaker, now)), "{chance}");
        }
    }

    #[test]
    fn answers_to_older_questions_do_not_prolong_a_rest() {
        let (now, mut breaker) = (Instant::now(), Breaker::default());
        breaker.trip(now, 0);
        for _ in 0..10 {
            breaker.failed(now, 0);
        }
        assert_eq!(rest(&breaker, now), REST_MIN / 2);
    }
}
