//! New blocks as nodes announce them over WebSocket: a wake-up, and nothing else.
//!
//! What an announcement says is not believed: it may come late, from another branch, or never, and everything about the block
//! is asked over HTTP anyway. The block's hash alone is read, so that the same block wakes once; two nodes may both announce
//! it, since the second word may be the one that makes a quorum. The connection is an upgrade of the HTTP client's own, so that there is one TLS stack with
//! one set of trusted roots, and no proxy or redirect here either.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use reqwest::{StatusCode, Upgraded, redirect};
use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use url::Url;
use xthonpay_domain::text::ChainName;
use xthonpay_payments::port::random::{self, Random};

use crate::pool::Pool;
use crate::wire::Fixed;

/// The largest message: the header of a block is some 3 KB.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// What goes out is one subscription and answers to pings.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;
/// How long connecting and subscribing may take.
const SUBSCRIBE_MAX: Duration = Duration::from_secs(10);
/// A connection without a message for so long is dead or useless: five blocks of the slowest common chains.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The pauses before connecting anew: short at first, since an announcement saves half a poll on every block...
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// ...and bounded, so that a node that comes back is heard again soon.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Messages are read no faster than this: a node that floods must not become a flood of questions. Three for each block of the
/// fastest common chain.
const READ_EVERY: Duration = Duration::from_millis(150);
/// Announced blocks that are remembered, so that each wakes once: more than branches replace one another within a minute.
const ANNOUNCED_MAX: usize = 64;

/// A connection that ended. Texts never hold the node's URL.
#[derive(Debug, Error)]
enum HeadsError {
    #[error("no connection: {0}")]
    Broken(#[source] reqwest::Error),
    #[error("no WebSocket: HTTP status {0}")]
    NotUpgraded(StatusCode),
    #[error("the upgrade to WebSocket was not answered as RFC 6455 asks")]
    BadHandshake,
    #[error("{0}")]
    WebSocket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("the node does not take the subscription to new heads")]
    Refused,
    #[error("closed by the node")]
    Closed,
    #[error("not subscribed within {} s", SUBSCRIBE_MAX.as_secs())]
    Slow,
    #[error("silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
}

impl HeadsError {
    /// Always `true`: the next connection may do better. Hints are not worth giving up on.
    #[cfg_attr(not(test), expect(dead_code, reason = "every end of a connection leads to the next one"))]
    fn is_transient(&self) -> bool {
        match self {
            Self::Broken(_)
            | Self::NotUpgraded(_)
            | Self::BadHandshake
            | Self::WebSocket(_)
            | Self::Refused
            | Self::Closed
            | Self::Slow
            | Self::Silent => true,
        }
    }
}

/// Wakes those who wait for a new block.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Notify,
    waiting: AtomicUsize,
}

impl Bell {
    /// Waits for the next announcement; one that came while nobody waited counts once.
    pub(crate) async fn heard(&self) {
        let _waiting = Waiting::new(&self.waiting);
        self.rung.notified().await;
    }

    fn ring(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.rung.notify_waiters();
        } else {
            self.rung.notify_one();
        }
    }
}

/// Counts a waiting task for as long as it lives, however it ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Listens to one node's announcements.
pub(crate) struct Listener {
    http: reqwest::Client,
    /// The same address with the scheme of HTTP.
    url: Url,
    /// The node's place in the config.
    place: usize,
    chain: ChainName,
    pool: Arc<Pool>,
    bell: Arc<Bell>,
    random: Arc<dyn Random>,
}

impl Listener {
    /// `websocket` starts with `ws://` or `wss://`.
    pub(crate) fn new(
        websocket: &Url,
        place: usize,
        pool: Arc<Pool>,
        bell: Arc<Bell>,
        random: Arc<dyn Random>,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .connect_timeout(SUBSCRIBE_MAX)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // The upgrade exists in HTTP/1.1 alone.
            .http1_only()
            .build()?;
        let chain = pool.chain().clone();
        Ok(Self { http, url: over_http(websocket), place, chain, pool, bell, random })
    }

