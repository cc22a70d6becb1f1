//! Numbers that are handed out once, and the probe's own count.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_payments::port::store::Counter;

use super::{Record, RowError};
use crate::lane::Lane;
use crate::table::{Table, text};
use crate::whole::Whole;

/// The next number that a counter gives, and the record that holds it.
pub(crate) struct NextNumber {
    pub(crate) counter: RecordId,
    pub(crate) next: u64,
}

/// How many probes were written.
pub(crate) struct Probe {
    pub(crate) count: u64,
}

/// A counter as it is stored. Its `revision` is the next number: it grows with every change, and a change names the one that
/// it read.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct CounterRow {
    id: RecordId,
    revision: Whole,
}

/// The record of a counter.
pub(crate) fn id(counter: &Counter) -> RecordId {
    match counter {
        Counter::AddressIndex(merchant) => {
            Table::Counter.composite(vec![text("address_index"), text(merchant.as_str())])
        }
    }
}

/// The record that holds the next place in the feeds, as the transactions of a lane know it.
pub(crate) fn feed_id(lane: Lane) -> RecordId {
    Table::Counter.composite(match lane {
        Lane::First => vec![text("feed")],
        Lane::Second => vec![text("feed"), text("second")],
    })
}

/// The only record of the probe.
pub(crate) fn probe_id() -> RecordId {
    Table::Probe.record("last")
}

impl Record for NextNumber {
    const TABLE: Table = Table::Counter;
    type Row = CounterRow;

    fn to_row(&self) -> CounterRow {
        CounterRow { id: self.counter.clone(), revision: Whole(self.next) }
    }

    fn from_row(row: CounterRow) -> Result<Self, RowError> {
        Ok(Self { counter: row.id, next: row.revision.0 })
    }
}

impl Record for Probe {
    const TABLE: Table = Table::Probe;
    type Row = CounterRow;

    fn to_row(&self) -> CounterRow {
        CounterRow { id: probe_id(), revision: Whole(self.count) }
    }

    fn from_row(row: CounterRow) -> Result<Self, RowError> {
        Ok(Self { count: row.revision.0 })
    }
}
