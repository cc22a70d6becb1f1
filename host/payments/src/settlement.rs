//! What happens to invoices without a new block: rulings on money that has arrived, and expiry.
//!
//! Both are decided outside the scanner so that a slow plugin never holds up the chain. Which invoices await something
//! stands in the store; the memory here only spaces out repeated questions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::{Advice, Ruling};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;

use crate::catalog::Catalog;
use crate::port::clock::Clock;
use crate::port::hooks::{Hooks, PaymentReview};
use crate::port::store::{Changeset, CommitError, READ_LIMIT_MAX, Store, StoreError};
use crate::reassess::{NewFacts, reassess, record};
use crate::rules::rule_on_payment;
use crate::scanning::status::SharedStatus;
use crate::wake::Wakeups;

/// How often the store is looked at without being woken. Bounds the delay after a lost wake-up.
const TICK: Duration = Duration::from_millis(500);
/// Invoices whose rules are asked at once.
const RULINGS_AT_ONCE: usize = 8;
/// Invoices that expire in one look at the store.
const EXPIRIES_PER_TICK: usize = 200;
/// How often a record that changed in the meantime is read again before it is left to the next tick.
const ATTEMPTS_MAX: u32 = 5;
/// The first and the longest pause before rules that said "wait" are asked again.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(60);
/// How often rules are asked about one sum before a person is: with the pauses above, about half an hour.
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

/// How often the rules were asked about an invoice's sum, and when they may be asked again.
#[derive(Clone, Copy)]
struct Asked {
    sum: Amount,
    times: u32,
    again_at: Instant,
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
    /// Chain time, from the scanners.
    pub chains: Vec<SharedStatus>,
    /// Wake-ups.
    pub wakeups: Wakeups,
}

impl Settlement {
    /// Works until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let asked = Mutex::new(HashMap::new());
        while !stop.is_cancelled() {
            if let Err(failure) = self.rule_all(&asked).await {
                warn!(%failure, "rulings failed; trying again");
            }
            for chain in &self.chains {
                if let Err(failure) = self.expire_all(&chain.get().chain, chain.finalized_time()).await {
                    warn!(%failure, "expiry failed; trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wakeups.settlement.notified() => {}
                () = sleep(TICK) => {}
            }
        }
    }

    async fn rule_all(&self, asked: &Mutex<HashMap<InvoiceId, Asked>>) -> Result<(), SettlementError> {
        let waiting = self.store.invoices_awaiting_ruling(READ_LIMIT_MAX).await?;
        if waiting.is_empty() {
            asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
            return Ok(());
        }
        let due = waiting.into_iter().filter(|invoice| is_due(asked, invoice));
        stream::iter(due)
            .for_each_concurrent(RULINGS_AT_ONCE, |invoice| async move {
                let id = invoice.id.clone();
                if let Err(failure) = self.rule(invoice, asked).await {
                    warn!(invoice = %id, %failure, "no ruling stored; trying again");
                }
            })
            .await;
        Ok(())
    }

    async fn rule(&self, invoice: Invoice, asked: &Mutex<HashMap<InvoiceId, Asked>>) -> Result<(), SettlementError> {
        let judged = invoice.assessment.received;
        let times = times_asked(asked, &invoice);
        let Some(asset) = self.catalog.asset(&invoice.terms.asset) else {
            // Without the asset's decimals no rule can be told an amount. The money is credited; the state waits.
            warn!(invoice = %invoice.id, asset = %invoice.terms.asset, "no ruling: the asset is no longer in the config");
            note_asked(asked, &invoice.id, judged, times);
            return Ok(());
        };
        let deposits = self.store.deposits_of_invoice(&invoice.id).await?;
        let review =
            PaymentReview { decimals: asset.decimals, deposits, at: self.clock.now(), attempt: times, invoice };
        let id = review.invoice.id.clone();
        let advice = match rule_on_payment(self.hooks.as_ref(), &review).await {
            Advice::Wait if times.saturating_add(1) >= ASKS_MAX => {
                warn!(invoice = %id, "the rules did not decide; a person should");
                Advice::Review
            }
            advice => advice,
        };
        note_asked(asked, &id, judged, times.saturating_add(1));
        if advice == Advice::Wait {
            return Ok(());
        }
        self.store_ruling(&id, Ruling { advice, judged }).await
    }

    /// Stores a ruling, unless the sum that it judged is no longer the invoice's.
    async fn store_ruling(&self, id: &InvoiceId, ruling: Ruling) -> Result<(), SettlementError> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(invoice) = self.store.invoice(id).await? else { return Ok(()) };
            if invoice.assessment.received != ruling.judged || !invoice.assessment.awaits_ruling {
                return Ok(());
            }
            match self.update(&invoice, Some(ruling)).await {
                Err(SettlementError::Commit(CommitError::Refused)) => {}
                Ok(()) => {
                    info!(invoice = %id, advice = ?ruling.advice, "ruled");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Err(CommitError::Refused.into())
    }

    async fn expire_all(&self, chain: &ChainName, finalized_time: Timestamp) -> Result<(), SettlementError> {
        let due = self.store.invoices_past_expiry(chain, finalized_time, EXPIRIES_PER_TICK).await?;
        for invoice in due {
            match self.update(&invoice, None).await {
                // A payment came at the same moment; the next tick looks again.
                Ok(()) | Err(SettlementError::Commit(CommitError::Refused)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The invoice's next revision from what is known now.
    async fn update(&self, invoice: &Invoice, ruling: Option<Ruling>) -> Result<(), SettlementError> {
        let chain = &invoice.terms.asset.chain;
        let deposits = self.store.deposits_of_invoice(&invoice.id).await?;
        // From the store rather than from the scanner's memory: chain time must not run ahead of the stored deposits.
        let finalized_time = self.store.cursor(chain).await?.map_or(Timestamp::EPOCH, |cursor| cursor.finalized.time);
        let at = self.clock.now();
        let facts = NewFacts { deposits: &deposits, payment_events: &[], ruling, finalized_time, at };
        let Some((next, events)) = reassess(invoice, facts, self.catalog.as_ref())? else { return Ok(()) };
        let mut changes = Changeset::new();
        record(&mut changes, next, events);
        self.store.commit(changes).await?;
        self.wakeups.routing.notify_one();
        Ok(())
    }
}

fn is_due(asked: &Mutex<HashMap<InvoiceId, Asked>>, invoice: &Invoice) -> bool {
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = |known: &&Asked| known.sum == invoice.assessment.received;
    asked.get(&invoice.id).filter(fresh).is_none_or(|known| known.again_at <= Instant::now())
}

fn times_asked(asked: &Mutex<HashMap<InvoiceId, Asked>>, invoice: &Invoice) -> u32 {
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = |known: &&Asked| known.sum == invoice.assessment.received;
    asked.get(&invoice.id).filter(fresh).map_or(0, |known| known.times)
}

fn note_asked(asked: &Mutex<HashMap<InvoiceId, Asked>>, id: &InvoiceId, sum: Amount, times: u32) {
    let pause = ASK_AGAIN_MIN.saturating_mul(2_u32.saturating_pow(times.min(6))).min(ASK_AGAIN_MAX);
    let again_at = Instant::now().checked_add(pause).unwrap_or_else(Instant::now);
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    asked.insert(id.clone(), Asked { sum, times, again_at });
}
