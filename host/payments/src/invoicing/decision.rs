//! Decisions of merchants about their invoices: read, judged, and stored in one changeset with the events that follow.
//!
//! The scanner may store a payment at the same moment. Both write the invoice from the revision that they read, so one of them
//! is refused, reads again and decides anew: a payment is never decided about unseen.

use thiserror::Error;
use tracing::info;
use xthonpay_domain::amount::AmountError;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::resolution::DecisionError;
use xthonpay_domain::time::Timestamp;

use super::Invoicing;
use crate::access::{Answering, Principal};
use crate::port::store::{Changeset, CommitError, StoreError, Write};
use crate::reassess::{Decision, NewFacts, reassess, record};

/// How often an invoice that changed in the meantime is read again. It changes with a payment's block, its finality and its
/// ruling; whoever sends a payment with every block cannot win so often in a row.
const ATTEMPTS_MAX: u32 = 8;

/// An invoice that was decided about, with the deposits on its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedInvoice {
    /// The invoice after the decision.
    pub invoice: Invoice,
    /// Every deposit on its address.
    pub deposits: Vec<Deposit>,
}

/// A decision that was not made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecidingError {
    /// The merchant has no such invoice.
    #[error("there is no such invoice")]
    NotFound,
    /// The invoice does not allow it as it stands.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// Payments sum to more than 256 bits.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The signature or the idempotency key of the request was used before, for something else or at the same moment.
    #[error("this signature was used before; sign every request with a fresh timestamp")]
    SignatureReplayed,
    /// The invoice changed with every attempt.
    #[error("the invoice changes faster than it can be decided about")]
    Overtaken,
    /// The records were not stored.
    #[error(transparent)]
    Commit(CommitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DecidingError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Overtaken => true,
            Self::Decision(error) => error.is_transient(),
            Self::Commit(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::NotFound | Self::Amount(_) | Self::SignatureReplayed => false,
        }
    }
}

/// Looks at an invoice and the deposits on its address, and says what the merchant decides about it now; `None` when that is
/// decided already.
pub(super) trait Choose: Fn(&Invoice, &[Deposit], Timestamp) -> Result<Option<Decision>, DecisionError> {}

impl<F: Fn(&Invoice, &[Deposit], Timestamp) -> Result<Option<Decision>, DecisionError>> Choose for F {}

impl Invoicing {
    /// Stores what `choose` decides about an invoice of the caller's. When this returns, the decision is durable.
    pub(super) async fn decide(
        &self,
        caller: &Principal,
        id: &InvoiceId,
        answer: Answering<'_, DecidedInvoice>,
        choose: impl Choose,
    ) -> Result<DecidedInvoice, DecidingError> {
        let mut refused_at = None;
        for _ in 0..ATTEMPTS_MAX {
            let (invoice, deposits) = self.get(caller.merchant(), id).await?.ok_or(DecidingError::NotFound)?;
            let now = self.clock.now();
            let _recording = self.listeners.recording();
            let chosen = match choose(&invoice, &deposits, now) {
                Ok(chosen) => chosen,
                Err(error) => {
                    // Whoever saw the request must not be able to send it once more when the invoice stands differently.
                    self.use_up(caller.used_signature.clone().map(Write::UseSignature).into_iter().collect()).await?;
                    return Err(error.into());
                }
            };
            let decided = match chosen {
                Some(decision) => self.apply(&invoice, &deposits, &decision, now).await?,
                None => None,
            };
            let Some((next, mut changes)) = decided else {
                let unchanged = DecidedInvoice { invoice, deposits };
                let mut changes = Changeset::new();
                caller.once(&mut changes, now, || answer(&unchanged));
                // What is read here may be another call's changeset that is not on disk yet. A write behind it is on disk only
                // when that one is.
                if changes.writes.is_empty() {
                    self.store.probe().await?
                } else {
                    self.use_up(changes).await?
                }
                return Ok(unchanged);
            };
            let is_bound_once = caller.used_signature.is_some() || caller.claim.is_some();
            if refused_at == Some(invoice.revision) && is_bound_once {
                // Not the invoice was in the way, so it was what can be used only once.
                return Err(DecidingError::SignatureReplayed);
            }
            let made = DecidedInvoice { invoice: next, deposits };
            caller.once(&mut changes, now, || answer(&made));
            match self.store.commit(changes).await {
                Ok(()) => {
                    info!(invoice = %id, state = made.invoice.assessment.state.name(), "decided by the merchant");
                    self.wakeups.routing.notify_one();
                    return Ok(made);
                }
                Err(CommitError::Refused) => refused_at = Some(invoice.revision),
                Err(error) => return Err(DecidingError::Commit(error)),
            }
        }
        Err(DecidingError::Overtaken)
    }

    /// Stores what can be used only once, where there is anything.
    async fn use_up(&self, changes: Changeset) -> Result<(), DecidingError> {
        if changes.writes.is_empty() {
            return Ok(());
        }
        self.store.commit(changes).await.map_err(|error| match error {
            CommitError::Refused => DecidingError::SignatureReplayed,
            CommitError::Store(error) => error.into(),
        })
    }

    /// The invoice after a decision and what to store for it; `None` when it changes nothing.
    async fn apply(
        &self,
        invoice: &Invoice,
        deposits: &[Deposit],
        decision: &Decision,
        at: Timestamp,
    ) -> Result<Option<(Invoice, Changeset)>, DecidingError> {
        let finalized_time = self.chain_time(invoice).await?;
        let decision = Some(decision);
        let facts = NewFacts { deposits, payment_events: &[], ruling: None, decision, finalized_time, at };
        let Some((next, events)) = reassess(invoice, facts, self.catalog.as_ref())? else { return Ok(None) };
        let mut changes = Changeset::new();
        record(&mut changes, next.clone(), events, &self.listeners);
        Ok(Some((next, changes)))
    }

    /// The time that the invoice's chain has reached, read after the invoice, so that what has expired stays expired.
    async fn chain_time(&self, invoice: &Invoice) -> Result<Timestamp, StoreError> {
        let cursor = self.store.cursor(&invoice.terms.asset.chain).await?;
        let time = cursor.map_or(Timestamp::EPOCH, |cursor| cursor.finalized.time);
        // Whether an open invoice has expired is for the settlement to say.
        let is_open = invoice.assessment.state.awaits_expiry();
        Ok(if is_open { time.min(invoice.terms.expires_at) } else { time })
    }
}
