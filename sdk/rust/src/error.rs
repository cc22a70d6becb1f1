//! The errors of hooks and capabilities: short ways to make them, and the step from one to the other. What each
//! means to the host is told by the contract.

use core::fmt;
use std::string::{String, ToString as _};
use std::vec::Vec;

use crate::plugin::ConfigProblem;
pub use crate::raw::base::xthonpay::host::types::{Detail, HookError, HostError};

impl Detail {
    /// A cause, with a stable word for programs and a sentence for people. Neither may hold a secret.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), attrs: Vec::new() }
    }
}

impl HookError {
    /// The input makes no sense to this plugin. Asking again does not help.
    pub fn bad_input(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::BadInput(Detail::new(code, message))
    }

    /// The plugin cannot answer now; the host may repeat the call later.
    pub fn retry_later(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::RetryLater(Detail::new(code, message))
    }

    /// Any other reason. The host treats it as `bad-input`.
    pub fn other(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Other(Detail::new(code, message))
    }

    /// The cause.
    pub fn detail(&self) -> &Detail {
        match self {
            Self::BadInput(detail) | Self::RetryLater(detail) | Self::Other(detail) => detail,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RetryLater(_) => true,
            Self::BadInput(_) | Self::Other(_) => false,
        }
    }
}

impl HostError {
    /// The cause.
    pub fn detail(&self) -> &Detail {
        match self {
            Self::Denied(detail)
            | Self::Invalid(detail)
            | Self::NotFound(detail)
            | Self::OverLimit(detail)
            | Self::Unavailable(detail)
            | Self::Other(detail) => detail,
        }
    }

    /// Whether the same request may succeed in a later call.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::OverLimit(_) | Self::Unavailable(_) | Self::Other(_) => true,
            Self::Denied(_) | Self::Invalid(_) | Self::NotFound(_) => false,
        }
    }
}

impl From<HostError> for HookError {
    /// Lets a hook use `?` on a capability: what may work later is asked for again, the rest is not.
    fn from(error: HostError) -> Self {
        let detail = error.detail().clone();
        if error.is_transient() { Self::RetryLater(detail) } else { Self::Other(detail) }
    }
}

impl From<ConfigProblem> for HookError {
    /// A setting that `check_config` should have told.
    fn from(problem: ConfigProblem) -> Self {
        Self::other("bad_config", problem.to_string())
    }
}

impl From<Vec<ConfigProblem>> for HookError {
    /// Settings that `check_config` should have told.
    fn from(problems: Vec<ConfigProblem>) -> Self {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Self::other("bad_config", lines.join("; "))
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.key, self.message) }
    }
}
