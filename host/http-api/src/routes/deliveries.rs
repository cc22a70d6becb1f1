//! `/deliveries`: what went out, what came back, and once more.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use xthonpay_domain::id::{DeliveryId, EndpointId, EventId};
use xthonpay_payments::port::store::{Attempt, Delivery, DeliveryFilter, DeliverySelection, DeliveryState};
use xthonpay_payments::snapshot::rfc3339;

use crate::answer::Answer;
use crate::api::Api;
use crate::cursor::Place;
use crate::door::Call;
use crate::error::{ApiError, Fault};
use crate::named::{Named, parse};
use crate::query::{limit, parameters};
use crate::routes::webhook_endpoints::no_fields;

/// The words for the states.
const STATES: [(&str, DeliveryState); 3] =
    [("pending", DeliveryState::Pending), ("delivered", DeliveryState::Delivered), ("failed", DeliveryState::Failed)];

/// A delivery in a list.
#[derive(Serialize)]
pub(crate) struct DeliverySummary {
    delivery_id: String,
    /// The event, whose id is the `webhook-id`.
    event_id: String,
    /// `null` for a delivery to an invoice's callback URL.
    endpoint_id: Option<String>,
    invoice_id: Option<String>,
    /// The event's position in its invoice; 0 when it has none.
    sequence: u64,
    url: String,
    /// `pending`, `delivered` or `failed`.
    status: &'static str,
    /// Attempts made, ever.
    attempts: u32,
    /// When the next attempt is due; `null` when none is.
    next_attempt_at: Option<String>,
    /// Status of the last answer.
    last_status: Option<u16>,
    /// Why the last attempt failed.
    last_error: Option<String>,
    created_at: String,
}

/// A delivery with its bytes and its log.
#[derive(Serialize)]
struct WholeDelivery<'a> {
    #[serde(flatten)]
    summary: DeliverySummary,
    event_type: Option<&'static str>,
    request: SentRequest<'a>,
    /// The last attempts, oldest first.
    log: Vec<LoggedAttempt<'a>>,
}

/// What every attempt sends. The headers that sign it are made anew for each and not shown.
#[derive(Serialize)]
struct SentRequest<'a> {
    headers: BTreeMap<&'a str, &'a str>,
    body: String,
    /// `text`, or `base64` for a body that is not UTF-8.
    body_encoding: &'static str,
}

#[derive(Serialize)]
struct LoggedAttempt<'a> {
    at: String,
    /// Status of the answer; `null` when there was none.
    status: Option<u16>,
    error: Option<&'a str>,
    latency_ms: u64,
    /// The beginning of the answer's body.
    response_excerpt: &'a str,
}

impl DeliverySummary {
    pub(crate) fn new(delivery: &Delivery) -> Self {
        let is_pending = delivery.state == DeliveryState::Pending;
        Self {
            delivery_id: delivery.id.to_string(),
            event_id: delivery.event.to_string(),
            endpoint_id: delivery.endpoint.as_ref().map(ToString::to_string),
            invoice_id: delivery.invoice.as_ref().map(ToString::to_string),
            sequence: delivery.sequence,
            url: delivery.url.to_string(),
            status: name(delivery.state),
            attempts: delivery.attempts,
            next_attempt_at: is_pending.then(|| rfc3339(delivery.next_at)),
            last_status: delivery.last_status,
            last_error: delivery.last_error.clone(),
            created_at: rfc3339(delivery.created_at),
        }
    }
}

/// The merchant's deliveries, newest first, page by page.
pub(crate) async fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let (filter, limit) = filter(parameters(call.query())?)?;
    // One more than asked for tells whether another page follows.
    let mut found = api.store.deliveries(call.caller().merchant(), &filter, limit.saturating_add(1)).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|last| {
        let place = Place { at: last.created_at, id: last.id.clone() };
        place.encode()
    });
    Ok(Answer::page(found.iter().map(DeliverySummary::new).collect(), next_cursor))
}

