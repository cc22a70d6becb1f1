//! `/metrics`, in the text format of OpenMetrics, for the operator's monitoring.
//!
//! What the scanners say about themselves is read at each scrape, so nothing here can be older than the scanners' own view;
//! requests and calls of plugins are counted as they end. Names and units are stable. No label holds anything that a stranger
//! chose: paths are the table's, not the request's, and ids never appear, so the number of series is bounded by the config.

mod chains;
mod plugins;
mod webhooks;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::api::Api;
use crate::error::{ApiError, Outage};

/// What every name begins with.
const PREFIX: &str = "xthonpay";

/// Upper bounds of the buckets of request times, in seconds: from a read of one record to the limit of a call.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The media type of the text format, as the specification of OpenMetrics 1.0 names it.
const OPENMETRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// One kind of request with one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    status: u16,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// One kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    code: &'static str,
}

/// Everything that is measured.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    refused: Family<Refused, Counter>,
    by_timestamp: Counter,
}

impl Metrics {
    pub(crate) fn new(api: &Api) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let requests = Family::<Answered, Counter>::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        let seconds: Family<Route, Histogram, fn() -> Histogram> = Family::new_with_constructor(request_times);
        registry.register_with_unit(
            "http_request_duration",
            "Time from the first byte of a request to its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register_collector(Box::new(chains::Chains {
            chains: api.chains.clone(),
            watch: Arc::clone(&api.invoicing.watch),
            clock: Arc::clone(&api.clock),
        }));
        registry.register_collector(Box::new(webhooks::Webhooks(Arc::clone(&api.tally))));
        registry.register_collector(Box::new(plugins::Plugins {
            tally: Arc::clone(&api.hook_tally),
            standings: Arc::clone(&api.plugins),
        }));
        let refused = Family::<Refused, Counter>::default();
        registry.register("http_failures", "Requests that were answered with an error, by its code", refused.clone());
        let by_timestamp = Counter::default();
        registry.register(
            "http_timestamp_signatures",
            "Requests admitted under a signature that covers their time stamp alone",
            by_timestamp.clone(),
        );
        Self { registry, requests, seconds, refused, by_timestamp }
    }

    /// Counts a request that was admitted under the signature scheme `timestamp`.
    pub(crate) fn signed_by_timestamp(&self) {
        self.by_timestamp.inc();
    }

    /// Counts a failure. `code` is one of the fixed set.
    pub(crate) fn failed(&self, code: &'static str) {
        self.refused.get_or_create(&Refused { code }).inc();
    }

    /// Counts an answer. `route` is a path of the table, or a word for all that match none.
    pub(crate) fn answered(&self, method: &http::Method, route: &str, status: u16, took: Duration) {
        let method = known_method(method).to_owned();
        self.requests.get_or_create(&Answered { method, route: route.to_owned(), status }).inc();
        self.seconds.get_or_create(&Route { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// All of it as text.
    pub(crate) fn render(&self) -> Result<Response, ApiError> {
        let mut text = String::new();
        encode(&mut text, &self.registry)
            .map_err(|fmt::Error| ApiError::host(Outage::Internal, "the metrics cannot be written"))?;
        let mut response = text.into_response();
        response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
        Ok(response)
    }
}

fn request_times() -> Histogram {
    Histogram::new(SECONDS)
}

/// A method by its name; methods can be invented, and an invented one is no label.
fn known_method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_method_makes_no_series_of_its_own() {
        let invented = http::Method::from_bytes(b"BREW").expect("a token is a method");
        assert_eq!(known_method(&invented), "other");
        assert_eq!(known_method(&http::Method::POST), "POST");
    }
}
