//! Why a task stopped, and what to do about it. Every failure of this program has both parts.

use std::fmt;
use std::io;
use std::path::Path;

/// A failure and its remedy.
#[derive(Debug)]
pub(crate) struct Fault {
    what: String,
    fix: String,
}

impl Fault {
    /// A failure (`what`, a sentence without its full stop) and what a person can do about it.
    pub(crate) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }

    /// A file or folder that the system did not let us read or write.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Self::new(
            format!("{}: {error}", path.display()),
            "check that it exists, its owner, and the free space of its disk",
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n  fix: {}", self.what, self.fix)
    }
}
