//! One attempt: sign, send, record what came of it.
//!
//! The same bytes go out at every attempt; signature and time stamp are fresh, and so is the endpoint: where its deliveries go, what
//! signs them and whether it takes any is read anew each time. An attempt that could not be sent for a reason of ours counts
//! like one that was not answered, so that it follows the schedule instead of being repeated at once for ever.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::time::Timestamp;

use super::outcome::{Made, Outcome};
use super::standing;
use super::tally::Tally;
use crate::delivery::schedule::Schedule;
use crate::delivery::signing::{self, MalformedSecret, SigningSecrets};
use crate::port::clock::Clock;
use crate::port::egress::{WebhookRequest, WebhookTransport};
use crate::port::random::Random;
use crate::port::store::{
    Changeset, CommitError, Delivery, DeliveryState, Endpoint, EndpointState, Store, StoreError, Write,
};
use crate::port::vault::{Purpose, Vault, VaultError};

/// How often the result of an attempt is stored again after a failure of the store or a change by somebody else, before the attempt
/// counts as not made. Eight attempts to one endpoint may end at once, and each may find the endpoint changed by the one before.
const RECORD_ATTEMPTS_MAX: u32 = 12;
/// The pause after a failure of the store.
const RECORD_PAUSE: Duration = Duration::from_secs(1);
/// Failures of the store after which an attempt counts as not made.
const RECORD_FAILURES_MAX: u32 = 5;

/// An attempt that could not be made or recorded. The delivery stays due.
#[derive(Debug, Error)]
pub enum DispatchError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The result was not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A secret does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A secret is not one.
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

/// Makes single attempts.
pub struct Courier {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Opens the secrets of endpoints and merchants.
    pub vault: Arc<dyn Vault>,
    /// Sends.
    pub transport: Arc<dyn WebhookTransport>,
    /// When to try again.
    pub schedule: Schedule,
    /// How long an endpoint may fail without one success before it is switched off.
    pub disable_after: Duration,
    /// Time of attempts.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub random: Arc<dyn Random>,
    /// What is counted.
    pub tally: Arc<Tally>,
}

/// What an attempt makes of the records.
struct Plan {
    delivery: Delivery,
    endpoint: Option<Endpoint>,
}

impl Plan {
    fn changes(&self) -> Changeset {
        let mut changes = Changeset::new().with(Write::UpdateDelivery(Box::new(self.delivery.clone())));
        if let Some(endpoint) = &self.endpoint {
            changes.push(Write::UpdateEndpoint(Box::new(endpoint.clone())));
            // Left to routing: the merchant's other endpoints hear of it.
            changes.writes.extend(standing::disabled_event(endpoint).map(Write::CreateEvent));
        }
        changes
    }
}

impl Courier {
    /// Makes one attempt and records what came of it. Sends nothing to an endpoint that is switched off: then the delivery has
    /// failed, until somebody asks for it again.
    ///
    /// # Errors
    /// [`DispatchError`] when the store failed; the receiver may have got the delivery nevertheless.
    pub async fn attempt(&self, delivery: &Delivery) -> Result<(), DispatchError> {
        let (began, started) = (self.clock.now(), Instant::now());
        let (endpoint, outcome) = match self.endpoint_of(delivery).await {
            Ok(endpoint) => {
                let outcome = self.outcome(delivery, endpoint.as_ref()).await?;
                (endpoint, outcome)
            }
            Err(failure) if failure.is_transient() => return Err(failure.into()),
            Err(failure) => {
                error!(delivery = %delivery.id, %failure, "the delivery cannot be sent");
                (None, Outcome::NotSent)
            }
        };
        let latency = outcome.latency().unwrap_or_else(|| started.elapsed());
        let url = endpoint.as_ref().map_or(&delivery.url, |endpoint| &endpoint.url).clone();
        let made = Made { outcome, url, began, ended: self.clock.now(), latency };
        self.record(delivery, endpoint.as_ref(), &made).await
    }

