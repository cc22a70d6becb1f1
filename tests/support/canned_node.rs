//! A chain node with a chain that it knows by heart: long, valid to the last root, served without computing anything.
//!
//! For throughput, where a real node would be the limit, and for lies that no real node tells. It speaks JSON-RPC over HTTP,
//! answers after a set round-trip time, has the limits of real nodes, and counts what it is asked. It runs on the runtime of
//! its caller and ends when it is dropped. It executes nothing: balances are zero, and every contract has 18 decimals.

mod answers;
mod body;
mod chain;
mod template;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use self::answers::{Refusal, answer};
pub use self::body::{CannedLog, CannedTx};
pub use self::chain::{CHAIN_ID, CannedChain, TOKEN};
use crate::BoxError;

/// Code of an answer that would be too large.
const CODE_LIMIT: i64 = -32005;

/// Questions larger than this are none that a test asks: ten thousand addresses are half of it.
const QUESTION_BYTES_MAX: usize = 1024 * 1024;

/// Changes the result of one call: gets the call and the sound result as JSON text.
pub type Tamper = Arc<dyn Fn(&Value, String) -> String + Send + Sync>;

/// How the node behaves.
#[derive(Clone, Default)]
pub struct CannedBehaviour {
    /// How long an answer takes, whatever it holds.
    pub round_trip: Duration,
    /// The most logs in one answer; more are refused with code -32005, as nodes do.
    pub logs_max: Option<usize>,
    /// The most blocks in a question for logs; more are refused with code -32602.
    pub range_max: Option<u64>,
    /// The most calls in one request; more are refused as a whole with code -32600.
    pub batch_max: Option<usize>,
    /// Compresses answers for clients that take it.
    pub gzip: bool,
    /// Methods that the node does not offer.
    pub missing: Vec<&'static str>,
    /// What it makes of its sound results.
    pub tamper: Option<Tamper>,
}

impl CannedBehaviour {
    /// A node of a provider: this round trip, ten thousand logs in an answer, a thousand calls in a request.
    #[must_use]
    pub fn distant(round_trip: Duration) -> Self {
        Self { round_trip, logs_max: Some(10_000), batch_max: Some(1_000), ..Self::default() }
    }

    /// The same with a lie.
    #[must_use]
    pub fn telling(mut self, tamper: impl Fn(&Value, String) -> String + Send + Sync + 'static) -> Self {
        self.tamper = Some(Arc::new(tamper));
        self
    }
}

/// What a node was asked so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CannedCounts {
    /// HTTP requests.
    pub requests: u64,
    /// Calls of each method.
    pub methods: BTreeMap<String, u64>,
    /// Bytes of the answers before compression.
    pub bytes: u64,
}

impl CannedCounts {
    /// Calls of all methods.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.methods.values().sum()
    }

    /// Calls of one method.
    #[must_use]
    pub fn of(&self, method: &str) -> u64 {
        self.methods.get(method).copied().unwrap_or_default()
    }
}

struct Shared {
    chain: Arc<CannedChain>,
    behaviour: CannedBehaviour,
    head: AtomicU64,
    counts: Mutex<CannedCounts>,
}

/// A node on a local port.
pub struct CannedNode {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl CannedNode {
    /// A node with the whole chain, the round-trip time, and the limits of [`CannedBehaviour::distant`].
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start(chain: CannedChain, round_trip: Duration) -> Result<Self, BoxError> {
        Self::behaving(Arc::new(chain), CannedBehaviour::distant(round_trip)).await
    }

    /// A node with a chain that others may have too.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn behaving(chain: Arc<CannedChain>, behaviour: CannedBehaviour) -> Result<Self, BoxError> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let head = AtomicU64::new(chain.last());
        let shared = Arc::new(Shared { chain, behaviour, head, counts: Mutex::default() });
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let router = router.layer(DefaultBodyLimit::max(QUESTION_BYTES_MAX));
        let serving = tokio::spawn(async move {
            // An accept error is retried by the server itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, shared, serving })
    }

    /// The node's HTTP address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The chain that it serves.
    #[must_use]
    pub fn chain(&self) -> &CannedChain {
        &self.shared.chain
    }

    /// The newest block that it shows.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.shared.head.load(Ordering::Relaxed)
    }

    /// Shows the chain up to this block only, at most to its end; blocks two below are final. At the start it is the end.
    pub fn set_head(&self, number: u64) {
        self.shared.head.store(number.min(self.shared.chain.last()), Ordering::Relaxed);
    }

    /// What it was asked since the start or the last [`Self::forget`].
    #[must_use]
    pub fn counts(&self) -> CannedCounts {
        self.shared.counts().clone()
    }

    /// Begins to count anew.
    pub fn forget(&self) {
        *self.shared.counts() = CannedCounts::default();
    }
}

impl Drop for CannedNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, CannedCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of the answer to a request.
    fn answer(&self, request: &Value) -> String {
        match request.as_array() {
            Some(calls) if self.behaviour.batch_max.is_some_and(|max| calls.len() > max) => {
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batch too large"}}"#.to_owned()
            }
            Some(calls) => {
                let mut text = String::from("[");
                for (position, call) in calls.iter().enumerate() {
                    text.push_str(if position == 0 { "" } else { "," });
                    self.answer_one(call, &mut text);
                }
                text.push(']');
                text
            }
            None => {
                let mut text = String::new();
                self.answer_one(request, &mut text);
                text
            }
        }
    }

    fn answer_one(&self, call: &Value, text: &mut String) {
        let method = call["method"].as_str().unwrap_or_default();
        *self.counts().methods.entry(method.to_owned()).or_default() += 1;
        let offered = !self.behaviour.missing.contains(&method);
        let result = if offered { answer(self, method, &call["params"]) } else { Err(Refusal::unknown(method)) };
        let result = match (&self.behaviour.tamper, result) {
            (Some(tamper), Ok(result)) => Ok(tamper(call, result)),
            (_, result) => result,
        };
        text.push_str(r#"{"jsonrpc":"2.0","id":"#);
        text.push_str(&call["id"].to_string());
        match result {
            Ok(result) => {
                text.push_str(r#","result":"#);
                text.push_str(&result);
                text.push('}');
            }
            Err(refusal) => {
                text.push_str(&format!(r#","error":{{"code":{},"message":"{}"}}}}"#, refusal.code, refusal.message));
            }
        }
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> ([(HeaderName, &'static str); 2], Bytes) {
    tokio::time::sleep(shared.behaviour.round_trip).await;
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = shared.answer(&request);
    {
        let mut counts = shared.counts();
        counts.requests += 1;
        counts.bytes = counts.bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
    }
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let compressed = if shared.behaviour.gzip && accepted.contains("gzip") { gzip(text.as_bytes()) } else { None };
    match compressed {
        Some(compressed) => ([(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")], compressed.into()),
        None => ([(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "identity")], text.into()),
    }
}

fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}
