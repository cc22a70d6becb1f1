//! Events that are not routed, and the feed.
//!
//! Those that are not routed are listed by their time, which a clock that is set back can put in the wrong order within an invoice. The order of
//! the sequence is what counts there, so the first of a page are put into it, with those that the page does not reach.

use std::collections::BTreeMap;

use surrealdb::types::{RecordId, Value};
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{EventId, InvoiceId, MerchantId};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::{FeedPosition, READ_LIMIT_MAX, StoreError};

use super::{bind_list, decode, list, listed, listed_in_each};
use crate::connection::Connection;
use crate::list::{List, position};
use crate::record::Record;

/// The record that stands at each entry, beside the entry.
pub(super) const LISTED_WITH_ENTRY: &str = "SELECT VALUE [id, type::record($table, array::last(record::id(id))).*] \
    FROM array::first([$range]) LIMIT $limit;";

/// Parts of an entry's key in front of the place in the feed.
const FEED_PREFIX: usize = 2;

/// A merchant's events behind a place in its feed and before the place `end`, in the order of their commits.
pub(crate) async fn feed(
    connection: &Connection,
    merchant: &MerchantId,
    after: FeedPosition,
    end: u64,
    limit: usize,
) -> Result<Vec<(FeedPosition, Event)>, StoreError> {
    // Whoever is at the end, or says that it is behind it, gets the empty part there.
    let start = after.0.saturating_add(1).min(end);
    let range = List::feed(merchant).places(start, end);
    let found = connection.read(LISTED_WITH_ENTRY, bind_list(Event::TABLE, range, Some(limit))).await?;
    list(found).into_iter().map(placed).collect()
}

/// An event with its place, from the entry and the row.
fn placed(found: Value) -> Result<(FeedPosition, Event), StoreError> {
    let mut parts = list(found).into_iter();
    let place = match parts.next() {
        Some(Value::RecordId(entry)) => position(&entry, FEED_PREFIX),
        _ => None,
    };
    let nowhere = || StoreError::Damaged {
        table: Event::TABLE.name(),
        reason: "an entry of a feed has no place in its key".to_owned(),
    };
    let place = place.ok_or_else(nowhere)?;
    Ok((FeedPosition(place), decode(parts.next().unwrap_or_default())?))
}

/// Events that are not routed, oldest first and in the order of their sequence within an invoice.
pub(crate) async fn unrouted_events(connection: &Connection, limit: usize) -> Result<Vec<Event>, StoreError> {
    let limit = limit.min(READ_LIMIT_MAX);
    let page: Vec<Event> = listed(connection, List::unrouted().all(), limit).await?;
    let beyond = if page.len() < limit { Vec::new() } else { earlier_ones(connection, &page, limit).await? };
    Ok(in_sequence(page, beyond))
}

/// Events that are not routed behind a place in their list, as they stand there.
pub(crate) async fn unrouted_events_behind(
    connection: &Connection,
    after: &(Timestamp, u64, EventId),
    limit: usize,
) -> Result<Vec<Event>, StoreError> {
    listed(connection, List::unrouted().behind_event(after), limit.min(READ_LIMIT_MAX)).await
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
    listed_in_each(connection, ranges, limit).await
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
