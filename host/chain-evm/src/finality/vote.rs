//! How nodes vote on a final block. Pure.

use xthonpay_domain::block::{BlockNumber, BlockRef};

/// What a node calls final.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// Its place in the config.
    pub(crate) node: usize,
    pub(crate) height: BlockNumber,
    /// The block at `height`, where the node showed it.
    pub(crate) block: Option<BlockRef>,
}

/// The block that a node has at the height that is voted on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vote {
    /// Its place in the config.
    pub(crate) node: usize,
    pub(crate) block: BlockRef,
}

/// How a vote ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    /// Enough nodes name this block, and more than name another.
    Agreed(BlockRef),
    /// Nodes contradict each other, and no block has enough of them.
    Split,
    /// Nobody contradicts, but too few voted.
    TooFew,
}

/// The highest height that at least `quorum` nodes call final.
pub(crate) fn agreed_height(claims: &[Claim], quorum: usize) -> Option<BlockNumber> {
    let mut heights: Vec<BlockNumber> = claims.iter().map(|claim| claim.height).collect();
    heights.sort_unstable();
    heights.get(heights.len().checked_sub(quorum)?).copied()
}

/// The votes on `height` that the claims hold already, and the nodes that are ahead of it and must still be asked.
pub(crate) fn at(claims: &[Claim], height: BlockNumber) -> (Vec<Vote>, Vec<usize>) {
    let (mut votes, mut ahead) = (Vec::new(), Vec::new());
    for claim in claims.iter().filter(|claim| claim.height >= height) {
        match claim.block {
            Some(block) if claim.height == height => votes.push(Vote { node: claim.node, block }),
            _ => ahead.push(claim.node),
        }
    }
    (votes, ahead)
}

/// Counts. Two blocks are the same when all that was shown of them is: a hash alone could stand beside another parent.
pub(crate) fn tally(votes: &[Vote], quorum: usize) -> Tally {
    let count = |block: &BlockRef| votes.iter().filter(|vote| vote.block == *block).count();
    let Some(most) = votes.iter().map(|vote| vote.block).max_by_key(count) else { return Tally::TooFew };
    let (in_favour, against) = (count(&most), votes.len().saturating_sub(count(&most)));
    if in_favour >= quorum && in_favour > against {
        Tally::Agreed(most)
    } else if against > 0 {
        Tally::Split
    } else {
        Tally::TooFew
    }
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::hash::BlockHash;
    use xthonpay_domain::time::Timestamp;

    use super::*;

    fn block(number: u64, branch: u8) -> BlockRef {
        let hash = |byte| BlockHash::new([byte; 32]);
        BlockRef { number: BlockNumber(number), hash: hash(branch), parent: hash(0), time: Timestamp::from_secs(1) }
    }

    #[test]
    fn a_vote_takes_a_quorum_and_a_majority() {
        let (a, b, c) = (block(7, 1), block(7, 2), block(7, 3));
        let table: [(&[BlockRef], usize, Tally); 14] = [
            (&[], 1, Tally::TooFew),
            (&[a], 1, Tally::Agreed(a)),
            (&[a], 2, Tally::TooFew),
            (&[a, a], 2, Tally::Agreed(a)),
            (&[a, b], 1, Tally::Split),
            (&[a, b], 2, Tally::Split),
            (&[a, a, b], 2, Tally::Agreed(a)),
            (&[b, a, a], 1, Tally::Agreed(a)),
            (&[a, a, b], 3, Tally::Split),
            (&[a, a], 3, Tally::TooFew),
            (&[a, a, b, b], 2, Tally::Split),
            (&[a, b, c], 1, Tally::Split),
            (&[a, a, b, c], 2, Tally::Split),
            (&[a, a, a, b, c], 2, Tally::Agreed(a)),
        ];
        for (blocks, quorum, expected) in table {
            let votes: Vec<Vote> = blocks.iter().zip(0..).map(|(block, node)| Vote { node, block: *block }).collect();
            assert_eq!(tally(&votes, quorum), expected, "{blocks:?} with a quorum of {quorum}");
        }
    }

    #[test]
    fn the_same_hash_with_another_parent_is_another_block() {
        let (a, mut forged) = (block(7, 1), block(7, 1));
        forged.parent = BlockHash::new([9; 32]);
        let votes = [Vote { node: 0, block: a }, Vote { node: 1, block: forged }];
        assert_eq!(tally(&votes, 2), Tally::Split);
    }

    #[test]
    fn the_height_is_the_highest_that_enough_nodes_reached() {
        let claims = |heights: &[u64]| -> Vec<Claim> {
            let claim = |(node, height): (usize, &u64)| Claim { node, height: BlockNumber(*height), block: None };
            heights.iter().enumerate().map(claim).collect()
        };
        let table: [(&[u64], usize, Option<u64>); 8] = [
            (&[], 1, None),
            (&[9], 1, Some(9)),
            (&[9], 2, None),
            (&[9, 7], 1, Some(9)),
            (&[9, 7], 2, Some(7)),
            (&[5, 9, 7], 2, Some(7)),
            (&[5, u64::MAX, 7], 2, Some(7)),
            (&[5, 9, 7], 3, Some(5)),
        ];
        for (heights, quorum, expected) in table {
            assert_eq!(agreed_height(&claims(heights), quorum), expected.map(BlockNumber), "{heights:?} {quorum}");
        }
    }

    #[test]
    fn who_is_ahead_is_asked_and_who_is_behind_has_no_vote() {
        let claim = |node, number, shown: bool| {
            let block = block(number, 1);
            Claim { node, height: block.number, block: shown.then_some(block) }
        };
        let claims = [claim(0, 6, true), claim(1, 7, true), claim(2, 9, true), claim(3, 7, false)];
        let (votes, ahead) = at(&claims, BlockNumber(7));
        assert_eq!(votes.iter().map(|vote| vote.node).collect::<Vec<_>>(), [1]);
        assert_eq!(ahead, [2, 3]);
    }
}
