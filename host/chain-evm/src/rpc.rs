//! JSON-RPC over HTTP with one node: limits, ids and errors.
//!
//! Knows no method of Ethereum. alloy's envelope types are used, its HTTP transport is not: that reads a body of any size,
//! follows redirects, writes the node's URL with its credentials to the log, and overlooks a wrong id on a single answer
//! and foreign ids in a batch.

use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_json_rpc::{Id, Request, ResponsePacket, ResponsePayload};
use reqwest::redirect;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;
use url::Url;
use xthonpay_domain::text::is_deceptive;

/// The largest answer that is read, in bytes after decompression. A full block of BNB Smart Chain with its receipts is
/// about 0.5 MB of JSON and cannot exceed a few tens of MB at its gas limit; a hostile node could send without end.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How much of a text that a node chose goes into an error: enough to recognise it, too little to flood a log.
const FOREIGN_TEXT_CHARS_MAX: usize = 200;

/// "Limit exceeded" by EIP-1474: too many questions, or too large a one.
const CODE_LIMIT: i64 = -32005;

/// How long a connection to a node may take to stand. A node farther away than this is no use for blocks.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// "The method does not exist" by JSON-RPC, and "method is not implemented" by EIP-1474.
const CODES_UNSUPPORTED: [i64; 2] = [-32601, -32004];

/// A question that got no usable answer. Texts never hold the node's URL.
#[derive(Debug, Error)]
pub(crate) enum RpcError {
    /// The connection failed before the answer was complete.
    #[error("no connection or it broke: {0}")]
    Broken(String),
    /// The answer was not complete in time.
    #[error("no complete answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Any HTTP status but 2xx: rate limits, server errors, redirects.
    #[error("HTTP status {0}")]
    Status(u16),
    /// More than [`BODY_BYTES_MAX`].
    #[error("the answer is larger than {BODY_BYTES_MAX} bytes")]
    BodyTooLarge,
    /// Not JSON, or not the envelope of a JSON-RPC answer.
    #[error("not a JSON-RPC answer: {0}")]
    NotJsonRpc(String),
    /// Ids that do not match the questions one to one.
    #[error("the answers' ids do not match the questions: {0}")]
    WrongIds(&'static str),
    /// The node answered with an error.
    #[error("{method} was refused with code {code}: {message}")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// The node's code.
        code: i64,
        /// The node's words, shortened.
        message: String,
    },
    /// The node does not offer the method.
    #[error("{method} is not offered")]
    Unsupported {
        /// What was asked.
        method: &'static str,
    },
    /// A result of the wrong shape.
    #[error("{method} answered in the wrong shape: {detail}")]
    Malformed {
        /// What was asked.
        method: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

impl RpcError {
    /// Whether the same question may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Broken(_)
            | Self::TimedOut(_)
            | Self::Status(_)
            | Self::BodyTooLarge
            | Self::NotJsonRpc(_)
            | Self::WrongIds(_)
            | Self::Refused { .. }
            | Self::Malformed { .. } => true,
            Self::Unsupported { .. } => false,
        }
    }

    /// Whether it tells of a node that is down or overloaded, rather than of a question that it has no good answer to.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Broken(_) | Self::TimedOut(_) | Self::Status(_) => true,
            Self::Refused { code, .. } => *code == CODE_LIMIT,
            Self::BodyTooLarge
            | Self::NotJsonRpc(_)
            | Self::WrongIds(_)
            | Self::Unsupported { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

/// One question.
pub(crate) struct Call {
    method: &'static str,
    params: Value,
}

impl Call {
    pub(crate) fn new(method: &'static str, params: Value) -> Self {
        Self { method, params }
    }
}

/// A result that the node gave, not yet looked into.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    method: &'static str,
    result: &'a RawValue,
}

impl<'a> Answer<'a> {
    /// Reads the result as `T`; `null` only where `T` is an `Option`.
    pub(crate) fn read<T: serde::Deserialize<'a>>(&self) -> Result<T, RpcError> {
        serde_json::from_str(self.result.get())
            .map_err(|error| RpcError::Malformed { method: self.method, detail: foreign_text(&error.to_string()) })
    }
}

/// A body that came back for some questions. It owns the bytes; the answers borrow from them.
pub(crate) struct Exchange {
    body: Vec<u8>,
    /// The id of the first question; the others are numbered on from it.
    first_id: u64,
    methods: Vec<&'static str>,
}

