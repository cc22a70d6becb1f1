//! A merchant's client of the REST API.
//!
//! Signs as the published rules say and checks nothing: a test may change any part of a request after it is signed.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::{BoxError, signatures};

/// Far above what any answer takes; a hanging host must not hang the tests.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the API lives below the host's address.
pub const API: &str = "/api/v1";

/// How a key's requests are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Over the whole request.
    Request,
    /// Over the time stamp alone.
    Timestamp,
}

impl Scheme {
    /// The word of the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Timestamp => "timestamp",
        }
    }
}

/// A key as the host shows it once.
#[derive(Clone)]
pub struct Key {
    /// Sent in `X-API-Key`.
    pub id: String,
    /// Signs.
    pub secret: String,
    /// How.
    pub scheme: Scheme,
}

/// A request, signed and not yet sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, in upper case.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names and values, as they will be sent.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
}

impl Request {
    /// Replaces every header of this name by one with the value.
    #[must_use]
    pub fn with_header(self, name: &str, value: &str) -> Self {
        let mut request = self.without_header(name);
        request.headers.push((name.to_owned(), value.to_owned()));
        request
    }

    /// Removes every header of this name.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }
}

/// What the host answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The `data` of a success.
    ///
    /// # Errors
    /// When the answer is no success; the text holds it.
    pub fn data(&self) -> Result<Value, BoxError> {
        let mut body = self.json();
        if (200..300).contains(&self.status) && body["status"] == "success" {
            Ok(body["data"].take())
        } else {
            Err(format!("no success: {} {}", self.status, self.text).into())
        }
    }

    /// The code of an error, empty when there is none.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// One merchant's view of one host.
pub struct MerchantClient {
    http: reqwest::Client,
    base: String,
    key: Key,
    stamp: AtomicU64,
}

impl MerchantClient {
    /// A client of the host at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(base: &str, key: Key) -> Result<Self, BoxError> {
        let redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(redirects).timeout(TIMEOUT).build()?;
        Ok(Self { http, base: base.to_owned(), key, stamp: AtomicU64::new(0) })
    }

    /// The same client, for a host that is now at `base`. It goes on counting its time stamps.
    #[must_use]
    pub fn at(self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// A signed request for a path below the API's root, such as `/invoices?limit=5`.
    #[must_use]
    pub fn sign(&self, method: &str, path: &str, body: &[u8]) -> Request {
        self.sign_at(&self.fresh_stamp(method).to_string(), method, path, body)
    }

    /// The same with a time stamp of the caller's choice.
    #[must_use]
    pub fn sign_at(&self, stamp: &str, method: &str, path: &str, body: &[u8]) -> Request {
        let target = format!("{API}{path}");
        let signed_path = target.split('?').next().unwrap_or_default();
        let signature = match self.key.scheme {
            Scheme::Request => signatures::request_scheme(&self.key.secret, stamp, method, signed_path, body),
            Scheme::Timestamp => signatures::timestamp_scheme(&self.key.secret, stamp),
        };
        let mut headers = vec![
            ("x-api-key".to_owned(), self.key.id.clone()),
            ("x-timestamp".to_owned(), stamp.to_owned()),
            ("x-signature".to_owned(), signature),
        ];
        if !body.is_empty() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        Request { method: method.to_owned(), target, headers, body: body.to_vec() }
    }

    /// Sends a request as it stands.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, request: Request) -> Result<Answer, BoxError> {
        let url = format!("{}{}", self.base, request.target);
        let mut builder = self.http.request(Method::from_bytes(request.method.as_bytes())?, url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body);
        }
        let response = builder.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// The answer to a signed GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer, BoxError> {
        self.send(self.sign("GET", path, b"")).await
    }

    /// The answer to a signed POST.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, BoxError> {
        self.send(self.sign("POST", path, body.to_string().as_bytes())).await
    }

    /// Unix seconds. A changing call gets a stamp of its own, because two equal calls in one second would have the same
    /// signature, which counts once.
    fn fresh_stamp(&self, method: &str) -> u64 {
        let now = now_s();
        if method == "GET" || self.key.scheme == Scheme::Timestamp {
            return now;
        }
        let next = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self.stamp.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        last.ok().and_then(next).unwrap_or(now)
    }
}

/// Unix seconds now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a merchant's own clock: the host under test has another process's")]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(scheme: Scheme) -> MerchantClient {
        let key = Key { id: "xpk_live_1".to_owned(), secret: "xps_live_1".to_owned(), scheme };
        MerchantClient::new("http://127.0.0.1:1", key).expect("a client")
    }

    fn header<'a>(request: &'a Request, name: &str) -> &'a str {
        request.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    #[test]
    fn signs_the_path_without_its_query() {
        let client = client(Scheme::Request);
        let (plain, query) = (
            client.sign_at("1700000000", "GET", "/invoices", b""),
            client.sign_at("1700000000", "GET", "/invoices?limit=2", b""),
        );
        assert_eq!(query.target, "/api/v1/invoices?limit=2");
        assert_eq!(header(&plain, "x-signature"), header(&query, "x-signature"));
    }

    #[test]
    fn never_signs_two_changes_alike() {
        let client = client(Scheme::Request);
        let (one, other) = (client.sign("POST", "/invoices", b"{}"), client.sign("POST", "/invoices", b"{}"));
        assert_ne!(header(&one, "x-signature"), header(&other, "x-signature"));
    }
}
