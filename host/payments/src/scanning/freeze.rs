//! The emergency stop of a chain, and the way on from it.
//!
//! A chain freezes when a block that the nodes agreed to be final is final no more, or when its operator says so. The record
//! is part of the cursor, so it holds for every host of the deployment and outlives a restart. While it stands, nothing is
//! credited and nothing is debited. Only an operator's command takes it away: the scan then goes on from a block that the nodes
//! agree on, what was merely seen above it is orphaned, and what was credited above it is listed and stays as it is.

mod shown;

use std::sync::Arc;

use thiserror::Error;
use tracing::{info, warn};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::text::ChainName;

use crate::port::chain::{ChainError, ChainSource};
use crate::port::clock::Clock;
use crate::port::store::{Changeset, CommitError, Cursor, Freeze, READ_LIMIT_MAX, Store, StoreError, Write};
use crate::scanning::catch_up::LEFTOVERS_MAX;
use crate::scanning::changes::{Books, Position, ScanError, next_revision};
use crate::scanning::scanner::BLOCKS_KEPT;
use shown::Shown;

/// The longest reason that an operator may give, in bytes: a sentence, not a report.
pub const REASON_BYTES_MAX: usize = 200;
/// Credited deposits that one answer names; the rest is counted. For each the nodes are asked once more.
pub const LOST_NAMED_MAX: usize = 200;
/// How often a freeze is tried again after the scanner moved the cursor first. The scanner stores a few times a second.
const TRIES_MAX: usize = 50;
/// Deposits that are orphaned in one transaction.
const ORPHANS_PER_CHANGESET_MAX: usize = 100;

/// A freeze or resumption that was refused. Nothing changed but what says so itself.
#[derive(Debug, Error)]
pub enum FreezeError {
    /// The chain has never been scanned.
    #[error("chain {0} has not been scanned yet")]
    NotScanned(ChainName),
    /// There is nothing to resume.
    #[error("chain {0} is not frozen")]
    NotFrozen(ChainName),
    /// A reason that is none, or a report.
    #[error("give a reason of 1 to {REASON_BYTES_MAX} bytes")]
    Reason,
    /// The agreed chain has none of the remembered blocks.
    #[error(
        "none of the remembered blocks, the oldest of which is {oldest}, is in the chain that the nodes agree on: find the newest block that both chains had, and name it, or an older one, with --from-block"
    )]
    NoCommonBlock {
        /// The lowest remembered block.
        oldest: BlockNumber,
    },
    /// The block that was named lies above what may be named.
    #[error("the scan cannot go on after block {named}: what happened up to there is only known to block {highest}")]
    TooHigh {
        /// As it was named.
        named: BlockNumber,
        /// The highest block that may be named.
        highest: BlockNumber,
    },
    /// The block that was named lies further back than the scan can go.
    #[error(
        "the scan can go back to block {lowest} at most: name that one, and look at the blocks below again with `xthonpay rescan`"
    )]
    TooLow {
        /// The lowest block that may be named.
        lowest: BlockNumber,
    },
    /// The block that was named is not final.
    #[error("the nodes do not agree that block {0} is final; name an older one")]
    NotFinal(BlockNumber),
    /// A step of it failed.
    #[error(transparent)]
    Scan(#[from] ScanError),
}

impl FreezeError {
    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotScanned(_)
            | Self::NotFrozen(_)
            | Self::Reason
            | Self::NoCommonBlock { .. }
            | Self::TooHigh { .. }
            | Self::TooLow { .. } => false,
            Self::NotFinal(_) => true,
            Self::Scan(error) => error.is_transient(),
        }
    }
}

impl From<ChainError> for FreezeError {
    fn from(error: ChainError) -> Self {
        Self::Scan(error.into())
    }
}

impl From<StoreError> for FreezeError {
    fn from(error: StoreError) -> Self {
        Self::Scan(error.into())
    }
}

impl From<CommitError> for FreezeError {
    fn from(error: CommitError) -> Self {
        Self::Scan(error.into())
    }
}

/// A chain that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The block after which the scan goes on.
    pub tip: BlockRef,
    /// The block up to which everything is final.
    pub finalized: BlockRef,
    /// Deposits that were seen and not final, and are orphaned until they are found again.
    pub orphaned: usize,
    /// Credited deposits whose block left the chain, the first of them. They stay credited.
    pub lost: Vec<LostDeposit>,
    /// How many such deposits there are.
    pub lost_count: usize,
}

