//! Sums for more keys than fit in memory: the lowest keys first, so many at a time.
//!
//! One pass over the records fills a window. When there are more keys than it holds, the highest are dropped, and the next
//! pass begins at the first one that was.

use std::collections::BTreeMap;

/// Values for the keys from one key on, at most a fixed number of them.
#[derive(Debug)]
pub(super) struct Window<K, V> {
    from: Option<K>,
    /// The first key that did not fit; it and all above are not in the window.
    cut: Option<K>,
    limit: usize,
    values: BTreeMap<K, V>,
}

impl<K: Ord + Clone, V: Default> Window<K, V> {
    /// An empty window of `limit` keys that begins at `from`, or at the first key.
    pub(super) fn new(from: Option<K>, limit: usize) -> Self {
        Self { from, cut: None, limit, values: BTreeMap::new() }
    }

    /// Whether a key is among those that this window is about.
    pub(super) fn covers(&self, key: &K) -> bool {
        self.from.as_ref().is_none_or(|from| key >= from) && self.cut.as_ref().is_none_or(|cut| key < cut)
    }

    /// The value of a key, made if it is new; `None` for a key that the window is not about.
    pub(super) fn at(&mut self, key: &K) -> Option<&mut V> {
        if !self.covers(key) {
            return None;
        }
        if !self.values.contains_key(key) && self.values.len() >= self.limit {
            let highest = self.values.last_key_value().map(|(highest, _)| highest.clone());
            match highest.filter(|highest| key < highest) {
                Some(highest) => {
                    self.values.pop_last();
                    self.cut = Some(highest);
                }
                None => {
                    self.cut = Some(key.clone());
                    return None;
                }
            }
        }
        Some(self.values.entry(key.clone()).or_default())
    }

    /// The value of a key that is there.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key)
    }

    /// Where the next window begins; `None` when this one holds everything that comes behind its first key.
    pub(super) fn next(&self) -> Option<&K> {
        self.cut.as_ref()
    }

    /// The values that are left.
    pub(super) fn into_values(self) -> BTreeMap<K, V> {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up pairs window by window; every pass sees all pairs.
    fn summed(pairs: &[(u32, u64)], limit: usize) -> (Vec<(u32, u64)>, usize) {
        let (mut all, mut passes, mut from) = (Vec::new(), 0, None);
        loop {
            passes += 1;
            let mut window = Window::<u32, u64>::new(from, limit);
            for (key, value) in pairs {
                if let Some(sum) = window.at(key) {
                    *sum += value;
                }
            }
            from = window.next().copied();
            all.extend(window.into_values());
            if from.is_none() {
                return (all, passes);
            }
        }
    }

    #[test]
    fn every_key_is_summed_once_whatever_the_order_and_the_limit() {
        let pairs = [(5, 1), (1, 10), (3, 100), (5, 1), (2, 7), (1, 10), (4, 3), (3, 100), (5, 1)];
        let expected = vec![(1, 20), (2, 7), (3, 200), (4, 3), (5, 3)];
        for (limit, passes) in [(1, 5), (2, 3), (4, 2), (5, 1), (9, 1)] {
            assert_eq!(summed(&pairs, limit), (expected.clone(), passes), "{limit} at a time");
            let reversed: Vec<_> = pairs.iter().rev().copied().collect();
            assert_eq!(summed(&reversed, limit).0, expected, "{limit} at a time, backwards");
        }
    }

    #[test]
    fn a_key_that_was_dropped_is_not_begun_anew() {
        let mut window = Window::<u32, u64>::new(None, 1);
        *window.at(&9).expect("room") += 5;
        *window.at(&3).expect("lower than the highest") += 1;
        assert!(window.at(&9).is_none(), "its first part is gone");
        assert_eq!(window.next(), Some(&9));
        assert!(window.covers(&3) && window.covers(&8) && !window.covers(&9));
    }
}
