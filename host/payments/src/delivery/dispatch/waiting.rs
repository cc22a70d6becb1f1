//! Due deliveries that wait for their turn, and who is next.
//!
//! Receivers take turns. Within a receiver the longest due goes first, and of one invoice the events go in their order.

use std::collections::{HashMap, HashSet, VecDeque};

use xthonpay_domain::id::DeliveryId;

use super::in_flight::{Due, InFlight, Lane, Receiver};

/// What waits, by receiver.
#[derive(Default)]
pub(super) struct Waiting {
    queues: HashMap<Receiver, VecDeque<Due>>,
    /// Every receiver that has a queue, the next one first.
    turns: VecDeque<Receiver>,
    known: HashSet<DeliveryId>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn contains(&self, delivery: &DeliveryId) -> bool {
        self.known.contains(delivery)
    }

    /// The lanes of what waits.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.queues.values().flatten().filter_map(|due| due.lane.as_ref())
    }

    /// Adds deliveries behind those that wait, the longest due first.
    pub(super) fn extend(&mut self, deliveries: Vec<Due>) {
        for due in in_order_of_lanes(deliveries) {
            self.known.insert(due.delivery.id.clone());
            let queue = self.queues.entry(due.receiver.clone()).or_default();
            if queue.is_empty() {
                self.turns.push_back(due.receiver.clone());
            }
            queue.push_back(due);
        }
    }

    /// Takes the deliveries that may go out now; they count as under way.
    pub(super) fn admit(&mut self, in_flight: &mut InFlight) -> Vec<Due> {
        let mut admitted = Vec::new();
        let mut passed = 0_usize;
        // Until a whole round has passed without a place for anybody.
        while passed < self.turns.len() {
            let Some(receiver) = self.turns.pop_front() else { break };
            match self.take_from(&receiver, in_flight) {
                Some(due) => {
                    admitted.push(due);
                    passed = 0;
                }
                None => passed = passed.saturating_add(1),
            }
            if self.queues.contains_key(&receiver) {
                self.turns.push_back(receiver);
            }
        }
        admitted
    }

    fn take_from(&mut self, receiver: &Receiver, in_flight: &mut InFlight) -> Option<Due> {
        let queue = self.queues.get_mut(receiver).filter(|_| in_flight.has_room(receiver))?;
        // The first of a lane in the queue is the lane's first, and those behind it are not free while it is not.
        let place = queue.iter().position(|due| in_flight.is_free(due.lane.as_ref()))?;
        let due = queue.remove(place)?;
        if queue.is_empty() {
            self.queues.remove(receiver);
        }
        self.known.remove(&due.delivery.id);
        in_flight.begin(&due);
        Some(due)
    }
}

/// The same deliveries with those of a lane side by side in the order of their events, in the place of the longest due of them.
/// When they are due does not tell the order: the clock can have jumped between two events.
fn in_order_of_lanes(deliveries: Vec<Due>) -> Vec<Due> {
    let mut first: HashMap<Lane, usize> = HashMap::new();
    let placed = deliveries.into_iter().enumerate().map(|(place, due)| {
        let place = due.lane.clone().map_or(place, |lane| *first.entry(lane).or_insert(place));
        (place, due)
    });
    let mut placed: Vec<(usize, Due)> = placed.collect();
    placed.sort_by_key(|(place, due)| (*place, due.delivery.sequence));
    placed.into_iter().map(|(_, due)| due).collect()
}
