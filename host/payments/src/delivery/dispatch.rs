//! Sending deliveries until the receivers take them.
//!
//! Which deliveries are due stands in the store. In memory is only what is under way: which deliveries, and how many per
//! receiver, so that a receiver that hangs holds up nobody else. Deliveries of one invoice to one receiver go out one after the
//! other in the order of their events; one that failed waits for its next attempt and does not hold up the later ones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use xthonpay_domain::id::{DeliveryId, InvoiceId};
use xthonpay_domain::time::Timestamp;

use crate::delivery::schedule::Schedule;
use crate::delivery::signing::{self, MalformedSecret};
use crate::port::clock::Clock;
use crate::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport};
use crate::port::random::Random;
use crate::port::store::{Changeset, CommitError, Delivery, DeliveryState, READ_LIMIT_MAX, Store, StoreError, Write};
use crate::port::vault::{Purpose, Vault, VaultError};
use crate::wake::Wakeups;

/// How often the store is looked at without being woken. Bounds the delay after a lost wake-up.
const TICK: Duration = Duration::from_millis(500);
/// The pause after a failure of the store.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Deliveries under way at once. Bounds sockets and memory.
const IN_FLIGHT_MAX: usize = 128;
/// Deliveries under way to one receiver at once: enough for a healthy one, and a hanging one leaves the rest to others.
const IN_FLIGHT_PER_RECEIVER_MAX: usize = 8;
/// How often a record that changed in the meantime is read again before the attempt's result is given up.
const RECORD_ATTEMPTS_MAX: u32 = 5;
/// "Gone": the receiver asks never to be called again.
const STATUS_GONE: u16 = 410;

/// An attempt that could not be made or recorded. The delivery stays due.
#[derive(Debug, Error)]
pub enum DispatchError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The result was not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The merchant's secret does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The merchant's secret is not one.
    #[error(transparent)]
    Secret(#[from] MalformedSecret),
}

impl DispatchError {
    /// Whether the same attempt may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Commit(error) => error.is_transient(),
            Self::Vault(error) => error.is_transient(),
            Self::Secret(error) => error.is_transient(),
        }
    }
}

/// Sends what is due.
pub struct Dispatch {
    /// Makes the attempts.
    pub courier: Arc<Courier>,
    /// Wake-ups.
    pub wakeups: Wakeups,
}

/// Makes single attempts.
pub struct Courier {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Opens the merchants' secrets.
    pub vault: Arc<dyn Vault>,
    /// Sends.
    pub transport: Arc<dyn WebhookTransport>,
    /// When to try again.
    pub schedule: Schedule,
    /// Time of attempts.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub random: Arc<dyn Random>,
}

/// What is under way.
#[derive(Default)]
struct InFlight {
    deliveries: HashSet<DeliveryId>,
    per_receiver: HashMap<String, usize>,
    invoices: HashSet<(InvoiceId, String)>,
}

/// The receiver of a delivery: scheme, host and port of its URL.
fn receiver(delivery: &Delivery) -> String {
    let url = delivery.url.as_str();
    let authority_from = url.find("://").map_or(0, |at| at.saturating_add(3));
    let rest = url.get(authority_from..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).map_or(url.len(), |at| at.saturating_add(authority_from));
    url.get(..end).unwrap_or(url).to_ascii_lowercase()
}

impl InFlight {
    fn lane(delivery: &Delivery) -> Option<(InvoiceId, String)> {
        delivery.invoice.clone().map(|invoice| (invoice, delivery.url.to_string()))
    }

    /// Whether the delivery may go out now; if so it counts as under way.
    fn admit(&mut self, delivery: &Delivery) -> bool {
        let lane = Self::lane(delivery);
        let receiver = receiver(delivery);
        let busy = self.deliveries.contains(&delivery.id)
            || lane.as_ref().is_some_and(|lane| self.invoices.contains(lane))
            || self.per_receiver.get(&receiver).is_some_and(|count| *count >= IN_FLIGHT_PER_RECEIVER_MAX);
        if busy || self.deliveries.len() >= IN_FLIGHT_MAX {
            return false;
        }
        self.deliveries.insert(delivery.id.clone());
        self.invoices.extend(lane);
        let count = self.per_receiver.entry(receiver).or_default();
        *count = count.saturating_add(1);
        true
    }

    fn finish(&mut self, delivery: &Delivery) {
        self.deliveries.remove(&delivery.id);
        if let Some(lane) = Self::lane(delivery) {
            self.invoices.remove(&lane);
        }
        let receiver = receiver(delivery);
        if let Some(count) = self.per_receiver.get_mut(&receiver) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_receiver.remove(&receiver);
            }
        }
    }
}

