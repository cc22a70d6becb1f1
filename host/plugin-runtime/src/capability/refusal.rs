//! Why a capability does not do what was asked: told to the guest, or the end of the call.

use thiserror::Error;
use wasmtime::component::ResourceTableError;
use xthonpay_payments::hook_tally::LoanOutcome;
use xthonpay_payments::port::store::StoreError;

use crate::bindings::base::xthonpay::host::types::{Detail, HostError};
use crate::limits::Limit;
use crate::meter::LimitHit;

/// A capability's answer when there is none.
#[derive(Debug, Error)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum Refusal {
    /// The guest hears of it and may go on.
    #[error("refused")]
    Told(HostError),
    /// The call ends.
    #[error(transparent)]
    Trap(wasmtime::Error),
}

impl Refusal {
    /// How the call of the capability is counted.
    pub(crate) fn outcome(&self) -> LoanOutcome {
        match self {
            Self::Told(HostError::Denied(_)) => LoanOutcome::Denied,
            Self::Told(HostError::Invalid(_)) => LoanOutcome::Invalid,
            Self::Told(HostError::NotFound(_)) => LoanOutcome::NotFound,
            Self::Told(HostError::OverLimit(_)) => LoanOutcome::OverLimit,
            Self::Told(HostError::Unavailable(_) | HostError::Other(_)) => LoanOutcome::Unavailable,
            Self::Trap(_) => LoanOutcome::Ended,
        }
    }

    pub(crate) fn denied(code: &str, message: impl Into<String>) -> Self {
        Self::Told(HostError::Denied(detail(code, message)))
    }

    pub(crate) fn invalid(code: &str, message: impl Into<String>) -> Self {
        Self::Told(HostError::Invalid(detail(code, message)))
    }

    pub(crate) fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::Told(HostError::NotFound(detail(code, message)))
    }

    pub(crate) fn over_limit(code: &str, message: impl Into<String>) -> Self {
        Self::Told(HostError::OverLimit(detail(code, message)))
    }

    pub(crate) fn unavailable(code: &str, message: impl Into<String>) -> Self {
        Self::Told(HostError::Unavailable(detail(code, message)))
    }
}

fn detail(code: &str, message: impl Into<String>) -> Detail {
    Detail { code: code.to_owned(), message: message.into(), attrs: Vec::new() }
}

impl From<LimitHit> for Refusal {
    fn from(hit: LimitHit) -> Self {
        Self::Trap(hit.into())
    }
}

/// Handles that a guest cannot have, or too many of them.
impl From<ResourceTableError> for Refusal {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => LimitHit { limit: Limit::Handles, used: None }.into(),
            other => Self::Trap(other.into()),
        }
    }
}

/// The store's own words may name tables; a guest only learns that it does not answer.
impl From<StoreError> for Refusal {
    fn from(_: StoreError) -> Self {
        Self::unavailable("store_unavailable", "the host's storage does not answer now")
    }
}
