//! Budgets of requests by the minute: of keys, of addresses that fail, and of what plugins are lent.
//!
//! They are counted by the generic cell rate algorithm: a budget of as many requests as a minute grants, refilled evenly. Of a
//! caller only the moment is kept at which its budget is whole again, so that whoever has been quiet for a minute costs no
//! memory. It is written here and not taken from a crate because three things are asked of it together: a rate of its own
//! for each caller, the state without spending from it, for the headers of answers that cost nothing, and a bounded table.
//!
//! Nothing here is stored: a restart forgives everybody a minute's requests.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use xthonpay_domain::time::Timestamp;

/// What rates count against.
const MINUTE: Duration = Duration::from_secs(60);
/// Callers remembered at most, about 100 bytes each. Keys exist only as far as the operator made them; addresses can be had
/// in any number by whoever has enough of them.
const CALLERS_MAX: usize = 10_000;
/// Of these may be left when the quiet ones are forgotten. With more, everybody is: else each further request would look at
/// the whole table again.
const CALLERS_LEFT_MAX: usize = 5_000;

/// Where a caller stands with its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests of a whole budget.
    pub limit: u32,
    /// Requests that it may make at once.
    pub remaining: u32,
    /// When the budget is whole again, from now.
    pub whole_in: Duration,
    /// When it may ask the next time, from now; zero while something remains.
    pub next_in: Duration,
}

/// Budgets by caller.
#[derive(Debug)]
pub struct Budgets<K> {
    whole_at: Mutex<HashMap<K, Duration>>,
}

impl<K: Clone + Eq + Hash> Budgets<K> {
    /// Everybody's budget is whole.
    #[must_use]
    pub fn new() -> Self {
        Self { whole_at: Mutex::new(HashMap::new()) }
    }

    /// Where a caller stands.
    #[must_use]
    pub fn standing(&self, who: &K, per_minute: NonZeroU32, now: Timestamp) -> Standing {
        let whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner).get(who).copied();
        standing(debt(whole_at, since_epoch(now)), per_minute)
    }

    /// Spends one request.
    ///
    /// # Errors
    /// How long none is left.
    pub fn spend(&self, who: &K, per_minute: NonZeroU32, now: Timestamp) -> Result<(), Duration> {
        let now = since_epoch(now);
        let mut table = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let debt = debt(table.get(who).copied(), now);
        let standing = standing(debt, per_minute);
        if standing.remaining == 0 {
            return Err(standing.next_in);
        }
        if table.len() >= CALLERS_MAX && !table.contains_key(who) {
            table.retain(|_, whole_at| *whole_at > now);
            if table.len() > CALLERS_LEFT_MAX {
                table.clear();
            }
        }
        table.insert(who.clone(), now.saturating_add(debt).saturating_add(share(per_minute)));
        Ok(())
    }
}

impl<K: Clone + Eq + Hash> Default for Budgets<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Finer than a [`Timestamp`]: a share of a budget may be far below a millisecond.
fn since_epoch(now: Timestamp) -> Duration {
    now.since(Timestamp::EPOCH)
}

/// How long until a budget is whole. More than a minute cannot be owed: the clock was set back, and nothing is known.
fn debt(whole_at: Option<Duration>, now: Duration) -> Duration {
    whole_at.map(|at| at.saturating_sub(now)).filter(|debt| *debt <= MINUTE).unwrap_or_default()
}

/// The time in which one request is earned.
fn share(per_minute: NonZeroU32) -> Duration {
    MINUTE.checked_div(per_minute.get()).unwrap_or(MINUTE)
}

