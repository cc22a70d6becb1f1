//! The audit: the books against themselves, and against the chains.
//!
//! Re-checks the invariants of the ledger from the stored records and from the nodes' answers, page by page with bounded
//! memory, beside a running host or alone. It changes nothing, except that it freezes a chain when it is asked to and finds
//! money missing, or more credited than there is. Money that no record explains freezes nothing: it is harmless where it is.
//!
//! A running host goes on writing meanwhile. So every check either rests on facts that never change again (a final deposit,
//! a posting, an event, a final block), or is repeated until the records it compares stood still or agree.
//!
//! What it does not do: it repairs nothing, and it trusts no sum that is kept beside the records it is made of.

mod cursors;
mod deposits;
mod freeze;
mod holdings;
mod invoices;
mod ledger;
mod pace;
mod patience;
mod report;
mod transfers;
mod window;

use std::sync::Arc;

use thiserror::Error;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::id::{DepositId, EventId};
use xthonpay_domain::ledger::{Posting, PostingKind};
use xthonpay_domain::text::ChainName;

use crate::catalog::Catalog;
use crate::port::chain::{ChainError, ChainSource};
use crate::port::clock::Clock;
use crate::port::store::{CommitError, Cursor, Store, StoreError};

pub use pace::Progress;
pub use report::{AssetTotals, BREACHES_LISTED_MAX, Breach, ChainAudited, Checked, Invariant, NotChecked, Report};

use pace::Pace;
use report::Findings;

/// Blocks below the newest final one that are held against the books unless more are asked for: two and a half hours of BNB
/// Smart Chain, some minutes of work.
pub const BLOCKS_DEFAULT: u64 = 20_000;

/// What to audit.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this chain; `None` means all. The ledger is always audited as a whole.
    pub chain: Option<ChainName>,
    /// From which block on the chains are held against the books.
    pub from: From,
    /// Freeze a chain on which money is missing, or more is credited than there is.
    pub freeze: bool,
}

/// From which block on a chain is held against the books, up to the newest final one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// The last [`BLOCKS_DEFAULT`] blocks.
    #[default]
    Recent,
    /// From this block.
    Block(BlockNumber),
    /// From the first block that can hold a payment: when the first merchant was made.
    Beginning,
}

/// An audit that could not be carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuditError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A chain's nodes did not answer usably.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The freeze was not stored.
    #[error("a chain should be frozen and could not be: {0}")]
    Freeze(CommitError),
    /// The config knows no such chain.
    #[error("there is no chain {chain} in the config; there are: {known}")]
    UnknownChain {
        /// What was asked for.
        chain: ChainName,
        /// The configured chains.
        known: String,
    },
}

impl AuditError {
    /// Whether the same audit may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Chain(error) => error.is_transient(),
            Self::Freeze(error) => matches!(error, CommitError::Refused) || error.is_transient(),
            Self::UnknownChain { .. } => false,
        }
    }
}

/// Audits a deployment.
#[derive(Clone)]
pub struct Audit {
    /// Records.
    pub store: Arc<dyn Store>,
    /// The chains.
    pub sources: Vec<Arc<dyn ChainSource>>,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
    /// Time of a freeze.
    pub clock: Arc<dyn Clock>,
}

/// A chain while it is audited.
struct Chain<'a> {
    source: &'a dyn ChainSource,
    /// How far it was processed when the audit began.
    cursor: Cursor,
}

impl Audit {
    /// Audits what `scope` says. `progress` is told what is being done, every few seconds.
    ///
    /// Dropping the call ends the audit; nothing is left behind.
    ///
    /// # Errors
    /// [`AuditError`] when the store does not answer or a freeze could not be stored. Nodes that do not answer are no error:
    /// the report says what was not checked.
    pub async fn run(&self, scope: &Scope, progress: Progress<'_>) -> Result<Report, AuditError> {
        let mut findings = Findings::default();
        let mut pace = Pace::new(progress);
        let chains = self.chains(scope, &mut findings).await?;

        let outcome = self.ledger(&mut findings, &mut pace).await;
        findings.settle(outcome, Invariant::Balances, None)?;
        let outcome = self.deposits(&mut findings, &mut pace).await;
        findings.settle(outcome, Invariant::Deposits, None)?;
        let outcome = self.invoices(&mut findings, &mut pace).await;
        findings.settle(outcome, Invariant::Events, None)?;
        for chain in &chains {
            let name = Some(&chain.cursor.chain);
            let outcome = self.cursor(chain, &mut findings).await;
            findings.settle(outcome, Invariant::Cursor, name)?;
            let outcome = self.transfers(chain, scope.from, &mut findings, &mut pace).await;
            findings.settle(outcome, Invariant::Deposits, name)?;
            let outcome = self.holdings(chain, &mut findings, &mut pace).await;
            findings.settle(outcome, Invariant::Holdings, name)?;
        }
        if scope.freeze {
            self.freeze(&mut findings).await?;
        }
        Ok(findings.into_report())
    }

    /// The chains in the scope, as far as they are scanned.
    async fn chains(&self, scope: &Scope, findings: &mut Findings) -> Result<Vec<Chain<'_>>, AuditError> {
        let wanted = |source: &&Arc<dyn ChainSource>| scope.chain.as_ref().is_none_or(|chain| source.name() == chain);
        let mut chains = Vec::new();
        for source in self.sources.iter().filter(wanted) {
            match self.store.cursor(source.name()).await? {
                Some(cursor) => {
                    findings.begin(&cursor);
                    chains.push(Chain { source: source.as_ref(), cursor });
                }
                None => findings.omit(format!("chain {}: no block of it is processed yet", source.name()), false),
            }
        }
        match &scope.chain {
            Some(chain) if self.sources.iter().all(|source| source.name() != chain) => {
                let known: Vec<String> = self.sources.iter().map(|source| source.name().to_string()).collect();
                Err(AuditError::UnknownChain { chain: chain.clone(), known: known.join(", ") })
            }
            _ => Ok(chains),
        }
    }

    /// Which postings a deposit has.
    async fn postings_of(&self, deposit: &DepositId) -> Result<(Option<Posting>, Option<Posting>), StoreError> {
        let of_kind = |kind| Posting::id_of(kind, deposit.as_str());
        let credited = self.store.posting(&of_kind(PostingKind::DepositCredited)).await?;
        Ok((credited, self.store.posting(&of_kind(PostingKind::DepositSuspended)).await?))
    }

    /// Whether an event is there.
    async fn has_event(&self, id: &EventId) -> Result<bool, StoreError> {
        Ok(self.store.event(id).await?.is_some())
    }
}
