//! What every request gets, whatever becomes of it: an id, a span in the log, and headers that keep browsers and caches from
//! making something else of the answer. Failures get their body here, because only here the id is known.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;
use tracing::{Instrument as _, error, field, info, info_span, warn};
use xthonpay_domain::access::KeyId;
use xthonpay_domain::id::RequestId;
use xthonpay_payments::port::random::bytes;

use crate::answer::JSON;
use crate::error::ApiError;
use crate::router::Shared;

/// The header that carries the request id. A caller's own is ignored: it could be anything, also somebody else's.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The route of a request that matches no path of the table.
const NO_ROUTE: &str = "-";

/// Headers of every answer. Answers hold money and addresses, so nothing between us and the caller may keep them; they are
/// data, so no browser may guess another type or run anything in them. An answer may bring a policy of its own: the page of the
/// reference has a style.
const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

/// Wraps every request.
pub(crate) async fn edge(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::from_random(bytes(shared.api.random.as_ref()));
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // The matched path, not the one that was sent: ids and whatever else stands in paths stay out of the log.
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let method = request.method().clone();
    let span = info_span!(
        "request",
        %id,
        method = %request.method(),
        route,
        peer = peer.map(|peer| field::display(peer.0.ip())),
    );
    let caller = Caller::default();
    request.extensions_mut().insert(caller.clone());
    async move {
        let mut response = next.run(request).await;
        let failure = response.extensions_mut().remove::<ApiError>();
        if let Some(failure) = &failure {
            *response.body_mut() = Body::from(failure.body(id.as_str()).to_string());
            response.headers_mut().insert(CONTENT_TYPE, JSON);
        }
        let headers = response.headers_mut();
        for (name, value) in ALWAYS {
            headers.entry(name).or_insert(value);
        }
        // An id is made of a prefix and hexadecimal digits.
        headers.extend(HeaderValue::from_str(id.as_str()).ok().map(|value| (X_REQUEST_ID, value)));
        report(failure.as_ref(), &response, &caller, started);
        if let Some(failure) = &failure {
            shared.metrics.failed(failure.code());
        }
        shared.metrics.answered(&method, route, response.status().as_u16(), started.elapsed());
        response
    }
    .instrument(span)
    .await
}

/// Who makes a request, as far as that is known when it is answered. Told once, beside the answer: a span that learns it later
/// has to be written anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    client: OnceLock<IpAddr>,
    key: OnceLock<KeyId>,
}

impl Caller {
    /// From where it comes, as the trusted proxies tell it. The first word stays.
    pub(crate) fn comes_from(&self, client: IpAddr) {
        let _ = self.0.client.set(client);
    }

    /// The key that signed it. The first word stays.
    pub(crate) fn signed_with(&self, key: &KeyId) {
        let _ = self.0.key.set(key.clone());
    }
}

fn report(failure: Option<&ApiError>, response: &Response, Caller(caller): &Caller, started: Instant) {
    let status = response.status().as_u16();
    let elapsed_ms = started.elapsed().as_millis();
    let client = caller.client.get().map(field::display);
    let key = caller.key.get().map(field::display);
    match failure {
        None => info!(status, elapsed_ms, client, key, "answered"),
        Some(ApiError::Caller { message, .. }) => info!(status, elapsed_ms, client, key, %message, "refused"),
        Some(ApiError::Host { cause, .. }) if failure.is_some_and(ApiError::is_transient) => {
            warn!(status, elapsed_ms, client, key, cause, "not served");
        }
        Some(ApiError::Host { cause, .. }) => error!(status, elapsed_ms, client, key, cause, "failed"),
    }
}
