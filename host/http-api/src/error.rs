//! Every failure of the API: its code, its status and its words. The one place where failures of the use cases become HTTP.
//!
//! Two kinds, told apart by type. A caller's failure says what to change and where. The host's own failure says nothing to
//! strangers: its cause goes to the log, together with the request id that the caller sees.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use thiserror::Error;
use xthonpay_domain::invoice::resolution::DecisionError;
use xthonpay_domain::text::is_deceptive;
use xthonpay_payments::access::idempotency::IdempotencyError;
use xthonpay_payments::access::{AccessError, whole_secs};
use xthonpay_payments::catalog::AssetLookupError;
use xthonpay_payments::delivery::replay::ReplayError;
use xthonpay_payments::endpoints::EndpointError;
use xthonpay_payments::invoicing::InvoicingError;
use xthonpay_payments::invoicing::decision::DecidingError;
use xthonpay_payments::port::store::{CommitError, StoreError};
use xthonpay_payments::scanning::rescan::RescanError;
use xthonpay_payments::simulation::SimulationError;

use crate::client_address::ForwardedError;

/// When to try again after a failure that passes by itself: as soon as a busy store or node may have recovered.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// How the header is shown that names a call.
pub(crate) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// How much of a caller's own word goes into an answer: enough to recognise it.
const ECHO_CHARS_MAX: usize = 64;

/// The statuses that an error can have: none of them below 400, by type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorStatus {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    PayloadTooLarge,
    UnsupportedMediaType,
    UnprocessableEntity,
    TooManyRequests,
    InternalServerError,
    BadGateway,
    ServiceUnavailable,
}

impl From<ErrorStatus> for StatusCode {
    fn from(status: ErrorStatus) -> Self {
        match status {
            ErrorStatus::BadRequest => Self::BAD_REQUEST,
            ErrorStatus::Unauthorized => Self::UNAUTHORIZED,
            ErrorStatus::Forbidden => Self::FORBIDDEN,
            ErrorStatus::NotFound => Self::NOT_FOUND,
            ErrorStatus::MethodNotAllowed => Self::METHOD_NOT_ALLOWED,
            ErrorStatus::RequestTimeout => Self::REQUEST_TIMEOUT,
            ErrorStatus::Conflict => Self::CONFLICT,
            ErrorStatus::PayloadTooLarge => Self::PAYLOAD_TOO_LARGE,
            ErrorStatus::UnsupportedMediaType => Self::UNSUPPORTED_MEDIA_TYPE,
            ErrorStatus::UnprocessableEntity => Self::UNPROCESSABLE_ENTITY,
            ErrorStatus::TooManyRequests => Self::TOO_MANY_REQUESTS,
            ErrorStatus::InternalServerError => Self::INTERNAL_SERVER_ERROR,
            ErrorStatus::BadGateway => Self::BAD_GATEWAY,
            ErrorStatus::ServiceUnavailable => Self::SERVICE_UNAVAILABLE,
        }
    }
}

/// What a caller did wrong. The words are part of the public contract: they may be added to, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    InvalidRequest,
    InvalidAmount,
    InvalidAddress,
    UnsupportedAsset,
    Unauthorized,
    ClockSkew,
    SignatureReplayed,
    KeyRevoked,
    KeyExpired,
    KeyRegenerationRequired,
    ScopeRequired,
    IpNotAllowed,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    ExternalIdConflict,
    InvalidState,
    IdempotencyInProgress,
    BodyTooLarge,
    UnsupportedMediaType,
    IdempotencyMismatch,
    RuleRejected,
    RateLimited,
}

