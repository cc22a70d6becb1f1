//! New blocks as a node announces them over WebSocket: a wake-up, never a fact.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use xthonpay_chain_evm::EvmChain;
use xthonpay_payments::port::chain::ChainSource as _;

use crate::puppet::until;
use crate::scripted::{ScriptedNode, config, hash, source};

const ACCEPTS: &str = r#"{"jsonrpc":"2.0","id":1,"result":"0xcd0c3e8af590364c09d0fa6a1210faf5"}"#;
const REFUSES: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
/// Far longer than an announcement takes, and short enough to wait for in vain.
const A_WHILE: Duration = Duration::from_millis(300);

/// The announcement of a block.
fn head(number: u64) -> String {
    let head = json!({"number": format!("{number:#x}"), "hash": hash(number)});
    json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0xcd", "result": head}})
        .to_string()
}

/// A WebSocket that takes subscriptions and sends what it is told to.
struct Announcer {
    address: String,
    subscriptions: Arc<AtomicUsize>,
    /// A text to send, or an order to hang up.
    orders: broadcast::Sender<Option<String>>,
}

impl Announcer {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a local port");
        let address = listener.local_addr().expect("bound").to_string();
        let subscriptions = Arc::new(AtomicUsize::new(0));
        let (orders, _) = broadcast::channel(64);
        let (seen, sender) = (Arc::clone(&subscriptions), orders.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut socket) = accept_async(stream).await else { continue };
                let Some(Ok(Message::Text(asked))) = socket.next().await else { continue };
                assert!(asked.as_str().contains(r#""eth_subscribe","params":["newHeads"]"#), "{asked}");
                let mut orders = sender.subscribe();
                seen.fetch_add(1, Ordering::SeqCst);
                let _ = socket.send(Message::text(answer)).await;
                tokio::spawn(async move {
                    while let Ok(Some(text)) = orders.recv().await {
                        if socket.send(Message::text(text)).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, subscriptions, orders }
    }

    fn subscriptions(&self) -> usize {
        self.subscriptions.load(Ordering::SeqCst)
    }

    fn sends(&self, text: &str) {
        let _ = self.orders.send(Some(text.to_owned()));
    }

    fn hangs_up(&self) {
        let _ = self.orders.send(None);
    }
}

async fn listening(node: &ScriptedNode, websocket: &str) -> EvmChain {
    let mut config = config(vec![node.url()]);
    config.websockets = vec![format!("ws://{websocket}/").parse().expect("a URL")];
    let chain = source(config);
    assert_eq!(chain.report().nodes[0].announces, Some(false));
    chain.self_check().await.expect("a sound node");
    chain
}

fn announces(chain: &EvmChain) -> bool {
    chain.report().nodes[0].announces == Some(true)
}

/// Takes the wake-up that every new connection begins with.
async fn connected(chain: &EvmChain) {
    until("the subscription stands", async || announces(chain)).await;
    timeout(A_WHILE, chain.announced()).await.expect("a new connection wakes once");
}

#[tokio::test]
async fn an_announcement_wakes_and_asks_nobody_anything() {
    let (node, announcer) = (ScriptedNode::sound().await, Announcer::start(ACCEPTS).await);
    let chain = listening(&node, &announcer.address).await;
    connected(&chain).await;
    let asked = node.requests();
    assert!(timeout(A_WHILE, chain.announced()).await.is_err(), "nothing was announced");
    for number in 0..3 {
        announcer.sends(&head(number));
        timeout(Duration::from_secs(5), chain.announced()).await.expect("announced");
    }
    announcer.sends(r#"{"jsonrpc":"2.0","id":7,"result":"0x1"}"#);
    announcer.sends("neither JSON nor an announcement");
    assert!(timeout(A_WHILE, chain.announced()).await.is_err(), "no other text counts");
    assert_eq!(node.requests(), asked, "an announcement is no question");
}

#[tokio::test]
async fn a_connection_that_ends_is_made_anew() {
    let (node, announcer) = (ScriptedNode::sound().await, Announcer::start(ACCEPTS).await);
    let chain = listening(&node, &announcer.address).await;
    for connection in 1..=3 {
        until("a new connection", async || announcer.subscriptions() == connection).await;
        connected(&chain).await;
        announcer.sends(&head(1));
        timeout(Duration::from_secs(5), chain.announced()).await.expect("announced");
        announcer.hangs_up();
        until("the end is noticed", async || !announces(&chain)).await;
    }
}

#[tokio::test]
async fn a_message_beyond_any_header_ends_the_connection() {
    let (node, announcer) = (ScriptedNode::sound().await, Announcer::start(ACCEPTS).await);
    let chain = listening(&node, &announcer.address).await;
    connected(&chain).await;
    announcer.sends(&"x".repeat(1024 * 1024));
    until("another connection", async || announcer.subscriptions() == 2).await;
}

#[tokio::test]
async fn a_flood_is_no_flood_of_wake_ups() {
    let (node, announcer) = (ScriptedNode::sound().await, Announcer::start(ACCEPTS).await);
    let chain = listening(&node, &announcer.address).await;
    connected(&chain).await;
    let wakes = async |time: Duration| {
        let (started, mut woken) = (Instant::now(), 0);
        while timeout(time.saturating_sub(started.elapsed()), chain.announced()).await.is_ok() {
            woken += 1;
        }
        woken
    };
    (0..50).for_each(|number| announcer.sends(&head(number)));
    let woken = wakes(Duration::from_secs(1)).await;
    assert!((1..=8).contains(&woken), "woken {woken} times in a second");
}

#[tokio::test]
async fn a_block_that_is_announced_again_wakes_nobody() {
    let (node, announcer) = (ScriptedNode::sound().await, Announcer::start(ACCEPTS).await);
    let chain = listening(&node, &announcer.address).await;
    connected(&chain).await;
    for number in [1, 2] {
        announcer.sends(&head(number));
        timeout(Duration::from_secs(5), chain.announced()).await.expect("announced");
    }
    [1, 2, 1, 2].into_iter().for_each(|number| announcer.sends(&head(number)));
    assert!(timeout(Duration::from_secs(1), chain.announced()).await.is_err(), "told already");
}

#[tokio::test]
async fn a_node_without_subscriptions_leaves_the_rest_working() {
    let node = ScriptedNode::sound().await;
    let refuses = Announcer::start(REFUSES).await;
    let chain = listening(&node, &refuses.address).await;
    until("it is tried", async || refuses.subscriptions() >= 1).await;
    assert!(!announces(&chain));
    assert!(chain.head().await.is_ok());
    // A plain HTTP server on the other end.
    let address = node.url().authority().to_owned();
    let chain = listening(&node, &address).await;
    assert!(timeout(A_WHILE, chain.announced()).await.is_err());
    assert!(chain.head().await.is_ok() && !announces(&chain));
}

#[tokio::test]
async fn a_dropped_source_hangs_up() {
    let (node, announcer) = (ScriptedNode::sound().await, Announcer::start(ACCEPTS).await);
    let chain = listening(&node, &announcer.address).await;
    connected(&chain).await;
    assert_eq!(announcer.orders.receiver_count(), 1);
    drop(chain);
    until("the connection ends", async || {
        announcer.sends(&head(1));
        announcer.orders.receiver_count() == 0
    })
    .await;
}
