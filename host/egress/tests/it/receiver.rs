//! A receiver that counts connections and answers what a test wants, down to the bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xthonpay_egress::{EgressConfig, NameLookup, WebhookClient};
use xthonpay_payments::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport as _};

/// What goes back over the socket once the request is read.
#[derive(Clone)]
pub(crate) enum Reply {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// These bytes, and then these again and again without end.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, and then nothing while the connection stays open.
    Stall(Vec<u8>),
    /// These bytes, one every 20 ms.
    Drip(Vec<u8>),
}

impl Reply {
    pub(crate) fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    pub(crate) fn ok() -> Self {
        Self::text("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    }
}

/// A receiver on a local port.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub(crate) async fn start(reply: Reply) -> Self {
        Self::start_at("127.0.0.1:0", reply).await
    }

    pub(crate) async fn start_at(address: &str, reply: Reply) -> Self {
        let listener = TcpListener::bind(address).await.expect("a local port");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (count, seen) = (Arc::clone(&connections), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (reply, seen) = (reply.clone(), Arc::clone(&seen));
                // The other side may hang up at any time.
                tokio::spawn(async move { serve(stream, reply, seen).await.ok() });
            }
        });
        Self { address, connections, requests }
    }

    /// Connections accepted so far. What is still in the queue of the kernel is accepted first.
    pub(crate) async fn connections(&self) -> usize {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.connections.load(Ordering::SeqCst)
    }

    /// Heads and bodies of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn serve(mut stream: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let request = read_request(&mut stream).await?;
    seen.lock().expect("not poisoned").push(request);
    match reply {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
        Reply::Endless(head, again) => {
            stream.write_all(&head).await?;
            loop {
                stream.write_all(&again).await?;
            }
        }
        Reply::Stall(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending::<()>().await;
        }
        Reply::Drip(bytes) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    stream.shutdown().await
}

async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
            return Ok(text.into_owned());
        }
    }
}

/// A name service that gives its answers in turn, the last one for ever.
#[derive(Default)]
pub(crate) struct ScriptedLookup {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl ScriptedLookup {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().expect("an address")).collect();
        let answers = answers.iter().rev().map(parse).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: AtomicUsize::new(0) })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl NameLookup for ScriptedLookup {
    async fn lookup(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().expect("not poisoned");
        let next = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() };
        next.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Allows these networks; short limits, so that a hanging receiver does not hold up the tests.
pub(crate) fn allowing(networks: &[&str]) -> EgressConfig {
    EgressConfig {
        allow_networks: networks.iter().map(|text| text.parse().expect("a network")).collect(),
        total_timeout: Duration::from_millis(600),
        connect_timeout: Duration::from_millis(400),
        ..EgressConfig::default()
    }
}

pub(crate) async fn post(client: &WebhookClient, url: &str) -> Result<WebhookAnswer, EgressError> {
    let request = WebhookRequest {
        url: url.parse().expect("the text of a URL"),
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("webhook-id".to_owned(), "evt_1".to_owned()),
        ],
        body: br#"{"event":"invoice.paid"}"#.to_vec(),
    };
    client.post(request).await
}

/// What comes back from a receiver on the loopback interface that replies like this.
pub(crate) async fn exchange(reply: Reply) -> Result<WebhookAnswer, EgressError> {
    let receiver = Receiver::start(reply).await;
    let client = WebhookClient::new(allowing(&["127.0.0.0/8"])).expect("a sound config");
    post(&client, &format!("http://{}/hook", receiver.address)).await
}