/// One delivery with what was sent and what came back.
pub(crate) async fn read(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let found = api.store.delivery(&id(call.last_segment())?).await?;
    let delivery = found.filter(|delivery| delivery.merchant == *call.caller().merchant());
    let delivery = delivery.ok_or_else(ApiError::not_found)?;
    let event = api.feed.event(&delivery.merchant, &delivery.event).await?;
    Ok(Answer::data(WholeDelivery {
        summary: DeliverySummary::new(&delivery),
        event_type: event.map(|event| event.kind.name()),
        request: sent(&delivery),
        log: delivery.log.iter().map(logged).collect(),
    }))
}

/// Makes a delivery due now.
pub(crate) async fn redeliver(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let id = id(call.segment_before_last())?;
    no_fields(call)?;
    let answer = |delivery: &Delivery| Answer::data(DeliverySummary::new(delivery));
    Ok(answer(&api.replay.redeliver(call.caller(), &id, &|delivery| answer(delivery).to_bytes()).await?))
}

fn id(segment: &str) -> Result<DeliveryId, ApiError> {
    segment.parse().map_err(|_| ApiError::not_found())
}

fn name(state: DeliveryState) -> &'static str {
    STATES.into_iter().find(|(_, known)| *known == state).map_or("", |(name, _)| name)
}

fn filter(mut parameters: Named<String>) -> Result<(DeliveryFilter, usize), ApiError> {
    let limit = limit(&mut parameters)?;
    let cursor = parameters.take("cursor");
    let cursor = cursor.map(|text| parse::<Place<DeliveryId>>(Fault::InvalidRequest, "cursor", &text)).transpose()?;
    let event = parameters.take("event_id").map(|text| parse::<EventId>(Fault::InvalidRequest, "event_id", &text));
    let endpoint =
        parameters.take("endpoint_id").map(|text| parse::<EndpointId>(Fault::InvalidRequest, "endpoint_id", &text));
    let state = parameters.take("status").map(|text| state(&text)).transpose()?;
    parameters.finish()?;
    let select = match (event.transpose()?, endpoint.transpose()?, state) {
        (None, None, None) => DeliverySelection::All,
        (Some(event), None, None) => DeliverySelection::OfEvent(event),
        (None, Some(endpoint), None) => DeliverySelection::To(endpoint),
        (None, None, Some(state)) => DeliverySelection::In(state),
        _ => {
            let message =
                "give one of event_id, endpoint_id and status: deliveries are listed by one of them at a time";
            return Err(ApiError::caller(Fault::InvalidRequest, message));
        }
    };
    Ok((DeliveryFilter { select, after: cursor.map(|place| (place.at, place.id)) }, limit))
}

fn state(text: &str) -> Result<DeliveryState, ApiError> {
    STATES.into_iter().find(|(name, _)| *name == text).map(|(_, state)| state).ok_or_else(|| {
        let names = STATES.map(|(name, _)| name).join(", ");
        ApiError::at(Fault::InvalidRequest, "status", format!("status must be one of: {names}"))
    })
}

fn sent(delivery: &Delivery) -> SentRequest<'_> {
    let own = [("content-type", delivery.content_type.as_str()), ("webhook-id", delivery.event.as_str())];
    let shaped = delivery.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (body, body_encoding) = match str::from_utf8(&delivery.body) {
        Ok(text) => (text.to_owned(), "text"),
        Err(_) => (STANDARD.encode(&delivery.body), "base64"),
    };
    SentRequest { headers: shaped.chain(own).collect(), body, body_encoding }
}

fn logged(attempt: &Attempt) -> LoggedAttempt<'_> {
    LoggedAttempt {
        at: rfc3339(attempt.at),
        status: attempt.status,
        error: attempt.error.as_deref(),
        latency_ms: u64::try_from(attempt.latency.as_millis()).unwrap_or(u64::MAX),
        response_excerpt: &attempt.excerpt,
    }
}
