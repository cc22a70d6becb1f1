//! Where the process dies next, and where it did.

use std::sync::{Mutex, MutexGuard, PoisonError};

use xthonpay_tests::crash_points::CrashPoint;

/// A crash that waits for its point to be passed so many times.
#[derive(Clone, Copy, Debug)]
struct Armed {
    point: CrashPoint,
    hits_left: u32,
}

/// The crashes of a life.
#[derive(Default)]
pub(crate) struct CrashPlan(Mutex<Crashes>);

#[derive(Default)]
struct Crashes {
    armed: Vec<Armed>,
    happened: Vec<CrashPoint>,
}

impl CrashPlan {
    fn crashes(&self) -> MutexGuard<'_, Crashes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the process die when the point is passed for the `hit`th time from now on, counted from 1.
    pub(crate) fn arm(&self, point: CrashPoint, hit: u32) {
        self.crashes().armed.push(Armed { point, hits_left: hit });
    }

    /// Nothing dies any more.
    pub(crate) fn disarm(&self) {
        self.crashes().armed.clear();
    }

    /// Whether the process dies at this point now.
    pub(crate) fn strikes(&self, point: CrashPoint) -> bool {
        let mut crashes = self.crashes();
        for armed in crashes.armed.iter_mut().filter(|armed| armed.point == point) {
            armed.hits_left = armed.hits_left.saturating_sub(1);
        }
        let before = crashes.armed.len();
        crashes.armed.retain(|armed| armed.hits_left > 0);
        let strikes = crashes.armed.len() < before;
        if strikes {
            crashes.happened.push(point);
        }
        strikes
    }

    /// Where the process died so far.
    pub(crate) fn happened(&self) -> Vec<CrashPoint> {
        self.crashes().happened.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_strikes_once_at_the_hit_that_was_asked_for() {
        let mut points = CrashPoint::all();
        let (point, other) = (points.next().expect("there are points"), points.next().expect("there are more"));
        let plan = CrashPlan::default();
        plan.arm(point, 2);
        let struck: Vec<bool> = [point, other, point, point].into_iter().map(|point| plan.strikes(point)).collect();
        assert_eq!(struck, [false, false, true, false]);
        assert_eq!(plan.happened(), [point]);
    }
}
