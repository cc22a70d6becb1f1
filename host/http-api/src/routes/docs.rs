//! `/openapi.json` and `/docs`: what this deployment offers, for programs and for people.

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::answer::JSON;
use crate::router::Shared;

/// The media type of the page.
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// OpenAPI 3.1.
pub(crate) fn document(shared: &Shared) -> Response {
    ([(CONTENT_TYPE, JSON)], shared.document.json.clone()).into_response()
}

/// The same as a page. It may load its own style; every other answer of the API may load nothing.
pub(crate) fn reference(shared: &Shared) -> Response {
    let headers = [(CONTENT_TYPE, HTML), (CONTENT_SECURITY_POLICY, shared.document.page_policy.clone())];
    (headers, shared.document.page.clone()).into_response()
}
