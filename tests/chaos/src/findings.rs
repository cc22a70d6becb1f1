//! What went wrong in a life, sorted by what it means for somebody's money.

use core::fmt;

/// Findings of one life that are kept. One broken rule is often noticed many times; the first say enough.
const KEPT_MAX: usize = 20;

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Money or an event is missing.
    Lost,
    /// Money or an event is there twice, or was never on the chain.
    Doubled,
    /// Money was credited before it was final, or while nothing may be credited.
    Premature,
    /// Anything else that must not be.
    Wrong,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Premature => "premature",
            Self::Wrong => "wrong",
        })
    }
}

/// What was found in a life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) premature: usize,
    pub(crate) wrong: usize,
    /// The first of them, in words.
    pub(crate) told: Vec<String>,
}

impl Findings {
    pub(crate) fn add(&mut self, kind: Kind, what: impl fmt::Display) {
        let count = match kind {
            Kind::Lost => &mut self.lost,
            Kind::Doubled => &mut self.doubled,
            Kind::Premature => &mut self.premature,
            Kind::Wrong => &mut self.wrong,
        };
        *count = count.saturating_add(1);
        if self.told.len() < KEPT_MAX {
            self.told.push(format!("{kind}: {what}"));
        }
    }

    /// Adds a finding unless `holds`.
    pub(crate) fn expect(&mut self, holds: bool, kind: Kind, what: impl FnOnce() -> String) {
        if !holds {
            self.add(kind, what());
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.total() == 0
    }

    pub(crate) fn total(&self) -> usize {
        self.lost.saturating_add(self.doubled).saturating_add(self.premature).saturating_add(self.wrong)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.lost = self.lost.saturating_add(other.lost);
        self.doubled = self.doubled.saturating_add(other.doubled);
        self.premature = self.premature.saturating_add(other.premature);
        self.wrong = self.wrong.saturating_add(other.wrong);
    }
}
