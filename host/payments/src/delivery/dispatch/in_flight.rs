//! How much may be under way at once, for all and for each.
//!
//! A receiver that hangs keeps its places for as long as an attempt may take, so no place is given away that others could not
//! spare. A receiver begins with one place and earns more by prompt answers, and the places beyond the first come from a part
//! of the whole: the rest is there for the first place of everybody else. A merchant gets no more than it leaves to all
//! others, so every further merchant finds room, however many receivers of the ones before hang.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use xthonpay_domain::id::{DeliveryId, EndpointId, InvoiceId, MerchantId};

use crate::port::store::Delivery;

/// Deliveries under way at once. Bounds sockets and memory.
const IN_FLIGHT_MAX: usize = 256;
/// So many under way, for all and for one merchant, that no receiver gets a place beyond its first.
const IN_FLIGHT_EXTRA_MAX: usize = 128;
const IN_FLIGHT_EXTRA_PER_MERCHANT_MAX: usize = 64;
/// Deliveries under way to one receiver that has earned as many: enough for a healthy one.
const IN_FLIGHT_PER_RECEIVER_MAX: usize = 8;
/// Receivers that are known to have earned more than one place. Beyond it all of them earn anew.
const EARNED_MAX: usize = 4_096;
/// An attempt that takes no longer, from its beginning to its record, is prompt: a receiver that works first and answers then
/// is not.
pub(super) const PROMPT: Duration = Duration::from_secs(1);

/// Who takes deliveries: an endpoint, or the server behind callback URLs of a merchant. Of one merchant each, so that nobody can
/// occupy the places of another merchant's receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Receiver {
    Endpoint(MerchantId, EndpointId),
    Callback(MerchantId, String),
}

impl Receiver {
    fn of(delivery: &Delivery) -> Self {
        let merchant = delivery.merchant.clone();
        match &delivery.endpoint {
            Some(endpoint) => Self::Endpoint(merchant, endpoint.clone()),
            None => Self::Callback(merchant, server(delivery.url.as_str()).to_ascii_lowercase()),
        }
    }

    fn merchant(&self) -> &MerchantId {
        match self {
            Self::Endpoint(merchant, _) | Self::Callback(merchant, _) => merchant,
        }
    }
}

/// Scheme, host and port of a URL.
fn server(url: &str) -> &str {
    let authority_from = url.find("://").map_or(0, |at| at.saturating_add(3));
    let rest = url.get(authority_from..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).map_or(url.len(), |at| at.saturating_add(authority_from));
    url.get(..end).unwrap_or(url)
}

/// An invoice and a receiver, between which the order of events is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane(InvoiceId, Receiver);

/// A due delivery with what its turn depends on.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) delivery: Delivery,
    pub(super) receiver: Receiver,
    pub(super) lane: Option<Lane>,
}

impl Due {
    pub(super) fn new(delivery: Delivery) -> Self {
        let receiver = Receiver::of(&delivery);
        let lane = delivery.invoice.clone().map(|invoice| Lane(invoice, receiver.clone()));
        Self { delivery, receiver, lane }
    }
}

/// What is under way, and what receivers have earned.
#[derive(Default)]
pub(super) struct InFlight {
    deliveries: HashSet<DeliveryId>,
    lanes: HashSet<Lane>,
    per_merchant: HashMap<MerchantId, usize>,
    per_receiver: HashMap<Receiver, usize>,
    /// Places of receivers that have earned more than one.
    earned: HashMap<Receiver, usize>,
}

impl InFlight {
    pub(super) fn contains(&self, delivery: &DeliveryId) -> bool {
        self.deliveries.contains(delivery)
    }

    /// Whether one more may go to this receiver.
    pub(super) fn has_room(&self, receiver: &Receiver) -> bool {
        let count_of = |count: Option<&usize>| count.copied().unwrap_or_default();
        let of_receiver = count_of(self.per_receiver.get(receiver));
        let of_merchant = count_of(self.per_merchant.get(receiver.merchant()));
        let free = IN_FLIGHT_MAX.saturating_sub(self.deliveries.len());
        let extra = of_receiver < self.earned.get(receiver).copied().unwrap_or(1)
            && of_merchant < IN_FLIGHT_EXTRA_PER_MERCHANT_MAX
            && self.deliveries.len() < IN_FLIGHT_EXTRA_MAX;
        of_merchant < free && (of_receiver == 0 || extra)
    }

    /// Whether nothing of this invoice is under way to this receiver.
    pub(super) fn is_free(&self, lane: Option<&Lane>) -> bool {
        lane.is_none_or(|lane| !self.lanes.contains(lane))
    }

    pub(super) fn begin(&mut self, due: &Due) {
        self.deliveries.insert(due.delivery.id.clone());
        self.lanes.extend(due.lane.clone());
        count_up(&mut self.per_merchant, due.receiver.merchant().clone());
        count_up(&mut self.per_receiver, due.receiver.clone());
    }

    /// The attempt has ended after `took`. A prompt one doubles what the receiver may have, any other takes back what it earned.
    pub(super) fn finish(&mut self, due: &Due, took: Duration) {
        self.deliveries.remove(&due.delivery.id);
        if let Some(lane) = &due.lane {
            self.lanes.remove(lane);
        }
        count_down(&mut self.per_merchant, due.receiver.merchant());
        count_down(&mut self.per_receiver, &due.receiver);
        let earned = self.earned.remove(&due.receiver).unwrap_or(1);
        if took <= PROMPT {
            if self.earned.len() >= EARNED_MAX {
                self.earned.clear();
            }
            let more = earned.saturating_mul(2).min(IN_FLIGHT_PER_RECEIVER_MAX);
            self.earned.insert(due.receiver.clone(), more);
        }
    }
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

#[cfg(test)]
mod tests;
