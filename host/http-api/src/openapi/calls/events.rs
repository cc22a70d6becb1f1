//! The feed of events, and telling them again.

use http::StatusCode;
use serde_json::json;
use xthonpay_domain::event::EventKind;
use xthonpay_payments::delivery::replay::REPLAYED_MAX;

use super::super::operation::{CallDoc, Group};
use super::super::schema::{
    Fields, flag, id, list, named, one_of, or_null, or_null_list, page, pattern, success, text, whole,
};
use super::super::{cursor_parameter, limit_parameter};
use crate::error::{Fault, Outage};

pub(super) fn feed() -> CallDoc {
    CallDoc::new("readFeed", Group::Events, "Read the feed")
        .details(
            "Your events in the order in which they were recorded, oldest first and without gaps. `next_cursor` is always there: \
             keep it, and go on from it whenever you like.",
        )
        .query("limit", limit_parameter())
        .query("cursor", cursor_parameter())
        .query(
            "type",
            text(
                "Only events of these kinds, separated by commas, such as `invoice.paid,invoice.expired`. A page may then be empty \
                 and still have more behind it.",
            ),
        )
        .answers(StatusCode::OK, "What comes next.", page(named("Event"), true))
}

pub(super) fn read() -> CallDoc {
    CallDoc::new("readEvent", Group::Events, "Read an event").path("id", id("evt_", "The event.")).answers(
        StatusCode::OK,
        "The event.",
        success(named("Event")),
    )
}

pub(super) fn replay() -> CallDoc {
    let kinds = list(one_of(EventKind::ALL.map(EventKind::name), "A kind of events."), "Kinds of events.");
    let from =
        "Where the range begins: behind a `next_cursor` of the feed, or with events of this time (RFC 3339) and later.";
    let to = "Only to this endpoint; to everybody who would hear of them now, where it is missing.";
    let body = Fields::new("Which events shall be told again.")
        .field("from", pattern("^.", "2026-01-31T12:00:00Z", from))
        .optional("to", or_null(text("Where it ends, in the same forms; with the newest event, where it is missing.")))
        .optional("endpoint_id", or_null(id("whe_", to)))
        .optional("types", or_null_list(kinds, "Only events of these kinds; of all, where it is missing or empty."))
        .example(json!({"from": "2026-01-31T12:00:00Z"}));
    let done = Fields::new("How much was told again.")
        .field("events", whole(0, None, "Events that are told again."))
        .field("deliveries", whole(0, None, "Their deliveries, which are due now."))
        .field("next_cursor", text("The `from` of the next call."))
        .field("has_more", flag("Whether there may be more in the range."))
        .open();
    CallDoc::new("replayEvents", Group::Events, "Tell events again")
        .details(format!(
            "Deliveries that exist are sent again, with the same bytes under the same `webhook-id`; those to a newer endpoint are \
             made. One call sends about {REPLAYED_MAX} of them; go on from `next_cursor` while `has_more`."
        ))
        .body(body.closed())
        .answers(StatusCode::OK, "What was done.", success(done))
        .fails([Fault::NotFound, Fault::InvalidState])
        .fails([Outage::ComponentFailed])
}
