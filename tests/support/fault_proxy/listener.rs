//! One port for two protocols: a connection that begins with a POST is HTTP, one that begins with a GET wants a WebSocket.

use core::net::SocketAddr;
use core::time::Duration;

use axum::serve::Listener;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::sockets;
use super::state::Shared;

/// How long a connection may take to say what it is. A test's client speaks at once.
const FIRST_WORD_MAX: Duration = Duration::from_secs(5);

/// After a failure to accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that wait to be taken; a test has a few clients.
const WAITING_MAX: usize = 64;

/// The HTTP connections of a port.
pub(super) struct HttpConnections {
    waiting: mpsc::Receiver<(TcpStream, SocketAddr)>,
    address: SocketAddr,
}

impl HttpConnections {
    /// Takes the port over. WebSockets are served by tasks of their own.
    pub(super) fn new(listener: TcpListener, shared: Shared, stop: CancellationToken) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, shared, sender, stop)));
        Ok(Self { waiting, address })
    }
}

impl Listener for HttpConnections {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        match self.waiting.recv().await {
            Some(connection) => connection,
            // The port is closed; the server is stopped by its own signal.
            None => core::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(
    listener: TcpListener,
    shared: Shared,
    http: mpsc::Sender<(TcpStream, SocketAddr)>,
    stop: CancellationToken,
) {
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        // Questions are small, and a wait for more of them would be measured.
        let _ = stream.set_nodelay(true);
        let (shared, http) = (shared.clone(), http.clone());
        let served = stop.clone().run_until_cancelled_owned(sort(stream, from, shared, http));
        tokio::spawn(served);
    }
}

/// Looks at the first letter without taking it.
async fn sort(stream: TcpStream, from: SocketAddr, shared: Shared, http: mpsc::Sender<(TcpStream, SocketAddr)>) {
    if shared.faults.any(|fault| *fault == Fault::Refusing) {
        // Somebody came with a question, whatever it was.
        return shared.counts.note_request(&Value::Null);
    }
    let mut letter = [0];
    match timeout(FIRST_WORD_MAX, stream.peek(&mut letter)).await {
        Ok(Ok(1)) if letter == *b"G" => sockets::serve(stream, shared).await,
        // When the server is gone, so is whoever would notice.
        Ok(Ok(1)) => drop(http.send((stream, from)).await),
        _ => {}
    }
}
