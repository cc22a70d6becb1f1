//! Telling again: one delivery, or a range of the feed.
//!
//! A delivery that exists goes out again in its old bytes under its old id, with a schedule of its own from now on. One that does
//! not exist, because the endpoint is newer than the event or did not want such events then, is shaped and made. Everything that
//! a call asks for is one changeset, so that asking twice under one signature is one effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tracing::info;
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{DeliveryId, EndpointId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::time::Timestamp;

use crate::access::{Answering, Principal};
use crate::delivery::audience::{goes_to_callback, goes_to_endpoint};
use crate::delivery::shaping::{Shaper, Target};
use crate::port::clock::Clock;
use crate::port::hooks::HookFailure;
use crate::port::store::{
    Changeset, CommitError, Delivery, DeliveryState, Endpoint, EndpointState, FeedPosition, READ_LIMIT_MAX, Store,
    StoreError, Write,
};
use crate::wake::Wakeups;

/// Deliveries that one call sends again. Bounds its changeset to some megabytes; the caller goes on from the answer's cursor.
pub const REPLAYED_MAX: usize = 256;
/// Events that one call looks through for those.
pub const EVENTS_LOOKED_THROUGH_MAX: usize = READ_LIMIT_MAX;

/// How often the deliveries are read again because an attempt of one was recorded in between.
const ATTEMPTS_MAX: u32 = 8;
/// How far the times of events may lie apart from the order in which they were committed: callers work at the same time, and
/// clocks are set. The search for a time begins so much earlier.
const DISORDER_MAX: Duration = Duration::from_secs(300);

/// Where a range begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeStart {
    /// Behind a place in the feed.
    Behind(FeedPosition),
    /// With events that were recorded at this time or later.
    Time(Timestamp),
}

/// Where a range ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeEnd {
    /// With the event at this place in the feed.
    Position(FeedPosition),
    /// With events that were recorded at this time.
    Time(Timestamp),
}

/// What to tell again.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    /// Where the range begins.
    pub from: RangeStart,
    /// Where it ends; `None` means with the newest event.
    pub to: Option<RangeEnd>,
    /// Only to this endpoint; `None` means to everybody who would hear of the events if they happened now.
    pub endpoint: Option<EndpointId>,
    /// Only events of these kinds; empty means all.
    pub kinds: BTreeSet<EventKind>,
}

/// What a replay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Events of the range that are told again.
    pub events: usize,
    /// Deliveries of these events that are due now.
    pub deliveries: usize,
    /// The place behind the last event that was looked at: where the next call goes on.
    pub next: FeedPosition,
    /// Whether there may be more in the range.
    pub has_more: bool,
}

/// Something that was not sent again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReplayError {
    /// The merchant has no such delivery or endpoint.
    #[error("there is no such thing")]
    NotFound,
    /// The endpoint gets no deliveries.
    #[error("the endpoint is removed or switched off: nothing can be sent there")]
    NotEnabled,
    /// The signature or the idempotency key of the request was used before, for something else or at the same moment.
    #[error("this signature was used before; sign every request with a fresh timestamp")]
    SignatureReplayed,
    /// The deliveries changed with every attempt.
    #[error("the deliveries change faster than they can be asked for again")]
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

impl ReplayError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Overtaken => true,
            Self::Format(failure) => failure.is_transient(),
            Self::Commit(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::NotFound | Self::NotEnabled | Self::SignatureReplayed => false,
        }
    }
}

/// Sends again.
#[derive(Clone)]
pub struct Replay {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Shapes what is missing.
    pub shaper: Shaper,
    /// Time of the records.
    pub clock: Arc<dyn Clock>,
    /// Workers to wake.
    pub wakeups: Wakeups,
}

/// Changes that tell something again, and what came of it.
struct Retold {
    changes: Changeset,
    replayed: Replayed,
}

/// What was read for a replay: invoices have several events.
#[derive(Default)]
struct Known {
    callbacks: BTreeMap<InvoiceId, Option<CallbackUrl>>,
}

impl Replay {
    /// Makes one delivery due now, with a fresh schedule, in the same bytes. To an endpoint it goes where that is now.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing is stored then.
    pub async fn redeliver(
        &self,
        caller: &Principal,
        id: &DeliveryId,
        answer: Answering<'_, Delivery>,
    ) -> Result<Delivery, ReplayError> {
        let mut refused_at = None;
        for _ in 0..ATTEMPTS_MAX {
            let own = |delivery: &Delivery| delivery.merchant == *caller.merchant();
            let before = self.store.delivery(id).await?.filter(own).ok_or(ReplayError::NotFound)?;
            if refused_at == Some(before.revision) {
                // Not the delivery was in the way, so it was what can be used only once.
                return Err(refused(caller));
            }
            let url = match &before.endpoint {
                Some(endpoint) => match self.store.endpoint(endpoint).await? {
                    Some(Endpoint { state: EndpointState::Enabled, url, .. }) => url,
                    _ => return Err(ReplayError::NotEnabled),
                },
                None => before.url.clone(),
            };
            let now = self.clock.now();
            let after = again(&before, url, now);
            let mut changes = Changeset::new().with(Write::UpdateDelivery(Box::new(after.clone())));
            caller.once(&mut changes, now, || answer(&after));
            match self.store.commit(changes).await {
                Ok(()) => {
                    info!(delivery = %id, "asked for again");
                    self.wakeups.dispatch.notify_one();
                    return Ok(after);
                }
                Err(CommitError::Refused) => refused_at = Some(before.revision),
                Err(error) => return Err(ReplayError::Commit(error)),
            }
        }
        Err(ReplayError::Overtaken)
    }

