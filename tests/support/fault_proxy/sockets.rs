//! WebSocket: announcements of blocks, passed on, lost, repeated or cut off.
//!
//! Each connection of a client has one of its own to the node behind. Whatever is no announcement is passed on as it is.

use core::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_async, connect_async};

use super::fault::Fault;
use super::state::Shared;

/// How often an open connection looks whether it shall be cut.
const LOOK: Duration = Duration::from_millis(50);

/// Far beyond any chain of a test.
const FAR_AHEAD: &str = "0xf423f00";

type ToClient = SplitSink<WebSocketStream<TcpStream>, Message>;
type FromClient = SplitStream<WebSocketStream<TcpStream>>;
type Node = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Serves one connection to its end, which nobody is told of.
pub(super) async fn serve(stream: TcpStream, shared: Shared) {
    if shared.faults.any(|fault| *fault == Fault::SocketsRefused) {
        return;
    }
    let Ok(client) = accept_async(stream).await else { return };
    let Ok((node, _)) = connect_async(shared.upstream.ws_url()).await else { return };
    shared.counts.note_socket();
    let (to_client, from_client) = client.split();
    let (to_node, from_node) = node.split();
    // Whichever ends first ends the others, and dropping the halves closes the connection.
    tokio::select! {
        () = questions(from_client, to_node) => {}
        _ = announcements(from_node, to_client, &shared) => {}
        () = cut(&shared) => {}
    }
}

async fn questions(mut from_client: FromClient, mut to_node: SplitSink<Node, Message>) {
    while let Some(Ok(message)) = from_client.next().await {
        if to_node.send(message).await.is_err() {
            return;
        }
    }
}

async fn announcements(
    mut from_node: SplitStream<Node>,
    mut to_client: ToClient,
    shared: &Shared,
) -> Result<(), Box<Error>> {
    let mut held: Option<Message> = None;
    while let Some(message) = from_node.next().await {
        let message = message.map_err(Box::new)?;
        let Some(head) = announcement(&message) else {
            to_client.send(message).await.map_err(Box::new)?;
            continue;
        };
        let faults = shared.faults.draw();
        let mut out = vec![message];
        for fault in faults {
            match fault {
                Fault::HeadsTwice => out.extend(out.clone()),
                Fault::HeadsMissed => out.clear(),
                Fault::HeadsGarbled => out = vec![Message::text("{\"jsonrpc\":\"2.0\",\"method\":")],
                Fault::HeadsAhead => out = vec![ahead(head.clone())],
                // Every other one waits for the next and follows it.
                Fault::HeadsReordered => match held.take() {
                    Some(earlier) => out.push(earlier),
                    None => held = out.pop(),
                },
                _ => {}
            }
        }
        for message in out {
            shared.counts.note_head();
            to_client.send(message).await.map_err(Box::new)?;
        }
    }
    Ok(())
}

/// Returns when the connection shall end.
async fn cut(shared: &Shared) {
    let opened = Instant::now();
    let due = |fault: &Fault| match fault {
        Fault::SocketsRefused | Fault::Refusing => true,
        Fault::SocketsCut(age) => opened.elapsed() >= *age,
        _ => false,
    };
    while !shared.faults.any(due) {
        sleep(LOOK).await;
    }
}

/// The announcement in a message, if it is one.
fn announcement(message: &Message) -> Option<Value> {
    let value: Value = serde_json::from_str(message.to_text().ok()?).ok()?;
    (value["method"] == "eth_subscription" && value["params"]["result"]["number"].is_string()).then_some(value)
}

fn ahead(mut head: Value) -> Message {
    head["params"]["result"]["number"] = json!(FAR_AHEAD);
    Message::text(head.to_string())
}
