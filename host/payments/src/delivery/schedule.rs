//! When a delivery is tried again.

use std::time::Duration;

use thiserror::Error;
use xthonpay_domain::time::Timestamp;

use crate::port::random::{Random, bytes};

/// Attempts that a schedule may have. Bounds how long a delivery stays in the store.
pub const ATTEMPTS_MAX: usize = 32;
/// The longest pause between two attempts, and the longest `Retry-After` that is honoured: a receiver cannot park a delivery
/// for longer than a day.
pub const PAUSE_MAX: Duration = Duration::from_secs(24 * 3_600);

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
/// The example schedule of the Standard Webhooks specification, about 75 hours.
const STANDARD_SECS: [u64; 10] =
    [0, 5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// The schedule of the hosted product: one try and three more within half a minute.
const XTHON_SECS: [u64; 4] = [0, 5, 10, 15];

/// Pauses before the attempts: the first before the first attempt, each other after the attempt before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<Duration>);

/// Pauses that are not a schedule.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// Nothing would ever be sent.
    #[error("a schedule needs at least one attempt")]
    Empty,
    /// Too many attempts.
    #[error("a schedule has at most {ATTEMPTS_MAX} attempts")]
    TooLong,
    /// Too long a pause.
    #[error("a pause in a schedule is at most 24 hours")]
    PauseTooLong,
}

impl ScheduleError {
    /// Always `false`: the same pauses fail the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl Schedule {
    /// A schedule of these pauses.
    ///
    /// # Errors
    /// [`ScheduleError`] for no pause, more than [`ATTEMPTS_MAX`], or one above [`PAUSE_MAX`].
    pub fn new(pauses: Vec<Duration>) -> Result<Self, ScheduleError> {
        if pauses.is_empty() {
            Err(ScheduleError::Empty)
        } else if pauses.len() > ATTEMPTS_MAX {
            Err(ScheduleError::TooLong)
        } else if pauses.iter().any(|pause| *pause > PAUSE_MAX) {
            Err(ScheduleError::PauseTooLong)
        } else {
            Ok(Self(pauses))
        }
    }

    /// 0 s, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
    #[must_use]
    pub fn standard() -> Self {
        Self(STANDARD_SECS.into_iter().map(Duration::from_secs).collect())
    }

    /// 0 s, 5 s, 10 s, 15 s.
    #[must_use]
    pub fn xthon() -> Self {
        Self(XTHON_SECS.into_iter().map(Duration::from_secs).collect())
    }

    /// The pauses: the first before the first attempt, each other after the attempt before it.
    #[must_use]
    pub fn pauses(&self) -> &[Duration] {
        &self.0
    }

    /// When the first attempt of a delivery made at `now` is due.
    #[must_use]
    pub fn first_at(&self, now: Timestamp) -> Timestamp {
        now.after(self.0.first().copied().unwrap_or_default())
    }

    /// When the next attempt is due after `attempts` failed ones, or `None` when that was the last. Up to a fifth of the
    /// pause is added at random, so that receivers which failed together are not all called together; `retry_after` is a
    /// lower bound, itself bounded by [`PAUSE_MAX`].
    #[must_use]
    pub fn next_at(
        &self,
        attempts: u32,
        now: Timestamp,
        retry_after: Option<Duration>,
        random: &dyn Random,
    ) -> Option<Timestamp> {
        let pause = *self.0.get(usize::try_from(attempts).ok()?)?;
        let asked = retry_after.unwrap_or_default().min(PAUSE_MAX);
        Some(now.after(pause.saturating_add(jitter(pause, random)).max(asked)))
    }
}

/// From nothing to a fifth of the pause.
fn jitter(pause: Duration, random: &dyn Random) -> Duration {
    let share = u32::from(u16::from_le_bytes(bytes(random)));
    let fifth = pause.checked_div(5).unwrap_or_default();
    fifth.checked_div(u32::from(u16::MAX)).unwrap_or_default().saturating_mul(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Constant(u8);

    impl Random for Constant {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn ends_after_its_last_pause() {
        let schedule = Schedule::xthon();
        let next = |attempts| schedule.next_at(attempts, NOW, None, &Constant(0));
        assert_eq!(schedule.first_at(NOW), NOW);
        assert_eq!(next(1), Some(NOW.after(Duration::from_secs(5))));
        assert_eq!(next(3), Some(NOW.after(Duration::from_secs(15))));
        assert_eq!(next(4), None);
        assert_eq!(next(u32::MAX), None);
    }

    #[test]
    fn adds_at_most_a_fifth_at_random() {
        let latest = Schedule::standard().next_at(2, NOW, None, &Constant(255)).expect("has a third attempt");
        assert!(latest > NOW.after(Duration::from_secs(359)));
        assert!(latest <= NOW.after(Duration::from_secs(360)));
    }

    #[test]
    fn honours_retry_after_within_a_day() {
        let asked = |secs| Schedule::xthon().next_at(1, NOW, Some(Duration::from_secs(secs)), &Constant(0));
        assert_eq!(asked(2), Some(NOW.after(Duration::from_secs(5))));
        assert_eq!(asked(60), Some(NOW.after(Duration::from_secs(60))));
        assert_eq!(asked(u64::MAX), Some(NOW.after(PAUSE_MAX)));
    }

    #[test]
    fn refuses_what_is_no_schedule() {
        let day = Duration::from_secs(24 * 3_600);
        assert_eq!(Schedule::new(Vec::new()), Err(ScheduleError::Empty));
        assert_eq!(Schedule::new(vec![day; ATTEMPTS_MAX + 1]), Err(ScheduleError::TooLong));
        assert_eq!(Schedule::new(vec![day.saturating_add(Duration::from_millis(1))]), Err(ScheduleError::PauseTooLong));
        assert!(Schedule::new(vec![day; ATTEMPTS_MAX]).is_ok());
    }
}
