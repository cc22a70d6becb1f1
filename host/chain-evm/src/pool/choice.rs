//! Which node questions go to first.
//!
//! Pure. The choice is sticky: consecutive questions should meet the same view of the chain, so that a node loses its place
//! only to one that is clearly better, and gets it back only after a while without trouble.

use core::time::Duration;

use xthonpay_domain::block::BlockNumber;

/// How much lower another node's penalty must be: half a failure.
const MARGIN: u32 = 50;
/// How long a node that the operator prefers must have been without trouble before it gets its place back.
pub(crate) const RETURN_AFTER: Duration = Duration::from_secs(60);

/// How far two heads may be apart for the higher one to count: minutes of a fast chain. A node that is behind by more is told
/// by the time of its newest block; a head that is ahead by more may be invented.
const HEADS_APART_MAX: u64 = 1_024;

/// The newest block by these heads, in any order: the newest that two nodes tell of. Where there are two only, it is the newer
/// one unless they are too far apart: a node that invents a head must not make all others look late.
pub(crate) fn best_head(mut heads: Vec<BlockNumber>) -> Option<BlockNumber> {
    heads.sort_unstable();
    match heads.as_slice() {
        [lower, higher] if higher.0.saturating_sub(lower.0) > HEADS_APART_MAX => Some(*lower),
        [.., second, _] if heads.len() > 2 => Some(*second),
        heads => heads.last().copied(),
    }
}

/// What speaks for and against a node at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it may be asked at all.
    pub(crate) usable: bool,
    /// Whether nothing speaks against asking it first.
    pub(crate) fit: bool,
    /// What its failures weigh.
    pub(crate) penalty: u32,
    /// For how long nothing was wrong; `None` when nothing ever was.
    pub(crate) untroubled_for: Option<Duration>,
}

/// The node to ask first, in the order of the config, when `current` is the one so far.
pub(crate) fn primary(current: usize, standings: &[Standing]) -> usize {
    let best = |wanted: fn(&Standing) -> bool| {
        let wanted = standings.iter().enumerate().filter(|(_, standing)| wanted(standing));
        wanted.min_by_key(|(position, standing)| (standing.penalty, *position))
    };
    let now = standings.get(current);
    let Some(now) = now.filter(|now| now.fit) else {
        let keep = now.is_some_and(|now| now.usable);
        let usable = || best(|standing| standing.usable).filter(|_| !keep);
        return best(|standing| standing.fit).or_else(usable).map_or(current, |(position, _)| position);
    };
    let returns = |standing: &Standing| {
        standing.fit && standing.penalty < MARGIN && standing.untroubled_for.is_none_or(|time| time >= RETURN_AFTER)
    };
    if let Some(preferred) = standings.iter().take(current).position(returns) {
        return preferred;
    }
    let better = best(|standing| standing.fit);
    better.filter(|(_, other)| other.penalty.saturating_add(MARGIN) < now.penalty).map_or(current, |(place, _)| place)
}

/// All usable nodes in the order in which they are asked: the primary, then the fit ones, then the others.
pub(crate) fn order(primary: usize, standings: &[Standing]) -> Vec<usize> {
    let mut usable: Vec<usize> =
        standings.iter().enumerate().filter(|(_, standing)| standing.usable).map(|(position, _)| position).collect();
    usable.sort_by_key(|position| {
        let standing = standings.get(*position);
        let (unfit, penalty) = standing.map_or((true, u32::MAX), |standing| (!standing.fit, standing.penalty));
        (*position != primary, unfit, penalty)
    });
    usable
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIT: Standing = Standing { usable: true, fit: true, penalty: 0, untroubled_for: None };
    const GONE: Standing = Standing { usable: false, fit: false, ..FIT };
    const LAGS: Standing = Standing { fit: false, ..FIT };

    fn failing(penalty: u32) -> Standing {
        Standing { penalty, untroubled_for: Some(Duration::ZERO), ..FIT }
    }

    fn recovered(seconds: u64) -> Standing {
        Standing { untroubled_for: Some(Duration::from_secs(seconds)), ..FIT }
    }

    #[test]
    fn the_place_changes_for_a_good_reason_alone() {
        let table: [(&str, usize, &[Standing], usize); 14] = [
            ("a healthy one stays", 0, &[FIT, FIT], 0),
            ("a little trouble is no reason", 0, &[failing(MARGIN), FIT], 0),
            ("a failure is", 0, &[failing(100), FIT], 1),
            ("not when the others failed too", 0, &[failing(100), failing(100)], 0),
            ("the best of the others", 0, &[failing(300), failing(100), failing(20)], 2),
            ("one that lags loses it", 0, &[LAGS, FIT], 1),
            ("not when all lag", 0, &[LAGS, LAGS], 0),
            ("one that rests loses it to one that lags", 0, &[GONE, LAGS], 1),
            ("nobody is there", 1, &[GONE, GONE], 1),
            ("the preferred one comes back after a while", 1, &[recovered(60), FIT], 0),
            ("not before", 1, &[recovered(59), FIT], 1),
            ("not while it lags", 1, &[LAGS, FIT], 1),
            ("not while it fails", 1, &[Standing { penalty: MARGIN, ..recovered(99) }, FIT], 1),
            ("the second after the first", 2, &[GONE, recovered(60), FIT], 1),
        ];
        for (name, current, standings, expected) in table {
            assert_eq!(primary(current, standings), expected, "{name}");
        }
    }

    #[test]
    fn a_head_that_one_node_invents_is_not_the_newest() {
        let table: [(&[u64], Option<u64>); 8] = [
            (&[], None),
            (&[7], Some(7)),
            (&[7, 9], Some(9)),
            (&[7 + HEADS_APART_MAX, 7], Some(7 + HEADS_APART_MAX)),
            (&[8 + HEADS_APART_MAX, 7], Some(7)),
            (&[7, u64::MAX], Some(7)),
            (&[7, u64::MAX, 9], Some(9)),
            (&[u64::MAX, u64::MAX, 9], Some(u64::MAX)),
        ];
        for (heads, expected) in table {
            let heads: Vec<BlockNumber> = heads.iter().copied().map(BlockNumber).collect();
            assert_eq!(best_head(heads.clone()), expected.map(BlockNumber), "{heads:?}");
        }
    }

    #[test]
    fn the_unfit_are_asked_last_and_the_gone_never() {
        assert_eq!(order(1, &[FIT, FIT, FIT]), [1, 0, 2]);
        assert_eq!(order(0, &[FIT, LAGS, failing(100), failing(20)]), [0, 3, 2, 1]);
        assert_eq!(order(0, &[GONE, FIT, GONE]), [1]);
        assert_eq!(order(0, &[GONE]), Vec::<usize>::new());
    }
}
