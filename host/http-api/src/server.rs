//! Connections: how many there are, how long each may be idle or slow, and how they end.
//!
//! HTTP/1.1 only: one request at a time on a connection makes the limit of connections the limit of work. TLS ends at the
//! proxy in front. What a request means is not known here.

mod linger;
mod stall;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;
use tracing::{debug, info, warn};

use linger::Lingering;
use stall::StallGuard;

/// How long accepting pauses after it failed, usually for want of file descriptors: long enough for one to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Failures in a row after which the listener counts as broken: a minute of them.
const ACCEPT_FAILURES_MAX: u32 = 600;
/// Bytes of a request's head, and of a read. Our own clients need 1 KiB; proxies add a few headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// Bounds of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once. Further ones wait in the queue of the operating system.
    pub connections_max: usize,
    /// How long a connection may take for the head of a request, and how long it may be idle between two.
    pub head_time_max: Duration,
    /// How long a client may refuse to take a byte of its answer.
    pub write_stall_max: Duration,
    /// How long requests under way may go on after the stop.
    pub drain_time_max: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            // Half of the usual limit of file descriptors; the other half is for the store, the nodes and webhooks.
            connections_max: 512,
            // Enough for a poor link, and for a client that keeps its connection between calls. Idle proxies reconnect.
            head_time_max: Duration::from_secs(20),
            write_stall_max: Duration::from_secs(20),
            // Supervisors kill after 20 to 30 s, and the store must be closed after this.
            drain_time_max: Duration::from_secs(12),
        }
    }
}

/// Serves the API on `listener` until `stop` is cancelled: then no connection is accepted any more, idle ones are closed,
/// and requests under way are answered for as long as [`ServerLimits::drain_time_max`] allows.
///
/// # Errors
/// When the listener keeps failing.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServerLimits,
    stop: CancellationToken,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let connections = TaskTracker::new();
    // Cancelled when draining took too long.
    let abort = CancellationToken::new();
    let ending = stop.child_token();
    let mut failures = 0_u32;
    let outcome = loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break Ok(()),
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                failures = 0;
                let connection = connection(stream, peer, router.clone(), limits, ending.clone());
                let abort = abort.clone();
                connections.spawn(async move {
                    abort.run_until_cancelled(connection).await;
                    drop(permit);
                });
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                if failures >= ACCEPT_FAILURES_MAX {
                    break Err(error);
                }
                warn!(%error, "no connection could be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    };
    drop(listener);
    ending.cancel();
    connections.close();
    info!(connections = connections.len(), "draining");
    if timeout(limits.drain_time_max, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "connections were cut off: draining took too long");
        abort.cancel();
        connections.wait().await;
    }
    outcome
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: ServerLimits,
    ending: CancellationToken,
) {
    // Answers are small and written at once; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time_max)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Lingering::new(StallGuard::new(stream, limits.write_stall_max))), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}
