//! The smallest JSON-RPC client that a test needs.
//!
//! Believes what it is told: for a client that does not, see the chain source itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// Any failure; tests only print it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Mining thousands of blocks in one call takes seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A JSON-RPC client of one node.
#[derive(Debug)]
pub struct Rpc {
    http: reqwest::Client,
    url: String,
    next_id: AtomicU64,
}

impl Rpc {
    /// A client of the node at `url`.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(url: &str) -> Result<Self, BoxError> {
        // A connection of its own for each call: a kept one can be closed by the node at the moment it is used again.
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).pool_max_idle_per_host(0).build()?;
        Ok(Self { http, url: url.to_owned(), next_id: AtomicU64::new(1) })
    }

    /// The result of one call; `null` is a result.
    ///
    /// # Errors
    /// The node's error with the method's name, or that of the connection.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, BoxError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let question = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut answer: Value = self.http.post(&self.url).json(&question).send().await?.json().await?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}").into()),
            None => Ok(answer["result"].take()),
        }
    }
}
