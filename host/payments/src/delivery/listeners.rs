//! Which endpoints hear of which kinds of events, in memory.
//!
//! Asked whenever an event is recorded, so that one that nobody hears need not be left to routing. Being wrong in one direction
//! costs a read: an event is left to routing, which reads the endpoints from the store and finds nobody. Being wrong in the
//! other would lose the event for its endpoint, so a change is known here before its record is written ([`Listeners::expect`])
//! and what it takes away is forgotten only afterwards ([`Listeners::settle`]). A caller that goes away between the two leaves
//! more behind than there is, never less.
//!
//! Between the question and the moment at which the event is stored, an endpoint may come. Whoever records an event therefore
//! holds a [`Recording`] for that long, and an endpoint is not written before all are gone that are older than what is known of
//! it here ([`Listeners::until_recorded`]): an event that is stored after the endpoint was asked about it.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::mem;
use std::sync::{Mutex, PoisonError, RwLock};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use xthonpay_domain::event::{EventFilter, EventKind};
use xthonpay_domain::id::{EndpointId, MerchantId};

use crate::port::store::{Endpoint, EndpointState, READ_LIMIT_MAX, Store, StoreError};

/// What an endpoint may want by the revisions of its record that may be the stored one.
type Revisions = BTreeMap<u64, EventFilter>;

/// The endpoints of all merchants that may get deliveries, with what they want. A few hundred bytes for each.
#[derive(Debug, Default)]
pub struct Listeners {
    merchants: RwLock<HashMap<MerchantId, BTreeMap<EndpointId, Revisions>>>,
    /// Those who record now.
    epoch: Mutex<Epoch>,
    /// Those who recorded before, as long as somebody may have to wait for them; the last has to end first.
    before: tokio::sync::Mutex<Vec<Receiver<Infallible>>>,
}

/// Held from before it is asked who hears of an event until the event is stored or given up.
#[derive(Clone, Debug)]
#[must_use = "it counts for as long as it is held"]
pub struct Recording {
    _of: Sender<Infallible>,
}

/// Those who record events between two endpoints: nothing is ever sent, and the channel closes when the last of them is done.
#[derive(Debug)]
struct Epoch {
    recording: Recording,
    done: Receiver<Infallible>,
}

impl Default for Epoch {
    fn default() -> Self {
        let (sender, done) = channel(1);
        Self { recording: Recording { _of: sender }, done }
    }
}

impl Listeners {
    /// Whether an endpoint of the merchant may want events of this kind.
    #[must_use]
    pub fn hear(&self, merchant: &MerchantId, kind: EventKind) -> bool {
        let merchants = self.merchants.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = |revisions: &Revisions| revisions.values().any(|filter| filter.admits(kind));
        merchants.get(merchant).is_some_and(|endpoints| endpoints.values().any(wanted))
    }

    /// To be held by whoever asks [`Listeners::hear`] about an event, until the event is stored.
    pub fn recording(&self) -> Recording {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner).recording.clone()
    }

    /// Waits until every event is stored, or given up, about which was asked before this call. That takes as long as a
    /// transaction of the store.
    pub async fn until_recorded(&self) {
        let mut before = self.before.lock().await;
        let epoch = mem::take(&mut *self.epoch.lock().unwrap_or_else(PoisonError::into_inner));
        drop(epoch.recording);
        before.push(epoch.done);
        // What is left when this is dropped is waited for by the next one.
        while let Some(done) = before.last_mut() {
            done.recv().await;
            before.pop();
        }
    }

    /// Whether no endpoint may get deliveries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.merchants.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Adds what the endpoint wants, beside what it wanted before. To be called before the record is written.
    pub fn expect(&self, endpoint: &Endpoint) {
        if endpoint.state == EndpointState::Enabled {
            let mut merchants = self.merchants.write().unwrap_or_else(PoisonError::into_inner);
            let endpoints = merchants.entry(endpoint.merchant.clone()).or_default();
            let revisions = endpoints.entry(endpoint.id.clone()).or_default();
            // Two callers may be about to write the same revision. One of them will be refused, and it is not known which.
            let wanted = revisions.remove(&endpoint.revision);
            let both = wanted.map_or_else(|| endpoint.events.clone(), |wanted| union(wanted, &endpoint.events));
            revisions.insert(endpoint.revision, both);
        }
    }

    /// The record is stored: forgets what earlier revisions wanted.
    pub fn settle(&self, endpoint: &Endpoint) {
        let mut merchants = self.merchants.write().unwrap_or_else(PoisonError::into_inner);
        let endpoints = merchants.entry(endpoint.merchant.clone()).or_default();
        let mut revisions = endpoints.remove(&endpoint.id).unwrap_or_default().split_off(&endpoint.revision);
        revisions.remove(&endpoint.revision);
        if endpoint.state == EndpointState::Enabled {
            revisions.insert(endpoint.revision, endpoint.events.clone());
        }
        if !revisions.is_empty() {
            endpoints.insert(endpoint.id.clone(), revisions);
        }
        if endpoints.is_empty() {
            merchants.remove(&endpoint.merchant);
        }
    }

    /// Adds every endpoint in the store that is enabled. To be called before anything records an event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = store.endpoints(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            page.iter().for_each(|endpoint| self.expect(endpoint));
        }
    }
}