impl Fault {
    pub(crate) fn code_and_status(self) -> (&'static str, ErrorStatus) {
        match self {
            Self::InvalidRequest => ("INVALID_REQUEST", ErrorStatus::BadRequest),
            Self::InvalidAmount => ("INVALID_AMOUNT", ErrorStatus::BadRequest),
            Self::InvalidAddress => ("INVALID_ADDRESS", ErrorStatus::BadRequest),
            Self::UnsupportedAsset => ("UNSUPPORTED_ASSET", ErrorStatus::BadRequest),
            Self::Unauthorized => ("UNAUTHORIZED", ErrorStatus::Unauthorized),
            Self::ClockSkew => ("CLOCK_SKEW", ErrorStatus::Unauthorized),
            Self::SignatureReplayed => ("SIGNATURE_REPLAYED", ErrorStatus::Unauthorized),
            Self::KeyRevoked => ("KEY_REVOKED", ErrorStatus::Unauthorized),
            Self::KeyExpired => ("KEY_EXPIRED", ErrorStatus::Unauthorized),
            Self::KeyRegenerationRequired => ("KEY_REGENERATION_REQUIRED", ErrorStatus::Unauthorized),
            Self::ScopeRequired => ("SCOPE_REQUIRED", ErrorStatus::Forbidden),
            Self::IpNotAllowed => ("IP_NOT_ALLOWED", ErrorStatus::Forbidden),
            Self::NotFound => ("NOT_FOUND", ErrorStatus::NotFound),
            Self::MethodNotAllowed => ("METHOD_NOT_ALLOWED", ErrorStatus::MethodNotAllowed),
            Self::RequestTimeout => ("REQUEST_TIMEOUT", ErrorStatus::RequestTimeout),
            Self::ExternalIdConflict => ("EXTERNAL_ID_CONFLICT", ErrorStatus::Conflict),
            Self::InvalidState => ("INVALID_STATE", ErrorStatus::Conflict),
            Self::IdempotencyInProgress => ("IDEMPOTENCY_IN_PROGRESS", ErrorStatus::Conflict),
            Self::BodyTooLarge => ("BODY_TOO_LARGE", ErrorStatus::PayloadTooLarge),
            Self::UnsupportedMediaType => ("UNSUPPORTED_MEDIA_TYPE", ErrorStatus::UnsupportedMediaType),
            Self::IdempotencyMismatch => ("IDEMPOTENCY_MISMATCH", ErrorStatus::UnprocessableEntity),
            Self::RuleRejected => ("RULE_REJECTED", ErrorStatus::UnprocessableEntity),
            Self::RateLimited => ("RATE_LIMITED", ErrorStatus::TooManyRequests),
        }
    }
}

/// What went wrong on our side, as far as strangers may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// A bug or damage.
    Internal,
    /// A plugin failed and the operator chose not to go on without it.
    ComponentFailed,
    /// Passes by itself.
    Unavailable,
    /// The readiness probe says no.
    NotReady,
}

impl Outage {
    pub(crate) fn code_status_and_message(self) -> (&'static str, ErrorStatus, &'static str) {
        match self {
            Self::Internal => ("INTERNAL", ErrorStatus::InternalServerError, "something went wrong on our side"),
            Self::ComponentFailed => {
                ("COMPONENT_FAILED", ErrorStatus::BadGateway, "a component that this call needs did not answer")
            }
            Self::Unavailable => (
                "SERVICE_UNAVAILABLE",
                ErrorStatus::ServiceUnavailable,
                "this call cannot be served right now; try again",
            ),
            Self::NotReady => ("NOT_READY", ErrorStatus::ServiceUnavailable, "this deployment is not ready"),
        }
    }

    fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Internal => None,
            Self::ComponentFailed | Self::Unavailable | Self::NotReady => Some(RETRY_SOON),
        }
    }
}

/// A failure on its way to the edge, where the request id joins it.
#[derive(Clone, Debug, Error, PartialEq)]
pub(crate) enum ApiError {
    /// The caller's.
    #[error("{message}")]
    Caller {
        /// Which.
        fault: Fault,
        /// What to change, as a sentence.
        message: Cow<'static, str>,
        /// The header, field or query parameter concerned.
        param: Option<Cow<'static, str>>,
        /// When to try again, if the same request may succeed then.
        retry_after: Option<Duration>,
    },
    /// Ours.
    #[error("{cause}")]
    Host {
        /// Which.
        outage: Outage,
        /// For the log only.
        cause: String,
        /// What the caller may see besides, for the probe of readiness.
        data: Option<Value>,
    },
}

impl ApiError {
    /// A caller's failure.
    pub(crate) fn caller(fault: Fault, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Caller { fault, message: message.into(), param: None, retry_after: None }
    }

    /// A caller's failure at one header, field or query parameter.
    pub(crate) fn at(fault: Fault, param: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Caller { fault, message: message.into(), param: Some(param.into()), retry_after: None }
    }