    /// What comes of sending; a failure of ours that lasts is an outcome too.
    async fn outcome(&self, delivery: &Delivery, endpoint: Option<&Endpoint>) -> Result<Outcome, DispatchError> {
        if endpoint.is_some_and(|endpoint| endpoint.state != EndpointState::Enabled) {
            return Ok(Outcome::SwitchedOff);
        }
        // A panic must not take the place of the delivery among those under way with it.
        match AssertUnwindSafe(self.send(delivery, endpoint)).catch_unwind().await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(failure)) if failure.is_transient() => Err(failure),
            Ok(Err(failure)) => {
                error!(delivery = %delivery.id, %failure, "the delivery cannot be signed");
                Ok(Outcome::NotSent)
            }
            Err(_) => {
                error!(delivery = %delivery.id, "the attempt broke off");
                Ok(Outcome::NotSent)
            }
        }
    }

    async fn send(&self, delivery: &Delivery, endpoint: Option<&Endpoint>) -> Result<Outcome, DispatchError> {
        let now = self.clock.now();
        let secrets = match endpoint {
            Some(endpoint) => self.secrets_of(endpoint, now)?,
            None => self.secrets_of_merchant(&delivery.merchant).await?,
        };
        let signed = signing::headers(&secrets, &delivery.event, now, &delivery.body)?;
        drop(secrets);
        let own = [("content-type", delivery.content_type.clone())].into_iter().chain(signed);
        let headers =
            delivery.headers.iter().cloned().chain(own.map(|(name, value)| (name.to_owned(), value))).collect();
        let url = endpoint.map_or(&delivery.url, |endpoint| &endpoint.url).clone();
        let request = WebhookRequest { url, headers, body: delivery.body.clone() };
        Ok(self.transport.post(request).await.map_or_else(Outcome::Unanswered, Outcome::Answered))
    }

    /// The secret of an endpoint, and the one before it as long as that is valid beside it.
    fn secrets_of(&self, endpoint: &Endpoint, now: Timestamp) -> Result<SigningSecrets, VaultError> {
        let open = |sealed| self.vault.open(Purpose::WebhookSecret, endpoint.id.as_str(), sealed);
        let retiring = endpoint.retiring_secret.as_ref().filter(|retiring| now < retiring.until);
        let retiring = retiring.map(|retiring| open(&retiring.secret)).transpose()?;
        Ok(SigningSecrets { current: open(&endpoint.secret)?, retiring })
    }

    async fn secrets_of_merchant(&self, id: &MerchantId) -> Result<SigningSecrets, DispatchError> {
        let Some(merchant) = self.store.merchant(id).await? else {
            let reason = format!("a delivery belongs to {id}, which has no record");
            return Err(StoreError::Damaged { table: "merchant", reason }.into());
        };
        let current = self.vault.open(Purpose::WebhookSecret, merchant.id.as_str(), &merchant.webhook_secret)?;
        Ok(SigningSecrets { current, retiring: None })
    }

    async fn endpoint_of(&self, delivery: &Delivery) -> Result<Option<Endpoint>, StoreError> {
        let Some(id) = &delivery.endpoint else { return Ok(None) };
        let Some(endpoint) = self.store.endpoint(id).await? else {
            let reason = format!("{} goes to {id}, which has no record", delivery.id);
            return Err(StoreError::Damaged { table: "endpoint", reason });
        };
        if endpoint.merchant != delivery.merchant {
            let reason = format!("{} goes to {id}, which belongs to somebody else", delivery.id);
            return Err(StoreError::Damaged { table: "delivery", reason });
        }
        Ok(Some(endpoint))
    }

    /// Stores what came of an attempt, in one changeset with what it makes of the endpoint.
    async fn record(&self, delivery: &Delivery, endpoint: Option<&Endpoint>, made: &Made) -> Result<(), DispatchError> {
        let attempts = delivery.attempts;
        let mut plan = self.plan(delivery, endpoint, made);
        let mut failures = 0_u32;
        for _ in 0..RECORD_ATTEMPTS_MAX {
            let failure = match self.store.commit(plan.changes()).await {
                Ok(()) => {
                    self.tell(&plan);
                    return Ok(());
                }
                Err(CommitError::Refused) => match self.read_again(delivery).await {
                    Ok((stored, _)) if stored == plan.delivery => {
                        // The store had said that it failed.
                        self.tell(&plan);
                        return Ok(());
                    }
                    // Somebody else recorded an attempt of the same delivery; theirs counts as well.
                    Ok((stored, _)) if stored.attempts != attempts || stored.state != DeliveryState::Pending => {
                        return Ok(());
                    }
                    Ok((stored, endpoint)) => {
                        // The delivery was asked for again, or the endpoint changed: decide anew on what stands there now.
                        plan = self.plan(&stored, endpoint.as_ref(), made);
                        continue;
                    }
                    Err(error) => DispatchError::from(error),
                },
                Err(error) => error.into(),
            };
            failures = failures.saturating_add(1);
            if failures >= RECORD_FAILURES_MAX || !failure.is_transient() {
                return Err(failure);
            }
            sleep(RECORD_PAUSE).await;
        }
        Err(StoreError::Unavailable { reason: "the result of an attempt could not be recorded".to_owned() }.into())
    }

    fn plan(&self, delivery: &Delivery, endpoint: Option<&Endpoint>, made: &Made) -> Plan {
        // What an endpoint's former place says does not count for the one it has now.
        let endpoint = endpoint.filter(|endpoint| endpoint.url == made.url);
        let is_there = delivery.endpoint.is_none() || endpoint.is_some();
        let delivery = made.applied_to(delivery, is_there, &self.schedule, self.random.as_ref());
        let given_up = delivery.state == DeliveryState::Failed;
        Plan {
            endpoint: endpoint.and_then(|endpoint| standing::after(endpoint, made, given_up, self.disable_after)),
            delivery,
        }
    }

    /// The delivery and its endpoint as they are stored now.
    async fn read_again(&self, delivery: &Delivery) -> Result<(Delivery, Option<Endpoint>), StoreError> {
        let Some(stored) = self.store.delivery(&delivery.id).await? else {
            let reason = format!("{} was under way and has no record", delivery.id);
            return Err(StoreError::Damaged { table: "delivery", reason });
        };
        let endpoint = self.endpoint_of(&stored).await?;
        Ok((stored, endpoint))
    }

    /// Logs and counts what was recorded.
    fn tell(&self, plan: &Plan) {
        let delivery = &plan.delivery;
        match delivery.state {
            DeliveryState::Delivered => {
                self.tally.delivered();
                info!(delivery = %delivery.id, event = %delivery.event, "delivered");
            }
            DeliveryState::Pending => {
                self.tally.attempt_failed();
                debug!(delivery = %delivery.id, attempts = delivery.attempts, error = ?delivery.last_error, "attempt failed");
            }
            DeliveryState::Failed => {
                self.tally.given_up();
                warn!(delivery = %delivery.id, event = %delivery.event, error = ?delivery.last_error, "delivery given up");
            }
        }
        if let Some(Endpoint { id, merchant, state: EndpointState::Disabled { reason, .. }, .. }) = &plan.endpoint {
            self.tally.endpoint_disabled();
            error!(endpoint = %id, %merchant, reason, "a webhook endpoint is switched off: its merchant hears of nothing there");
        }
    }
}
