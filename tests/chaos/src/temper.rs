//! What kind of life a seed leads. The seed picks the rates of faults too, so that one life is calm where another is wild: a
//! mix of everything at one rate would hide what only shows in a long quiet time or in a storm.

use xthonpay_tests::crash_points::{Boundary, CrashPoint, Moment};
use xthonpay_tests::scripted_nodes::Unrest;
use xthonpay_tests::seeded::Seeded;

use crate::gate::StoreTrouble;

/// What a life is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Story {
    /// Blocks, payments, short forks, restarts.
    Ordinary,
    /// The process is down for hundreds of blocks.
    Absence,
    /// Finality stalls, and a fork takes up to 239 blocks.
    DeepFork,
    /// A fork goes below what was final.
    BrokenFinality,
}

impl Story {
    /// The story in a word or two.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Absence => "with absences",
            Self::DeepFork => "with deep forks",
            Self::BrokenFinality => "with broken finality",
        }
    }
}

/// The rates of a life.
#[derive(Clone, Debug)]
pub(crate) struct Temper {
    pub(crate) story: Story,
    pub(crate) steps: u64,
    /// How many nodes there are and how many must agree.
    pub(crate) nodes: (usize, usize),
    pub(crate) min_confirmations: u64,
    pub(crate) fork_depth_max: u64,
    pub(crate) unrest: Unrest,
    pub(crate) store: StoreTrouble,
    pub(crate) webhooks_refused: u64,
    /// How many of a hundred steps disturb or heal a node.
    pub(crate) node_trouble: u64,
    /// Whether one of the nodes may lie.
    pub(crate) liar: bool,
    /// Whether nodes may hide transfers, which the source of a chain does not promise to notice at every level of verification.
    pub(crate) hides: bool,
    /// Whether a second scanner works on the same chain.
    pub(crate) twin: bool,
    /// Where the process dies, and at which hit of each.
    pub(crate) crashes: Vec<(CrashPoint, u32)>,
}

impl Temper {
    pub(crate) fn draw(random: &mut Seeded) -> Self {
        let story = match random.below(100) {
            0..80 => Story::Ordinary,
            80..90 => Story::Absence,
            90..95 => Story::DeepFork,
            _ => Story::BrokenFinality,
        };
        let calm = random.chance(30);
        let mut rate = |max: u64| if calm { 0 } else { random.below(max.saturating_add(1)) };
        let unrest = Unrest { no_answer: rate(10), inconsistent: rate(5), hop: rate(50) };
        let store = StoreTrouble { nothing_stored: rate(5), stored: rate(5), refused: rate(5), read: rate(2) };
        let (webhooks_refused, node_trouble) = (rate(30), rate(12));
        let crashes = (0..random.below(5)).map(|_| crash(story, random)).collect();
        Self {
            story,
            steps: random.below(50).saturating_add(25),
            nodes: random.pick(&[(1, 1), (2, 2), (3, 2), (3, 2), (3, 2), (5, 3)]).unwrap_or((3, 2)),
            min_confirmations: random.pick(&[1, 1, 1, 3, 12]).unwrap_or(1),
            fork_depth_max: random.pick(&[1, 2, 5, 12]).unwrap_or(12),
            unrest,
            store,
            webhooks_refused,
            node_trouble,
            liar: random.chance(50),
            hides: random.chance(8),
            twin: random.chance(8),
            crashes,
        }
    }
}

/// A point at which the process dies, and at which hit. Points that only some lives can reach are drawn more often there.
fn crash(story: Story, random: &mut Seeded) -> (CrashPoint, u32) {
    let own: &[Boundary] = match story {
        Story::Ordinary => &[Boundary::Expiry, Boundary::LateDeposit, Boundary::Ruling, Boundary::Decision],
        Story::Absence => &[Boundary::CatchUp, Boundary::Forgetting, Boundary::Forgetting],
        Story::DeepFork => &[Boundary::Retraction, Boundary::Forgetting, Boundary::Forgetting],
        Story::BrokenFinality => &[Boundary::Freeze, Boundary::Resumption],
    };
    let often = if story == Story::Ordinary { 20 } else { 60 };
    let boundary = if random.chance(often) { random.pick(own) } else { None };
    let boundary = boundary.or_else(|| random.pick(&Boundary::ALL)).unwrap_or(Boundary::Credit);
    let moment = if random.chance(50) { Moment::Before } else { Moment::After };
    // Mostly the first hit: many boundaries are passed once in a life.
    let hit = if boundary == Boundary::Forgetting { None } else { random.pick(&[1, 1, 1, 2, 4, 9]) }.unwrap_or(1);
    (CrashPoint { boundary, moment }, hit)
}
