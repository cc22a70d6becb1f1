//! From events to deliveries: who hears of an event, and in which bytes.
//!
//! An event is routed once: its deliveries and the mark "routed" are one changeset. The formatter plugin runs before that and
//! outside of any transaction; when it fails, the operator's policy decides between the built-in form and trying again.
//! Who hears of an event is decided in [`audience`](super::audience), which also keeps most events that nobody hears from
//! coming here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::DeliveryId;
use xthonpay_domain::invoice::url_text::CallbackUrl;

use crate::delivery::audience::Audience;
use crate::delivery::builtin_format;
use crate::delivery::schedule::Schedule;
use crate::port::clock::Clock;
use crate::port::hooks::{HookFailure, Hooks, OnFailure, Rendered};
use crate::port::store::{Changeset, CommitError, Delivery, DeliveryState, Store, StoreError, Write};
use crate::wake::Wakeups;

/// How often the store is looked at without being woken. Bounds the delay after a lost wake-up.
const TICK: Duration = Duration::from_millis(500);
/// The pause after a failure of the store or of a plugin whose policy is to wait.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Events that one look at the store takes. Bounds memory; events are a few KiB.
const EVENTS_PER_LOOK: usize = 256;
/// Invoices whose events are shaped at once. Above it plugins only queue.
const ROUTED_AT_ONCE: usize = 16;
/// What the formatter is told about a delivery to an invoice's own callback URL, which has no endpoint id.
const CALLBACK_TARGET: &str = "callback";
/// Set on a body that the formatter should have shaped and did not.
const FALLBACK_HEADER: (&str, &str) = ("x-format-fallback", "builtin");
/// What formatters' headers begin with.
const FORMAT_HEADER_PREFIX: &str = "x-";
/// Our own signature, which no formatter may set.
const OWN_SIGNATURE_HEADER: &str = "x-xthon-signature";

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
    /// The formatter.
    pub hooks: Arc<dyn Hooks>,
    /// When first attempts are due.
    pub schedule: Schedule,
    /// Time of the records.
    pub clock: Arc<dyn Clock>,
    /// Wake-ups.
    pub wakeups: Wakeups,
}

/// The events of one invoice that one look found, in their order.
#[derive(Default)]
struct Lane {
    /// Those that somebody hears, with the address.
    heard: Vec<(Event, CallbackUrl)>,
    unheard: Vec<Event>,
}

impl Routing {
    /// Works until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.route_all().await {
                // A full look means that there is more.
                Ok(routed) if routed >= EVENTS_PER_LOOK => continue,
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

    /// Routes what one look at the store finds; returns how many events that were.
    ///
    /// # Errors
    /// The first [`RoutingError`]; events of other invoices are routed all the same.
    pub async fn route_all(&self) -> Result<usize, RoutingError> {
        let events = self.store.unrouted_events(EVENTS_PER_LOOK).await?;
        let found = events.len();
        let mut lanes: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for event in events {
            let lane = event.invoice.as_ref().map_or_else(|| event.id.to_string(), ToString::to_string);
            lanes.entry(lane).or_default().push(event);
        }
        let lanes = stream::iter(lanes.into_values()).map(|events| self.lane(events)).buffer_unordered(ROUTED_AT_ONCE);
        let mut outcome = Ok(());
        let (mut heard, mut unheard) = (Vec::new(), Vec::new());
        for lane in lanes.collect::<Vec<_>>().await {
            match lane {
                Ok(lane) => {
                    heard.push(lane.heard);
                    unheard.extend(lane.unheard);
                }
                Err(failure) => outcome = outcome.and(Err(failure.into())),
            }
        }
        // One transaction for all of them, and before the others: no plugin has a say in it.
        outcome = outcome.and(self.mark_routed(&unheard).await);
        let routed = stream::iter(heard).map(|events| self.route_lane(events)).buffer_unordered(ROUTED_AT_ONCE);
        routed.collect::<Vec<_>>().await.into_iter().fold(outcome, Result::and).map(|()| found)
    }

