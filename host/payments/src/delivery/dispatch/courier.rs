//! One attempt: sign, send, record what came of it.
//!
//! The same bytes go out at every attempt; signature and time stamp are fresh. An attempt that could not be sent for a reason
//! of ours counts like one that was not answered, so that it follows the schedule instead of being repeated at once for ever.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use thiserror::Error;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};
use xthonpay_domain::time::Timestamp;

use crate::delivery::schedule::Schedule;
use crate::delivery::signing::{self, MalformedSecret};
use crate::port::clock::Clock;
use crate::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport};
use crate::port::random::Random;
use crate::port::store::{Changeset, CommitError, Delivery, DeliveryState, Store, StoreError, Write};
use crate::port::vault::{Purpose, Vault, VaultError};

/// How often the result of an attempt is stored again after a failure of the store, before the attempt counts as not made.
const RECORD_ATTEMPTS_MAX: u32 = 5;
/// The pause between two of them.
const RECORD_PAUSE: Duration = Duration::from_secs(1);
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

/// What came of an attempt.
enum Outcome {
    Answered(WebhookAnswer),
    Unanswered(EgressError),
    /// A failure of ours that the merchant need not know more about.
    NotSent,
}

impl Courier {
    /// Makes one attempt and records what came of it.
    ///
    /// # Errors
    /// [`DispatchError`] when the store failed; the receiver may have got the delivery nevertheless.
    pub async fn attempt(&self, delivery: &Delivery) -> Result<(), DispatchError> {
        // A panic must not take the place of the delivery among those under way with it.
        let outcome = match AssertUnwindSafe(self.send(delivery)).catch_unwind().await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) if failure.is_transient() => return Err(failure),
            Ok(Err(failure)) => {
                error!(delivery = %delivery.id, %failure, "the delivery cannot be signed");
                Outcome::NotSent
            }
            Err(_) => {
                error!(delivery = %delivery.id, "the attempt broke off");
                Outcome::NotSent
            }
        };
        self.record(delivery, &outcome).await
    }

    async fn send(&self, delivery: &Delivery) -> Result<Outcome, DispatchError> {
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
        Ok(self.transport.post(request).await.map_or_else(Outcome::Unanswered, Outcome::Answered))
    }

    async fn record(&self, sent: &Delivery, outcome: &Outcome) -> Result<(), DispatchError> {
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
                Err(error) if error.is_transient() => sleep(RECORD_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Unavailable { reason: "the result of an attempt could not be recorded".to_owned() }.into())
    }

    /// The delivery after an attempt.
    fn after(&self, sent: &Delivery, outcome: &Outcome, now: Timestamp) -> Delivery {
        let attempts = sent.attempts.saturating_add(1);
        let (last_status, last_error, retry_after, for_good) = match outcome {
            Outcome::Answered(answer) if (200..300).contains(&answer.status) => {
                (Some(answer.status), None, None, false)
            }
            Outcome::Answered(answer) => {
                let error = format!("the receiver answered {}", answer.status);
                (Some(answer.status), Some(error), answer.retry_after, answer.status == STATUS_GONE)
            }
            Outcome::Unanswered(error) => (None, Some(error.to_string()), None, !error.is_transient()),
            Outcome::NotSent => (None, Some("not sent: the host could not make the request".to_owned()), None, false),
        };
        let again = self.schedule.next_at(attempts, now, retry_after, self.random.as_ref());
        let (state, next_at) = match (last_error.is_none(), again) {
            (true, _) => (DeliveryState::Delivered, sent.next_at),
            (false, Some(again)) if !for_good => (DeliveryState::Pending, again),
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
