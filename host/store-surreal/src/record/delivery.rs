//! Deliveries of events.

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::id::DeliveryId;
use xthonpay_payments::port::store::{Delivery, DeliveryState};

use super::{Record, RowError, parse, parse_option, text_key, word};
use crate::list::List;
use crate::table::Table;
use crate::whole::Whole;

const STATES: [DeliveryState; 3] = [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Failed];

fn state_word(state: DeliveryState) -> &'static str {
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
    invoice: Option<String>,
    sequence: Whole,
    url: String,
    content_type: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    state: String,
    attempts: u32,
    next_at: Whole,
    last_status: Option<u32>,
    last_error: Option<String>,
    created_at: Whole,
    revision: Whole,
    listed: Vec<RecordId>,
}

/// The record of a delivery.
pub(crate) fn id(delivery: &DeliveryId) -> RecordId {
    Table::Delivery.record(delivery.as_str())
}

fn moving_entries(delivery: &Delivery) -> Vec<RecordId> {
    let due = || List::due().delivery(delivery.next_at, &delivery.id);
    (delivery.state == DeliveryState::Pending).then(due).into_iter().collect()
}

fn status(number: u32) -> Result<u16, RowError> {
    u16::try_from(number).map_err(|error| RowError::Field { field: "last_status", reason: error.to_string() })
}

impl Record for Delivery {
    const TABLE: Table = Table::Delivery;
    type Row = DeliveryRow;

    fn to_row(&self) -> DeliveryRow {
        DeliveryRow {
            id: id(&self.id),
            event: self.event.to_string(),
            merchant: self.merchant.to_string(),
            invoice: self.invoice.as_ref().map(ToString::to_string),
            sequence: Whole(self.sequence),
            url: self.url.to_string(),
            content_type: self.content_type.clone(),
            headers: self.headers.clone(),
            body: self.body.clone().into(),
            state: state_word(self.state).to_owned(),
            attempts: self.attempts,
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
            invoice: parse_option("invoice", row.invoice.as_deref())?,
            sequence: row.sequence.0,
            url: parse("url", &row.url)?,
            content_type: row.content_type,
            headers: row.headers,
            body: row.body.to_vec(),
            state: word("state", &row.state, &STATES, state_word)?,
            attempts: row.attempts,
            next_at: row.next_at.into(),
            last_status: row.last_status.map(status).transpose()?,
            last_error: row.last_error,
            created_at: row.created_at.into(),
            revision: row.revision.0,
        })
    }
}
