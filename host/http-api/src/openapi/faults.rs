//! What the codes of failures mean, for people who read the document.

use crate::error::{Fault, Outage};

/// Every fault of a caller.
const FAULTS: [Fault; 23] = [
    Fault::InvalidRequest,
    Fault::InvalidAmount,
    Fault::InvalidAddress,
    Fault::UnsupportedAsset,
    Fault::Unauthorized,
    Fault::ClockSkew,
    Fault::SignatureReplayed,
    Fault::KeyRevoked,
    Fault::KeyExpired,
    Fault::KeyRegenerationRequired,
    Fault::ScopeRequired,
    Fault::IpNotAllowed,
    Fault::NotFound,
    Fault::MethodNotAllowed,
    Fault::RequestTimeout,
    Fault::ExternalIdConflict,
    Fault::InvalidState,
    Fault::IdempotencyInProgress,
    Fault::BodyTooLarge,
    Fault::UnsupportedMediaType,
    Fault::IdempotencyMismatch,
    Fault::RuleRejected,
    Fault::RateLimited,
];

/// Everything that can go wrong on our side.
const OUTAGES: [Outage; 4] = [Outage::Internal, Outage::ComponentFailed, Outage::Unavailable, Outage::NotReady];

/// A failure that an answer can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The caller's.
    Fault(Fault),
    /// Ours.
    Outage(Outage),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Outage> for Failure {
    fn from(outage: Outage) -> Self {
        Self::Outage(outage)
    }
}

impl Failure {
    /// Every failure, by status and code.
    pub(super) fn all() -> Vec<Self> {
        let faults = FAULTS.into_iter().map(Self::from);
        let mut all: Vec<Self> = faults.chain(OUTAGES.into_iter().map(Self::from)).collect();
        all.sort_by_key(|failure| (failure.status(), failure.code()));
        all
    }

    /// The code in the body.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code_and_status().0,
            Self::Outage(outage) => outage.code_status_and_message().0,
        }
    }

    /// The status of the answer.
    pub(super) fn status(self) -> u16 {
        let status = match self {
            Self::Fault(fault) => fault.code_and_status().1,
            Self::Outage(outage) => outage.code_status_and_message().1,
        };
        http::StatusCode::from(status).as_u16()
    }

    /// What it means and what to do.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Fault(fault) => fault_meaning(fault),
            Self::Outage(outage) => outage_meaning(outage),
        }
    }
}

fn fault_meaning(fault: Fault) -> &'static str {
    match fault {
        Fault::InvalidRequest => {
            "Something in the request is missing, malformed, unknown or there twice; `param` says what."
        }
        Fault::InvalidAmount => "The amount is no decimal string, not above zero, or has more decimals than its asset.",
        Fault::InvalidAddress => "The address is no address, or its capital letters do not fit its checksum.",
        Fault::UnsupportedAsset => {
            "This deployment does not accept the asset, or several chains have it and none is named."
        }
        Fault::Unauthorized => "The key is unknown, the signature does not hold, or a header of the three is missing.",
        Fault::ClockSkew => "The time stamp is too far from this host's clock; compare with `GET /time`.",
        Fault::SignatureReplayed => "This signature was used before. Sign the request anew, with a fresh time stamp.",
        Fault::KeyRevoked => "The key was revoked.",
        Fault::KeyExpired => {
            "The time of the key is over; the message names the key that takes its place, if there is one."
        }
        Fault::KeyRegenerationRequired => {
            "The scheme of this key is switched off, or proves too little for this call; get a key of the scheme `request`."
        }
        Fault::ScopeRequired => "The key lacks the scope that this call needs.",
        Fault::IpNotAllowed => "The key may not be used from this address.",
        Fault::NotFound => "There is nothing here for you; what belongs to others is answered in the same way.",
        Fault::MethodNotAllowed => "The address does not know the method; see `Allow`.",
        Fault::RequestTimeout => "The body did not arrive in time.",
        Fault::ExternalIdConflict => "An invoice with this external id exists, with other terms.",
        Fault::InvalidState => {
            "What the call works on does not stand where the call makes sense; the message says why."
        }
        Fault::IdempotencyInProgress => {
            "A call under the same `Idempotency-Key` is under way; try again after `Retry-After`."
        }
        Fault::BodyTooLarge => "The body is larger than 64 KiB.",
        Fault::UnsupportedMediaType => "The body is not called `application/json` in UTF-8, or is compressed.",
        Fault::IdempotencyMismatch => "The same `Idempotency-Key` came before, with another body.",
        Fault::RuleRejected => "The rules of this deployment refuse it; the message says why.",
        Fault::RateLimited => "Too many requests; `Retry-After` says when the next one is welcome.",
    }
}

fn outage_meaning(outage: Outage) -> &'static str {
    match outage {
        Outage::Internal => "Something went wrong on the host's side. The host's log knows more under the request id.",
        Outage::ComponentFailed => "A plugin that this call needs did not answer; try again.",
        Outage::Unavailable => "Passes by itself; try again after `Retry-After`.",
        Outage::NotReady => "This deployment is not ready; `data` says which part.",
    }
}
