//! Events that are not routed.
//!
//! They are listed by their time, which a clock that is set back can put in the wrong order within an invoice. The order of
//! the sequence is what counts there, so the first of a page are put into it, with those that the page does not reach.

use std::collections::BTreeMap;

use surrealdb::types::{Array, RecordId, Value};
use xthonpay_domain::event::Event;
use xthonpay_domain::id::InvoiceId;
use xthonpay_payments::port::store::{READ_LIMIT_MAX, StoreError};

use super::{decode_all, list, listed};
use crate::connection::{Connection, bind};
use crate::list::List;
use crate::record::Record;

/// For each range of entries, the records that stand there.
pub(super) const LISTED_IN_EACH: &str = "RETURN $ranges.map(|$range| \
    (SELECT VALUE type::record($table, array::last(record::id(id))).* FROM array::first([$range]) LIMIT $limit));";

/// Events that are not routed, oldest first and in the order of their sequence within an invoice.
pub(crate) async fn unrouted_events(connection: &Connection, limit: usize) -> Result<Vec<Event>, StoreError> {
    let limit = limit.min(READ_LIMIT_MAX);
    let page: Vec<Event> = listed(connection, List::unrouted().all(), limit).await?;
    let beyond = if page.len() < limit { Vec::new() } else { earlier_ones(connection, &page, limit).await? };
    Ok(in_sequence(page, beyond))
}

/// Events with a smaller sequence than those of the same invoice on the page.
async fn earlier_ones(connection: &Connection, page: &[Event], limit: usize) -> Result<Vec<Event>, StoreError> {
    let mut first: BTreeMap<&InvoiceId, u64> = BTreeMap::new();
    for (invoice, event) in page.iter().filter_map(|event| numbered(event).zip(Some(event))) {
        first.entry(invoice).and_modify(|first| *first = event.sequence.min(*first)).or_insert(event.sequence);
    }
    let may_have_earlier = first.into_iter().filter(|(_, sequence)| *sequence > 1);
    let ranges: Vec<RecordId> =
        may_have_earlier.map(|(invoice, sequence)| List::unrouted_of(invoice).before(sequence)).collect();
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    let mut variables = bind("ranges", Array::from(ranges));
    variables.insert("table", Event::TABLE.name().to_owned());
    variables.insert("limit", limit);
    let found = list(connection.read(LISTED_IN_EACH, variables).await?);
    decode_all(Value::Array(found.into_iter().flat_map(list).collect::<Vec<_>>().into()))
}

/// The page with the events of each invoice in the order of their sequence: the places that an invoice has on the page go to
/// its first events, whether they were on the page or beyond it.
fn in_sequence(page: Vec<Event>, beyond: Vec<Event>) -> Vec<Event> {
    let places: Vec<Option<InvoiceId>> = page.iter().map(|event| numbered(event).cloned()).collect();
    let mut unnumbered = Vec::new();
    let mut of_invoice: BTreeMap<InvoiceId, BTreeMap<u64, Event>> = BTreeMap::new();
    for event in page.into_iter().chain(beyond) {
        match numbered(&event).cloned() {
            Some(invoice) => drop(of_invoice.entry(invoice).or_default().insert(event.sequence, event)),
            None => unnumbered.push(event),
        }
    }
    let mut unnumbered = unnumbered.into_iter();
    let next = |place: Option<InvoiceId>| match place {
        Some(invoice) => of_invoice.get_mut(&invoice).and_then(BTreeMap::pop_first).map(|(_, event)| event),
        None => unnumbered.next(),
    };
    places.into_iter().filter_map(next).collect()
}

/// The invoice in whose order an event is told, if it has a place there.
fn numbered(event: &Event) -> Option<&InvoiceId> {
    event.invoice.as_ref().filter(|_| event.sequence > 0)
}
