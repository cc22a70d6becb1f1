//! A merchant's webhook endpoint: records what arrives, answers as told, and can be down.
//!
//! While it is down its port stays taken and refuses connections, so that the same address works again afterwards. A bound
//! socket that does not listen sees to that.
//! Verifies signatures when asked; it never refuses a delivery by itself.

mod delivery;

use core::net::SocketAddr;
use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::delivery::Delivery;
use crate::{BoxError, wait};

/// Connections that may wait to be accepted: as many as a host opens at once.
const BACKLOG: u32 = 256;

/// How long a hanging reply takes. The sender gives up long before.
const HANGING: Duration = Duration::from_secs(3_600);

/// What the receiver answers to one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// How long to wait before answering.
    pub delay: Duration,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
}

impl Reply {
    /// This status, at once.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, delay: Duration::ZERO, retry_after: None }
    }

    /// Nothing for longer than anybody waits.
    #[must_use]
    pub fn hanging() -> Self {
        Self::slow(HANGING)
    }

    /// Success after a while.
    #[must_use]
    pub fn slow(delay: Duration) -> Self {
        Self { delay, ..Self::status(200) }
    }
}

#[derive(Default)]
struct Book {
    deliveries: Vec<Delivery>,
    planned: HashMap<String, VecDeque<Reply>>,
    usual: HashMap<String, Reply>,
}

type SharedBook = Arc<Mutex<Book>>;

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A receiver on a local port.
pub struct Receiver {
    address: SocketAddr,
    book: SharedBook,
    running: Option<Running>,
    /// Bound and never listening: keeps the port from others while the receiver is down.
    _reservation: TcpSocket,
}

impl Receiver {
    /// A receiver that listens on a free port.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn start() -> Result<Self, BoxError> {
        let mut receiver = Self::down()?;
        receiver.up()?;
        Ok(receiver)
    }

    /// A receiver that has a port and does not listen yet.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub fn down() -> Result<Self, BoxError> {
        let reservation = bound(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = reservation.local_addr()?;
        Ok(Self { address, book: SharedBook::default(), running: None, _reservation: reservation })
    }

    /// Begins to listen; does nothing when it does already.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn up(&mut self) -> Result<(), BoxError> {
        if self.running.is_some() {
            return Ok(());
        }
        let listener = bound(self.address)?.listen(BACKLOG)?;
        let router = Router::new().fallback(receive).with_state(Arc::clone(&self.book));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = axum::serve(listener, router).with_graceful_shutdown(async {
            // A dropped sender stops it just the same.
            let _ = stopped.await;
        });
        let task = tokio::spawn(async move {
            // Serving ends with the shutdown; an accept error is retried by the server itself.
            let _ = served.await;
        });
        self.running = Some(Running { stop, task });
        Ok(())
    }

    /// Stops listening and closes what is open; answers under way are finished.
    ///
    /// # Errors
    /// When serving broke off.
    pub async fn go_down(&mut self) -> Result<(), BoxError> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let _ = running.stop.send(());
        Ok(running.task.await?)
    }

    /// The URL of a path of this receiver.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The answer on a path whenever none is planned, in place of success at once.
    pub fn usually(&self, path: &str, reply: Reply) {
        self.book().usual.insert(path.to_owned(), reply);
    }

    /// The next answers on a path, one a delivery; after them everything is as usual again.
    pub fn plan(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.book().planned.entry(path.to_owned()).or_default().extend(replies);
    }

    /// How many deliveries came so far, on all paths.
    #[must_use]
    pub fn count(&self) -> usize {
        self.book().deliveries.len()
    }

    /// Every delivery on a path so far, repeated ones included, in the order of arrival.
    #[must_use]
    pub fn deliveries(&self, path: &str) -> Vec<Delivery> {
        self.book().deliveries.iter().filter(|delivery| delivery.path == path).cloned().collect()
    }

    /// Waits for the first delivery on a path whose event has this kind.
    ///
    /// # Errors
    /// When none came within the limit; the text names the kinds that came.
    pub async fn wait_for(&self, path: &str, kind: &str, limit: Duration) -> Result<Delivery, BoxError> {
        wait::until(&format!("{kind} on {path}"), limit, async || {
            let came = self.deliveries(path);
            Ok(match came.iter().find(|delivery| delivery.kind() == kind) {
                Some(found) => ControlFlow::Break(found.clone()),
                None => ControlFlow::Continue(format!("{:?}", came.iter().map(Delivery::kind).collect::<Vec<_>>())),
            })
        })
        .await
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that has the address, shares it with others of this process, and does not listen yet.
fn bound(address: SocketAddr) -> Result<TcpSocket, BoxError> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    // Connections that just ended would keep the address busy for minutes.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn receive(State(book): State<SharedBook>, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let path = uri.path().to_owned();
    let reply = {
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        book.deliveries.push(Delivery { at: Instant::now(), path: path.clone(), headers, body: body.to_vec() });
        let planned = book.planned.get_mut(&path).and_then(VecDeque::pop_front);
        planned.or_else(|| book.usual.get(&path).cloned()).unwrap_or_else(|| Reply::status(200))
    };
    tokio::time::sleep(reply.delay).await;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let retry_after = reply.retry_after.map(|value| ("retry-after", value));
    (status, axum::response::AppendHeaders(retry_after), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn post(receiver: &Receiver, path: &str, body: &'static str) -> Result<u16, BoxError> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(http.post(receiver.url(path)).body(body).send().await?.status().as_u16())
    }

    #[tokio::test]
    async fn answers_as_planned_and_then_with_success() -> Result<(), BoxError> {
        let receiver = Receiver::start().await?;
        receiver.plan("/a", [Reply::status(503), Reply::status(410)]);
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(post(&receiver, "/a", "{}").await?);
        }
        assert_eq!(answers, [503, 410, 200]);
        assert_eq!(post(&receiver, "/b", "{}").await?, 200, "plans are for one path");
        receiver.usually("/a", Reply::status(500));
        receiver.plan("/a", [Reply::status(503)]);
        assert_eq!((post(&receiver, "/a", "{}").await?, post(&receiver, "/a", "{}").await?), (503, 500));
        assert_eq!(receiver.deliveries("/a").len(), 5);
        Ok(())
    }

    #[tokio::test]
    async fn refuses_connections_while_down_and_keeps_its_address() -> Result<(), BoxError> {
        let mut receiver = Receiver::down()?;
        assert!(post(&receiver, "/", "1").await.is_err());
        receiver.up()?;
        assert_eq!(post(&receiver, "/", "2").await?, 200);
        receiver.go_down().await?;
        assert!(post(&receiver, "/", "3").await.is_err());
        receiver.up()?;
        assert_eq!(post(&receiver, "/", "4").await?, 200);
        let bodies: Vec<Vec<u8>> = receiver.deliveries("/").into_iter().map(|delivery| delivery.body).collect();
        assert_eq!(bodies, [b"2", b"4"]);
        Ok(())
    }
}
