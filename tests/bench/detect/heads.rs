//! When the node announced each block, to a listener of our own.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use xthonpay_tests::BoxError;

/// Announcements so far, by height.
type Arrivals = BTreeMap<u64, Instant>;

/// Listens until dropped.
pub(super) struct Heads {
    arrivals: watch::Receiver<Arrivals>,
    listening: JoinHandle<()>,
}

impl Heads {
    /// Subscribes at the node with this WebSocket address.
    pub(super) async fn listen(url: &str) -> Result<Self, BoxError> {
        let (mut socket, _) = connect_async(url).await?;
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]});
        socket.send(Message::text(question.to_string())).await?;
        let (sender, arrivals) = watch::channel(Arrivals::new());
        let listening = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                let now = Instant::now();
                if let Some(number) = number_in(&message) {
                    sender.send_modify(|arrivals| {
                        arrivals.entry(number).or_insert(now);
                    });
                }
            }
        });
        Ok(Self { arrivals, listening })
    }

    /// When the block was announced; waits for it.
    pub(super) async fn arrival(&mut self, number: u64) -> Result<Instant, BoxError> {
        let arrivals = self.arrivals.wait_for(|arrivals| arrivals.contains_key(&number)).await?;
        Ok(arrivals.get(&number).copied().ok_or("the announcement just waited for")?)
    }

    /// Waits for an announcement that comes after this moment.
    pub(super) async fn next_after(&mut self, moment: Instant) -> Result<(), BoxError> {
        let after = |arrivals: &Arrivals| arrivals.last_key_value().is_some_and(|(_, arrived)| *arrived > moment);
        self.arrivals.wait_for(after).await?;
        Ok(())
    }
}

impl Drop for Heads {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn number_in(message: &Message) -> Option<u64> {
    let value: Value = serde_json::from_str(message.to_text().ok()?).ok()?;
    let digits = value["params"]["result"]["number"].as_str()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}
