//! Deliveries of events.

use core::time::Duration;

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::id::DeliveryId;
use xthonpay_payments::port::store::{Attempt, Delivery, DeliveryState};

use super::{Record, RowError, parse, parse_option, text_key, word};
use crate::list::List;
use crate::table::Table;
use crate::whole::Whole;

/// Every state.
pub(crate) const STATES: [DeliveryState; 3] = [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Failed];

/// The word of a state in rows and lists.
pub(crate) fn state_word(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
    }
}

/// A delivery as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct DeliveryRow {
    id: RecordId,
    event: String,
    merchant: String,
    endpoint: Option<String>,
    invoice: Option<String>,
    sequence: Whole,
    url: String,
    content_type: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    state: String,
    attempts: u32,
    attempts_on_schedule: u32,
    log: Vec<AttemptPart>,
    next_at: Whole,
    last_status: Option<u32>,
    last_error: Option<String>,
    created_at: Whole,
    revision: Whole,
    listed: Vec<RecordId>,
}

/// An attempt as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
struct AttemptPart {
    at: Whole,
    status: Option<u32>,
    error: Option<String>,
    latency_ns: Whole,
    excerpt: String,
}

/// The record of a delivery.
pub(crate) fn id(delivery: &DeliveryId) -> RecordId {
    Table::Delivery.record(delivery.as_str())
}

/// The lists in which a delivery stands for ever.
pub(crate) fn entries(delivery: &Delivery) -> Vec<RecordId> {
    let Delivery { id, merchant, event, endpoint, created_at, .. } = delivery;
    let of_event = List::deliveries_of(merchant, event);
    let to_endpoint = endpoint.as_ref().map(|endpoint| List::deliveries_to(merchant, endpoint));
    [of_event].into_iter().chain(to_endpoint).map(|list| list.newest_first(*created_at, id.as_str())).collect()
}

fn moving_entries(delivery: &Delivery) -> Vec<RecordId> {
    let Delivery { id, merchant, state, created_at, .. } = delivery;
    let due = || List::due().delivery(delivery.next_at, id);
    let due = (*state == DeliveryState::Pending).then(due);
    let in_state = List::deliveries_in(merchant, *state).newest_first(*created_at, id.as_str());
    due.into_iter().chain([in_state]).collect()
}

impl From<&Attempt> for AttemptPart {
    fn from(attempt: &Attempt) -> Self {
        Self {
            at: attempt.at.into(),
            status: attempt.status.map(u32::from),
            error: attempt.error.clone(),
            // Whole nanoseconds reach 584 years.
            latency_ns: Whole(u64::try_from(attempt.latency.as_nanos()).unwrap_or(u64::MAX)),
            excerpt: attempt.excerpt.clone(),
        }
    }
}

impl AttemptPart {
    fn read(self) -> Result<Attempt, RowError> {
        Ok(Attempt {
            at: self.at.into(),
            status: self.status.map(status).transpose()?,
            error: self.error,
            latency: Duration::from_nanos(self.latency_ns.0),
            excerpt: self.excerpt,
        })
    }
}

fn status(number: u32) -> Result<u16, RowError> {
    u16::try_from(number).map_err(|error| RowError::Field { field: "status", reason: error.to_string() })
}

impl Record for Delivery {
    const TABLE: Table = Table::Delivery;
    type Row = DeliveryRow;

    fn to_row(&self) -> DeliveryRow {
        DeliveryRow {
            id: id(&self.id),
            event: self.event.to_string(),
            merchant: self.merchant.to_string(),
            endpoint: self.endpoint.as_ref().map(ToString::to_string),
            invoice: self.invoice.as_ref().map(ToString::to_string),
            sequence: Whole(self.sequence),
            url: self.url.to_string(),
            content_type: self.content_type.clone(),
            headers: self.headers.clone(),
            body: self.body.clone().into(),
            state: state_word(self.state).to_owned(),
            attempts: self.attempts,
            attempts_on_schedule: self.attempts_on_schedule,
            log: self.log.iter().map(AttemptPart::from).collect(),
            next_at: self.next_at.into(),
            last_status: self.last_status.map(u32::from),
            last_error: self.last_error.clone(),
            created_at: self.created_at.into(),
            revision: Whole(self.revision),
            listed: moving_entries(self),
        }
    }

    fn from_row(row: DeliveryRow) -> Result<Self, RowError> {
        Ok(Self {
            id: text_key(&row.id)?,
            event: parse("event", &row.event)?,
            merchant: parse("merchant", &row.merchant)?,
            endpoint: parse_option("endpoint", row.endpoint.as_deref())?,
            invoice: parse_option("invoice", row.invoice.as_deref())?,
            sequence: row.sequence.0,
            url: parse("url", &row.url)?,
            content_type: row.content_type,
            headers: row.headers,
            body: row.body.to_vec(),
            state: word("state", &row.state, &STATES, state_word)?,
            attempts: row.attempts,
            attempts_on_schedule: row.attempts_on_schedule,
            log: row.log.into_iter().map(AttemptPart::read).collect::<Result<_, _>>()?,
            next_at: row.next_at.into(),
            last_status: row.last_status.map(status).transpose()?,
            last_error: row.last_error,
            created_at: row.created_at.into(),
            revision: row.revision.0,
        })
    }
}
