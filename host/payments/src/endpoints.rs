//! Webhook endpoints: the places where a merchant hears of its events.
//!
//! A secret is made here, returned once in plain to the caller, and stored sealed; an answer that shows one is kept for an
//! idempotency key in sealed form alone.
//!
//! Whoever records events knows the endpoints from [`Listeners`]; every change here goes there before its record is
//! written, and what it ends is forgotten there only afterwards.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Mutex;
use tracing::info;
use xthonpay_domain::event::{Event, EventFilter, EventKind};
use xthonpay_domain::id::{EndpointId, EventId, MerchantId};
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::text::{Label, PluginName};
use xthonpay_domain::time::Timestamp;
use zeroize::Zeroizing;

use crate::access::{Answering, Principal};
use crate::delivery::listeners::Listeners;
use crate::delivery::shaping::{Shaper, Target};
use crate::delivery::signing::fresh_secret;
use crate::port::clock::Clock;
use crate::port::egress::{EgressError, WebhookTransport};
use crate::port::hooks::HookFailure;
use crate::port::random::{Random, bytes};
use crate::port::store::{
    Changeset, CommitError, Delivery, Endpoint, EndpointState, RetiringSecret, Store, StoreError, Write,
};
use crate::port::vault::{Purpose, Sealed, Vault};
use crate::snapshot::{EndpointEventData, EndpointSnapshot, to_json};
use crate::wake::Wakeups;

/// Endpoints that a merchant may have. Each is a delivery more for every event.
pub const ENDPOINTS_MAX: usize = 16;
/// How long a replaced secret signs beside the new one if nothing else is said: a day to deploy the new one.
pub const OVERLAP_DEFAULT: Duration = Duration::from_secs(86_400);
/// The longest such time. A rotation whose old secret lives longer is none.
pub const OVERLAP_MAX: Duration = Duration::from_secs(7 * 86_400);

/// How often a change is decided anew because the endpoint changed in between: by another call, or because an attempt failed or
/// succeeded again after failures.
const ATTEMPTS_MAX: u32 = 8;

/// What a new endpoint shall be.
#[derive(Clone, Debug)]
pub struct NewEndpoint {
    /// Where deliveries go.
    pub url: CallbackUrl,
    /// Of what it hears.
    pub events: EventFilter,
    /// The merchant's name for it.
    pub label: Option<Label>,
    /// The plugin that shapes its bodies; `None` means the one of the deployment.
    pub format: Option<PluginName>,
}

/// What shall be different; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default)]
pub struct EndpointChange {
    /// Where deliveries go, those too that wait for their next attempt.
    pub url: Option<CallbackUrl>,
    /// Of what it hears from now on.
    pub events: Option<EventFilter>,
    /// The merchant's name for it; `Some(None)` takes it away.
    pub label: Option<Option<Label>>,
    /// The plugin that shapes its bodies from now on; `Some(None)` means the one of the deployment.
    pub format: Option<Option<PluginName>>,
    /// Whether it gets deliveries. Enabling one that the host disabled makes it like new.
    pub enabled: Option<bool>,
}

/// An endpoint as it is shown once, with a fresh secret in plain.
pub struct EndpointWithSecret {
    /// The record.
    pub endpoint: Endpoint,
    /// `whsec_` and base64: signs its deliveries.
    pub secret: Zeroizing<String>,
}

