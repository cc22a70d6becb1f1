//! What a rule has found: where, what, and what to do about it.

use std::fmt;

/// One place that a rule does not like.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// The file, relative to the checkout.
    pub(super) path: String,
    /// The line, counted from 1.
    pub(super) line: usize,
    /// What is wrong, and what to do.
    pub(super) text: String,
    /// How much it counts.
    pub(super) weight: Weight,
}

/// How much a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// The gate does not let it pass.
    Rule,
    /// Worth a thought.
    Hint,
}

impl Finding {
    /// A broken rule.
    pub(super) fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into(), weight: Weight::Rule }
    }

    /// Something worth a thought.
    pub(super) fn hint(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { weight: Weight::Hint, ..Self::new(path, line, text) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = if self.weight == Weight::Hint { "hint: " } else { "" };
        write!(f, "{}:{}: {hint}{}", self.path, self.line, self.text)
    }
}