/// A credited deposit whose block left the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostDeposit {
    /// As it stands in the books.
    pub deposit: Deposit,
    /// The block that holds its transaction now, if the nodes know one.
    pub mined_again_in: Option<BlockNumber>,
}

/// Where the scan of a chain can go on.
struct Ground {
    tip: BlockRef,
    finalized: BlockRef,
}

/// What an operator can do to the scan of a chain. Works beside a running scanner: whoever stores first wins, and the other
/// one reads again.
#[derive(Clone)]
pub struct ChainControl {
    /// The chain's records.
    pub books: Books,
    /// The chain.
    pub source: Arc<dyn ChainSource>,
}

/// Freezes a chain. A freeze that stands already stays, with its own reason. `None` for a chain that was never scanned.
pub(crate) async fn freeze_chain(
    store: &dyn Store,
    clock: &dyn Clock,
    chain: &ChainName,
    reason: &str,
) -> Result<Option<Freeze>, CommitError> {
    for _ in 0..TRIES_MAX {
        let Some(cursor) = store.cursor(chain).await? else { return Ok(None) };
        if cursor.frozen.is_some() {
            return Ok(cursor.frozen);
        }
        let freeze = Freeze { reason: reason.to_owned(), at: clock.now() };
        let cursor = Cursor { frozen: Some(freeze.clone()), ..next_revision(&cursor) };
        match store.commit(Changeset::new().with(Write::SetCursor(cursor))).await {
            Ok(()) => return Ok(Some(freeze)),
            Err(CommitError::Refused) => {}
            Err(error) => return Err(error),
        }
    }
    Err(CommitError::Refused)
}

impl Books {
    pub(super) async fn freeze(&self, reason: &str) -> Result<Option<Freeze>, CommitError> {
        freeze_chain(self.store.as_ref(), self.clock.as_ref(), &self.chain, reason).await
    }
}

impl ChainControl {
    /// Freezes the chain, for a reason that the operator gives.
    ///
    /// # Errors
    /// [`FreezeError`].
    pub async fn freeze(&self, reason: &str) -> Result<Freeze, FreezeError> {
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.contains(char::is_control) {
            return Err(FreezeError::Reason);
        }
        let freeze = self.books.freeze(reason).await?;
        let freeze = freeze.ok_or_else(|| FreezeError::NotScanned(self.books.chain.clone()))?;
        warn!(chain = %self.books.chain, reason = %freeze.reason, "frozen by the operator");
        Ok(freeze)
    }

    /// Lets the scan of a frozen chain go on: after the newest remembered block that the nodes agree on, or after block `from`.
    ///
    /// # Errors
    /// [`FreezeError`]; the chain is still frozen then.
    pub async fn resume(&self, from: Option<BlockNumber>) -> Result<Resumed, FreezeError> {
        let books = &self.books;
        let chain = || books.chain.clone();
        let cursor = books.store.cursor(&books.chain).await?.ok_or_else(|| FreezeError::NotScanned(chain()))?;
        if cursor.frozen.is_none() {
            return Err(FreezeError::NotFrozen(chain()));
        }
        let seen = books.store.seen_deposits(&books.chain).await?;
        let mut at = Position { cursor, seen };
        let mut shown = Shown::by(self.source.as_ref()).await?;
        let Ground { tip, finalized } = self.ground(&at.cursor, from, &mut shown).await?;
        let (lost, lost_count) = if finalized == at.cursor.finalized {
            (Vec::new(), 0)
        } else {
            self.lost_above(finalized.number, &mut shown).await?
        };
        let gone = gone(&at.seen, tip.number, &mut shown).await?;
        // All but the last of them under the freeze that still stands; interrupted here, the command is simply given again.
        let mut rest = gone.as_slice();
        while let Some((some, others)) = rest.split_at_checked(ORPHANS_PER_CHANGESET_MAX) {
            let step = books.orphan(&at, some, next_revision(&at.cursor)).await?;
            books.store.commit(step.changes).await?;
            (at, rest) = (step.after, others);
        }
        let thawed = Cursor { tip, finalized, frozen: None, ..next_revision(&at.cursor) };
        let mut step = books.orphan(&at, rest, thawed).await?;
        step.changes.push(Write::PutBlock { chain: books.chain.clone(), block: tip });
        books.store.commit(step.changes).await?;
        info!(chain = %books.chain, block = %tip.number, orphaned = gone.len(), lost = lost_count, "resumed by the operator");
        Ok(Resumed { tip, finalized, orphaned: gone.len(), lost, lost_count })
    }