/// Something about endpoints that was not done.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// The merchant has no such endpoint.
    #[error("there is no such endpoint")]
    NotFound,
    /// The URL may not be called.
    #[error("url: {0}")]
    Url(EgressError),
    /// No format of this name is offered.
    #[error("format: the operator of this deployment offers no format {0}")]
    UnknownFormat(PluginName),
    /// The merchant has as many endpoints as it may.
    #[error("there are {ENDPOINTS_MAX} endpoints, and more are not possible: remove one first")]
    TooMany,
    /// The endpoint gets no deliveries.
    #[error("the endpoint is switched off: enable it first")]
    NotEnabled,
    /// The secret before the last rotation still signs, and would stop signing before its time.
    #[error(
        "the secret before the last rotation signs until {} s from now: wait for that, or ask for an overlap of 0, which ends both older secrets at once",
        .0.as_secs()
    )]
    RotationUnderWay(Duration),
    /// The overlap is too long.
    #[error("the overlap may be {} s at most", OVERLAP_MAX.as_secs())]
    OverlapTooLong,
    /// The signature or the idempotency key of the request was used before, for something else or at the same moment.
    #[error("this signature was used before; sign every request with a fresh timestamp")]
    SignatureReplayed,
    /// The endpoint changed with every attempt.
    #[error("the endpoint changes faster than it can be changed")]
    Overtaken,
    /// The formatter failed and the operator chose to wait for it.
    #[error(transparent)]
    Format(#[from] HookFailure),
    /// The records were not stored.
    #[error(transparent)]
    Commit(CommitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EndpointError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Overtaken => true,
            Self::Format(failure) => failure.is_transient(),
            Self::Commit(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::NotFound
            | Self::Url(_)
            | Self::UnknownFormat(_)
            | Self::TooMany
            | Self::NotEnabled
            | Self::RotationUnderWay(_)
            | Self::OverlapTooLong
            | Self::SignatureReplayed => false,
        }
    }
}

/// Makes endpoints and changes them.
#[derive(Clone)]
pub struct Endpoints {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Seals the secrets.
    pub vault: Arc<dyn Vault>,
    /// Judges URLs.
    pub transport: Arc<dyn WebhookTransport>,
    /// Shapes pings, and knows the formats.
    pub shaper: Shaper,
    /// Who hears of events.
    pub listeners: Arc<Listeners>,
    /// Time of the records.
    pub clock: Arc<dyn Clock>,
    /// Ids and secrets.
    pub random: Arc<dyn Random>,
    /// Workers to wake.
    pub wakeups: Wakeups,
    /// Held while an endpoint is made.
    pub making: Arc<Mutex<()>>,
}

impl Endpoints {
    /// Makes an endpoint. What is recorded after this has returned is delivered there.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is stored then.
    pub async fn create(
        &self,
        caller: &Principal,
        new: NewEndpoint,
        answer: Answering<'_, EndpointWithSecret>,
    ) -> Result<EndpointWithSecret, EndpointError> {
        self.check(Some(&new.url), new.format.as_ref())?;
        let merchant = caller.merchant().clone();
        // One at a time, so that no two find room for the same last one.
        let _turn = self.making.lock().await;
        if self.store.endpoints_of(&merchant).await?.len() >= ENDPOINTS_MAX {
            return Err(EndpointError::TooMany);
        }
        let id = EndpointId::from_random(bytes(self.random.as_ref()));
        let (secret, sealed) = self.secret(&id);
        let endpoint = Endpoint {
            merchant,
            url: new.url,
            events: new.events,
            label: new.label,
            format: new.format,
            secret: sealed,
            retiring_secret: None,
            state: EndpointState::Enabled,
            failing_since: None,
            created_at: self.clock.now(),
            revision: 1,
            id,
        };
        let mut changes = Changeset::new().with(Write::CreateEndpoint(Box::new(endpoint.clone())));
        let made = EndpointWithSecret { endpoint, secret };
        caller.once(&mut changes, made.endpoint.created_at, || answer(&made));
        self.listeners.expect(&made.endpoint);
        self.listeners.until_recorded().await;
        match self.store.commit(changes).await {
            Ok(()) => {
                info!(endpoint = %made.endpoint.id, merchant = %made.endpoint.merchant, "endpoint made");
                Ok(made)
            }
            Err(CommitError::Refused) => {
                // Its id is random, so nobody else waits for it.
                self.listeners.settle(&Endpoint { state: EndpointState::Removed, ..made.endpoint });
                Err(refused(caller))
            }
            Err(error) => Err(EndpointError::Commit(error)),
        }
    }

