//! A server that does nothing but answer: hyper with a body of the right size, in a thread of its own.
//!
//! What is left of a read's time beside this one's is what the host does: the signature, the limits, the store.

use core::convert::Infallible;
use core::net::SocketAddr;
use std::thread;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use xthonpay_tests::BoxError;

/// A server that answers every request with the same bytes. Ends when dropped.
pub(super) struct BareServer {
    pub(super) address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl BareServer {
    /// Starts a server whose answers have so many bytes.
    pub(super) async fn start(answer_bytes: usize) -> Result<Self, BoxError> {
        let (told, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let body = Bytes::from(vec![b'x'; answer_bytes]);
        thread::spawn(move || serve(body, told, stopped));
        let address = address.await.map_err(|_| "the bare server did not start")?;
        Ok(Self { address, _stop: stop })
    }
}

/// Serves until nobody holds the other end of `stopped` any more.
fn serve(body: Bytes, told: oneshot::Sender<SocketAddr>, stopped: oneshot::Receiver<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() else {
        return;
    };
    runtime.block_on(async move {
        let Ok(listener) = TcpListener::bind("127.0.0.1:0").await else { return };
        let Ok(address) = listener.local_addr() else { return };
        if told.send(address).is_err() {
            return;
        }
        tokio::spawn(accept(listener, body));
        // An error is what a dropped sender gives.
        let _ = stopped.await;
    });
}

async fn accept(listener: TcpListener, body: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let body = body.clone();
        let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
            let body = body.clone();
            async move { Ok::<_, Infallible>(Response::new(Body::from(body))) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