    /// The same failure with the time after which the same request may succeed. The host's own failures know it themselves.
    pub(crate) fn retry(mut self, after: Duration) -> Self {
        if let Self::Caller { retry_after, .. } = &mut self {
            *retry_after = Some(after);
        }
        self
    }

    /// The host's failure; `cause` goes to the log.
    pub(crate) fn host(outage: Outage, cause: impl Into<String>) -> Self {
        Self::Host { outage, cause: cause.into(), data: None }
    }

    /// What is not there and what is another merchant's: one answer for both, so that ids cannot be probed.
    pub(crate) fn not_found() -> Self {
        Self::caller(Fault::NotFound, "there is nothing at this address")
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        self.retry_after().is_some()
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Caller { retry_after, .. } => *retry_after,
            Self::Host { outage, .. } => outage.retry_after(),
        }
    }

    /// The word for machines.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Caller { fault, .. } => fault.code_and_status().0,
            Self::Host { outage, .. } => outage.code_status_and_message().0,
        }
    }

    /// The answer without a body. The edge takes the failure out of the extensions and writes the body.
    fn head(&self) -> Response {
        let (status, challenge) = match self {
            Self::Caller { fault, .. } => {
                let (_, status) = fault.code_and_status();
                (status, status == ErrorStatus::Unauthorized)
            }
            Self::Host { outage, .. } => (outage.code_status_and_message().1, false),
        };
        let mut response = StatusCode::from(status).into_response();
        if challenge {
            let scheme = HeaderValue::from_static("HMAC-SHA256 realm=\"xthonpay\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if let Some(wait) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_secs(wait)));
        }
        response
    }

    /// The body of the answer.
    pub(crate) fn body(&self, request_id: &str) -> Value {
        let (message, param, data) = match self {
            Self::Caller { message, param, .. } => (message.as_ref(), param.as_deref(), None),
            Self::Host { outage, data, .. } => (outage.code_status_and_message().2, None, data.clone()),
        };
        let mut error = json!({ "code": self.code(), "message": message, "request_id": request_id });
        if let (Some(param), Some(fields)) = (param, error.as_object_mut()) {
            fields.insert("param".to_owned(), param.into());
        }
        let mut body = Map::from_iter([("status".to_owned(), "error".into()), ("error".to_owned(), error)]);
        body.extend(data.map(|data| ("data".to_owned(), data)));
        Value::Object(body)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.head();
        response.extensions_mut().insert(self);
        response
    }
}

/// A word that a caller chose, short and harmless enough to be shown.
pub(crate) fn echo(text: &str) -> String {
    let shown = |character| if is_deceptive(character) { char::REPLACEMENT_CHARACTER } else { character };
    text.chars().take(ECHO_CHARS_MAX).map(shown).collect()
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let outage = if error.is_transient() { Outage::Unavailable } else { Outage::Internal };
        Self::host(outage, error.to_string())
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => error.into(),
            CommitError::Refused => Self::host(Outage::Internal, error.to_string()),
        }
    }
}

impl From<ForwardedError> for ApiError {
    fn from(error: ForwardedError) -> Self {
        Self::at(Fault::InvalidRequest, "X-Forwarded-For", error.to_string())
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        let message = error.to_string();
        match error {
            AccessError::Unauthorized => Self::caller(Fault::Unauthorized, message),
            AccessError::ClockSkew { .. } => Self::at(Fault::ClockSkew, "X-Timestamp", message),
            AccessError::KeyRevoked | AccessError::TestModeOff => Self::caller(Fault::KeyRevoked, message),
            AccessError::KeyExpired { .. } => Self::caller(Fault::KeyExpired, message),
            AccessError::SchemeDisabled { .. } | AccessError::SchemeTooWeak => {
                Self::caller(Fault::KeyRegenerationRequired, message)
            }
            AccessError::IpNotAllowed { .. } => Self::caller(Fault::IpNotAllowed, message),
            AccessError::ScopeRequired { .. } => Self::caller(Fault::ScopeRequired, message),
            AccessError::TooManyFailures { wait } | AccessError::RateLimited { wait, .. } => {
                Self::caller(Fault::RateLimited, message).retry(wait)
            }
            AccessError::Store(error) => error.into(),
            AccessError::Vault(_) => Self::host(Outage::Internal, message),
        }
    }
}

