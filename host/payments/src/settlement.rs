//! What happens to invoices without a new block: rulings on money that has arrived, and expiry.
//!
//! Both are decided outside the scanner so that a slow plugin never holds up the chain, and apart from each other so that it
//! does not hold up expiry either. Which invoices await something stands in the store; the memory here only spaces out
//! repeated questions.

mod questions;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xthonpay_domain::amount::AmountError;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::{Advice, Ruling};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;

use crate::catalog::Catalog;
use crate::delivery::listeners::Listeners;
use crate::plugin_storage::{are_outdated, keep};
use crate::port::clock::Clock;
use crate::port::hooks::{Hooks, PaymentReview};
use crate::port::lending::storage::{Answered, ItemWrite};
use crate::port::store::{Changeset, CommitError, READ_LIMIT_MAX, Store, StoreError};
use crate::reassess::{NewFacts, reassess, record};
use crate::rules::rule_on_payment;
use crate::scanning::status::SharedStatus;
use crate::wake::Wakeups;
pub use questions::Questions;

/// How often the store is looked at without being woken. Bounds the delay after a lost wake-up.
const TICK: Duration = Duration::from_millis(500);
/// Invoices whose rules are asked at once.
const RULINGS_AT_ONCE: usize = 8;
/// Invoices that expire in one look at the store.
const EXPIRIES_PER_TICK: usize = 200;
/// Pages of invoices that wait for their balances to be looked at, behind which others are still found. Bounds one look at
/// the store to some hundred milliseconds.
const WAITING_PAGES_MAX: usize = 50;
/// How often a record that changed in the meantime is read again before it is left to the next tick.
const ATTEMPTS_MAX: u32 = 5;
/// How often rules are asked about one sum before a person is: with the pauses of [`Questions`], about half an hour.
const ASKS_MAX: u32 = 36;

/// A ruling or expiry that failed.
#[derive(Debug, Error)]
pub enum SettlementError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records were not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Payments sum to more than 256 bits.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl SettlementError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Commit(error) => matches!(error, CommitError::Refused) || error.is_transient(),
            Self::Amount(_) => false,
        }
    }
}

/// Asks for rulings and lets invoices expire.
pub struct Settlement {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
    /// The rules.
    pub hooks: Arc<dyn Hooks>,
    /// Time of the records.
    pub clock: Arc<dyn Clock>,
    /// Who hears of events.
    pub listeners: Arc<Listeners>,
    /// Chain time, from the scanners.
    pub chains: Vec<SharedStatus>,
    /// Wake-ups.
    pub wakeups: Wakeups,
}

impl Settlement {
    /// Works until `stop` is cancelled. What is under way then is dropped: it is decided anew after the next start, and a
    /// changeset that was handed to the store is stored all the same.
    pub async fn run(self, stop: CancellationToken) {
        let work = async { tokio::join!(self.rule_until(&stop), self.expire_until(&stop)) };
        stop.run_until_cancelled(work).await;
    }

    async fn rule_until(&self, stop: &CancellationToken) {
        let questions = Questions::default();
        while !stop.is_cancelled() {
            if let Err(failure) = self.rule_all(&questions).await {
                warn!(%failure, "rulings failed; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wakeups.settlement.notified() => {}
                () = sleep(TICK) => {}
            }
        }
    }

    async fn expire_until(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(failure) = self.expire_all().await {
                warn!(%failure, "expiry failed; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(TICK) => {}
            }
        }
    }

    /// Asks the rules about a page of the invoices that await a ruling, as far as it is time to ask, and stores what they say.
    ///
    /// # Errors
    /// [`SettlementError`] when the invoices cannot be read; what goes wrong with one of them only delays that one.
    pub async fn rule_all(&self, questions: &Questions) -> Result<(), SettlementError> {
        let waiting = self.store.invoices_awaiting_ruling(questions.resume().as_ref(), READ_LIMIT_MAX).await?;
        questions.looked(&waiting);
        let due = waiting.into_iter().filter(|invoice| questions.is_due(invoice));
        stream::iter(due)
            .for_each_concurrent(RULINGS_AT_ONCE, |invoice| async move {
                let id = invoice.id.clone();
                if let Err(failure) = self.rule(invoice, questions).await {
                    warn!(invoice = %id, %failure, "no ruling stored; trying again");
                }
            })
            .await;
        Ok(())
    }

    async fn rule(&self, invoice: Invoice, questions: &Questions) -> Result<(), SettlementError> {
        let judged = invoice.assessment.received;
        let times = questions.times(&invoice);
        let Some(asset) = self.catalog.asset(&invoice.terms.asset) else {
            // Without the asset's decimals no rule can be told an amount. The money is credited; the state waits.
            warn!(invoice = %invoice.id, asset = %invoice.terms.asset, "no ruling: the asset is no longer in the config");
            questions.note(&invoice.id, judged, ASKS_MAX);
            return Ok(());
        };
        let deposits = self.store.deposits_of_invoice(&invoice.id).await?;
        let cursor = self.store.cursor(&invoice.terms.asset.chain).await?;
        let review = PaymentReview {
            decimals: asset.decimals,
            deposits,
            tip: cursor.map_or_else(BlockNumber::default, |cursor| cursor.tip.number),
            at: self.clock.now(),
            attempt: times,
            invoice,
        };
        let id = review.invoice.id.clone();
        let Answered { answer, writes } = rule_on_payment(self.hooks.as_ref(), &review).await;
        let advice = match answer {
            Advice::Wait if times.saturating_add(1) >= ASKS_MAX => {
                warn!(invoice = %id, "the rules did not decide; a person should");
                Advice::Review
            }
            advice => advice,
        };
        questions.note(&id, judged, times.saturating_add(1));
        if advice == Advice::Wait {
            return self.keep_alone(&writes).await;
        }
        self.store_ruling(&id, Ruling { advice, judged }, &writes).await?;
        questions.forget(&id);
        Ok(())
    }

    /// Stores what rules keep whose answer changes nothing. They are asked again in any case.
    async fn keep_alone(&self, writes: &[ItemWrite]) -> Result<(), SettlementError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut changes = Changeset::new();
        keep(&mut changes, writes);
        Ok(self.store.commit(changes).await?)
    }