    /// Makes the deliveries of a range of events due now, at most [`REPLAYED_MAX`] of them. A range beyond that goes on with
    /// the next call from [`Replayed::next`].
    ///
    /// # Errors
    /// [`ReplayError`]; nothing is stored then.
    pub async fn range(
        &self,
        caller: &Principal,
        request: &ReplayRequest,
        answer: Answering<'_, Replayed>,
    ) -> Result<Replayed, ReplayError> {
        let merchant = caller.merchant();
        let endpoints = self.endpoints(merchant, request.endpoint.as_ref()).await?;
        let from = match request.from {
            RangeStart::Behind(position) => position,
            RangeStart::Time(time) => position_before(self.store.as_ref(), merchant, time).await?,
        };
        let mut refused_at = None;
        for _ in 0..ATTEMPTS_MAX {
            let now = self.clock.now();
            let Retold { mut changes, replayed } = self.retell(merchant, request, &endpoints, from, now).await?;
            let revisions = revisions(&changes);
            if refused_at.as_ref() == Some(&revisions) {
                // Not the deliveries were in the way, so it was what can be used only once.
                return Err(refused(caller));
            }
            caller.once(&mut changes, now, || answer(&replayed));
            if changes.writes.is_empty() {
                return Ok(replayed);
            }
            match self.store.commit(changes).await {
                Ok(()) => {
                    info!(%merchant, events = replayed.events, deliveries = replayed.deliveries, "told again");
                    self.wakeups.dispatch.notify_one();
                    return Ok(replayed);
                }
                Err(CommitError::Refused) => refused_at = Some(revisions),
                Err(error) => return Err(ReplayError::Commit(error)),
            }
        }
        Err(ReplayError::Overtaken)
    }

    /// The endpoints that may be told: the one that is named, or all that are enabled.
    async fn endpoints(&self, merchant: &MerchantId, named: Option<&EndpointId>) -> Result<Vec<Endpoint>, ReplayError> {
        let mut endpoints = self.store.endpoints_of(merchant).await?;
        if let Some(named) = named {
            endpoints.retain(|endpoint| endpoint.id == *named);
            let endpoint = endpoints.first().ok_or(ReplayError::NotFound)?;
            if endpoint.state != EndpointState::Enabled {
                return Err(ReplayError::NotEnabled);
            }
        }
        Ok(endpoints)
    }

    async fn retell(
        &self,
        merchant: &MerchantId,
        request: &ReplayRequest,
        endpoints: &[Endpoint],
        from: FeedPosition,
        now: Timestamp,
    ) -> Result<Retold, ReplayError> {
        let page = self.store.feed(merchant, from, EVENTS_LOOKED_THROUGH_MAX).await?;
        let is_full = page.len() >= EVENTS_LOOKED_THROUGH_MAX;
        let replayed = Replayed { events: 0, deliveries: 0, next: from, has_more: is_full };
        let (mut retold, mut known) = (Retold { changes: Changeset::new(), replayed }, Known::default());
        for (position, event) in &page {
            if request.to.is_some_and(|to| is_behind(to, *position, event)) {
                // Events that were recorded a little earlier may still stand behind a place, but not behind this one.
                let is_over = match request.to {
                    Some(RangeEnd::Time(time)) => event.at > time.after(DISORDER_MAX),
                    Some(RangeEnd::Position(_)) | None => true,
                };
                if is_over {
                    retold.replayed.has_more = false;
                    break;
                }
                retold.replayed.next = *position;
                continue;
            }
            let is_early = matches!(request.from, RangeStart::Time(time) if event.at < time);
            let is_wanted = request.kinds.is_empty() || request.kinds.contains(&event.kind);
            if !is_early && is_wanted {
                let writes = self.of_event(request, event, endpoints, &mut known, now).await?;
                if retold.replayed.deliveries.saturating_add(writes.len()) > REPLAYED_MAX {
                    retold.replayed.has_more = true;
                    break;
                }
                retold.replayed.events = retold.replayed.events.saturating_add(usize::from(!writes.is_empty()));
                retold.replayed.deliveries = retold.replayed.deliveries.saturating_add(writes.len());
                retold.changes.writes.extend(writes.into_iter().flatten());
            }
            retold.replayed.next = *position;
        }
        Ok(retold)
    }