impl Exchange {
    /// The answers in the order of the questions, whatever order they came in; the inner error is the node's refusal of
    /// that one question.
    pub(crate) fn answers(&self) -> Result<Vec<Result<Answer<'_>, RpcError>>, RpcError> {
        let packet: ResponsePacket<&RawValue, &RawValue> = serde_json::from_slice(&self.body)
            .map_err(|error| RpcError::NotJsonRpc(foreign_text(&error.to_string())))?;
        let responses = match packet {
            ResponsePacket::Single(response) => vec![response],
            ResponsePacket::Batch(_) if self.methods.len() == 1 => {
                return Err(RpcError::WrongIds("a batch for a single question"));
            }
            ResponsePacket::Batch(responses) => responses,
        };
        // A node that could not read the questions answers once, without an id.
        if let [response] = responses.as_slice()
            && let (Id::None, ResponsePayload::Failure(error)) = (&response.id, &response.payload)
        {
            let method = self.methods.first().copied().unwrap_or_default();
            return Err(refusal(method, error.code, &error.message));
        }
        if responses.len() != self.methods.len() {
            return Err(RpcError::WrongIds("not one answer for each question"));
        }
        let mut found: Vec<Option<Result<Answer<'_>, RpcError>>> = self.methods.iter().map(|_| None).collect();
        for response in responses {
            let position = self.position(&response.id);
            let place = position.and_then(|position| Some((found.get_mut(position)?, *self.methods.get(position)?)));
            let (place, method) = place.ok_or(RpcError::WrongIds("an id that was not asked"))?;
            let answer = match response.payload {
                ResponsePayload::Success(result) => Ok(Answer { method, result }),
                ResponsePayload::Failure(error) => Err(refusal(method, error.code, &error.message)),
            };
            if place.replace(answer).is_some() {
                return Err(RpcError::WrongIds("an id twice"));
            }
        }
        // As many answers as questions, none of them twice: every place is taken.
        Ok(found.into_iter().flatten().collect())
    }

    /// How large the body is.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The answers to `N` questions, as [`Exchange::answers`] has them.
    pub(crate) fn exactly<const N: usize>(&self) -> Result<[Result<Answer<'_>, RpcError>; N], RpcError> {
        self.answers()?.try_into().map_err(|_| RpcError::WrongIds("not one answer for each question"))
    }

    /// Which question an id belongs to.
    fn position(&self, id: &Id) -> Option<usize> {
        let Id::Number(id) = id else { return None };
        usize::try_from(id.checked_sub(self.first_id)?).ok()
    }
}

/// The connection to one node.
pub(crate) struct RpcClient {
    http: reqwest::Client,
    url: Url,
    timeout: Duration,
    next_id: AtomicU64,
}

impl RpcClient {
    pub(crate) fn new(url: Url, timeout: Duration) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(CONNECT_MAX))
            // A redirect would turn the question into a GET and could lead anywhere.
            .redirect(redirect::Policy::none())
            // The config decides whom the host believes, not a proxy variable of the environment.
            .no_proxy()
            .build()?;
        Ok(Self { http, url, timeout, next_id: AtomicU64::new(1) })
    }

    /// Sends questions in one HTTP request; as a batch when there are several. At least one.
    pub(crate) async fn ask(&self, calls: &[Call]) -> Result<Exchange, RpcError> {
        self.ask_patiently(calls, 1).await
    }

    /// The same, but the answer may take so many times longer than usual.
    pub(crate) async fn ask_patiently(&self, calls: &[Call], times: u32) -> Result<Exchange, RpcError> {
        // Ids never repeat on a client, so that a late or mixed-up answer is recognised.
        let count = u64::try_from(calls.len()).unwrap_or(u64::MAX);
        let first_id = self.next_id.fetch_add(count, Ordering::Relaxed);
        let requests = (first_id..).zip(calls);
        let requests = requests.map(|(id, call)| Request::new(call.method, Id::Number(id), &call.params));
        let requests: Vec<_> = requests.collect();
        let encoded = match requests.as_slice() {
            [single] => serde_json::to_vec(single),
            batch => serde_json::to_vec(batch),
        };
        let encoded = encoded.map_err(|error| RpcError::NotJsonRpc(error.to_string()))?;
        let body = self.post(encoded, self.timeout.saturating_mul(times)).await?;
        Ok(Exchange { body, first_id, methods: calls.iter().map(|call| call.method).collect() })
    }

    async fn post(&self, encoded: Vec<u8>, limit: Duration) -> Result<Vec<u8>, RpcError> {
        let request = self.http.post(self.url.clone()).header("content-type", "application/json").body(encoded);
        let mut response = request.timeout(limit).send().await.map_err(|error| broken(error, limit))?;
        if !response.status().is_success() {
            return Err(RpcError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(error, limit))? {
            if body.len().saturating_add(chunk.len()) > BODY_BYTES_MAX {
                return Err(RpcError::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn broken(error: reqwest::Error, limit: Duration) -> RpcError {
    if error.is_timeout() {
        return RpcError::TimedOut(limit);
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    RpcError::Broken(foreign_text(&text))
}

fn refusal(method: &'static str, code: i64, message: &str) -> RpcError {
    if CODES_UNSUPPORTED.contains(&code) {
        RpcError::Unsupported { method }
    } else {
        RpcError::Refused { method, code, message: foreign_text(message) }
    }
}

/// A text that somebody else chose, made fit for a log.
fn foreign_text(text: &str) -> String {
    text.chars()
        .take(FOREIGN_TEXT_CHARS_MAX)
        .map(|character| if is_deceptive(character) { char::REPLACEMENT_CHARACTER } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_short_and_harmless() {
        assert_eq!(foreign_text("a\n\u{1b}[31mb"), "a\u{fffd}\u{fffd}[31mb");
        assert_eq!(foreign_text(&"x".repeat(10_000)).len(), FOREIGN_TEXT_CHARS_MAX);
    }

    #[test]
    fn only_a_missing_method_is_permanent() {
        assert!(!refusal("eth_x", -32601, "").is_transient());
        assert!(!refusal("eth_x", -32004, "").is_transient());
        assert!(refusal("eth_x", -32005, "limit exceeded").is_transient());
    }
}