    /// Stores a ruling with what the rules keep because of it, unless it no longer fits the sum that the invoice has by now, or
    /// what the rules keep has changed since they looked: then they are asked again.
    async fn store_ruling(&self, id: &InvoiceId, ruling: Ruling, writes: &[ItemWrite]) -> Result<(), SettlementError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(invoice) = self.store.invoice(id).await? else { return Ok(()) };
            if !ruling.fits(&invoice.terms, invoice.assessment.received) || !invoice.assessment.awaits_ruling {
                return Ok(());
            }
            match self.update(&invoice, Some(ruling), writes).await {
                Err(SettlementError::Commit(CommitError::Refused)) => {
                    if are_outdated(self.store.as_ref(), writes).await? {
                        break;
                    }
                }
                Ok(()) => {
                    info!(invoice = %id, advice = ?ruling.advice, "ruled");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Err(CommitError::Refused.into())
    }

    /// Lets the invoices expire whose expiry their chain has passed, a bounded number on each chain.
    ///
    /// Those in the native coin expire only when their balances were looked at behind their expiry: before that, coins that no
    /// transfer shows may be there.
    ///
    /// On a frozen chain none expires: whether its final blocks are what they seem is the question there. Rulings go on, as they
    /// are about money that is credited and stays so.
    ///
    /// # Errors
    /// The first [`SettlementError`]; the other invoices expire all the same.
    pub async fn expire_all(&self) -> Result<(), SettlementError> {
        let mut outcome = Ok(());
        for status in &self.chains {
            outcome = outcome.and(self.expire_of(&status.chain(), status.finalized_time()).await);
        }
        outcome
    }

    async fn expire_of(&self, chain: &ChainName, finalized_time: Timestamp) -> Result<(), SettlementError> {
        let mut outcome = Ok(());
        if self.store.cursor(chain).await?.is_some_and(|cursor| cursor.frozen.is_some()) {
            return outcome;
        }
        for invoice in self.expired(chain, finalized_time).await? {
            match self.update(&invoice, None, &[]).await {
                // A payment came at the same moment; the next tick looks again.
                Ok(()) | Err(SettlementError::Commit(CommitError::Refused)) => {}
                Err(failure) => {
                    warn!(invoice = %invoice.id, %failure, "not expired; trying again");
                    outcome = outcome.and(Err(failure));
                }
            }
        }
        outcome
    }

    /// The next invoices that expire. Those that wait for their balances do not hold up those behind them.
    async fn expired(&self, chain: &ChainName, finalized_time: Timestamp) -> Result<Vec<Invoice>, StoreError> {
        let mut after = None;
        for _ in 0..WAITING_PAGES_MAX {
            let page =
                self.store.invoices_past_expiry(chain, finalized_time, after.as_ref(), EXPIRIES_PER_TICK).await?;
            let is_last = page.len() < EXPIRIES_PER_TICK;
            after = page.last().map(|last| (last.terms.expires_at, last.id.clone()));
            let expired = |invoice: &Invoice| self.known_time(invoice, finalized_time) > invoice.terms.expires_at;
            let expired: Vec<Invoice> = page.into_iter().filter(expired).collect();
            if is_last || !expired.is_empty() {
                return Ok(expired);
            }
        }
        Ok(Vec::new())
    }

    /// The chain time up to which all that an invoice received is known.
    fn known_time(&self, invoice: &Invoice, finalized_time: Timestamp) -> Timestamp {
        let asset = &invoice.terms.asset;
        if !invoice.assessment.state.awaits_expiry() || !self.catalog.is_native(asset) {
            return finalized_time;
        }
        let status = self.chains.iter().find(|status| status.chain() == asset.chain);
        status.map_or(Timestamp::EPOCH, SharedStatus::balances_until).min(finalized_time)
    }

    /// The invoice's next revision from what is known now.
    async fn update(
        &self,
        invoice: &Invoice,
        ruling: Option<Ruling>,
        writes: &[ItemWrite],
    ) -> Result<(), SettlementError> {
        let chain = &invoice.terms.asset.chain;
        let deposits = self.store.deposits_of_invoice(&invoice.id).await?;
        // From the store rather than from the scanner's memory: chain time must not run ahead of the stored deposits.
        let finalized_time = self.store.cursor(chain).await?.map_or(Timestamp::EPOCH, |cursor| cursor.finalized.time);
        let at = self.clock.now();
        let finalized_time = self.known_time(invoice, finalized_time);
        let facts = NewFacts { deposits: &deposits, payment_events: &[], ruling, decision: None, finalized_time, at };
        let Some((next, events)) = reassess(invoice, facts, self.catalog.as_ref())? else { return Ok(()) };
        let mut changes = Changeset::new();
        let _recording = self.listeners.recording();
        record(&mut changes, next, events, &self.listeners);
        keep(&mut changes, writes);
        self.store.commit(changes).await?;
        self.wakeups.routing.notify_one();
        Ok(())
    }
}
