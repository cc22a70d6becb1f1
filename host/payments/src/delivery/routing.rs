//! From events to deliveries: each event is shaped once for everybody who hears of it.
//!
//! An event counts as routed in the changeset that makes the last of its deliveries; mostly that is the only one. When a
//! formatter is waited for, the deliveries to all other targets are made at once and the event stays unrouted for the rest.
//! What a target gets keeps the order of the events of an invoice: nothing overtakes an event that waits for the same
//! target. Events that wait hide no later ones: a look at the store goes through all of them.
//!
//! Who hears of an event is decided in [`audience`](super::audience), which also keeps most events that nobody hears from
//! coming here; which bytes it becomes in [`shaping`](super::shaping).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{EventId, MerchantId};
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::time::Timestamp;

use crate::delivery::audience::{goes_to_callback, goes_to_endpoint};
use crate::delivery::shaping::{Shaper, Target};
use crate::port::hooks::HookFailure;
use crate::port::store::{Changeset, CommitError, Delivery, Endpoint, Store, StoreError, Write};
use crate::wake::Wakeups;

/// How often the store is looked at without being woken. Bounds the delay after a lost wake-up.
const TICK: Duration = Duration::from_millis(500);
/// The pause after a failure of the store or of a plugin whose policy is to wait.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Events that are in memory at once. Bounds it; events are a few KiB.
const EVENTS_PER_PAGE: usize = 256;
/// Invoices whose events are shaped at once. Above it plugins only queue.
const ROUTED_AT_ONCE: usize = 16;

/// An event that was not routed. It stays in the store and is tried again.
#[derive(Debug, Error)]
pub enum RoutingError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records were not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The formatter failed and the operator chose to wait for it.
    #[error(transparent)]
    Format(#[from] HookFailure),
}

impl RoutingError {
    /// Whether the same event may be routed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Commit(error) => error.is_transient(),
            Self::Format(failure) => failure.is_transient(),
        }
    }
}

/// Turns events into deliveries.
pub struct Routing {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Shapes them.
    pub shaper: Shaper,
    /// Wake-ups.
    pub wakeups: Wakeups,
}

/// An event with those who hear of it.
struct Heard {
    event: Event,
    callback: Option<CallbackUrl>,
    endpoints: Vec<Arc<Endpoint>>,
}

impl Heard {
    fn targets(&self) -> impl Iterator<Item = Target<'_>> {
        let callback = self.callback.iter().map(Target::Callback);
        callback.chain(self.endpoints.iter().map(|endpoint| Target::Endpoint(endpoint)))
    }
}

/// The events of one invoice on a page, in their order.
#[derive(Default)]
struct Lane {
    name: String,
    heard: Vec<Heard>,
    unheard: Vec<Event>,
}

/// To whom nothing more of an invoice may go during a look, because an earlier event waits.
#[derive(Clone, Debug, Default)]
struct Held {
    everybody: bool,
    /// The names of targets, see [`Target::name`].
    targets: BTreeSet<String>,
}

impl Held {
    fn holds(&self, target: Target<'_>) -> bool {
        self.everybody || self.targets.contains(target.name())
    }
}

/// The invoices of a look that are held. An entry of some hundred bytes for each that waits.
type HeldLanes = BTreeMap<String, Held>;

