//! `/events`: what happened, for those who ask, and once more for those who were told.

use std::collections::BTreeSet;

use jiff::Timestamp as Instant;
use serde::Serialize;
use serde_json::Value;
use xthonpay_domain::access::Scope;
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{EndpointId, EventId};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::delivery::replay::{RangeEnd, RangeStart, ReplayRequest, Replayed};
use xthonpay_payments::port::store::FeedPosition;
use xthonpay_payments::snapshot::rfc3339;

use crate::answer::Answer;
use crate::api::Api;
use crate::cursor::FeedCursor;
use crate::door::Call;
use crate::error::{ApiError, Fault, Outage};
use crate::json::{Json, fields, optional_text, take};
use crate::named::{Named, parse};
use crate::query::{limit, parameters};
use crate::routes::webhook_endpoints::kinds;

/// An event.
#[derive(Serialize)]
struct ShownEvent {
    /// Equal to the `webhook-id` of its deliveries.
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    created_at: String,
    /// Position among the events of its invoice, from 1; 0 for an event that is not one of an invoice's numbered ones.
    sequence: u64,
    invoice_id: Option<String>,
    /// The payment concerned.
    payment_id: Option<String>,
    /// The same object as in webhooks in the built-in form.
    data: Value,
}

/// What a replay did.
#[derive(Serialize)]
struct ReplayDone {
    /// Events that are told again.
    events: usize,
    /// Their deliveries, which are due now.
    deliveries: usize,
    /// The `from` of the next call.
    next_cursor: String,
    /// Whether there may be more in the range.
    has_more: bool,
}

/// The merchant's events in the order in which they were committed, from a place on.
pub(crate) async fn feed(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let mut parameters = parameters(call.query())?;
    let limit = limit(&mut parameters)?;
    let cursor = parameters.take("cursor").map(|text| parse::<FeedCursor>(Fault::InvalidRequest, "cursor", &text));
    let kinds = parameters.take("type").map(|text| kinds_in(&text)).transpose()?;
    parameters.finish()?;
    let kinds =
        kinds.unwrap_or_else(|| EventKind::ALL.into()).into_iter().filter(|kind| may_read(call, *kind)).collect();
    let after = cursor.transpose()?.map_or_else(FeedPosition::default, |cursor| cursor.0);
    let page = api.feed.read(call.caller().merchant(), after, &kinds, limit).await?;
    let events = page.events.iter().map(|(_, event)| shown(event)).collect::<Result<Vec<_>, _>>()?;
    Ok(Answer::feed(events, FeedCursor(page.next).encode(), page.has_more))
}

/// One event.
pub(crate) async fn read(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let id = call.last_segment().parse::<EventId>().map_err(|_| ApiError::not_found())?;
    let found = api.feed.event(call.caller().merchant(), &id).await?.filter(|event| may_read(call, event.kind));
    Ok(Answer::data(shown(&found.ok_or_else(ApiError::not_found)?)?))
}

/// Whether the key of a call may read events of a kind: those that show an endpoint are for keys that may read endpoints, since
/// its URL can be a secret in itself.
fn may_read(call: &Call, kind: EventKind) -> bool {
    match kind {
        EventKind::EndpointDisabled | EventKind::Ping => call.caller().key.scopes.contains(&Scope::Webhooks),
        _ => true,
    }
}

/// Makes the deliveries of a range of events due now.
pub(crate) async fn replay(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let request = replay_request(fields(call.headers(), call.body())?)?;
    let answer = |done: &Replayed| {
        Answer::data(ReplayDone {
            events: done.events,
            deliveries: done.deliveries,
            next_cursor: FeedCursor(done.next).encode(),
            has_more: done.has_more,
        })
    };
    Ok(answer(&api.replay.range(call.caller(), &request, &|done| answer(done).to_bytes()).await?))
}

fn replay_request(mut fields: Named<Json>) -> Result<ReplayRequest, ApiError> {
    let from = optional_text::<String>(&mut fields, Fault::InvalidRequest, "from")?;
    let to = optional_text::<String>(&mut fields, Fault::InvalidRequest, "to")?;
    let missing = || ApiError::at(Fault::InvalidRequest, "from", "from is missing: a cursor of GET /events, or a time");
    let from = match bound("from", &from.ok_or_else(missing)?)? {
        Bound::Cursor(position) => RangeStart::Behind(position),
        Bound::Time(time) => RangeStart::Time(time),
    };
    let to = to.map(|text| bound("to", &text)).transpose()?.map(|bound| match bound {
        Bound::Cursor(position) => RangeEnd::Position(position),
        Bound::Time(time) => RangeEnd::Time(time),
    });
    let endpoint = optional_text::<EndpointId>(&mut fields, Fault::InvalidRequest, "endpoint_id")?;
    let kinds = take(&mut fields, "types").map(|list| kinds(list, "types")).transpose()?.unwrap_or_default();
    fields.finish()?;
    Ok(ReplayRequest { from, to, endpoint, kinds })
}

/// One end of a range.
enum Bound {
    Cursor(FeedPosition),
    Time(Timestamp),
}

fn bound(name: &'static str, text: &str) -> Result<Bound, ApiError> {
    if let Ok(cursor) = text.parse::<FeedCursor>() {
        return Ok(Bound::Cursor(cursor.0));
    }
    let millis = text.parse::<Instant>().ok().and_then(|instant| u64::try_from(instant.as_millisecond()).ok());
    let millis = millis.ok_or_else(|| {
        let message = format!("{name} must be a next_cursor of GET /events, or RFC 3339, such as 2026-01-31T12:00:00Z");
        ApiError::at(Fault::InvalidRequest, name, message)
    })?;
    Ok(Bound::Time(Timestamp::from_millis(millis)))
}

/// Kinds, separated by commas.
fn kinds_in(text: &str) -> Result<BTreeSet<EventKind>, ApiError> {
    text.split(',').map(|kind| parse(Fault::InvalidRequest, "type", kind)).collect()
}

fn shown(event: &Event) -> Result<ShownEvent, ApiError> {
    let data = serde_json::from_str(&event.data_json)
        .map_err(|_| ApiError::host(Outage::Internal, format!("the data of {} is not JSON", event.id)))?;
    Ok(ShownEvent {
        id: event.id.to_string(),
        kind: event.kind.name(),
        created_at: rfc3339(event.at),
        sequence: event.sequence,
        invoice_id: event.invoice.as_ref().map(ToString::to_string),
        payment_id: event.deposit.as_ref().map(ToString::to_string),
        data,
    })
}
