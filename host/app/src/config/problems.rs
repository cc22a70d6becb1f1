//! What is wrong with a config, told with the key and, where possible, with what would be right.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// One key that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key with its tables, such as `chains.bsc.nodes`.
    pub key: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// A config that is not used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("config file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, a missing key, or a value of another type.
    #[error("config file {}: {reason}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong.
        reason: String,
    },
    /// Keys with values that cannot be.
    #[error("config file {}:{}", path.display(), List(problems))]
    Values {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        problems: Vec<ConfigProblem>,
    },
}

impl ConfigError {
    /// Always `false`: the same config fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Shape { .. } | Self::Values { .. } => false,
        }
    }
}

/// One problem on the line, several below each other.
struct List<'a>(&'a [ConfigProblem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [only] => write!(f, " {}: {}", only.key, only.reason),
            several => several.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.key, problem.reason)),
        }
    }
}

/// Collects what is wrong while the rest is still read.
#[derive(Default)]
pub(super) struct Problems(Vec<ConfigProblem>);

impl Problems {
    pub(super) fn add(&mut self, key: impl Into<String>, reason: impl ToString) {
        self.0.push(ConfigProblem { key: key.into(), reason: reason.to_string() });
    }

    /// The value, or `None` with the problem noted.
    pub(super) fn keep<T, E: ToString>(&mut self, key: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.add(key, error)).ok()
    }

    pub(super) fn into_vec(self) -> Vec<ConfigProblem> {
        self.0
    }
}