    /// Where the scan goes on: nothing that happened on the agreed chain above this was looked at and kept.
    async fn ground(
        &self,
        cursor: &Cursor,
        from: Option<BlockNumber>,
        shown: &mut Shown<'_>,
    ) -> Result<Ground, FreezeError> {
        let newest_final = shown.finalized.number;
        let holds = newest_final >= cursor.finalized.number && !shown.lost(cursor.finalized).await?;
        let remembered = self.remembered(cursor, if holds { cursor.tip.number } else { newest_final }).await?;
        let common = shown.newest_of(&remembered).await?;
        let oldest = remembered.last().map_or(cursor.finalized.number, |block| block.number);
        let highest = common.map(|block| block.number).or_else(|| oldest.previous()).unwrap_or_default();
        let lowest = BlockNumber(cursor.tip.number.0.saturating_sub(LEFTOVERS_MAX));
        let tip = match (from, common) {
            (Some(named), _) if named < lowest => return Err(FreezeError::TooLow { lowest }),
            (Some(named), _) if named > highest => return Err(FreezeError::TooHigh { named, highest }),
            (Some(named), _) if named > newest_final => return Err(FreezeError::NotFinal(named)),
            (Some(named), _) => self.source.final_block(named).await?.ok_or(FreezeError::NotFinal(named))?,
            (None, Some(common)) => common,
            (None, None) => return Err(FreezeError::NoCommonBlock { oldest }),
        };
        // What is final stays final where the agreed chain has it, and never reaches above where the scan goes on.
        let finalized = if holds && cursor.finalized.number <= tip.number { cursor.finalized } else { tip };
        Ok(Ground { tip, finalized })
    }

    /// The remembered blocks from `top` down, the newest first.
    async fn remembered(&self, cursor: &Cursor, top: BlockNumber) -> Result<Vec<BlockRef>, FreezeError> {
        let top = top.min(cursor.tip.number);
        let bottom = cursor.finalized.number.0.saturating_sub(BLOCKS_KEPT);
        let mut blocks = Vec::new();
        for number in (bottom..=top.0).rev().map(BlockNumber) {
            let known = [cursor.tip, cursor.finalized].into_iter().find(|block| block.number == number);
            blocks.extend(match known {
                Some(block) => Some(block),
                None => self.books.store.block(&self.books.chain, number).await?,
            });
        }
        Ok(blocks)
    }

    /// The credited deposits above `ground` whose block left the chain: the first of them, and how many there are. Every
    /// deposit of the deployment is read.
    async fn lost_above(
        &self,
        ground: BlockNumber,
        shown: &mut Shown<'_>,
    ) -> Result<(Vec<LostDeposit>, usize), FreezeError> {
        let (mut named, mut count) = (Vec::new(), 0_usize);
        let mut after = None;
        loop {
            let page = self.books.store.deposits(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok((named, count)) };
            after = Some(last.id.clone());
            let credited = |deposit: &Deposit| {
                let of_chain = deposit.transfer.identity.asset.chain == self.books.chain;
                of_chain && deposit.state == DepositState::Final && deposit.block.number > ground
            };
            for deposit in page.into_iter().filter(credited) {
                if shown.has(deposit.block).await? {
                    continue;
                }
                count = count.saturating_add(1);
                if named.len() < LOST_NAMED_MAX {
                    named.push(self.name_lost(deposit).await?);
                }
            }
        }
    }

    async fn name_lost(&self, deposit: Deposit) -> Result<LostDeposit, FreezeError> {
        let mined_again_in = match deposit.transfer.identity.origin.tx() {
            Some(tx) => self.source.transfers_of(tx).await?.map(|found| found.block.number),
            None => None,
        };
        Ok(LostDeposit { deposit, mined_again_in })
    }
}

/// The seen deposits that are not in the chain up to `tip`, after which the scan goes on; it will find again what is above.
async fn gone(seen: &[Deposit], tip: BlockNumber, shown: &mut Shown<'_>) -> Result<Vec<Deposit>, FreezeError> {
    let mut gone = Vec::new();
    for deposit in seen {
        if deposit.block.number > tip || shown.lost(deposit.block).await? {
            gone.push(deposit.clone());
        }
    }
    Ok(gone)
}
