//! Deliveries.

use http::StatusCode;
use utoipa::openapi::Object;

use super::super::operation::{CallDoc, Group};
use super::super::schema::{id, named, one_of, page, success};
use super::super::shapes::DELIVERY_STATES;
use super::super::{cursor_parameter, limit_parameter};
use crate::error::Fault;

pub(super) fn list() -> CallDoc {
    CallDoc::new("listDeliveries", Group::Deliveries, "List deliveries")
        .details("Newest first, page by page. At most one of `event_id`, `endpoint_id` and `status`.")
        .query("limit", limit_parameter())
        .query("cursor", cursor_parameter())
        .query("event_id", id("evt_", "Only those of this event."))
        .query("endpoint_id", id("whe_", "Only those to this endpoint."))
        .query("status", one_of(DELIVERY_STATES, "Only those that stand there."))
        .answers(StatusCode::OK, "One page.", page(named("Delivery"), false))
}

pub(super) fn read() -> CallDoc {
    CallDoc::new("readDelivery", Group::Deliveries, "Read a delivery").path("id", path_id()).answers(
        StatusCode::OK,
        "What was sent, and what came back.",
        success(named("DeliveryWithLog")),
    )
}

pub(super) fn redeliver() -> CallDoc {
    CallDoc::new("redeliver", Group::Deliveries, "Deliver once more")
        .details("The same bytes under the same `webhook-id`, at once and with a fresh schedule.")
        .path("id", path_id())
        .answers(StatusCode::OK, "The delivery, due now.", success(named("Delivery")))
        .fails([Fault::InvalidState, Fault::UnsupportedMediaType])
}

fn path_id() -> Object {
    id("dlv_", "The delivery.")
}
