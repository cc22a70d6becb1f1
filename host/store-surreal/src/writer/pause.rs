//! Pauses between attempts: longer each time, and different for each who waits.

use core::sync::atomic::{AtomicU64, Ordering};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process;
use std::time::Duration;

/// The pause before the second attempt.
const FIRST: Duration = Duration::from_millis(2);
/// No pause is longer.
const LONGEST: Duration = Duration::from_millis(256);

/// How many pauses were computed in this process.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The pause before attempt number `attempt + 1`: between half and the whole of a span that doubles with each attempt.
///
/// The spread need not be unpredictable, only different for tasks and processes that collided; so it is a digest of who and
/// which, and no random number.
pub(super) fn before_attempt(attempt: u32) -> Duration {
    let span = FIRST.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST);
    let mut digest = DefaultHasher::new();
    (process::id(), COUNT.fetch_add(1, Ordering::Relaxed)).hash(&mut digest);
    let half = u64::try_from(span.as_micros()).unwrap_or(u64::MAX) / 2;
    Duration::from_micros(half.saturating_add(digest.finish() % half.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_limit_and_differs() {
        for attempt in [1, 2, 5, 8, 60] {
            let pauses: Vec<_> = (0..16).map(|_| before_attempt(attempt)).collect();
            assert!(pauses.iter().all(|pause| *pause >= FIRST / 2 && *pause <= LONGEST), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
        }
        assert!(before_attempt(60) >= LONGEST / 2);
    }
}