/// What a budget is worth that is whole again after `debt`.
fn standing(debt: Duration, per_minute: NonZeroU32) -> Standing {
    let share = share(per_minute);
    // A share is 14 ns at the least, so this divides.
    let spent = debt.as_nanos().div_ceil(share.as_nanos().max(1));
    let limit = per_minute.get();
    let remaining = limit.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX));
    let most = share.saturating_mul(limit.saturating_sub(1));
    Standing { limit, remaining, whole_in: debt, next_in: debt.saturating_sub(most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_minute: u32) -> NonZeroU32 {
        NonZeroU32::new(per_minute).expect("not zero")
    }

    const START: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn at(millis: u64) -> Timestamp {
        START.after(Duration::from_millis(millis))
    }

    /// Sixty a minute: what remains after some requests and some seconds, when the next may come, and when all is whole.
    #[test]
    fn a_budget_is_spent_at_once_and_earned_evenly() {
        let budgets = Budgets::<u8>::new();
        let (spend, standing) = (|now| budgets.spend(&1, rate(60), now), |now| budgets.standing(&1, rate(60), now));
        let secs = Duration::from_secs;
        assert_eq!(standing(START), Standing { limit: 60, remaining: 60, whole_in: secs(0), next_in: secs(0) });
        for spent in 1..=60 {
            assert_eq!(spend(START), Ok(()), "{spent}");
            assert_eq!(standing(START).remaining, 60 - spent);
        }
        assert_eq!(spend(START), Err(secs(1)));
        assert_eq!(standing(START), Standing { limit: 60, remaining: 0, whole_in: secs(60), next_in: secs(1) });
        assert_eq!(budgets.spend(&2, rate(60), START), Ok(()), "everybody has a budget of his own");
        assert_eq!(spend(at(999)), Err(Duration::from_millis(1)));
        assert_eq!((spend(at(1_000)), spend(at(1_000))), (Ok(()), Err(secs(1))));
        assert_eq!(standing(at(31_000)), Standing { limit: 60, remaining: 30, whole_in: secs(30), next_in: secs(0) });
        assert_eq!(standing(at(300_000)).remaining, 60, "nothing is saved beyond a minute");
    }

    #[test]
    fn a_clock_that_jumps_locks_nobody_out() {
        let budgets = Budgets::<u8>::new();
        while budgets.spend(&1, rate(60), at(3_600_000)).is_ok() {}
        for back in [0, 1_000, 60_000, 600_000] {
            assert_eq!(budgets.standing(&1, rate(60), at(back)).remaining, 60, "an hour back, and {back} ms later");
        }
        assert_eq!(budgets.standing(&1, rate(60), at(3_601_000)).remaining, 1);
        assert_eq!(budgets.standing(&1, rate(60), at(3_590_000)).remaining, 60, "a few seconds back");
        assert_eq!(budgets.spend(&1, rate(60), at(7_200_000)), Ok(()), "an hour ahead");
        assert_eq!(budgets.spend(&1, rate(60), START), Ok(()));
    }

    #[test]
    fn a_lowered_or_raised_figure_holds_at_once() {
        let budgets = Budgets::<u8>::new();
        while budgets.spend(&1, rate(60), START).is_ok() {}
        assert_eq!(budgets.standing(&1, rate(30), START).remaining, 0);
        assert_eq!(budgets.standing(&1, rate(6_000), START).remaining, 0);
        assert_eq!(budgets.standing(&1, rate(6_000), at(1_000)).remaining, 100);
        let smallest = Budgets::<u8>::new();
        let twice = (smallest.spend(&1, rate(1), START), smallest.spend(&1, rate(1), START));
        assert_eq!(twice, (Ok(()), Err(MINUTE)));
        let greatest = Budgets::<u8>::new();
        assert_eq!(greatest.spend(&1, rate(u32::MAX), START), Ok(()));
        assert_eq!(greatest.standing(&1, rate(u32::MAX), START).remaining, u32::MAX - 1);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quiet_first() {
        let budgets = Budgets::<usize>::new();
        let held = || budgets.whole_at.lock().expect("not poisoned").len();
        for who in 0..CALLERS_MAX {
            budgets.spend(&who, rate(60), START).expect("a fresh budget");
        }
        for _ in 0..5 {
            budgets.spend(&0, rate(60), at(1_000)).expect("within the budget");
        }
        budgets.spend(&CALLERS_MAX, rate(60), at(1_000)).expect("a fresh budget");
        assert_eq!((held(), budgets.standing(&0, rate(60), at(1_000)).remaining), (2, 55), "the quiet ones are gone");
        for who in 0..CALLERS_MAX * 3 {
            let _ = budgets.spend(&who, rate(1), at(2_000));
            assert!(held() <= CALLERS_MAX);
        }
    }
}
