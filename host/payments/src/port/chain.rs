//! Blocks and the transfers in them, and how the nodes that show them are doing.

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers};

/// The most addresses that one question for balances may name. Bounds the size of the question; callers ask again.
pub const BALANCES_MAX: usize = 10_000;

/// The most blocks that one question for a run of blocks may span. Bounds the memory of the answer: some 40 MB where every
/// block holds a hundred transfers; callers ask again.
pub const RANGE_BLOCKS_MAX: u64 = 2_000;

/// One chain, as its nodes show it. Everything it returns has passed the source's own checks.
///
/// "Agreed" means: as many nodes as the operator's quorum asks for say the same. All other answers may come from one node, so
/// they may only be believed for what has not become final.
#[async_trait]
pub trait ChainSource: Send + Sync {
    /// The operator's name of the chain.
    fn name(&self) -> &ChainName;

    /// Whether the nodes serve the configured chain and the assets look as configured.
    ///
    /// # Errors
    /// [`ChainError::Mismatch`] when they serve another chain or other decimals, else as for reads.
    async fn self_check(&self) -> Result<(), ChainError>;

    /// The newest block that the nodes know.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn head(&self) -> Result<BlockNumber, ChainError>;

    /// The newest block that the chain's finality rule calls irreversible, agreed.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn finalized(&self) -> Result<BlockRef, ChainError>;

    /// The block at `number`, agreed; `None` when fewer nodes than the quorum have it yet. Only asked for heights at or below
    /// [`ChainSource::finalized`].
    ///
    /// # Errors
    /// [`ChainError::Inconsistent`] when the nodes contradict each other about it.
    async fn final_block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError>;

    /// The block at `number` without its transfers, or `None` when the nodes do not have it yet.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn block(&self, number: BlockNumber) -> Result<Option<BlockRef>, ChainError>;

    /// The block at `number` with every successful transfer of a configured asset, or `None` when the nodes do not have it
    /// yet. Failed transactions, transfers of nothing and foreign contracts are not among them.
    ///
    /// # Errors
    /// [`ChainError::Inconsistent`] when the answer contradicts itself; then nothing may be concluded from it.
    async fn transfers(&self, number: BlockNumber) -> Result<Option<BlockTransfers>, ChainError>;

    /// The same for a run of at most [`RANGE_BLOCKS_MAX`] blocks, all of them linked to each other; for catching up with
    /// final blocks. How the run is cut into questions, how many are on their way at once, and which limits a node has, is the
    /// source's affair.
    ///
    /// # Errors
    /// As [`ChainSource::transfers`]; [`ChainError::Unavailable`] when a block of the run is missing.
    async fn transfers_in(&self, range: BlockRange) -> Result<RangeTransfers, ChainError>;

    /// The transfers of one transaction with the block that holds it, or `None` when no node knows it as mined.
    ///
    /// # Errors
    /// As [`ChainSource::transfers`].
    async fn transfers_of(&self, tx: TxHash) -> Result<Option<BlockTransfers>, ChainError>;

    /// Agreed balances in the chain's native coin at `block`, one for each address in the same order, in base units. At most
    /// [`BALANCES_MAX`] addresses; `block` must be recent, since nodes forget old states (about a minute on BNB Smart Chain).
    ///
    /// # Errors
    /// [`ChainError::Unavailable`] when too few nodes know the block's state.
    async fn native_balances(&self, block: BlockRef, addresses: &[Address]) -> Result<Vec<Amount>, ChainError>;

    /// The same for a configured token, as its contract answers. Only for holding the books against the chain: what is credited
    /// is what transfers show.
    ///
    /// # Errors
    /// As [`ChainSource::native_balances`]; [`ChainError::Mismatch`] for an asset that is no token of this chain.
    async fn token_balances(
        &self,
        block: BlockRef,
        token: &AssetId,
        addresses: &[Address],
    ) -> Result<Vec<Amount>, ChainError>;

    /// The price of one unit of gas that a node suggests now, in base units of the native coin. Not agreed.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn gas_price(&self) -> Result<Amount, ChainError>;

    /// What the node that is asked first said does not fit what the nodes agree on: another one shall be asked first from now
    /// on. Whoever finds this out by what the answers mean together tells it; the source has seen nothing wrong with them.
    /// Sources of a single node have no other and do nothing.
    fn contradicted(&self) {}

    /// Waits until a node announces a new block. A hint only: it may come late, twice or never, so callers wait with a
    /// time limit. May be dropped at any time.
    async fn announced(&self);

    /// How the nodes are doing, from what was asked of them lately; nobody is asked for it.
    fn report(&self) -> SourceReport;
}

/// How the nodes of a chain are doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReport {
    /// The nodes in the order of the config.
    pub nodes: Vec<NodeReport>,
    /// The newest block as the nodes tell it together: one that a single node invents does not count.
    pub head: Option<BlockNumber>,
    /// How many of them must agree before a block counts as final.
    pub quorum: usize,
    /// What the nodes contradict each other about, in one sentence; `None` while they agree.
    pub disagreement: Option<String>,
    /// Whether blocks become final by their depth because the nodes' own finality stands still.
    pub finality_by_depth: bool,
}

/// How one node is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReport {
    /// Position in the config and host, without credentials.
    pub label: String,
    /// Whether questions go to it first at the moment.
    pub primary: bool,
    /// Why it is not asked at the moment; `None` when it is healthy.
    pub problem: Option<String>,
    /// How blocks from it are verified; `None` until it was checked.
    pub verification: Option<Verification>,
    /// The newest block that it told of.
    pub head: Option<BlockNumber>,
    /// The newest final block that it told of.
    pub finalized: Option<BlockNumber>,
    /// Whether it announces new blocks; `None` when it was not asked to.
    pub announces: Option<bool>,
}

/// How the blocks of a node are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verification {
    /// Block and receipts, with the roots and the hash of the header computed anew: nothing inside a block can be hidden,
    /// added or changed.
    Roots,
    /// Block and receipts that fit together; this chain's roots cannot be computed here.
    Receipts,
    /// Block and logs, held against the bloom filter of the header; the node offers no receipts of whole blocks.
    Logs,
}

impl Verification {
    /// The level's name: stable, used in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Roots => "roots",
            Self::Receipts => "receipts",
            Self::Logs => "logs",
        }
    }
}

/// A question that no node answered usably.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChainError {
    /// No answer: network, time-out, rate limit, server error.
    #[error("no usable answer from the node: {reason}")]
    Unavailable {
        /// What happened, without credentials of the node's URL.
        reason: String,
    },
    /// An answer that contradicts itself or the protocol.
    #[error("the node's answer is inconsistent: {reason}")]
    Inconsistent {
        /// Which check failed.
        reason: String,
    },
    /// The node serves something else than the config says.
    #[error("the node does not serve the configured chain: {reason}")]
    Mismatch {
        /// What differs, and the config key to change.
        reason: String,
    },
}

impl ChainError {
    /// Whether the same question may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Inconsistent { .. } => true,
            Self::Mismatch { .. } => false,
        }
    }
}
