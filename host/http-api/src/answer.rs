//! The shape of answers that succeed.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::error::{ApiError, Outage};

/// The media type of every body.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer that succeeds.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    location: Option<HeaderValue>,
    body: Vec<u8>,
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
    pub(crate) fn data(data: impl Serialize) -> Result<Self, ApiError> {
        Self::of(&Success { status: "success", data })
    }

    /// One page of a list; `next_cursor` is there when another page follows.
    pub(crate) fn page<T: Serialize>(data: Vec<T>, next_cursor: Option<String>) -> Result<Self, ApiError> {
        let has_more = next_cursor.is_some();
        Self::of(&Page { status: "success", data, next_cursor, has_more })
    }

    fn of(body: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| ApiError::host(Outage::Internal, error.to_string()))?;
        Ok(Self { status: StatusCode::OK, location: None, body })
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
        response
    }
}
