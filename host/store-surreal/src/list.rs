//! Lists: records in an order, found without a secondary index.
//!
//! A list is a range of records in the table `entry`. An entry has no content; its key says everything: the list, what the
//! list is of, the position in it, and the key of the record that stands there. Reading a list in order is reading a range of
//! keys, and a list of work holds only what has work.
//!
//! A record that moves between lists remembers its entries in its own row, and whoever stores the row anew removes those it
//! has left. Secondary indexes of the database were refused: one index on a table more than doubles the cost of a write (see
//! `docs/throughput.md`), and which index a query uses, and in which direction, is for a planner to decide anew in every
//! release. A key is what it is.

use core::ops::Bound;

use surrealdb::types::{Array, RecordId, RecordIdKey, RecordIdKeyRange, Value};
use xthonpay_domain::access::KeyId;
use xthonpay_domain::address::Address;
use xthonpay_domain::id::{DeliveryId, DepositId, EndpointId, EventId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::{DeliveryState, KeptAnswer};

use crate::record::delivery::state_word;
use crate::table::{Table, text};

/// A list, or a part of one that begins with the same key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List(Vec<Value>);

impl List {
    fn named(name: &'static str) -> Self {
        Self(vec![text(name)])
    }

    fn of(mut self, part: Value) -> Self {
        self.0.push(part);
        self
    }

    /// A merchant's invoices, newest first.
    pub(crate) fn invoices_of(merchant: &MerchantId) -> Self {
        Self::named("invoices").of(text(merchant.as_str()))
    }

    /// A merchant's invoices in a state, newest first.
    pub(crate) fn invoices_in(merchant: &MerchantId, state: InvoiceState) -> Self {
        Self::named("invoices_in").of(text(merchant.as_str())).of(text(state.name()))
    }

    /// Invoices on a chain that await their expiry, the one that expires first in front.
    pub(crate) fn expiring(chain: &ChainName) -> Self {
        Self::named("expiring").of(text(chain.as_str()))
    }

    /// Invoices that await a ruling, in the order of their ids.
    pub(crate) fn awaiting_ruling() -> Self {
        Self::named("awaiting_ruling")
    }

    /// Deposits of a chain that are seen and not final.
    pub(crate) fn seen(chain: &ChainName) -> Self {
        Self::named("seen").of(text(chain.as_str()))
    }

    /// Deposits that a posting has set aside, in the order of their ids.
    pub(crate) fn suspended() -> Self {
        Self::named("suspended")
    }

    /// A merchant's deposits, newest first by the time of their block.
    pub(crate) fn payments_of(merchant: &MerchantId) -> Self {
        Self::named("payments_of").of(text(merchant.as_str()))
    }

    /// Deposits on an invoice's address, newest first by the time of their block.
    pub(crate) fn payments_for(invoice: &InvoiceId) -> Self {
        Self::named("payments_for").of(text(invoice.as_str()))
    }

    /// Deposits on an address that was made for no invoice, in the order of their ids.
    pub(crate) fn deposits_on(address: &Address) -> Self {
        Self::named("deposits_on").of(text(&address.to_lower_hex()))
    }

    /// A merchant's addresses that were made for no invoice, the lowest index first.
    pub(crate) fn deposit_addresses(merchant: &MerchantId) -> Self {
        Self::named("deposit_addresses").of(text(merchant.as_str()))
    }

    /// A merchant's keys, in the order of their ids.
    pub(crate) fn keys_of(merchant: &MerchantId) -> Self {
        Self::named("keys_of").of(text(merchant.as_str()))
    }

    /// A merchant's endpoints that are not removed, the oldest first.
    pub(crate) fn endpoints_of(merchant: &MerchantId) -> Self {
        Self::named("endpoints_of").of(text(merchant.as_str()))
    }

    /// A merchant's events, in the order of their commits.
    pub(crate) fn feed(merchant: &MerchantId) -> Self {
        Self::named("feed").of(text(merchant.as_str()))
    }

    /// Events that are not routed, the oldest first.
    pub(crate) fn unrouted() -> Self {
        Self::named("unrouted")
    }

    /// Numbered events of an invoice that are not routed, in the order of their sequence.
    pub(crate) fn unrouted_of(invoice: &InvoiceId) -> Self {
        Self::named("unrouted_of").of(text(invoice.as_str()))
    }

    /// Pending deliveries, the longest due first.
    pub(crate) fn due() -> Self {
        Self::named("due")
    }

    /// A merchant's deliveries of an event, newest first.
    pub(crate) fn deliveries_of(merchant: &MerchantId, event: &EventId) -> Self {
        Self::named("deliveries_of").of(text(merchant.as_str())).of(text(event.as_str()))
    }

    /// A merchant's deliveries to an endpoint, newest first.
    pub(crate) fn deliveries_to(merchant: &MerchantId, endpoint: &EndpointId) -> Self {
        Self::named("deliveries_to").of(text(merchant.as_str())).of(text(endpoint.as_str()))
    }

    /// A merchant's deliveries in a state, newest first. Every delivery stands in one of them, so there is no list of all.
    pub(crate) fn deliveries_in(merchant: &MerchantId, state: DeliveryState) -> Self {
        Self::named("deliveries_in").of(text(merchant.as_str())).of(text(state_word(state)))
    }

    /// Kept answers, the one that expires first in front.
    pub(crate) fn expiring_answers() -> Self {
        Self::named("expiring_answers")
    }

    /// Used signatures, the one that expires first in front.
    pub(crate) fn expiring_signatures() -> Self {
        Self::named("expiring_signatures")
    }

    /// Where a record stands in a list that is newest first, by a time and then by its id.
    pub(crate) fn newest_first(self, time: Timestamp, id: &str) -> RecordId {
        self.of(falling(time.as_millis())).of(descending(id)).of(text(id)).entry()
    }

    /// Where an invoice stands in a list that is ordered by a time.
    pub(crate) fn invoice_at(self, time: Timestamp, id: &InvoiceId) -> RecordId {
        self.of(rising(time.as_millis())).of(text(id.as_str())).entry()
    }

    /// Where an invoice stands in a list that is ordered by id.
    pub(crate) fn invoice(self, id: &InvoiceId) -> RecordId {
        self.of(text(id.as_str())).entry()
    }

    /// Where a deposit stands.
    pub(crate) fn deposit(self, id: &DepositId) -> RecordId {
        self.of(text(id.as_str())).entry()
    }

    /// Where an address stands.
    pub(crate) fn address(self, index: u32, address: &Address) -> RecordId {
        self.of(rising(index.into())).of(text(&address.to_lower_hex())).entry()
    }

    /// Where a key stands.
    pub(crate) fn key(self, id: &KeyId) -> RecordId {
        self.of(text(id.as_str())).entry()
    }

    /// Where an endpoint stands.
    pub(crate) fn endpoint(self, created_at: Timestamp, id: &EndpointId) -> RecordId {
        self.of(rising(created_at.as_millis())).of(text(id.as_str())).entry()
    }

    /// Where an event stands in the feed.
    pub(crate) fn event_in_feed(self, place: u64, id: &EventId) -> RecordId {
        self.of(rising(place)).of(text(id.as_str())).entry()
    }

    /// Where a kept answer stands. The key of the entry ends in that of the answer.
    pub(crate) fn answer(self, kept: &KeptAnswer) -> RecordId {
        let of_merchant = self.of(rising(kept.expires_at.as_millis())).of(text(kept.merchant.as_str()));
        of_merchant.of(text(&kept.call)).of(text(kept.key.as_str())).entry()
    }

    /// Where an event stands among all.
    pub(crate) fn event(self, at: Timestamp, sequence: u64, id: &EventId) -> RecordId {
        self.of(rising(at.as_millis())).of(rising(sequence)).of(text(id.as_str())).entry()
    }

    /// Where an event stands among those of its invoice.
    pub(crate) fn numbered_event(self, sequence: u64, id: &EventId) -> RecordId {
        self.of(rising(sequence)).of(text(id.as_str())).entry()
    }

    /// Where a delivery stands.
    pub(crate) fn delivery(self, next_at: Timestamp, id: &DeliveryId) -> RecordId {
        self.of(rising(next_at.as_millis())).of(text(id.as_str())).entry()
    }

    /// Where a used signature stands.
    pub(crate) fn signature(self, expires_at: Timestamp, key: &KeyId, signature: &str) -> RecordId {
        self.of(rising(expires_at.as_millis())).of(text(key.as_str())).of(text(signature)).entry()
    }

    fn entry(self) -> RecordId {
        Table::Entry.composite(self.0)
    }

    /// The whole list.
    pub(crate) fn all(&self) -> RecordId {
        self.range(self.start(), Bound::Excluded(self.end()))
    }

    /// What stands before the first entry at `number` or at a greater one.
    pub(crate) fn before(&self, number: u64) -> RecordId {
        self.range(self.start(), Bound::Excluded(self.clone().of(rising(number)).0))
    }

    /// Of a list in the order of ids: what comes behind the record with the key `after`.
    pub(crate) fn behind(&self, after: Option<&str>) -> RecordId {
        let start = after.map(|id| Bound::Excluded(self.clone().of(text(id)).0));
        self.range(start.unwrap_or_else(|| self.start()), Bound::Excluded(self.end()))
    }

    /// Of a feed: what stands from `start` on and before `end`, which is not below it.
    pub(crate) fn places(&self, start: u64, end: u64) -> RecordId {
        let at = |place| self.clone().of(rising(place)).0;
        self.range(Bound::Included(at(start)), Bound::Excluded(at(end)))
    }

    /// Of a list of invoices that is ordered by a time: what stands before `time` and comes behind `after`.
    pub(crate) fn invoices_before(&self, time: Timestamp, after: Option<&(Timestamp, InvoiceId)>) -> RecordId {
        let end = self.clone().of(rising(time.as_millis())).0;
        let start = after.map(|(at, id)| self.clone().of(rising(at.as_millis())).of(text(id.as_str())).0);
        // A place behind the end is the end: the range is empty, and not in the wrong order.
        let start = start.map(|start| if start < end { Bound::Excluded(start) } else { Bound::Included(end.clone()) });
        self.range(start.unwrap_or_else(|| self.start()), Bound::Excluded(end))
    }

    /// Of the list of unrouted events: what comes behind `after`.
    pub(crate) fn behind_event(&self, (at, sequence, id): &(Timestamp, u64, EventId)) -> RecordId {
        let place = self.clone().of(rising(at.as_millis())).of(rising(*sequence)).of(text(id.as_str())).0;
        self.range(Bound::Excluded(place), Bound::Excluded(self.end()))
    }

    /// Of the list of due deliveries: what is due at `now` and comes behind `after`.
    pub(crate) fn due_at(&self, now: Timestamp, after: Option<&(Timestamp, DeliveryId)>) -> RecordId {
        let position = |(time, id): &(Timestamp, DeliveryId)| {
            Bound::Excluded(self.clone().of(rising(time.as_millis())).of(text(id.as_str())).0)
        };
        let end = self.clone().of(rising(now.as_millis())).end();
        self.range(after.map_or_else(|| self.start(), position), Bound::Excluded(end))
    }

    /// Of a list that is newest first: what was made from `from` to `to` and comes behind `after`.
    pub(crate) fn newest(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        after: Option<(Timestamp, &str)>,
    ) -> RecordId {
        // A list that is newest first begins at the latest time.
        let behind = after.map(|(time, id)| {
            Bound::Excluded(self.clone().of(falling(time.as_millis())).of(descending(id)).of(text(id)).0)
        });
        let since = to.map(|to| Bound::Included(self.clone().of(falling(to.as_millis())).0));
        let behind_is_later = after.zip(to).is_none_or(|((time, _), to)| time <= to);
        let start = if behind_is_later { behind.or(since) } else { since };
        let end = from.map_or_else(|| self.end(), |from| self.clone().of(falling(from.as_millis())).end());
        self.range(start.unwrap_or_else(|| self.start()), Bound::Excluded(end))
    }

    /// A key in front of everything that begins with this one: a key sorts before those that continue it.
    fn start(&self) -> Bound<Vec<Value>> {
        Bound::Included(self.0.clone())
    }

    /// A key behind everything that begins with this one. An array sorts behind every text and number, the only parts that
    /// positions are made of.
    fn end(&self) -> Vec<Value> {
        self.clone().of(Value::Array(Array::new())).0
    }

    fn range(&self, start: Bound<Vec<Value>>, end: Bound<Vec<Value>>) -> RecordId {
        let key = |parts: Vec<Value>| RecordIdKey::Array(Array::from(parts));
        let range = RecordIdKeyRange { start: start.map(key), end: end.map(key) };
        RecordId::new(Table::Entry.name(), RecordIdKey::Range(Box::new(range)))
    }
}

/// The number in the position of an entry: the part behind the `prefix` parts that name the list.
pub(crate) fn position(entry: &RecordId, prefix: usize) -> Option<u64> {
    let RecordIdKey::Array(parts) = &entry.key else { return None };
    match parts.get(prefix) {
        Some(Value::Number(surrealdb::types::Number::Int(number))) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// A number in ascending order. Positions end at 2^63 - 1, for a time the year 292 million; what lies above is ordered by
/// the parts behind it.
fn rising(number: u64) -> Value {
    Value::from_int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A number in descending order.
fn falling(number: u64) -> Value {
    Value::from_int(i64::try_from(number).map_or(-i64::MAX, |number| -number))
}

/// An id in descending order: each hexadecimal digit behind the prefix counted down from the last one.
fn descending(id: &str) -> Value {
    let digits = id.split_once('_').map_or(id, |(_, digits)| digits);
    let counted_down =
        |digit: char| digit.to_digit(16).and_then(|value| char::from_digit(15_u32.saturating_sub(value), 16));
    text(&digits.chars().filter_map(counted_down).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::laws;

    fn invoice_entry(millis: u64, id: [u8; 16]) -> RecordId {
        let merchant = MerchantId::from_random([0; 16]);
        List::invoices_of(&merchant).newest_first(Timestamp::from_millis(millis), InvoiceId::from_random(id).as_str())
    }

    #[test]
    fn newest_first_is_the_reverse_of_time_and_id() {
        let positions = || (0..i64::MAX.unsigned_abs(), any::<[u8; 16]>());
        proptest!(laws("newest_first"), |(a in positions(), b in positions(), same_time: bool)| {
            let b = if same_time { (a.0, b.1) } else { b };
            let ids = (InvoiceId::from_random(a.1), InvoiceId::from_random(b.1));
            let expected = (b.0, ids.1).cmp(&(a.0, ids.0));
            prop_assert_eq!(invoice_entry(a.0, a.1).cmp(&invoice_entry(b.0, b.1)), expected);
        });
    }

    #[test]
    fn the_position_of_a_delivery_is_its_time() {
        let entry = List::due().delivery(Timestamp::from_millis(77), &DeliveryId::from_random([1; 16]));
        assert_eq!(position(&entry, 1), Some(77));
        assert_eq!(position(&entry, 9), None);
    }
}
