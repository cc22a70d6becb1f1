//! How much may be under way at once, for all and for each.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use xthonpay_domain::id::{DeliveryId, InvoiceId, MerchantId};

use crate::port::store::Delivery;

/// Deliveries under way at once. Bounds sockets and memory.
const IN_FLIGHT_MAX: usize = 256;
/// Deliveries under way for one merchant: however many receivers of one merchant hang, three quarters remain for the others.
const IN_FLIGHT_PER_MERCHANT_MAX: usize = 64;
/// Deliveries under way to one receiver: enough for a healthy one, and a hanging one leaves the rest to others.
const IN_FLIGHT_PER_RECEIVER_MAX: usize = 8;

/// An invoice and a receiver's URL, between which the order of events is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane(InvoiceId, String);

impl Lane {
    pub(super) fn of(delivery: &Delivery) -> Option<Self> {
        delivery.invoice.clone().map(|invoice| Self(invoice, delivery.url.to_string()))
    }
}

/// What is under way.
#[derive(Default)]
pub(super) struct InFlight {
    deliveries: HashSet<DeliveryId>,
    lanes: HashSet<Lane>,
    per_merchant: HashMap<MerchantId, usize>,
    per_receiver: HashMap<String, usize>,
}

impl InFlight {
    pub(super) fn is_full(&self) -> bool {
        self.deliveries.len() >= IN_FLIGHT_MAX
    }

    pub(super) fn contains(&self, delivery: &Delivery) -> bool {
        self.deliveries.contains(&delivery.id)
    }

    /// Whether the delivery may go out now; if so it counts as under way.
    pub(super) fn admit(&mut self, delivery: &Delivery) -> bool {
        let lane = Lane::of(delivery);
        let receiver = receiver(delivery);
        let reached = |count: Option<&usize>, max| count.is_some_and(|count| *count >= max);
        let busy = self.contains(delivery)
            || lane.as_ref().is_some_and(|lane| self.lanes.contains(lane))
            || reached(self.per_merchant.get(&delivery.merchant), IN_FLIGHT_PER_MERCHANT_MAX)
            || reached(self.per_receiver.get(&receiver), IN_FLIGHT_PER_RECEIVER_MAX);
        if busy || self.is_full() {
            return false;
        }
        self.deliveries.insert(delivery.id.clone());
        self.lanes.extend(lane);
        count_up(&mut self.per_merchant, delivery.merchant.clone());
        count_up(&mut self.per_receiver, receiver);
        true
    }

    pub(super) fn finish(&mut self, delivery: &Delivery) {
        self.deliveries.remove(&delivery.id);
        if let Some(lane) = Lane::of(delivery) {
            self.lanes.remove(&lane);
        }
        count_down(&mut self.per_merchant, &delivery.merchant);
        count_down(&mut self.per_receiver, &receiver(delivery));
    }
}

/// The receiver of a delivery: scheme, host and port of its URL.
fn receiver(delivery: &Delivery) -> String {
    let url = delivery.url.as_str();
    let authority_from = url.find("://").map_or(0, |at| at.saturating_add(3));
    let rest = url.get(authority_from..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).map_or(url.len(), |at| at.saturating_add(authority_from));
    url.get(..end).unwrap_or(url).to_ascii_lowercase()
}

fn count_up<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
}

/// Keys without a count are removed, so that the map holds no more of them than deliveries are under way.
fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
