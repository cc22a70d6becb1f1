//! Requests of plugins to one upstream that the operator named, under the same address policy as webhooks.
//!
//! The upstream's base may hold a secret, in its path or in a header, so no text of an error holds a URL.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response};
use tokio::time::timeout;
use url::Url;
use xthonpay_payments::port::lending::upstream::{Method, Upstream, UpstreamAnswer, UpstreamError, UpstreamRequest};
use xthonpay_payments::port::vault::Secret;

use crate::client::{GuardedClients, OWN_HEADERS, without_texts};
use crate::config::{EgressConfig, EgressSetupError};
use crate::policy::Target;

/// What stands for the secret in a base and in the values of headers.
const SLOT: &str = "{secret}";

/// Headers of an answer that are handed on, and bytes of a value.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 8_192;

/// What the operator says about an upstream.
pub struct UpstreamConfig {
    /// What every path is joined to; ends in `/`. May hold `{secret}` in its path.
    pub base: String,
    /// Headers of every request. Values may hold `{secret}`.
    pub headers: Vec<(String, String)>,
    /// What `{secret}` stands for.
    pub secret: Option<Secret>,
    /// Which addresses may be called, and the bounds of a request.
    pub egress: EgressConfig,
}

/// An upstream that cannot be set up as configured. Never repeats a URL: it may hold the secret.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamSetupError {
    /// The base is no URL that may be called.
    #[error("base: {reason}")]
    Base {
        /// Which rule refuses it.
        reason: String,
    },
    /// A header cannot be sent.
    #[error("headers.{name}: cannot be sent with a request")]
    Header {
        /// Its name.
        name: String,
    },
    /// The secret is named and there is none, or it cannot stand where it is named.
    #[error("{reason}")]
    Secret {
        /// What is wrong.
        reason: &'static str,
    },
    /// The client.
    #[error(transparent)]
    Client(#[from] EgressSetupError),
}

impl UpstreamSetupError {
    /// Always `false`: the same config fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Base { .. } | Self::Header { .. } | Self::Secret { .. } | Self::Client(_) => false,
        }
    }
}

/// One upstream.
pub struct UpstreamClient {
    clients: GuardedClients,
    base: Target,
    headers: HeaderMap,
    total_timeout: Duration,
}

impl UpstreamClient {
    /// A client of an upstream. Connects to nobody yet.
    ///
    /// # Errors
    /// [`UpstreamSetupError`].
    pub fn new(config: UpstreamConfig) -> Result<Self, UpstreamSetupError> {
        let named = config.base.contains(SLOT) || config.headers.iter().any(|(_, value)| value.contains(SLOT));
        let secret = match &config.secret {
            None if named => {
                return Err(UpstreamSetupError::Secret { reason: "{secret} is used, and secret_file is not set" });
            }
            None => "",
            Some(_) if !named => {
                return Err(UpstreamSetupError::Secret {
                    reason: "secret_file is set, and neither base nor headers use {secret}",
                });
            }
            Some(secret) => str::from_utf8(secret.expose())
                .ok()
                .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
                .ok_or(UpstreamSetupError::Secret { reason: "the secret is not printable ASCII without spaces" })?,
        };
        let total_timeout = config.egress.total_timeout;
        let clients = GuardedClients::new(&config.egress)?;
        let base = base(&config.base, secret, &clients)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let refused = || UpstreamSetupError::Header { name: name.clone() };
            let parsed = HeaderName::try_from(name.as_str()).ok().filter(|name| !OWN_HEADERS.contains(name));
            let mut value = HeaderValue::try_from(value.replace(SLOT, secret)).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.append(parsed.ok_or_else(refused)?, value);
        }
        Ok(Self { clients, base, headers, total_timeout })
    }

    async fn exchange(&self, url: Url, request: UpstreamRequest) -> Result<UpstreamAnswer, UpstreamError> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let parsed = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value.as_str()).ok());
            let invalid = || UpstreamError::Invalid { reason: format!("the header {name:?} cannot be sent") };
            let (name, value) = parsed.filter(|(name, _)| !OWN_HEADERS.contains(name)).ok_or_else(invalid)?;
            headers.append(name, value);
        }
        // The operator's headers replace those of the plugin.
        for name in self.headers.keys() {
            headers.remove(name);
        }
        headers.extend(self.headers.clone());
        let client: &Client = self.clients.of(self.base.reach);
        let unavailable = |error: &reqwest::Error| UpstreamError::Unavailable { reason: without_texts(error) };
        let sent = client.request(method, url).headers(headers).body(request.body).send().await;
        let response = sent.map_err(|error| unavailable(&error))?;
        self.clients.check_peer(&response, self.base.reach).map_err(|reason| UpstreamError::Unavailable { reason })?;
        let (status, headers) = (response.status().as_u16(), shown(response.headers()));
        let body = body(response, request.answer_bytes_max, unavailable).await?;
        Ok(UpstreamAnswer { status, headers, body })
    }
}

/// The base with its secret, judged.
fn base(text: &str, secret: &str, clients: &GuardedClients) -> Result<Target, UpstreamSetupError> {
    let refuse = |reason: &str| UpstreamSetupError::Base { reason: reason.to_owned() };
    let before_path = text.split("://").nth(1).and_then(|rest| rest.split('/').next());
    if before_path.is_some_and(|host| host.contains(SLOT)) {
        return Err(refuse("{secret} may stand in the path only"));
    }
    // What the secret holds must not become structure.
    if text.contains(SLOT)
        && !secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':'))
    {
        return Err(refuse("the secret holds characters that cannot stand in a path"));
    }
    let url = Url::parse(&text.replace(SLOT, secret)).map_err(|_| refuse("write an https:// URL"))?;
    if !url.path().ends_with('/') || url.query().is_some() {
        return Err(refuse("must end in `/` and have no query"));
    }
    clients.policy().judge_url(url).map_err(|refusal| UpstreamSetupError::Base { reason: refusal.to_string() })
}

/// The headers that a plugin sees. What is not text is left out.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = value.to_str().ok().filter(|value| value.len() <= HEADER_BYTES_MAX)?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    headers.iter().filter_map(text).take(HEADERS_MAX).collect()
}

/// The whole body, as long as it is no larger than allowed.
async fn body(
    mut response: Response,
    bytes_max: usize,
    unavailable: impl Fn(&reqwest::Error) -> UpstreamError,
) -> Result<Vec<u8>, UpstreamError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error))? {
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Err(UpstreamError::TooLarge { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[async_trait]
impl Upstream for UpstreamClient {
    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamAnswer, UpstreamError> {
        let invalid =
            || UpstreamError::Invalid { reason: "the path does not stay below the upstream's base".to_owned() };
        let url = self.base.url.join(&request.path).map_err(|_| invalid())?;
        // Whoever built the path has checked it; this holds whatever they missed.
        let below = url.origin() == self.base.url.origin() && url.path().starts_with(self.base.url.path());
        if !below || url.fragment().is_some() {
            return Err(invalid());
        }
        let wait = request.timeout.unwrap_or(self.total_timeout).min(self.total_timeout);
        timeout(wait, self.exchange(url, request)).await.unwrap_or_else(|_| {
            Err(UpstreamError::Unavailable { reason: format!("no complete answer within {} ms", wait.as_millis()) })
        })
    }
}
