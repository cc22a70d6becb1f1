//! Requests of plugins to upstreams that the operator configured.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

/// What may be asked of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The word of the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The method of a word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A request to an upstream. Path and headers are the plugin's; the rest is added by the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// What to do.
    pub method: Method,
    /// Path and query below the upstream's base.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// How long the plugin waits, if it says so; the upstream's own bound holds when it is shorter.
    pub timeout: Option<Duration>,
    /// The most bytes of an answer's body.
    pub answer_bytes_max: usize,
}

/// What an upstream answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAnswer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A request that got no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum UpstreamError {
    /// Cannot be sent as it is. Nothing was sent.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is larger than allowed.
    #[error("the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The upstream cannot be reached or was too slow. It may have carried the request out.
    #[error("{reason}")]
    Unavailable {
        /// What happened, without addresses and secrets.
        reason: String,
    },
}

impl UpstreamError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Invalid { .. } | Self::TooLarge { .. } => false,
            Self::Unavailable { .. } => true,
        }
    }
}

/// One upstream: base URL and credentials stay behind it.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Sends one request and waits for the whole answer. Follows no redirect.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamAnswer, UpstreamError>;
}