    /// Sorts the events of one invoice by whether anybody hears of them.
    async fn lane(&self, events: Vec<Event>) -> Result<Lane, StoreError> {
        let Some(id) = events.first().and_then(|event| event.invoice.clone()) else {
            // Deposits without an invoice are heard of by endpoints only, of which there are none yet.
            return Ok(Lane { unheard: events, ..Lane::default() });
        };
        let invoice = self.store.invoice(&id).await?;
        let audience = invoice.as_ref().map(Audience::of);
        let mut lane = Lane::default();
        for event in events {
            match audience.and_then(|audience| audience.callback(event.kind)) {
                Some(url) => lane.heard.push((event, url.clone())),
                None => lane.unheard.push(event),
            }
        }
        Ok(lane)
    }

    /// Routes the events of one invoice in their order.
    async fn route_lane(&self, events: Vec<(Event, CallbackUrl)>) -> Result<(), RoutingError> {
        for (event, url) in &events {
            self.route_to(event, url).await?;
        }
        Ok(())
    }

    async fn mark_routed(&self, events: &[Event]) -> Result<(), RoutingError> {
        if events.is_empty() {
            return Ok(());
        }
        let changes = events.iter().map(|event| Write::MarkRouted(event.id.clone())).collect();
        Ok(self.store.commit(changes).await?)
    }

    async fn route_to(&self, event: &Event, url: &CallbackUrl) -> Result<(), RoutingError> {
        let Some(rendered) = self.render(event).await? else {
            return self.mark_routed(std::slice::from_ref(event)).await;
        };
        let changes = Changeset::new()
            .with(Write::CreateDelivery(Box::new(self.delivery(event, url, rendered))))
            .with(Write::MarkRouted(event.id.clone()));
        match self.store.commit(changes).await {
            Ok(()) => {
                self.wakeups.dispatch.notify_one();
                Ok(())
            }
            // The delivery exists: an earlier try stored it. Its bytes stay as they are.
            Err(CommitError::Refused) => self.mark_routed(std::slice::from_ref(event)).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes of an event, or `None` when the formatter skips it.
    async fn render(&self, event: &Event) -> Result<Option<Rendered>, RoutingError> {
        let Some(format) = self.hooks.webhook_format() else { return Ok(Some(builtin_format::render(event))) };
        match format.render(event, CALLBACK_TARGET).await {
            Ok(Some(rendered)) if !is_sendable(&rendered) => {
                warn!(event = %event.id, "the formatter's headers cannot be sent; the built-in format is sent instead");
                Ok(Some(fallback(event)))
            }
            Ok(rendered) => Ok(rendered),
            Err(failure) => match failure.policy {
                OnFailure::Builtin => {
                    warn!(%failure, event = %event.id, "the built-in format is sent instead");
                    Ok(Some(fallback(event)))
                }
                OnFailure::Closed | OnFailure::Hold => Err(failure.into()),
            },
        }
    }

    fn delivery(&self, event: &Event, url: &CallbackUrl, rendered: Rendered) -> Delivery {
        let now = self.clock.now();
        Delivery {
            id: DeliveryId::from_fact(&[event.id.as_str(), url.as_str()]),
            event: event.id.clone(),
            merchant: event.merchant.clone(),
            invoice: event.invoice.clone(),
            sequence: event.sequence,
            url: url.clone(),
            content_type: rendered.content_type,
            headers: rendered.headers,
            body: rendered.body,
            state: DeliveryState::Pending,
            attempts: 0,
            next_at: self.schedule.first_at(now),
            last_status: None,
            last_error: None,
            created_at: now,
            revision: 1,
        }
    }
}

/// Whether the formatter's headers are its own to set, and in characters that HTTP carries.
fn is_sendable(rendered: &Rendered) -> bool {
    let plain = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let own_name = |name: &str| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        name.starts_with(FORMAT_HEADER_PREFIX) && name != OWN_SIGNATURE_HEADER && name.bytes().all(word)
    };
    let typed = !rendered.content_type.is_empty() && plain(&rendered.content_type);
    typed && rendered.headers.iter().all(|(name, value)| own_name(name) && plain(value))
}

/// The built-in form, marked as such.
fn fallback(event: &Event) -> Rendered {
    let mut rendered = builtin_format::render(event);
    rendered.headers.push((FALLBACK_HEADER.0.to_owned(), FALLBACK_HEADER.1.to_owned()));
    rendered
}