impl Dispatch {
    /// Works until `stop` is cancelled, then lets the attempts under way end.
    pub async fn run(self, stop: CancellationToken) {
        let mut in_flight = InFlight::default();
        let mut attempts: JoinSet<Delivery> = JoinSet::new();
        while !stop.is_cancelled() {
            let pause = match self.start_due(&mut in_flight, &mut attempts).await {
                Ok(pause) => pause,
                Err(failure) => {
                    warn!(%failure, "due deliveries cannot be read; trying again");
                    PAUSE_AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wakeups.dispatch.notified() => {}
                () = sleep(pause) => {}
                Some(ended) = attempts.join_next() => note_end(ended, &mut in_flight),
            }
            while let Some(ended) = attempts.try_join_next() {
                note_end(ended, &mut in_flight);
            }
        }
        while let Some(ended) = attempts.join_next().await {
            note_end(ended, &mut in_flight);
        }
    }

    /// Starts every delivery that is due and may go out; returns how long nothing more will be due.
    async fn start_due(
        &self,
        in_flight: &mut InFlight,
        attempts: &mut JoinSet<Delivery>,
    ) -> Result<Duration, StoreError> {
        let now = self.courier.clock.now();
        let mut due = self.courier.store.due_deliveries(now, READ_LIMIT_MAX).await?;
        // Deliveries of one invoice that are due together go out in the order of their events.
        due.sort_by_key(|delivery| (delivery.created_at, delivery.sequence));
        for delivery in due {
            if in_flight.admit(&delivery) {
                let courier = Arc::clone(&self.courier);
                attempts.spawn(async move {
                    if let Err(failure) = courier.attempt(&delivery).await {
                        warn!(delivery = %delivery.id, %failure, "attempt not made or not recorded; it stays due");
                        // It is due at once again: without a pause a lasting failure would spin.
                        sleep(PAUSE_AFTER_FAILURE).await;
                    }
                    delivery
                });
            }
        }
        let next = self.courier.store.next_delivery_at().await?;
        Ok(next.map_or(TICK, |next| next.since(now)).clamp(Duration::from_millis(10), TICK))
    }
}

fn note_end(ended: Result<Delivery, JoinError>, in_flight: &mut InFlight) {
    match ended {
        Ok(delivery) => in_flight.finish(&delivery),
        // Which delivery it was is not known here; it is due still, and a restart tries it again.
        Err(failure) => warn!(%failure, "a delivery's attempt broke off"),
    }
}

impl Courier {
    /// Makes one attempt and records what came of it.
    ///
    /// # Errors
    /// [`DispatchError`]; the receiver may have got the delivery nevertheless.
    pub async fn attempt(&self, delivery: &Delivery) -> Result<(), DispatchError> {
        let Some(merchant) = self.store.merchant(&delivery.merchant).await? else {
            let reason = format!("{} belongs to {}, which has no record", delivery.id, delivery.merchant);
            return Err(StoreError::Damaged { table: "merchant", reason }.into());
        };
        let secret = self.vault.open(Purpose::WebhookSecret, merchant.id.as_str(), &merchant.webhook_secret)?;
        let signed = signing::headers(&secret, &delivery.event, self.clock.now(), &delivery.body)?;
        drop(secret);
        let own = [("content-type", delivery.content_type.clone())].into_iter().chain(signed);
        let headers =
            delivery.headers.iter().cloned().chain(own.map(|(name, value)| (name.to_owned(), value))).collect();
        let request = WebhookRequest { url: delivery.url.clone(), headers, body: delivery.body.clone() };
        let outcome = self.transport.post(request).await;
        self.record(delivery, &outcome).await
    }

    async fn record(&self, sent: &Delivery, outcome: &Result<WebhookAnswer, EgressError>) -> Result<(), DispatchError> {
        let next = self.after(sent, outcome, self.clock.now());
        match next.state {
            DeliveryState::Delivered => info!(delivery = %next.id, event = %next.event, "delivered"),
            DeliveryState::Pending => {
                debug!(delivery = %next.id, attempts = next.attempts, error = ?next.last_error, "attempt failed")
            }
            DeliveryState::Failed => {
                warn!(delivery = %next.id, event = %next.event, error = ?next.last_error, "delivery given up")
            }
        }
        let changes = || Changeset::new().with(Write::UpdateDelivery(Box::new(next.clone())));
        for _ in 0..RECORD_ATTEMPTS_MAX {
            match self.store.commit(changes()).await {
                // Somebody else recorded an attempt of the same delivery; theirs counts as well.
                Ok(()) | Err(CommitError::Refused) => return Ok(()),
                Err(error) if error.is_transient() => sleep(PAUSE_AFTER_FAILURE).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Unavailable { reason: "the result of an attempt could not be recorded".to_owned() }.into())
    }

    /// The delivery after an attempt.
    fn after(&self, sent: &Delivery, outcome: &Result<WebhookAnswer, EgressError>, now: Timestamp) -> Delivery {
        let attempts = sent.attempts.saturating_add(1);
        let retry_after = outcome.as_ref().ok().and_then(|answer| answer.retry_after);
        let again = self.schedule.next_at(attempts, now, retry_after, self.random.as_ref());
        let (last_status, last_error) = match outcome {
            Ok(answer) if (200..300).contains(&answer.status) => (Some(answer.status), None),
            Ok(answer) => (Some(answer.status), Some(format!("the receiver answered {}", answer.status))),
            Err(error) => (None, Some(error.to_string())),
        };
        let final_word = match outcome {
            Ok(answer) if answer.status == STATUS_GONE => true,
            Ok(_) => false,
            Err(error) => !error.is_transient(),
        };
        let (state, next_at) = match (last_error.is_none(), again) {
            (true, _) => (DeliveryState::Delivered, sent.next_at),
            (false, Some(again)) if !final_word => (DeliveryState::Pending, again),
            (false, _) => (DeliveryState::Failed, sent.next_at),
        };
        Delivery {
            state,
            attempts,
            next_at,
            last_status,
            last_error,
            revision: sent.revision.saturating_add(1),
            ..sent.clone()
        }
    }
}