fn union(one: EventFilter, other: &EventFilter) -> EventFilter {
    match (one, other) {
        (EventFilter::Only(mut one), EventFilter::Only(other)) => {
            one.extend(other);
            EventFilter::Only(one)
        }
        (EventFilter::All, _) | (_, EventFilter::All) => EventFilter::All,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xthonpay_domain::time::Timestamp;

    use super::*;
    use crate::port::vault::Sealed;

    const PAID: EventKind = EventKind::InvoicePaid;
    const EXPIRED: EventKind = EventKind::InvoiceExpired;

    fn merchant() -> MerchantId {
        MerchantId::from_random([1; 16])
    }

    fn only(kinds: &[EventKind]) -> EventFilter {
        EventFilter::Only(kinds.iter().copied().collect())
    }

    fn endpoint(revision: u64, state: EndpointState, events: EventFilter) -> Endpoint {
        Endpoint {
            id: EndpointId::from_random([2; 16]),
            merchant: merchant(),
            url: "https://shop.example/".parse().expect("a URL"),
            events,
            label: None,
            format: None,
            secret: Sealed(Vec::new()),
            retiring_secret: None,
            state,
            failing_since: None,
            created_at: Timestamp::EPOCH,
            revision,
        }
    }

    fn heard(listeners: &Listeners) -> (bool, bool) {
        (listeners.hear(&merchant(), PAID), listeners.hear(&merchant(), EXPIRED))
    }

    #[test]
    fn a_change_is_heard_from_before_its_commit_and_what_it_ends_until_after() {
        let listeners = Listeners::default();
        let first = endpoint(1, EndpointState::Enabled, only(&[PAID]));
        listeners.expect(&first);
        assert_eq!(heard(&listeners), (true, false));
        listeners.settle(&first);
        let second = endpoint(2, EndpointState::Enabled, only(&[EXPIRED]));
        listeners.expect(&second);
        assert_eq!(heard(&listeners), (true, true));
        listeners.settle(&second);
        assert_eq!(heard(&listeners), (false, true));
        let paused = endpoint(3, EndpointState::Paused, EventFilter::All);
        listeners.expect(&paused);
        assert_eq!(heard(&listeners), (false, true), "until it is stored");
        listeners.settle(&paused);
        assert_eq!(heard(&listeners), (false, false));
        assert!(listeners.is_empty());
        assert!(!listeners.hear(&MerchantId::from_random([9; 16]), PAID));
    }

    #[test]
    fn steps_of_two_callers_in_any_order_never_forget_the_later_record() {
        let paused = endpoint(2, EndpointState::Paused, EventFilter::All);
        let enabled = endpoint(3, EndpointState::Enabled, only(&[PAID]));
        let listeners = Listeners::default();
        // The one who paused comes last, though its record came first.
        listeners.expect(&enabled);
        listeners.settle(&enabled);
        listeners.settle(&paused);
        assert_eq!(heard(&listeners), (true, false));
        // The one who enables goes away before it settles.
        let listeners = Listeners::default();
        listeners.expect(&enabled);
        listeners.settle(&paused);
        assert_eq!(heard(&listeners), (true, false));
        // Two callers write the same revision.
        let other = endpoint(3, EndpointState::Enabled, only(&[EXPIRED]));
        listeners.expect(&other);
        assert_eq!(heard(&listeners), (true, true));
        listeners.settle(&other);
        assert_eq!(heard(&listeners), (false, true));
    }

    #[tokio::test]
    async fn waits_for_those_who_asked_before_and_for_no_later_ones() {
        let listeners = Listeners::default();
        listeners.until_recorded().await;
        let early = [listeners.recording(), listeners.recording()];
        // A wait that is given up leaves them to the next one.
        let given_up = tokio::time::timeout(Duration::from_millis(5), listeners.until_recorded()).await;
        assert!(given_up.is_err());
        let between = listeners.recording();
        let wait = listeners.until_recorded();
        tokio::pin!(wait);
        assert!(futures::poll!(&mut wait).is_pending());
        let late = listeners.recording();
        drop(between);
        assert!(futures::poll!(&mut wait).is_pending());
        drop(early);
        wait.await;
        drop(late);
        listeners.until_recorded().await;
    }

    #[test]
    fn all_swallows_some() {
        for (one, other, expected) in [
            (EventFilter::All, only(&[PAID]), EventFilter::All),
            (only(&[PAID]), EventFilter::All, EventFilter::All),
            (only(&[PAID]), only(&[EXPIRED]), only(&[PAID, EXPIRED])),
        ] {
            assert_eq!(union(one, &other), expected);
        }
    }
}