    /// A merchant's endpoints, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, merchant: &MerchantId) -> Result<Vec<Endpoint>, StoreError> {
        self.store.endpoints_of(merchant).await
    }

    /// A merchant's endpoint, or `None` when the merchant has no such endpoint.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, merchant: &MerchantId, id: &EndpointId) -> Result<Option<Endpoint>, StoreError> {
        let own = |endpoint: &Endpoint| endpoint.merchant == *merchant && endpoint.state != EndpointState::Removed;
        Ok(self.store.endpoint(id).await?.filter(own))
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub async fn update(
        &self,
        caller: &Principal,
        id: &EndpointId,
        change: EndpointChange,
        answer: Answering<'_, Endpoint>,
    ) -> Result<Endpoint, EndpointError> {
        self.check(change.url.as_ref(), change.format.as_ref().and_then(Option::as_ref))?;
        self.change(caller, id, answer, |before, _| Ok(changed(before, &change))).await
    }

    /// Removes an endpoint. Deliveries to it that wait for an attempt are not sent any more.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub async fn remove(
        &self,
        caller: &Principal,
        id: &EndpointId,
        answer: Answering<'_, Endpoint>,
    ) -> Result<Endpoint, EndpointError> {
        let gone = |before: &Endpoint, _| Ok(Endpoint { state: EndpointState::Removed, ..before.clone() });
        let endpoint = self.change(caller, id, answer, gone).await?;
        info!(endpoint = %id, merchant = %endpoint.merchant, "endpoint removed");
        Ok(endpoint)
    }

    /// Gives an endpoint a new secret. The old one signs beside it for `overlap`, so that receivers that know either accept
    /// every delivery.
    ///
    /// # Errors
    /// [`EndpointError::RotationUnderWay`] while the secret of an earlier rotation still signs, unless `overlap` is zero: there are
    /// two valid secrets at most, and which of three a receiver knows cannot be told from here.
    pub async fn rotate_secret(
        &self,
        caller: &Principal,
        id: &EndpointId,
        overlap: Duration,
        answer: Answering<'_, EndpointWithSecret>,
    ) -> Result<EndpointWithSecret, EndpointError> {
        if overlap > OVERLAP_MAX {
            return Err(EndpointError::OverlapTooLong);
        }
        let (secret, sealed) = self.secret(id);
        let rotated = |before: &Endpoint, now: Timestamp| {
            let under_way = before.retiring_secret.as_ref().filter(|retiring| retiring.until > now);
            if let Some(retiring) = under_way.filter(|_| !overlap.is_zero()) {
                return Err(EndpointError::RotationUnderWay(retiring.until.since(now)));
            }
            let retiring = RetiringSecret { secret: before.secret.clone(), until: now.after(overlap) };
            let retiring_secret = (!overlap.is_zero()).then_some(retiring);
            Ok(Endpoint { secret: sealed.clone(), retiring_secret, ..before.clone() })
        };
        let answer =
            |endpoint: &Endpoint| answer(&EndpointWithSecret { endpoint: endpoint.clone(), secret: secret.clone() });
        let endpoint = self.change(caller, id, &answer, rotated).await?;
        info!(endpoint = %id, merchant = %endpoint.merchant, overlap_s = overlap.as_secs(), "endpoint has a new secret");
        Ok(EndpointWithSecret { endpoint, secret })
    }

    /// Sends a ping to an endpoint, and to no other: an event with one delivery, which is signed, sent and repeated like every
    /// other.
    ///
    /// # Errors
    /// [`EndpointError`]; nothing is stored then.
    pub async fn ping(
        &self,
        caller: &Principal,
        id: &EndpointId,
        answer: Answering<'_, Delivery>,
    ) -> Result<Delivery, EndpointError> {
        let endpoint = self.get(caller.merchant(), id).await?.ok_or(EndpointError::NotFound)?;
        if endpoint.state != EndpointState::Enabled {
            return Err(EndpointError::NotEnabled);
        }
        let now = self.clock.now();
        let event = Event {
            id: EventId::from_random(bytes(self.random.as_ref())),
            kind: EventKind::Ping,
            at: now,
            merchant: endpoint.merchant.clone(),
            invoice: None,
            deposit: None,
            sequence: 0,
            data_json: to_json(&EndpointEventData { endpoint: EndpointSnapshot::new(&endpoint) }),
        };
        let delivery = self.shaper.delivery_in_any_case(&event, Target::Endpoint(&endpoint)).await?;
        let routed = Write::MarkRouted(event.id.clone());
        let mut changes = Changeset::new()
            .with(Write::CreateEvent(event))
            .with(Write::CreateDelivery(Box::new(delivery.clone())))
            .with(routed);
        caller.once(&mut changes, now, || answer(&delivery));
        match self.store.commit(changes).await {
            Ok(()) => {
                self.wakeups.dispatch.notify_one();
                Ok(delivery)
            }
            Err(CommitError::Refused) => Err(refused(caller)),
            Err(error) => Err(EndpointError::Commit(error)),
        }
    }

    fn check(&self, url: Option<&CallbackUrl>, format: Option<&PluginName>) -> Result<(), EndpointError> {
        if let Some(url) = url {
            self.transport.check(url).map_err(EndpointError::Url)?;
        }
        match format {
            Some(name) if self.shaper.hooks.webhook_format_named(name).is_none() => {
                Err(EndpointError::UnknownFormat(name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// A fresh secret, in plain and sealed for the row of the endpoint.
    fn secret(&self, id: &EndpointId) -> (Zeroizing<String>, Sealed) {
        let secret = fresh_secret(self.random.as_ref());
        let sealed = self.vault.seal(Purpose::WebhookSecret, id.as_str(), secret.as_bytes());
        (secret, sealed)
    }

    /// Stores what `change` makes of an endpoint of the caller's.
    async fn change(
        &self,
        caller: &Principal,
        id: &EndpointId,
        answer: Answering<'_, Endpoint>,
        change: impl Fn(&Endpoint, Timestamp) -> Result<Endpoint, EndpointError>,
    ) -> Result<Endpoint, EndpointError> {
        let mut refused_at = None;
        for _ in 0..ATTEMPTS_MAX {
            let before = self.get(caller.merchant(), id).await?.ok_or(EndpointError::NotFound)?;
            if refused_at == Some(before.revision) {
                // Not the endpoint was in the way, so it was what can be used only once.
                return Err(refused(caller));
            }
            let now = self.clock.now();
            let after = Endpoint { revision: before.revision.saturating_add(1), ..change(&before, now)? };
            let mut changes = Changeset::new().with(Write::UpdateEndpoint(Box::new(after.clone())));
            caller.once(&mut changes, now, || answer(&after));
            self.listeners.expect(&after);
            self.listeners.until_recorded().await;
            match self.store.commit(changes).await {
                Ok(()) => {
                    self.listeners.settle(&after);
                    return Ok(after);
                }
                Err(CommitError::Refused) => refused_at = Some(before.revision),
                Err(error) => return Err(EndpointError::Commit(error)),
            }
        }
        Err(EndpointError::Overtaken)
    }
}

/// Why the store refused what nothing but the caller's own marks can have been in the way of.
fn refused(caller: &Principal) -> EndpointError {
    if caller.used_signature.is_some() || caller.claim.is_some() {
        EndpointError::SignatureReplayed
    } else {
        EndpointError::Commit(CommitError::Refused)
    }
}

fn changed(before: &Endpoint, change: &EndpointChange) -> Endpoint {
    let state = match (change.enabled, &before.state) {
        (Some(true), _) => EndpointState::Enabled,
        (Some(false), EndpointState::Enabled) => EndpointState::Paused,
        (_, state) => state.clone(),
    };
    let url = change.url.clone().unwrap_or_else(|| before.url.clone());
    // Failures at another URL, or from before somebody looked, say nothing about what comes.
    let is_as_before = url == before.url && state == before.state;
    Endpoint {
        failing_since: before.failing_since.filter(|_| is_as_before),
        url,
        state,
        events: change.events.clone().unwrap_or_else(|| before.events.clone()),
        label: change.label.clone().unwrap_or_else(|| before.label.clone()),
        format: change.format.clone().unwrap_or_else(|| before.format.clone()),
        ..before.clone()
    }
}