impl From<IdempotencyError> for ApiError {
    fn from(error: IdempotencyError) -> Self {
        let message = error.to_string();
        match error {
            IdempotencyError::InProgress => {
                Self::at(Fault::IdempotencyInProgress, IDEMPOTENCY_KEY, message).retry(RETRY_SOON)
            }
            IdempotencyError::Mismatch => Self::at(Fault::IdempotencyMismatch, IDEMPOTENCY_KEY, message),
            IdempotencyError::Full => Self::host(Outage::Unavailable, message),
            IdempotencyError::Store(error) => error.into(),
            IdempotencyError::Vault(_) => Self::host(Outage::Internal, message),
        }
    }
}

impl From<AssetLookupError> for ApiError {
    fn from(error: AssetLookupError) -> Self {
        let param = match error {
            AssetLookupError::Unknown { .. } => "asset",
            AssetLookupError::Ambiguous { .. } => "chain",
        };
        Self::at(Fault::UnsupportedAsset, param, error.to_string())
    }
}

impl From<InvoicingError> for ApiError {
    fn from(error: InvoicingError) -> Self {
        let message = error.to_string();
        match error {
            InvoicingError::Terms(_) => Self::at(Fault::InvalidAmount, "amount", message),
            InvoicingError::CallbackUrl(_) => Self::at(Fault::InvalidRequest, "callback_url", message),
            InvoicingError::RefusedByRules { code, .. } => {
                Self::caller(Fault::RuleRejected, format!("{code}: {message}"))
            }
            InvoicingError::RulesUnavailable(_) => Self::host(Outage::ComponentFailed, message),
            InvoicingError::ExternalIdConflict { .. } => Self::at(Fault::ExternalIdConflict, "external_id", message),
            InvoicingError::SignatureReplayed => Self::at(Fault::SignatureReplayed, "X-Signature", message),
            InvoicingError::RulesContended => Self::host(Outage::Unavailable, message),
            InvoicingError::Derive(_) => Self::host(Outage::Internal, message),
            InvoicingError::Commit(error) => error.into(),
            InvoicingError::Store(error) => error.into(),
        }
    }
}

impl From<DecidingError> for ApiError {
    fn from(error: DecidingError) -> Self {
        let message = error.to_string();
        match error {
            DecidingError::NotFound => Self::not_found(),
            DecidingError::Decision(DecisionError::RefundOutOfRange) => {
                Self::at(Fault::InvalidAmount, "amount", message)
            }
            DecidingError::Decision(DecisionError::RefundAddress) => {
                Self::at(Fault::InvalidAddress, "to_address", message)
            }
            DecidingError::Decision(_) => Self::caller(Fault::InvalidState, message),
            DecidingError::SignatureReplayed => Self::at(Fault::SignatureReplayed, "X-Signature", message),
            DecidingError::Overtaken => Self::host(Outage::Unavailable, message),
            DecidingError::Amount(_) => Self::host(Outage::Internal, message),
            DecidingError::Commit(error) => error.into(),
            DecidingError::Store(error) => error.into(),
        }
    }
}

impl From<EndpointError> for ApiError {
    fn from(error: EndpointError) -> Self {
        let message = error.to_string();
        match error {
            EndpointError::NotFound => Self::not_found(),
            EndpointError::Url(_) => Self::at(Fault::InvalidRequest, "url", message),
            EndpointError::UnknownFormat(_) => Self::at(Fault::InvalidRequest, "format", message),
            EndpointError::OverlapTooLong => Self::at(Fault::InvalidRequest, "overlap_s", message),
            EndpointError::TooMany | EndpointError::NotEnabled | EndpointError::RotationUnderWay(_) => {
                Self::caller(Fault::InvalidState, message)
            }
            EndpointError::SignatureReplayed => Self::at(Fault::SignatureReplayed, "X-Signature", message),
            EndpointError::Overtaken => Self::host(Outage::Unavailable, message),
            EndpointError::Format(_) => Self::host(Outage::ComponentFailed, message),
            EndpointError::Commit(error) => error.into(),
            EndpointError::Store(error) => error.into(),
        }
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        let message = error.to_string();
        match error {
            ReplayError::NotFound => Self::not_found(),
            ReplayError::NotEnabled => Self::caller(Fault::InvalidState, message),
            ReplayError::SignatureReplayed => Self::at(Fault::SignatureReplayed, "X-Signature", message),
            ReplayError::Overtaken => Self::host(Outage::Unavailable, message),
            ReplayError::Format(_) => Self::host(Outage::ComponentFailed, message),
            ReplayError::Commit(error) => error.into(),
            ReplayError::Store(error) => error.into(),
        }
    }
}

