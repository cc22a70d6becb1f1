//! Calls about the deployment itself.

use http::StatusCode;

use super::super::operation::{CallDoc, Group};
use super::super::schema::{Fields, any_object, flag, named, success, text};
use super::super::shapes::READINESS;
use crate::error::Outage;

pub(super) fn time() -> CallDoc {
    CallDoc::new("readTime", Group::Service, "Read the clock")
        .details("For callers whose signatures are refused with `CLOCK_SKEW`.")
        .answers(StatusCode::OK, "This host's clock.", success(named("Time")))
}

pub(super) fn health() -> CallDoc {
    let alive = Fields::new("Signs of life.").field("alive", flag("Always true.")).open();
    CallDoc::new("readHealth", Group::Service, "Whether the process lives")
        .details("For supervisors: no answer means that it should be restarted.")
        .answers(StatusCode::OK, "It lives.", success(alive))
}

pub(super) fn readiness() -> CallDoc {
    CallDoc::new("readReadiness", Group::Service, "Whether this deployment is ready")
        .details("For load balancers. Ready means that the store takes writes, every scanner keeps up, and no required part is broken.")
        .answers(StatusCode::OK, "It is ready.", success(named(READINESS)))
        .fails([Outage::NotReady])
}

pub(super) fn metrics() -> CallDoc {
    CallDoc::new("readMetrics", Group::Service, "Read the metrics")
        .details("For the operator's monitoring, and answered to the networks that the config names; to all others it does not exist.")
        .answers_with(
            StatusCode::OK,
            "Metrics in the text format of OpenMetrics.",
            "application/openmetrics-text",
            text("OpenMetrics 1.0.").into(),
        )
}

pub(super) fn document() -> CallDoc {
    CallDoc::new("readDocument", Group::Service, "Read this document").answers(
        StatusCode::OK,
        "OpenAPI 3.1.",
        any_object("OpenAPI 3.1.").into(),
    )
}

pub(super) fn reference() -> CallDoc {
    CallDoc::new("readReference", Group::Service, "Read this document as a page").answers_with(
        StatusCode::OK,
        "A page for people.",
        "text/html",
        text("HTML without scripts.").into(),
    )
}
