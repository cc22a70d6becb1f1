//! Durations of many calls, and the few numbers that stand for them.

use core::time::Duration;

/// Durations in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Samples {
    sorted: Vec<Duration>,
}

impl Samples {
    /// The samples of these durations, which may be in any order.
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self { sorted: durations }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The shortest duration that at least `percent` of the samples do not exceed; zero when there is none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = self.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
        self.sorted.get(rank).copied().unwrap_or_default()
    }
}

/// The middle of the numbers, the lower one of two; the default when there is none. One slow round does not move it.
pub(crate) fn median<T: Copy + Ord + Default>(numbers: impl IntoIterator<Item = T>) -> T {
    let mut sorted: Vec<T> = numbers.into_iter().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples = Samples::new((1..=200).rev().map(Duration::from_millis).collect());
        for (percent, millis) in [(1, 2), (50, 100), (99, 198), (100, 200)] {
            assert_eq!(samples.percentile(percent), Duration::from_millis(millis), "p{percent}");
        }
        assert_eq!(Samples::new(vec![Duration::from_millis(7)]).percentile(99), Duration::from_millis(7));
        assert_eq!(Samples::default().percentile(50), Duration::ZERO);
    }

    #[test]
    fn the_median_ignores_an_outlier() {
        assert_eq!(median([5, 900, 4]), 5);
        assert_eq!(median([2, 1]), 1);
        assert_eq!(median::<u8>([]), 0);
    }
}
