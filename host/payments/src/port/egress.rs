//! Requests to addresses that others chose.

use async_trait::async_trait;
use std::time::Duration;

use thiserror::Error;
use xthonpay_domain::invoice::url_text::CallbackUrl;

/// A webhook on its way out.
#[derive(Clone, Debug)]
pub struct WebhookRequest {
    /// Where to.
    pub url: CallbackUrl,
    /// Names in lower case, and values. Holds signatures, never secrets.
    pub headers: Vec<(String, String)>,
    /// The exact bytes to send.
    pub body: Vec<u8>,
}

/// What the receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookAnswer {
    /// HTTP status.
    pub status: u16,
    /// How long the receiver asks to wait, from `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The beginning of the answer's body as text, for the delivery log.
    pub excerpt: String,
    /// From the first attempt to connect to the end of the answer.
    pub latency: Duration,
}

/// A webhook that got no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EgressError {
    /// The address policy refuses the URL, now and always.
    #[error("{reason}")]
    Refused {
        /// Which rule refuses it, as a sentence for the merchant.
        reason: String,
    },
    /// The receiver could not be reached or did not answer in time.
    #[error("{reason}")]
    Unreachable {
        /// What happened, without addresses of our own network.
        reason: String,
    },
}

impl EgressError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { .. } => false,
            Self::Unreachable { .. } => true,
        }
    }
}

/// Sends requests to addresses that merchants chose, under the operator's address policy, without following redirects.
#[async_trait]
pub trait WebhookTransport: Send + Sync {
    /// Whether the URL could be called at all, judged by its text: scheme, port, user info, literal addresses.
    /// A host name passes; what it resolves to is judged at every connection.
    ///
    /// # Errors
    /// [`EgressError::Refused`] with the rule.
    fn check(&self, url: &CallbackUrl) -> Result<(), EgressError>;

    /// Sends one POST within the transport's own bounds of time and bytes.
    ///
    /// Every status is an answer, also 3xx to 5xx.
    ///
    /// # Errors
    /// [`EgressError`] when there is no answer.
    async fn post(&self, request: WebhookRequest) -> Result<WebhookAnswer, EgressError>;
}
