//! Random choices that can be repeated: every seed is printed, and `XTHONPAY_TEST_SEED` sets it.

use core::ops::RangeInclusive;
use core::time::Duration;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Write as _;

use crate::BoxError;

/// The variable that repeats a run.
pub const SEED_VARIABLE: &str = "XTHONPAY_TEST_SEED";

/// A small generator (`SplitMix64`): even enough for delays and choices, no source of secrets.
#[derive(Clone, Debug)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// A generator with a seed of the environment, or a fresh one. Prints the seed with the `purpose`.
    ///
    /// # Errors
    /// When the variable holds no number.
    pub fn announced(purpose: &str) -> Result<Self, BoxError> {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(text) => text.parse().map_err(|error| format!("{SEED_VARIABLE}: {error}"))?,
            // The standard library seeds its hash tables from the system.
            Err(_) => RandomState::new().build_hasher().finish(),
        };
        writeln!(std::io::stderr(), "{purpose}: {SEED_VARIABLE}={seed}")?;
        Ok(Self::new(seed))
    }

    /// A generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_u64().checked_rem(limit).unwrap_or(0)
    }

    /// An index into `count` things; 0 when there is none.
    pub fn index(&mut self, count: usize) -> usize {
        let drawn = self.below(u64::try_from(count).unwrap_or(u64::MAX));
        usize::try_from(drawn).unwrap_or(0)
    }

    /// Whether something happens that happens in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the choices, or `None` when there is none.
    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> Option<T> {
        choices.get(self.index(choices.len())).cloned()
    }

    /// A time of whole milliseconds within the bounds.
    pub fn millis(&mut self, bounds: RangeInclusive<u64>) -> Duration {
        let (low, high) = bounds.into_inner();
        let choices = high.saturating_sub(low).saturating_add(1);
        let chosen = self.next_u64().checked_rem(choices).unwrap_or(0);
        Duration::from_millis(low.saturating_add(chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_itself_from_a_seed() {
        // The first numbers of the reference implementation for the seed 0.
        let mut random = Seeded::new(0);
        assert_eq!(random.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn stays_within_the_bounds() {
        let mut random = Seeded::new(7);
        let times: Vec<Duration> = (0..200).map(|_| random.millis(5..=7)).collect();
        for time in [5, 6, 7].map(Duration::from_millis) {
            assert!(times.contains(&time), "{time:?}");
        }
        assert!(times.iter().all(|time| (5..=7).contains(&time.as_millis())));
        assert_eq!(random.millis(9..=9), Duration::from_millis(9));
    }
}
