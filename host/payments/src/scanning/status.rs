//! What a scanner says about itself, for readiness, the status command, metrics and the workers that need chain time.
//!
//! Only facts, none older than the step under way. How old is too old is decided where the facts are read, with the time of
//! the reading, so that a scanner that hangs cannot look well.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;

use crate::port::chain::SourceReport;
use crate::port::store::Cursor;

/// How long no new block may come, and finality may stand still, before the chain counts as stalled. A minute is what a
/// payer waits before writing to the shop; slow chains get a multiple of their own rhythm.
const STALL_MIN: Duration = Duration::from_secs(60);
/// Blocks that may be missing one after the other. No chain misses twenty of its slots in ordinary operation.
const STALL_BLOCKS: u32 = 20;
/// Blocks for which finality may stand still. Chains that finalise in epochs move it every 32 blocks, two epochs late at worst.
const FINALITY_STALL_BLOCKS: u32 = 100;

/// How a scanner is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not yet read its first block.
    Starting,
    /// Working.
    Running,
    /// The last step failed and is tried again.
    Failing {
        /// Why.
        reason: String,
    },
    /// Stopped by itself or by an operator, because going on could credit wrongly. Needs a person.
    Frozen {
        /// Why.
        reason: String,
    },
}

/// How far a scanner is with blocks that it missed while it was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUpProgress {
    /// The tip when it began.
    pub from: BlockNumber,
    /// The final block up to which it goes.
    pub target: BlockNumber,
    /// Blocks that are processed.
    pub done: u64,
    /// How long that took.
    pub took: Duration,
}

impl CatchUpProgress {
    /// Blocks that there are to process.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.target.0.saturating_sub(self.from.0)
    }

    /// Blocks processed in a second on average, rounded down; 0 in the first moment.
    #[must_use]
    pub fn blocks_per_second(&self) -> u64 {
        let millis = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        self.done.saturating_mul(1_000).checked_div(millis).unwrap_or_default()
    }

    /// How long the rest takes if it goes on like this; `None` before anything is done.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let left = u128::from(self.total().saturating_sub(self.done));
        let millis = self.took.as_millis().saturating_mul(left).checked_div(self.done.into())?;
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
    }
}

/// What stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// No new block came for this long.
    NoNewBlock(Duration),
    /// No block became final for this long.
    NoNewFinality(Duration),
}

/// A scanner's view at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStatus {
    /// The chain.
    pub chain: ChainName,
    /// How the scanner is doing.
    pub health: Health,
    /// The newest block that a node told of.
    pub head: Option<BlockNumber>,
    /// How far blocks are processed.
    pub cursor: Option<Cursor>,
    /// When the tip last moved, or the scanner began, by the host's clock.
    pub tip_at: Option<Timestamp>,
    /// When the mark of finality last moved, or the scanner began, by the host's clock.
    pub finalized_at: Option<Timestamp>,
    /// The average time between the chain's newest blocks, by their own times.
    pub block_interval: Option<Duration>,
    /// Open invoices in the native coin that expire before this time have been looked at for coins that no transfer shows;
    /// `None` until they are. None of them expires before that.
    pub balances_until: Option<Timestamp>,
    /// Set while missed blocks are processed in runs.
    pub catch_up: Option<CatchUpProgress>,
    /// How the nodes are doing.
    pub source: SourceReport,
    /// When the view was last changed, by the host's clock.
    pub at: Timestamp,
}

impl ChainStatus {
    /// The view of a scanner that has not started.
    #[must_use]
    pub fn new(chain: ChainName) -> Self {
        Self {
            chain,
            health: Health::Starting,
            head: None,
            cursor: None,
            tip_at: None,
            finalized_at: None,
            block_interval: None,
            balances_until: None,
            catch_up: None,
            source: SourceReport::default(),
            at: Timestamp::EPOCH,
        }
    }

    /// Blocks that a node has and the scanner has not processed.
    #[must_use]
    pub fn lag_blocks(&self) -> Option<u64> {
        let (head, cursor) = (self.head?, self.cursor.as_ref()?);
        Some(head.0.saturating_sub(cursor.tip.number.0))
    }

    /// How far the time of the newest processed block is behind the host's clock `now`. Tells of lag that nodes do not
    /// admit, and of clocks that are wrong.
    #[must_use]
    pub fn lag_time(&self, now: Timestamp) -> Option<Duration> {
        self.cursor.as_ref().map(|cursor| now.since(cursor.tip.time))
    }

    /// How long no new block has come, by the host's clock.
    #[must_use]
    pub fn since_new_block(&self, now: Timestamp) -> Option<Duration> {
        self.tip_at.map(|at| now.since(at))
    }

    /// How long no block has become final, by the host's clock.
    #[must_use]
    pub fn since_new_finality(&self, now: Timestamp) -> Option<Duration> {
        self.finalized_at.map(|at| now.since(at))
    }

    /// What stands still for longer than it may, if anything.
    #[must_use]
    pub fn stall(&self, now: Timestamp) -> Option<Stall> {
        let bound = |blocks: u32| self.block_interval.unwrap_or_default().saturating_mul(blocks).max(STALL_MIN);
        let (block, finality) = (self.since_new_block(now), self.since_new_finality(now));
        let block = block.filter(|since| *since > bound(STALL_BLOCKS)).map(Stall::NoNewBlock);
        // Without blocks nothing can become final: one cause is told once.
        block.or_else(|| finality.filter(|since| *since > bound(FINALITY_STALL_BLOCKS)).map(Stall::NoNewFinality))
    }

    /// Takes over a cursor, noting what moved. A mark that fell back has moved too: a resumed chain goes on from there.
    pub(super) fn follow(&mut self, cursor: &Cursor, now: Timestamp) {
        let moved = |was: Option<BlockNumber>, is: BlockNumber| was != Some(is);
        let before = self.cursor.as_ref();
        if moved(before.map(|cursor| cursor.tip.number), cursor.tip.number) {
            self.tip_at = Some(now);
        }
        if moved(before.map(|cursor| cursor.finalized.number), cursor.finalized.number) {
            self.finalized_at = Some(now);
        }
        self.head = self.head.max(Some(cursor.tip.number));
        self.cursor = Some(cursor.clone());
    }
}

/// A view that one scanner writes and many read.
#[derive(Clone, Debug)]
pub struct SharedStatus(Arc<RwLock<ChainStatus>>);

impl SharedStatus {
    /// The view of a scanner that has not started.
    #[must_use]
    pub fn new(chain: ChainName) -> Self {
        Self(Arc::new(RwLock::new(ChainStatus::new(chain))))
    }

    /// The view now.
    #[must_use]
    pub fn get(&self) -> ChainStatus {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time of the newest final block that is processed; the epoch before the first.
    #[must_use]
    pub fn finalized_time(&self) -> Timestamp {
        let status = self.0.read().unwrap_or_else(PoisonError::into_inner);
        status.cursor.as_ref().map_or(Timestamp::EPOCH, |cursor| cursor.finalized.time)
    }

    /// The chain.
    #[must_use]
    pub fn chain(&self) -> ChainName {
        self.0.read().unwrap_or_else(PoisonError::into_inner).chain.clone()
    }

    /// The time before which no open invoice in the native coin has a payment that is not known; the epoch before the first
    /// look at their balances.
    #[must_use]
    pub fn balances_until(&self) -> Timestamp {
        let status = self.0.read().unwrap_or_else(PoisonError::into_inner);
        status.balances_until.unwrap_or(Timestamp::EPOCH)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut ChainStatus)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}