    /// Listens, and connects anew whenever that ends. Never ends by itself.
    pub(crate) async fn listen(&self) {
        let mut pause = PAUSE_MIN;
        let mut told = false;
        loop {
            let mut heard = false;
            let ended = self.listen_once(&mut heard).await;
            self.announces(false);
            if heard {
                (pause, told) = (PAUSE_MIN, false);
            }
            // Once for each time that it begins: a node may stay without announcements for long.
            if let Err(error) = ended
                && !told
            {
                let node = self.pool.node(self.place).map(|node| node.label().to_owned());
                tracing::warn!(chain = %self.chain, node, %error, "new blocks are not announced at the moment");
                told = true;
            }
            sleep(self.jittered(pause)).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// One connection from its beginning to its end.
    async fn listen_once(&self, heard: &mut bool) -> Result<(), HeadsError> {
        let subscribed = timeout(SUBSCRIBE_MAX, async {
            let mut socket = self.connect().await?;
            subscribe(&mut socket).await?;
            Ok(socket)
        });
        let mut socket = subscribed.await.map_err(|_| HeadsError::Slow)??;
        self.announces(true);
        let node = self.pool.node(self.place).map(|node| node.label().to_owned());
        tracing::info!(chain = %self.chain, node, "new blocks are announced");
        // What happened before is not known.
        self.bell.ring();
        let (mut read_at, mut announced) = (Instant::now(), Announced::default());
        loop {
            let message = timeout(SILENCE_MAX, next_text(&mut socket)).await.map_err(|_| HeadsError::Silent)??;
            // What comes faster waits in the socket, and is the node's own burden.
            sleep(READ_EVERY.saturating_sub(read_at.elapsed())).await;
            read_at = Instant::now();
            let Some(block) = announcement(&message) else { continue };
            *heard = true;
            if announced.is_new(block) {
                self.bell.ring();
            }
        }
    }

    async fn connect(&self) -> Result<WebSocketStream<Upgraded>, HeadsError> {
        let key = generate_key();
        let request = self.http.get(self.url.clone()).headers(upgrade_headers(&key).ok_or(HeadsError::BadHandshake)?);
        let broken = |error: reqwest::Error| HeadsError::Broken(error.without_url());
        let response = request.send().await.map_err(broken)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(HeadsError::NotUpgraded(response.status()));
        }
        let accepted = response.headers().get("sec-websocket-accept").map(|value| value.as_bytes().to_vec());
        if accepted.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(HeadsError::BadHandshake);
        }
        let stream = response.upgrade().await.map_err(broken)?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX))
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES);
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await)
    }

    fn announces(&self, announces: bool) {
        if let Some(node) = self.pool.node(self.place) {
            node.conduct.announces(announces);
        }
    }

    /// Between half the pause and all of it.
    fn jittered(&self, pause: Duration) -> Duration {
        let half = pause / 2;
        let half_ms = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
        let chance = u64::from_le_bytes(random::bytes(self.random.as_ref()));
        half.saturating_add(Duration::from_millis(chance % half_ms))
    }
}

/// What the node writes, as far as it is read.
#[derive(Deserialize)]
struct Envelope<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<std::borrow::Cow<'a, str>>,
    result: Option<IgnoredAny>,
    params: Option<Params>,
}

#[derive(Deserialize)]
struct Params {
    result: Head,
}

/// What an announced header is told apart by.
#[derive(Deserialize)]
struct Head {
    hash: Fixed<32>,
}

/// The blocks that one connection announced last.
#[derive(Default)]
struct Announced {
    last: VecDeque<Fixed<32>>,
}

impl Announced {
    /// Whether the block was not announced before; remembers it.
    fn is_new(&mut self, block: Fixed<32>) -> bool {
        if self.last.contains(&block) {
            return false;
        }
        if self.last.len() >= ANNOUNCED_MAX {
            self.last.pop_front();
        }
        self.last.push_back(block);
        true
    }
}

const SUBSCRIPTION_ID: u64 = 1;
const SUBSCRIPTION: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;

