//! Events.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::event::Event;
use xthonpay_domain::id::EventId;

use super::{Record, RowError, parse, parse_option, text_key};
use crate::list::List;
use crate::table::Table;
use crate::whole::Whole;

/// An event as it is stored. An event is routed when none of the entries in `listed` is left.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct EventRow {
    id: RecordId,
    kind: String,
    at: Whole,
    merchant: String,
    invoice: Option<String>,
    deposit: Option<String>,
    sequence: Whole,
    data_json: String,
    listed: Vec<RecordId>,
}

/// The record of an event.
pub(crate) fn id(event: &EventId) -> RecordId {
    Table::Event.record(event.as_str())
}

fn moving_entries(event: &Event) -> Vec<RecordId> {
    let among_all = List::unrouted().event(event.at, event.sequence, &event.id);
    // Sequence 0 is for events that are told in no order.
    let numbered = event.invoice.as_ref().filter(|_| event.sequence > 0);
    let in_invoice = numbered.map(|invoice| List::unrouted_of(invoice).numbered_event(event.sequence, &event.id));
    [among_all].into_iter().chain(in_invoice).collect()
}

impl Record for Event {
    const TABLE: Table = Table::Event;
    type Row = EventRow;

    fn to_row(&self) -> EventRow {
        EventRow {
            id: id(&self.id),
            kind: self.kind.name().to_owned(),
            at: self.at.into(),
            merchant: self.merchant.to_string(),
            invoice: self.invoice.as_ref().map(ToString::to_string),
            deposit: self.deposit.as_ref().map(ToString::to_string),
            sequence: Whole(self.sequence),
            data_json: self.data_json.clone(),
            listed: moving_entries(self),
        }
    }

    fn from_row(row: EventRow) -> Result<Self, RowError> {
        Ok(Self {
            id: text_key(&row.id)?,
            kind: parse("kind", &row.kind)?,
            at: row.at.into(),
            merchant: parse("merchant", &row.merchant)?,
            invoice: parse_option("invoice", row.invoice.as_deref())?,
            deposit: parse_option("deposit", row.deposit.as_deref())?,
            sequence: row.sequence.0,
            data_json: row.data_json,
        })
    }
}
