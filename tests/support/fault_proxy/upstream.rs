//! The sound node behind a proxy.

use core::time::Duration;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use serde_json::{Value, json};

use crate::BoxError;

/// Above what the node takes for any question of a test.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Shorter than the node itself keeps a connection, so that none is used that it is just closing.
const IDLE: Duration = Duration::from_secs(2);

/// The id of a proxy's own questions; nothing is on the same connection at the same time.
const OWN_ID: u64 = 1;

/// A connection to the node, which may be exchanged for another.
#[derive(Clone)]
pub(super) struct Upstream {
    http: reqwest::Client,
    url: Arc<RwLock<String>>,
}

impl Upstream {
    pub(super) fn new(url: &str) -> Result<Self, BoxError> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).pool_idle_timeout(IDLE).build()?;
        Ok(Self { http, url: Arc::new(RwLock::new(url.to_owned())) })
    }

    pub(super) fn redirect(&self, url: &str) {
        url.clone_into(&mut self.url.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The node's address for WebSocket.
    pub(super) fn ws_url(&self) -> String {
        self.url().replacen("http://", "ws://", 1)
    }

    /// The node's answer to a body, byte for byte. Asked twice when the connection breaks: every question of a scanner may be.
    pub(super) async fn post(&self, body: Bytes) -> Result<Bytes, BoxError> {
        match self.post_once(body.clone()).await {
            Err(error) if !error.is_timeout() => Ok(self.post_once(body).await?),
            answer => Ok(answer?),
        }
    }

    /// The node's whole answer to one question, with `result` or `error`.
    pub(super) async fn ask(&self, method: &str, params: Value) -> Result<Value, BoxError> {
        let question = json!({"jsonrpc": "2.0", "id": OWN_ID, "method": method, "params": params});
        Ok(serde_json::from_slice(&self.post(question.to_string().into()).await?)?)
    }

    /// The node's result; an error of the node is an error.
    pub(super) async fn result(&self, method: &str, params: Value) -> Result<Value, BoxError> {
        let mut answer = self.ask(method, params).await?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}").into()),
            None => Ok(answer["result"].take()),
        }
    }

    async fn post_once(&self, body: Bytes) -> Result<Bytes, reqwest::Error> {
        self.http.post(self.url()).header("content-type", "application/json").body(body).send().await?.bytes().await
    }

    fn url(&self) -> String {
        self.url.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
