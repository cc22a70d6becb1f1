//! How long the nodes' tag of finality has not moved. Pure.

use core::time::Duration;

use tokio::time::Instant;
use xthonpay_domain::block::BlockNumber;

/// The highest block that the tag has reached, and since when.
#[derive(Debug, Default)]
pub(crate) struct Standstill {
    since: Option<(Option<BlockNumber>, Instant)>,
}

impl Standstill {
    /// For how long the tag has not risen, now that it is at `tag`. Nodes that know no tag stand still from the first look on;
    /// a tag that falls back does not move.
    pub(crate) fn lasts(&mut self, tag: Option<BlockNumber>, now: Instant) -> Duration {
        match self.since {
            Some((highest, since)) if tag <= highest => now.saturating_duration_since(since),
            _ => {
                self.since = Some((tag, now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_stands_still_from_its_last_rise_on() {
        let (start, mut tag) = (Instant::now(), Standstill::default());
        let table = [
            (0, Some(7), 0),
            (20, Some(7), 20),
            (25, Some(6), 25),
            (29, None, 29),
            (30, Some(7), 30),
            (31, Some(8), 0),
            (41, Some(8), 10),
        ];
        for (second, told, lasts) in table {
            let found = tag.lasts(told.map(BlockNumber), start + Duration::from_secs(second));
            assert_eq!(found, Duration::from_secs(lasts), "at {second} s");
        }
    }

    #[test]
    fn no_tag_at_all_stands_still_too() {
        let (start, mut tag) = (Instant::now(), Standstill::default());
        assert_eq!(tag.lasts(None, start), Duration::ZERO);
        assert_eq!(tag.lasts(None, start + Duration::from_secs(31)), Duration::from_secs(31));
        assert_eq!(tag.lasts(Some(BlockNumber(0)), start + Duration::from_secs(32)), Duration::ZERO);
    }
}
