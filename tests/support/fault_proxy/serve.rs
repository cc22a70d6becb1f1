//! HTTP: a question in, an answer out, with the faults of the moment.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::listener::HttpConnections;
use super::state::Shared;
use super::view::View;
use super::{envelope, transport};

/// Above the largest question: a sweep over ten thousand addresses is about 1 MB.
const QUESTION_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Serves until stopped.
pub(super) async fn run(listener: TcpListener, shared: Shared, stop: CancellationToken) {
    let Ok(connections) = HttpConnections::new(listener, shared.clone(), stop.clone()) else { return };
    let limit = DefaultBodyLimit::max(QUESTION_BYTES_MAX);
    let router = Router::new().fallback(answer).layer(limit).with_state(shared);
    // Nothing to say at the end: the test that owns the proxy is over.
    let _ = axum::serve(connections, router).with_graceful_shutdown(stop.cancelled_owned()).await;
}

async fn answer(State(shared): State<Shared>, body: Bytes) -> Response {
    let faults = shared.faults.draw();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    shared.counts.note_request(&asked);
    if let Some(response) = transport::instead(&faults).await {
        return response;
    }
    let answered = if faults.iter().any(|fault| envelope::concerns(fault) || View::concerns(fault)) {
        let answers = View::new(&shared, &faults).answer(&asked).await;
        answers.map(|answers| Bytes::from(envelope::spoil(&shared, &faults, answers).to_string()))
    } else {
        shared.upstream.post(body).await
    };
    match answered {
        Ok(answer) => transport::send(&faults, answer),
        // The node behind is gone, so this one is too.
        Err(_) => transport::bad_gateway(),
    }
}
