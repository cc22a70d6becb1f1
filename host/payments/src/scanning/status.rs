//! What a scanner says about itself, for readiness, the status command and the workers that need chain time.

use std::sync::{Arc, PoisonError, RwLock};

use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;

use crate::port::store::Cursor;

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
    /// Stopped by itself, because going on could credit wrongly. Needs a person.
    Frozen {
        /// Why.
        reason: String,
    },
}

/// A scanner's view at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainStatus {
    /// The chain.
    pub chain: ChainName,
    /// How the scanner is doing.
    pub health: Health,
    /// The newest block of the node.
    pub head: Option<BlockNumber>,
    /// How far blocks are processed.
    pub cursor: Option<Cursor>,
    /// When the view was last changed, by the host's clock.
    pub at: Timestamp,
}

impl ChainStatus {
    /// Blocks that the node has and the scanner has not processed.
    #[must_use]
    pub fn lag_blocks(&self) -> Option<u64> {
        let (head, cursor) = (self.head?, self.cursor.as_ref()?);
        Some(head.0.saturating_sub(cursor.tip.number.0))
    }
}

/// A view that one scanner writes and many read.
#[derive(Clone, Debug)]
pub struct SharedStatus(Arc<RwLock<ChainStatus>>);

impl SharedStatus {
    /// The view of a scanner that has not started.
    #[must_use]
    pub fn new(chain: ChainName) -> Self {
        let status = ChainStatus { chain, health: Health::Starting, head: None, cursor: None, at: Timestamp::EPOCH };
        Self(Arc::new(RwLock::new(status)))
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

    pub(crate) fn update(&self, change: impl FnOnce(&mut ChainStatus)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}