impl From<RescanError> for ApiError {
    fn from(error: RescanError) -> Self {
        let message = error.to_string();
        match error {
            RescanError::UnknownChain { .. } | RescanError::ChainNotNamed { .. } => {
                Self::at(Fault::InvalidRequest, "chain", message)
            }
            // One answer for all, so that nobody learns whose addresses are ours.
            RescanError::UnknownTransaction { .. } | RescanError::UnknownAddress { .. } => Self::caller(
                Fault::NotFound,
                "this transaction is not known as mined, or pays nothing to an address of yours",
            ),
            RescanError::SignatureReplayed => Self::at(Fault::SignatureReplayed, "X-Signature", message),
            RescanError::Busy => {
                Self::caller(Fault::RateLimited, "another rescan is under way; one at a time").retry(RETRY_SOON)
            }
            RescanError::NotFinal { .. }
            | RescanError::NotBegun { .. }
            | RescanError::Frozen { .. }
            | RescanError::Disputed { .. }
            | RescanError::Overtaken => Self::host(Outage::Unavailable, message),
            RescanError::Scan(ref scan) if scan.is_transient() => Self::host(Outage::Unavailable, message),
            RescanError::NoNativeAsset { .. } | RescanError::RangeTooLarge { .. } | RescanError::Scan(_) => {
                Self::host(Outage::Internal, message)
            }
        }
    }
}

impl From<SimulationError> for ApiError {
    fn from(error: SimulationError) -> Self {
        let message = error.to_string();
        match error {
            SimulationError::UnknownInvoice { .. } => Self::not_found(),
            SimulationError::OnlyNative { .. } | SimulationError::NoAsset => {
                Self::at(Fault::InvalidRequest, "case", message)
            }
            SimulationError::NotOpen { .. } => Self::caller(Fault::InvalidState, message),
            SimulationError::TooSmall | SimulationError::TooLarge => Self::at(Fault::InvalidAmount, "amount", message),
            SimulationError::SignatureReplayed => Self::at(Fault::SignatureReplayed, "X-Signature", message),
            SimulationError::Busy => Self::caller(Fault::RateLimited, message).retry(RETRY_SOON),
            SimulationError::Behind => Self::host(Outage::Unavailable, message),
            SimulationError::Fork(_) | SimulationError::Amount(_) => Self::host(Outage::Internal, message),
            // Somebody changed the invoice again and again.
            SimulationError::Commit(CommitError::Refused) => Self::host(Outage::Unavailable, message),
            SimulationError::Commit(error) => error.into(),
            SimulationError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use xthonpay_payments::port::vault::VaultError;

    use super::*;

    #[test]
    fn the_hosts_failures_tell_their_cause_to_the_log_alone() {
        let reason = || "at 10.0.0.1".to_owned();
        for (error, code, status) in [
            (StoreError::Damaged { table: "invoice", reason: reason() }.into(), "INTERNAL", 500),
            (StoreError::Unavailable { reason: reason() }.into(), "SERVICE_UNAVAILABLE", 503),
            (CommitError::Refused.into(), "INTERNAL", 500),
            (CommitError::Store(StoreError::Unavailable { reason: reason() }).into(), "SERVICE_UNAVAILABLE", 503),
            (AccessError::Vault(VaultError).into(), "INTERNAL", 500),
            (ApiError::host(Outage::Internal, reason()), "INTERNAL", 500),
        ] {
            let error: ApiError = error;
            let body = error.body("req_1");
            assert_eq!((&body["error"]["code"], error.head().status().as_u16()), (&code.into(), status));
            assert!(!body.to_string().contains("10.0.0.1") && !body.to_string().contains("stored"), "{body}");
            assert_eq!(error.head().headers().contains_key(RETRY_AFTER), status == 503, "{body}");
        }
    }
}
