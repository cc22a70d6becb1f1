//! Sends one webhook, through clients that reach nobody but whom the operator's address policy admits.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    USER_AGENT,
};
use reqwest::{Client, Response, redirect, retry};
use tokio::time::{Instant, timeout};
use tracing::info;
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_payments::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport};

use crate::answer::{excerpt, retry_after};
use crate::config::{EgressConfig, EgressSetupError};
use crate::lookup::{NameLookup, SystemLookup};
use crate::policy::{AddressPolicy, Reach, Refusal, Target};
use crate::resolver::{GuardedResolver, ResolveError};

/// What receivers see in `User-Agent`.
const AGENT: &str = concat!("xthonpay/", env!("CARGO_PKG_VERSION"));

/// Connections to one receiver that are kept for the next webhook, and for how long: a burst of events goes over a few
/// connections, and nobody is held on to for longer than a burst lasts.
const IDLE_CONNECTIONS_MAX: usize = 4;
const IDLE_TIME_MAX: Duration = Duration::from_secs(15);

/// Headers that belong to the connection or to this client; a request that brings one would change its own framing.
pub(crate) const OWN_HEADERS: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT];

/// Clients that reach nobody but whom the operator's address policy admits. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GuardedClients {
    policy: Arc<AddressPolicy>,
    /// For URLs that are fit for the Internet.
    public: Client,
    /// For URLs that only the operator's own networks may receive. Apart from the other, so that a connection which one may
    /// use is never lent to the other.
    named_networks: Client,
}

impl GuardedClients {
    pub(crate) fn new(config: &EgressConfig) -> Result<Self, EgressSetupError> {
        Self::with_lookup(config, &(Arc::new(SystemLookup::default()) as Arc<dyn NameLookup>))
    }

    fn with_lookup(config: &EgressConfig, lookup: &Arc<dyn NameLookup>) -> Result<Self, EgressSetupError> {
        config.check()?;
        let policy = Arc::new(AddressPolicy::new(config));
        let client = |reach| {
            let resolver = GuardedResolver { policy: Arc::clone(&policy), lookup: Arc::clone(lookup), reach };
            build(config, resolver).map_err(EgressSetupError::Client)
        };
        Ok(Self { public: client(Reach::Public)?, named_networks: client(Reach::NamedNetworks)?, policy })
    }

    pub(crate) fn policy(&self) -> &AddressPolicy {
        &self.policy
    }

    pub(crate) fn of(&self, reach: Reach) -> &Client {
        match reach {
            Reach::Public => &self.public,
            Reach::NamedNetworks => &self.named_networks,
        }
    }

    /// Whether an answer came from an address that may be called. Cannot differ from what the resolver gave; if it ever does,
    /// nothing of the answer may come out.
    pub(crate) fn check_peer(&self, response: &Response, reach: Reach) -> Result<(), String> {
        if response.remote_addr().is_some_and(|peer| self.policy.admits(peer.ip(), reach)) {
            Ok(())
        } else {
            Err(ResolveError::NotPublic.to_string())
        }
    }
}

/// Sends webhooks under the operator's address policy. Cheap to clone.
#[derive(Clone)]
pub struct WebhookClient {
    clients: GuardedClients,
    total_timeout: Duration,
    answer_bytes_max: usize,
}

impl WebhookClient {
    /// A client that asks the resolver of the operating system.
    ///
    /// # Errors
    /// [`EgressSetupError`] when the config contradicts itself or TLS cannot be set up.
    pub fn new(config: EgressConfig) -> Result<Self, EgressSetupError> {
        Self::with_lookup(config, Arc::new(SystemLookup::default()))
    }

    /// A client that asks `lookup` for the addresses of names.
    ///
    /// # Errors
    /// As [`WebhookClient::new`].
    pub fn with_lookup(config: EgressConfig, lookup: Arc<dyn NameLookup>) -> Result<Self, EgressSetupError> {
        let clients = GuardedClients::with_lookup(&config, &lookup)?;
        if !config.allow_networks.is_empty() {
            info!(networks = ?config.allow_networks, "webhooks may reach these networks besides the public Internet");
        }
        Ok(Self { clients, total_timeout: config.total_timeout, answer_bytes_max: config.answer_bytes_max })
    }

