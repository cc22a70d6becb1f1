//! Webhook endpoints.

use http::StatusCode;
use serde_json::json;
use utoipa::openapi::Object;
use utoipa::openapi::schema::ArrayBuilder;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::text::{Label, PluginName};
use xthonpay_payments::endpoints::{ENDPOINTS_MAX, OVERLAP_DEFAULT, OVERLAP_MAX};

use super::super::operation::{CallDoc, Group};
use super::super::schema::{
    Fields, Shape, flag, id, named, one_of, or_null, or_null_list, page, pattern, success, url, whole, words,
};
use crate::error::{Fault, Outage};

pub(super) fn create() -> CallDoc {
    let body =
        fields("A webhook endpoint to make. A field that is `null` counts as not given.", false).example(json!({
            "url": "https://shop.example/hooks",
            "events": ["invoice.paid", "invoice.expired"],
        }));
    CallDoc::new("createEndpoint", Group::Endpoints, "Make a webhook endpoint")
        .details(format!(
            "Answers the secret of the endpoint, once. It hears of every event that is recorded from then on. A merchant has at \
             most {ENDPOINTS_MAX} of them; one more is refused with `INVALID_STATE`."
        ))
        .body(body.closed())
        .creates("The endpoint was made.", success(named("EndpointWithSecret")))
        .fails([Fault::InvalidState])
}

pub(super) fn list() -> CallDoc {
    CallDoc::new("listEndpoints", Group::Endpoints, "List webhook endpoints")
        .details("Oldest first, all of them on one page.")
        .answers(StatusCode::OK, "Every endpoint that was not removed.", page(named("Endpoint"), false))
}

pub(super) fn read() -> CallDoc {
    CallDoc::new("readEndpoint", Group::Endpoints, "Read a webhook endpoint").path("id", path_id()).answers(
        StatusCode::OK,
        "The endpoint.",
        success(named("Endpoint")),
    )
}

pub(super) fn update() -> CallDoc {
    let says = "What shall be different. What is not named stays as it is.";
    let enabled = flag("Whether it gets deliveries. True also switches on again what the host has switched off.");
    let body = fields(says, true).optional("enabled", or_null(enabled)).example(json!({"enabled": true}));
    CallDoc::new("updateEndpoint", Group::Endpoints, "Change a webhook endpoint")
        .details("`null` for `events`, `label` or `format` means what a new endpoint has; for the others it counts as not given.")
        .path("id", path_id())
        .body(body.closed())
        .answers(StatusCode::OK, "The endpoint as it is now.", success(named("Endpoint")))
        .fails([Fault::InvalidState])
}

pub(super) fn remove() -> CallDoc {
    CallDoc::new("removeEndpoint", Group::Endpoints, "Remove a webhook endpoint")
        .details("Nothing is sent to it any more. Its deliveries can still be read.")
        .path("id", path_id())
        .answers(StatusCode::OK, "The endpoint, removed.", success(named("Endpoint")))
        .fails([Fault::UnsupportedMediaType])
}

pub(super) fn rotate_secret() -> CallDoc {
    let (default, max) = (OVERLAP_DEFAULT.as_secs(), OVERLAP_MAX.as_secs());
    let says = format!(
        "For how many seconds the old secret signs beside the new one: from 0 to {max}, {default} unless given."
    );
    let overlap = or_null(whole(0, Some(max), says));
    let body = Fields::new("How long the old secret goes on.").optional("overlap_s", overlap);
    CallDoc::new("rotateEndpointSecret", Group::Endpoints, "Replace the secret of a webhook endpoint")
        .details(
            "Answers the new secret, once. For a while `webhook-signature` holds a signature of each, so that your receiver can \
             change over whenever it likes. The body may be left out.",
        )
        .path("id", path_id())
        .may_have_body(body.closed())
        .answers(StatusCode::OK, "The endpoint with its new secret.", success(named("EndpointWithSecret")))
        .fails([Fault::InvalidState])
}

pub(super) fn ping() -> CallDoc {
    CallDoc::new("pingEndpoint", Group::Endpoints, "Send a test delivery")
        .details("Makes an event `ping` for this endpoint alone. How it went is in the log of the delivery.")
        .path("id", path_id())
        .creates("The delivery, under way.", success(named("Delivery")))
        .fails([Fault::InvalidState, Fault::UnsupportedMediaType])
        .fails([Outage::ComponentFailed])
}

fn path_id() -> Object {
    id("whe_", "The endpoint.")
}

/// The fields that can be chosen, at first or later.
fn fields(says: &str, is_change: bool) -> Fields {
    let url = url(
        "Where deliveries go, of printable ASCII. The operator decides which networks may be reached.",
        "https://shop.example/hooks",
    );
    let fields = Fields::new(says);
    let fields = if is_change { fields.optional("url", or_null(url)) } else { fields.field("url", url) };
    let format = pattern(
        format!("^[a-z0-9-]{{1,{}}}$", PluginName::LEN_MAX),
        "xthon-json",
        "The plugin that shapes its bodies, one of those that the operator allows.",
    );
    fields
        .optional("events", events())
        .optional("label", or_null(words(Label::LEN_MAX, "Your name for it.")))
        .optional("format", or_null(format))
}

fn events() -> Shape {
    // A ping goes where it is asked for, whatever the choice.
    let kinds = EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::Ping).map(EventKind::name);
    let kinds = ArrayBuilder::new().items(one_of(kinds, "A kind of events.")).min_items(Some(1));
    or_null_list(kinds.into(), "The kinds of events that it shall hear of; all, where it is missing.")
}
