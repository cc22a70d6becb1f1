//! The shape of answers that succeed.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use xthonpay_payments::port::store::AnswerBytes;

/// The media type of every body.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Tells that nothing was done: the answer is an earlier one.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// An answer that succeeds.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    location: Option<HeaderValue>,
    body: Vec<u8>,
    is_replay: bool,
}

#[derive(Serialize)]
struct Success<T> {
    status: &'static str,
    data: T,
}

/// One page of a list.
#[derive(Serialize)]
struct Page<T> {
    status: &'static str,
    data: Vec<T>,
    next_cursor: Option<String>,
    has_more: bool,
}

impl Answer {
    /// `data` in the usual envelope.
    pub(crate) fn data(data: impl Serialize) -> Self {
        Self::of(&Success { status: "success", data })
    }

    /// One page of a list; `next_cursor` is there when another page follows.
    pub(crate) fn page<T: Serialize>(data: Vec<T>, next_cursor: Option<String>) -> Self {
        let has_more = next_cursor.is_some();
        Self::of(&Page { status: "success", data, next_cursor, has_more })
    }

    /// A part of the feed; `next_cursor` is always there, because the feed always goes on.
    pub(crate) fn feed<T: Serialize>(data: Vec<T>, next_cursor: String, has_more: bool) -> Self {
        Self::of(&Page { status: "success", data, next_cursor: Some(next_cursor), has_more })
    }

    fn of(body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("answers consist of objects, lists, texts and numbers");
        Self { status: StatusCode::OK, location: None, body, is_replay: false }
    }

    /// The answer as it is kept for a call that asks for the same effect again.
    pub(crate) fn to_bytes(&self) -> AnswerBytes {
        AnswerBytes {
            status: self.status.as_u16(),
            location: self.location.as_ref().and_then(|location| location.to_str().ok()).map(str::to_owned),
            body: self.body.clone(),
        }
    }

    /// An answer that was given before.
    pub(crate) fn replayed(kept: AnswerBytes) -> Self {
        Self {
            // What is kept was an answer of ours.
            status: StatusCode::from_u16(kept.status).unwrap_or_default(),
            location: kept.location.and_then(|location| HeaderValue::try_from(location).ok()),
            body: kept.body,
            is_replay: true,
        }
    }

    /// The same answer for something that was made by this call and can be read at `location`.
    pub(crate) fn created(self, location: &str) -> Self {
        Self { status: StatusCode::CREATED, location: HeaderValue::from_str(location).ok(), ..self }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        if let Some(location) = self.location {
            response.headers_mut().insert(LOCATION, location);
        }
        if self.is_replay {
            response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}
