//! What stands between a shop and its platform: something that fails, answers nonsense, or loses what the platform
//! answered.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use xthonpay_tests::BoxError;

/// What a call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hurdle {
    /// Says that it is too early.
    RetryAfter(StatusCode),
    /// Success without sense, as from a proxy.
    Nonsense,
    /// Hands the request on and loses the answer.
    LosesAnswer,
    /// Sends the client somewhere else.
    Redirects,
}

/// Something between a shop and its platform.
pub(super) struct Between {
    http: reqwest::Client,
    host: String,
    /// What calls that make something meet, the last one first; after that they pass.
    hurdles: Mutex<Vec<Hurdle>>,
    /// Key and signature of each of those calls.
    pub(super) calls: Mutex<Vec<(String, String)>>,
}

impl Between {
    /// It, where it stands, and the task that serves it.
    pub(super) async fn start(
        host: &str,
        mut hurdles: Vec<Hurdle>,
    ) -> Result<(Arc<Self>, String, JoinHandle<()>), BoxError> {
        hurdles.reverse();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let (hurdles, calls) = (Mutex::new(hurdles), Mutex::default());
        let between = Arc::new(Self { http, host: host.to_owned(), hurdles, calls });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(pass).with_state(Arc::clone(&between));
        let task = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, router).await;
        });
        Ok((between, url, task))
    }
}

async fn pass(
    State(between): State<Arc<Between>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut hurdle = None;
    if method == Method::POST {
        between.calls.lock().await.push((header("idempotency-key"), header("x-signature")));
        hurdle = between.hurdles.lock().await.pop();
    }
    match hurdle {
        Some(Hurdle::RetryAfter(status)) => return (status, [("retry-after", "1")], "busy").into_response(),
        Some(Hurdle::Nonsense) => return "<html>welcome</html>".into_response(),
        Some(Hurdle::Redirects) => {
            return (StatusCode::TEMPORARY_REDIRECT, [("location", "http://127.0.0.1:1/")]).into_response();
        }
        Some(Hurdle::LosesAnswer) | None => {}
    }
    let url = format!("{}{uri}", between.host);
    let mut request = between.http.request(method, url).body(body);
    for name in ["x-api-key", "x-timestamp", "x-signature", "content-type", "idempotency-key"] {
        if headers.contains_key(name) {
            request = request.header(name, header(name));
        }
    }
    let answer = match request.send().await {
        Ok(answer) if hurdle.is_none() => answer,
        _ => return StatusCode::BAD_GATEWAY.into_response(),
    };
    let status = answer.status();
    (status, Body::from(answer.bytes().await.unwrap_or_default())).into_response()
}