    /// For each delivery of an event that is to be due, the write that makes it so, if it is not due already.
    async fn of_event(
        &self,
        request: &ReplayRequest,
        event: &Event,
        endpoints: &[Endpoint],
        known: &mut Known,
        now: Timestamp,
    ) -> Result<Vec<Option<Write>>, ReplayError> {
        let callback = match request.endpoint {
            Some(_) => None,
            None => self.callback(event, known).await?,
        };
        let wanted = endpoints.iter().filter(|endpoint| goes_to_endpoint(event.kind, endpoint));
        let targets = callback.iter().map(Target::Callback).chain(wanted.map(Target::Endpoint));
        let mut writes = Vec::new();
        for target in targets {
            match self.store.delivery(&target.delivery_id(event)).await? {
                Some(before) if is_due_as_new(&before, now) => writes.push(None),
                Some(before) => {
                    let after = again(&before, target.url().clone(), now);
                    writes.push(Some(Write::UpdateDelivery(Box::new(after))));
                }
                None => {
                    let made = self.shaper.delivery(event, target).await?;
                    writes.extend(
                        made.map(|made| Some(Write::CreateDelivery(Box::new(Delivery { next_at: now, ..made })))),
                    );
                }
            }
        }
        Ok(writes)
    }

    /// The callback URL at which an event is told, if it is.
    async fn callback(&self, event: &Event, known: &mut Known) -> Result<Option<CallbackUrl>, StoreError> {
        let Some(id) = event.invoice.as_ref().filter(|_| goes_to_callback(event.kind)) else { return Ok(None) };
        if let Some(url) = known.callbacks.get(id) {
            return Ok(url.clone());
        }
        let url = self.store.invoice(id).await?.and_then(|invoice| invoice.callback_url);
        known.callbacks.insert(id.clone(), url.clone());
        Ok(url)
    }
}

/// Whether an event stands behind the end of a range.
fn is_behind(to: RangeEnd, position: FeedPosition, event: &Event) -> bool {
    match to {
        RangeEnd::Position(last) => position > last,
        RangeEnd::Time(last) => event.at > last,
    }
}

/// Whether nothing would change: the delivery is due and its schedule has not begun.
fn is_due_as_new(delivery: &Delivery, now: Timestamp) -> bool {
    delivery.state == DeliveryState::Pending && delivery.attempts_on_schedule == 0 && delivery.next_at <= now
}

/// A delivery that begins anew.
fn again(before: &Delivery, url: CallbackUrl, now: Timestamp) -> Delivery {
    Delivery {
        url,
        state: DeliveryState::Pending,
        attempts_on_schedule: 0,
        next_at: now,
        revision: before.revision.saturating_add(1),
        ..before.clone()
    }
}

/// Which deliveries are written, and in which revision.
fn revisions(changes: &Changeset) -> Vec<(DeliveryId, u64)> {
    let written = |write: &Write| match write {
        Write::CreateDelivery(delivery) | Write::UpdateDelivery(delivery) => {
            Some((delivery.id.clone(), delivery.revision))
        }
        _ => None,
    };
    changes.writes.iter().filter_map(written).collect()
}

/// Why the store refused what nothing but the caller's own marks can have been in the way of.
fn refused(caller: &Principal) -> ReplayError {
    if caller.used_signature.is_some() || caller.claim.is_some() {
        ReplayError::SignatureReplayed
    } else {
        ReplayError::Commit(CommitError::Refused)
    }
}

/// A place in a merchant's feed in front of everything that was recorded at `time` or later. The feed has no index by time; it is
/// in the order of time as far as [`DISORDER_MAX`] goes, so a search by halves finds the place in some sixty reads of one event
/// at most.
async fn position_before(
    store: &dyn Store,
    merchant: &MerchantId,
    time: Timestamp,
) -> Result<FeedPosition, StoreError> {
    let disorder = u64::try_from(DISORDER_MAX.as_millis()).unwrap_or(u64::MAX);
    let earliest = Timestamp::from_millis(time.as_millis().saturating_sub(disorder));
    // Whether what stands behind a place is all late enough.
    let is_late = async |position: u64| {
        let next = store.feed(merchant, FeedPosition(position), 1).await?;
        Ok::<_, StoreError>(next.first().is_none_or(|(_, event)| event.at >= earliest))
    };
    if is_late(0).await? {
        return Ok(FeedPosition(0));
    }
    // Doubled until it is far enough, then halved: everything behind `early` is not late enough, everything behind `late` is.
    let (mut early, mut late) = (0_u64, 1_u64);
    while !is_late(late).await? {
        early = late;
        late = late.saturating_mul(2);
    }
    while late.saturating_sub(early) > 1 {
        let middle = early.midpoint(late);
        if is_late(middle).await? {
            late = middle;
        } else {
            early = middle;
        }
    }
    Ok(FeedPosition(late))
}