impl Routing {
    /// Works until `stop` is cancelled. What is under way then is dropped: it is decided anew after the next start, and a
    /// changeset that was handed to the store is stored all the same.
    pub async fn run(self, stop: CancellationToken) {
        while let Some(outcome) = stop.run_until_cancelled(self.route_all()).await {
            let pause = match outcome {
                Ok(_) => TICK,
                Err(failure) => {
                    warn!(%failure, "events wait to be routed; trying again");
                    PAUSE_AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wakeups.routing.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Routes what one look at the store finds, page by page; returns how many events that were.
    ///
    /// # Errors
    /// The first [`RoutingError`]; other events are routed all the same, unless the store cannot be read.
    pub async fn route_all(&self) -> Result<usize, RoutingError> {
        let (mut found, mut outcome, mut held) = (0_usize, Ok(()), HeldLanes::new());
        let mut page = self.store.unrouted_events(EVENTS_PER_PAGE).await?;
        loop {
            found = found.saturating_add(page.len());
            let behind = last_place(&page).filter(|_| page.len() >= EVENTS_PER_PAGE);
            outcome = outcome.and(self.route_page(page, &mut held).await);
            let Some(behind) = behind else { return outcome.map(|()| found) };
            page = self.store.unrouted_events_behind(&behind, EVENTS_PER_PAGE).await?;
        }
    }

    async fn route_page(&self, events: Vec<Event>, held: &mut HeldLanes) -> Result<(), RoutingError> {
        let endpoints = self.endpoints(&events).await?;
        let mut lanes: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for event in events {
            let name = event.invoice.as_ref().map_or_else(|| event.id.to_string(), ToString::to_string);
            lanes.entry(name).or_default().push(event);
        }
        let lanes = stream::iter(lanes).map(|(name, events)| self.lane(name, events, &endpoints));
        let mut outcome = Ok(());
        let (mut heard, mut unheard) = (Vec::new(), Vec::new());
        for lane in lanes.buffer_unordered(ROUTED_AT_ONCE).collect::<Vec<_>>().await {
            match lane {
                Ok(lane) => {
                    let before = held.get(&lane.name).cloned().unwrap_or_default();
                    heard.push((lane.name, lane.heard, before));
                    unheard.extend(lane.unheard);
                }
                Err((name, failure)) => {
                    held.insert(name, Held { everybody: true, ..Held::default() });
                    outcome = outcome.and(Err(failure.into()));
                }
            }
        }
        // One transaction for all of them, and before the others: no plugin has a say in it.
        outcome = outcome.and(self.mark_routed(&unheard).await);
        let routed = stream::iter(heard).map(|(name, events, before)| async move {
            let (now, outcome) = self.route_lane(&events, before).await;
            (name, now, outcome)
        });
        for (name, now, routed) in routed.buffer_unordered(ROUTED_AT_ONCE).collect::<Vec<_>>().await {
            if now.everybody || !now.targets.is_empty() {
                held.insert(name, now);
            }
            outcome = outcome.and(routed);
        }
        outcome
    }

    /// The endpoints of those whose events these are.
    async fn endpoints(&self, events: &[Event]) -> Result<BTreeMap<MerchantId, Vec<Arc<Endpoint>>>, StoreError> {
        let merchants: BTreeSet<MerchantId> = events.iter().map(|event| event.merchant.clone()).collect();
        let read = |merchant: MerchantId| async move {
            let endpoints = self.store.endpoints_of(&merchant).await?;
            Ok((merchant, endpoints.into_iter().map(Arc::new).collect()))
        };
        stream::iter(merchants).map(read).buffer_unordered(ROUTED_AT_ONCE).try_collect().await
    }

    /// Sorts the events of one invoice by whether anybody hears of them.
    async fn lane(
        &self,
        name: String,
        events: Vec<Event>,
        endpoints: &BTreeMap<MerchantId, Vec<Arc<Endpoint>>>,
    ) -> Result<Lane, (String, StoreError)> {
        let callback = match self.callback(&events).await {
            Ok(callback) => callback,
            Err(failure) => return Err((name, failure)),
        };
        let mut lane = Lane { name, ..Lane::default() };
        for event in events {
            let callback = callback.clone().filter(|_| goes_to_callback(event.kind));
            let of_merchant = endpoints.get(&event.merchant).into_iter().flatten();
            let endpoints: Vec<_> =
                of_merchant.filter(|endpoint| goes_to_endpoint(event.kind, endpoint)).cloned().collect();
            if callback.is_none() && endpoints.is_empty() {
                lane.unheard.push(event);
            } else {
                lane.heard.push(Heard { event, callback, endpoints });
            }
        }
        Ok(lane)
    }

    /// The callback URL of the invoice whose events these are, if one of them goes there.
    async fn callback(&self, events: &[Event]) -> Result<Option<CallbackUrl>, StoreError> {
        let told = events.iter().find(|event| goes_to_callback(event.kind)).and_then(|event| event.invoice.as_ref());
        let Some(invoice) = told else { return Ok(None) };
        Ok(self.store.invoice(invoice).await?.and_then(|invoice| invoice.callback_url))
    }

    /// Routes the events of one invoice in their order; tells for whom later ones have to wait.
    async fn route_lane(&self, events: &[Heard], mut held: Held) -> (Held, Result<(), RoutingError>) {
        let mut outcome = Ok(());
        for heard in events {
            let routed = self.route(heard, &mut held).await;
            if matches!(routed, Err(RoutingError::Store(_) | RoutingError::Commit(_))) {
                held.everybody = true;
            }
            outcome = outcome.and(routed);
        }
        (held, outcome)
    }

    async fn route(&self, heard: &Heard, held: &mut Held) -> Result<(), RoutingError> {
        let (waiting, open): (Vec<_>, Vec<_>) = heard.targets().partition(|target| held.holds(*target));
        let shaped = join_all(open.iter().map(|target| self.missing(&heard.event, *target))).await;
        let (mut changes, mut outcome) = (Changeset::new(), Ok(()));
        for (target, delivery) in open.iter().zip(shaped) {
            match delivery {
                Ok(delivery) => changes.writes.extend(delivery.map(Box::new).map(Write::CreateDelivery)),
                Err(RoutingError::Format(failure)) => {
                    held.targets.insert(target.name().to_owned());
                    outcome = outcome.and(Err(failure.into()));
                }
                Err(failure) => return Err(failure),
            }
        }
        let delivers = !changes.writes.is_empty();
        if waiting.is_empty() && outcome.is_ok() {
            changes.push(Write::MarkRouted(heard.event.id.clone()));
        }
        if changes.writes.is_empty() {
            return outcome;
        }
        self.store.commit(changes).await?;
        if delivers {
            self.wakeups.dispatch.notify_one();
        }
        outcome
    }

    /// The delivery to a target, unless it is there already: from an earlier try, or because somebody asked for the event again.
    /// The bytes of one that is there stay as they are.
    async fn missing(&self, event: &Event, target: Target<'_>) -> Result<Option<Delivery>, RoutingError> {
        if self.store.delivery(&target.delivery_id(event)).await?.is_some() {
            return Ok(None);
        }
        Ok(self.shaper.delivery(event, target).await?)
    }

    async fn mark_routed(&self, events: &[Event]) -> Result<(), RoutingError> {
        if events.is_empty() {
            return Ok(());
        }
        let changes = events.iter().map(|event| Write::MarkRouted(event.id.clone())).collect();
        Ok(self.store.commit(changes).await?)
    }
}

/// The place of the last of these events in the list of unrouted ones.
fn last_place(events: &[Event]) -> Option<(Timestamp, u64, EventId)> {
    events.iter().map(|event| (event.at, event.sequence, event.id.clone())).max()
}
