//! From the table of calls to a service.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::HeaderName;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;

use crate::api::Api;
use crate::door::{self, X_SIGNATURE};
use crate::edge;
use crate::error::{ApiError, Fault, Outage};
use crate::metrics::Metrics;
use crate::openapi::Document;
use crate::policies::{Door, TABLE};
use crate::routes::{self, health::Readiness};

/// What every handler shares.
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    pub(crate) document: Document,
}

/// The API as a service. Requests must carry the address of the peer as
/// [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo), as [`serve`](crate::serve) provides it.
pub fn router(api: Api) -> Router {
    let metrics = Metrics::new(&api);
    let document = Document::new(&api.config.public_url);
    let shared = Arc::new(Shared { api, readiness: Readiness::default(), metrics, document });
    let mut router = Router::new();
    for row in &TABLE {
        // Every method of the table is one that the filter knows.
        let filter = MethodFilter::try_from(row.method.clone()).expect("a method of RFC 9110");
        for path in row.paths() {
            let handler = match row.door {
                Door::Signed(call, policy) => {
                    on(filter, move |State(shared): State<Arc<Shared>>, request: Request| async move {
                        door::pass(&shared, call, policy, request).await
                    })
                }
                Door::Open(call) => on(filter, move |State(shared): State<Arc<Shared>>| async move {
                    routes::open(&shared, call).await.into_response()
                }),
                Door::Operator(call) => {
                    on(filter, move |State(shared): State<Arc<Shared>>, request: Request| async move {
                        door::pass_operator(&shared, call, &request).into_response()
                    })
                }
            };
            router = router.route(&path, handler);
        }
    }
    let signature = HeaderName::from_static(X_SIGNATURE);
    router
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || {
            ApiError::caller(Fault::MethodNotAllowed, "this address does not know the method; see Allow")
        })
        .layer(
            ServiceBuilder::new()
                .layer(from_fn_with_state(Arc::clone(&shared), edge::edge))
                // Whatever prints headers, in whichever library, prints no signature.
                .layer(SetSensitiveRequestHeadersLayer::new([signature]))
                .layer(CatchPanicLayer::custom(panicked)),
        )
        .with_state(shared)
}

/// The answer to a request whose handler panicked: a bug, and an answer like any other failure of ours.
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    ApiError::host(Outage::Internal, format!("panic: {}", text.unwrap_or_default())).into_response()
}