async fn subscribe(socket: &mut WebSocketStream<Upgraded>) -> Result<(), HeadsError> {
    socket.send(Message::text(SUBSCRIPTION)).await.map_err(|error| HeadsError::WebSocket(Box::new(error)))?;
    loop {
        let message = next_text(socket).await?;
        let Ok(envelope) = serde_json::from_str::<Envelope<'_>>(&message) else { return Err(HeadsError::Refused) };
        if envelope.id == Some(SUBSCRIPTION_ID) {
            return if envelope.result.is_some() { Ok(()) } else { Err(HeadsError::Refused) };
        }
    }
}

/// The next message with a text; pings are answered on the way.
async fn next_text(socket: &mut WebSocketStream<Upgraded>) -> Result<String, HeadsError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
            Some(Ok(Message::Close(_))) | None => return Err(HeadsError::Closed),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(HeadsError::WebSocket(Box::new(error))),
        }
    }
}

/// The block that a message announces; `None` for any other message.
fn announcement(message: &str) -> Option<Fixed<32>> {
    let envelope = serde_json::from_str::<Envelope<'_>>(message).ok()?;
    let params = envelope.params.filter(|_| envelope.method.is_some_and(|method| method == "eth_subscription"))?;
    Some(params.result.hash)
}

fn upgrade_headers(key: &str) -> Option<reqwest::header::HeaderMap> {
    use reqwest::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(key).ok()?);
    Some(headers)
}

/// The address that the upgrade is asked at. Both pairs of schemes share their default ports.
fn over_http(websocket: &Url) -> Url {
    let rest = websocket.as_str().strip_prefix("ws").unwrap_or_default();
    format!("http{rest}").parse().unwrap_or_else(|_| websocket.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bell_wakes_all_who_wait_and_the_next_one_who_comes() {
        let bell = Arc::new(Bell::default());
        bell.ring();
        bell.ring();
        bell.heard().await;
        let heard = || timeout(Duration::from_millis(20), bell.heard());
        assert!(heard().await.is_err(), "two announcements without a listener are one");
        let both = tokio::spawn({
            let bell = Arc::clone(&bell);
            async move { tokio::join!(bell.heard(), bell.heard()) }
        });
        while bell.waiting.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        bell.ring();
        both.await.expect("both were woken");
        assert!(heard().await.is_err(), "nothing is left over");
    }

    #[test]
    fn only_subscriptions_to_blocks_count_as_announcements() {
        let hash = format!("0x{}", "ab".repeat(32));
        let head = |method: &str, member: &str| {
            format!(r#"{{"method":"{method}","params":{{"subscription":"0x1","result":{{"{member}":"{hash}"}}}}}}"#)
        };
        assert_eq!(announcement(&head("eth_subscription", "hash")), Some(Fixed([0xab; 32])));
        let others = [
            head("eth_other", "hash"),
            head("eth_subscription", "parentHash"),
            r#"{"method":"eth_subscription","params":{"result":{"hash":"0x12"}}}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#.to_owned(),
            "[]".to_owned(),
            "not JSON".to_owned(),
        ];
        for message in others {
            assert_eq!(announcement(&message), None, "{message}");
        }
        assert!([HeadsError::Refused, HeadsError::Closed, HeadsError::Silent].iter().all(HeadsError::is_transient));
    }

    #[test]
    fn a_block_is_new_once_and_only_the_last_ones_are_remembered() {
        let mut announced = Announced::default();
        let block = |number: u8| Fixed([number; 32]);
        assert!(announced.is_new(block(0)) && !announced.is_new(block(0)));
        assert!((1..=u8::try_from(ANNOUNCED_MAX).expect("small")).all(|number| announced.is_new(block(number))));
        assert_eq!(announced.last.len(), ANNOUNCED_MAX);
        assert!(!announced.is_new(block(1)) && announced.is_new(block(0)), "the oldest is forgotten");
    }

    #[test]
    fn the_upgrade_is_asked_over_http() {
        let table = [
            ("ws://node.example:8546/key", "http://node.example:8546/key"),
            ("wss://user:pass@node.example/", "https://user:pass@node.example/"),
            ("wss://node.example:80/", "https://node.example:80/"),
        ];
        for (websocket, expected) in table {
            assert_eq!(over_http(&websocket.parse().expect("a URL")).as_str(), expected);
        }
    }
}
