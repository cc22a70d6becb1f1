//! Requests to upstreams that the operator named: base URL and credentials stay with the host. In native tests the bench answers.

use std::string::String;
use std::vec::Vec;

use crate::backend;
use crate::error::HostError;
use crate::plugin::Attrs;
pub use crate::raw::base::xthonpay::host::http::{Request, Response};

/// An opened upstream.
#[derive(Debug)]
pub struct Endpoint(backend::Endpoint);

impl Endpoint {
    /// Opens the upstream with this label.
    ///
    /// # Errors
    /// [`HostError::Denied`] when the operator did not grant it.
    pub fn open(label: &str) -> Result<Self, HostError> {
        backend::endpoint_open(label).map(Self)
    }

    /// Sends a request and waits for the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`HostError`]; after [`HostError::Unavailable`] the request may have been carried out.
    pub fn send(&self, request: &Request) -> Result<Response, HostError> {
        backend::endpoint_send(&self.0, request)
    }

    /// Sends a `GET` for a path and query below the upstream's base: `v1/price?pair=BNBUSD`.
    ///
    /// # Errors
    /// As [`Endpoint::send`].
    pub fn get(&self, path: &str) -> Result<Response, HostError> {
        self.send(&Request::new("GET", path))
    }
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        let (method, path) = (method.into(), path.into());
        Self { method, path, headers: Attrs::new(), body: Vec::new(), timeout_ms: None, attrs: Attrs::new() }
    }

    /// The request with one more header; names are lower case.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The request with a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The request with a time limit in milliseconds; the operator's own holds when it is shorter.
    #[must_use]
    pub fn timeout_ms(mut self, millis: u32) -> Self {
        self.timeout_ms = Some(millis);
        self
    }
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text; none when it is no text.
    pub fn text(&self) -> Option<&str> {
        core::str::from_utf8(&self.body).ok()
    }
}