    async fn exchange(&self, target: Target, headers: HeaderMap, body: Vec<u8>) -> Result<WebhookAnswer, EgressError> {
        let started = Instant::now();
        let client = self.clients.of(target.reach);
        let sent = client.post(target.url).headers(headers).body(body).send().await;
        let response = sent.map_err(|error| unreachable(&error))?;
        let checked = self.clients.check_peer(&response, target.reach);
        checked.map_err(|reason| EgressError::Unreachable { reason })?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let excerpt = excerpt(response, self.answer_bytes_max).await.map_err(|error| unreachable(&error))?;
        Ok(WebhookAnswer { status, retry_after, excerpt, latency: started.elapsed() })
    }
}

#[async_trait]
impl WebhookTransport for WebhookClient {
    fn check(&self, url: &CallbackUrl) -> Result<(), EgressError> {
        self.clients.policy().judge(url).map(drop).map_err(|refusal| refused(&refusal))
    }

    async fn post(&self, request: WebhookRequest) -> Result<WebhookAnswer, EgressError> {
        let target = self.clients.policy().judge(&request.url).map_err(|refusal| refused(&refusal))?;
        let headers = headers(&request.headers)?;
        // An answer that is not complete in time is none: the receiver may not have finished what it answers for.
        let exchange = timeout(self.total_timeout, self.exchange(target, headers, request.body));
        exchange.await.unwrap_or_else(|_| {
            Err(EgressError::Unreachable {
                reason: format!("no complete answer within {} ms", self.total_timeout.as_millis()),
            })
        })
    }
}

fn build(config: &EgressConfig, resolver: GuardedResolver) -> reqwest::Result<Client> {
    Client::builder()
        .dns_resolver(resolver)
        // A redirect leads to an address that nobody judged; the merchant registers the final one.
        .redirect(redirect::Policy::none())
        // A proxy variable of the environment would resolve and dial in our place.
        .no_proxy()
        // The dispatcher counts attempts; one call is one.
        .retry(retry::never())
        // Compressed answers could unfold without bound, and HTTP/2 lets the other side open state on ours.
        .no_gzip()
        .http1_only()
        .referer(false)
        .user_agent(AGENT)
        .connect_timeout(config.connect_timeout.min(config.total_timeout))
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_idle_timeout(IDLE_TIME_MAX)
        .build()
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, EgressError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let parsed = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value.as_str()).ok());
        let (name, value) = parsed.filter(|(name, _)| !OWN_HEADERS.contains(name)).ok_or_else(|| {
            EgressError::Refused { reason: format!("the header {name:?} cannot be sent with a webhook") }
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn refused(refusal: &Refusal) -> EgressError {
    EgressError::Refused { reason: refusal.to_string() }
}

/// Why there is no answer. Addresses, our own above all, stay out of it, so the texts of the libraries are not used.
fn unreachable(error: &reqwest::Error) -> EgressError {
    EgressError::Unreachable { reason: without_texts(error) }
}

/// The same as a sentence of our own.
pub(crate) fn without_texts(error: &reqwest::Error) -> String {
    let mut reason = if error.is_connect() {
        "no connection could be made"
    } else {
        "the connection ended before the answer was complete, or the answer is not HTTP"
    }
    .to_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(resolve) = inner.downcast_ref::<ResolveError>() {
            reason = resolve.to_string();
        } else if let Some(io) = inner.downcast_ref::<io::Error>() {
            match innermost(io).kind() {
                io::ErrorKind::ConnectionRefused => reason = "the connection was refused".to_owned(),
                // TLS reports its own failures this way.
                io::ErrorKind::InvalidData if error.is_connect() => {
                    reason = "TLS failed: the certificate or the protocol version is not acceptable".to_owned();
                }
                _ => {}
            }
        }
        cause = inner.source();
    }
    reason
}

/// The failure of the system, or of TLS, behind those that only pass it on. They do not name it as their source.
fn innermost(error: &io::Error) -> &io::Error {
    let mut innermost = error;
    while let Some(inner) = innermost.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        innermost = inner;
    }
    innermost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_cannot_be_brought_along() {
        let pair = |name: &str, value: &str| [(name.to_owned(), value.to_owned())];
        assert!(headers(&pair("x-xthon-signature", "ab12")).is_ok());
        for (name, value) in [
            ("host", "127.0.0.1"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("connection", "x"),
            ("user-agent", "x"),
            ("", "x"),
            ("x y", "x"),
            ("x-a", "b\r\nx-c: d"),
            ("x-a\r\nx-b", "c"),
        ] {
            assert!(matches!(headers(&pair(name, value)), Err(EgressError::Refused { .. })), "{name:?}: {value:?}");
        }
    }
}
