//! One node's blocks with the transfers in them, verified as far as the node allows.
//!
//! Owns the questions for whole blocks and which level of verification a node reaches. Reading and proving a block is work
//! for a processor, milliseconds for a full one, and is done beside the tasks that wait for the network; the blocks of
//! several requests are read on as many processors as there are. Does not choose between nodes.

use std::sync::Arc;

use serde_json::json;
use thiserror::Error;
use xthonpay_domain::block::{BlockNumber, BlockRange};
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::transfer::BlockTransfers;
use xthonpay_payments::port::chain::{ChainError, Verification};

use crate::agreement::{self, Contradiction};
use crate::decode::{self, AssetIndex};
use crate::large_block;
use crate::logs::LogFault;
use crate::node::health::Weight;
use crate::node::{Node, quantity};
use crate::pool::Asking;
use crate::proofs::Shown;
use crate::roots::{self, RootFault};
use crate::rpc::{Answer, Call, Exchange, RpcError};
use crate::wire::whole::{WholeBlock, WholeReceipt};
use crate::wire::{Block, Receipt};

/// How many recent blocks show which level a node reaches. One alone may be empty.
const PROBED_BLOCKS: u64 = 3;

/// How far below the head they lie: receipts of the newest block may not be there yet.
const PROBED_BELOW_HEAD: u64 = 2;

/// Why the blocks of a node are not there or not believed.
#[derive(Debug, Error)]
pub(crate) enum BlockFault {
    /// No usable answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Parts that do not fit together.
    #[error("block {number}: {contradiction}")]
    Contradiction { number: BlockNumber, contradiction: Contradiction },
    /// A block that is not what its hash says, or cannot be held against it.
    #[error("block {number}: {fault}")]
    Roots { number: BlockNumber, hash: BlockHash, fault: RootFault },
    /// Logs that do not fit their blocks.
    #[error(transparent)]
    Logs(#[from] LogFault),
    /// A block of a run that the node does not have.
    #[error("block {0} is missing")]
    Missing(BlockNumber),
    /// Neighbours that are not linked.
    #[error("block {0} does not stand on the block below it")]
    NotLinked(BlockNumber),
    /// A run that holds more than there is room for.
    #[error("the run up to block {0} holds too many transfers: ask for fewer blocks")]
    TooManyTransfers(BlockNumber),
    /// The process is about to end.
    #[error("the blocks were not read to the end")]
    Interrupted,
}

impl BlockFault {
    /// Whether the same question may succeed later.
    #[cfg_attr(not(test), expect(dead_code, reason = "it becomes the port's error, which answers the same question"))]
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Rpc(error) => error.is_transient(),
            Self::Contradiction { contradiction, .. } => contradiction.is_transient(),
            Self::Roots { fault, .. } => fault.is_transient(),
            Self::Logs(fault) => fault.is_transient(),
            Self::Missing(_) | Self::NotLinked(_) | Self::TooManyTransfers(_) | Self::Interrupted => true,
        }
    }
}

/// Neighbouring blocks, each `None` that the node does not have.
pub(crate) struct ReadBlocks {
    pub(crate) blocks: Vec<Option<BlockTransfers>>,
    /// How large the answers were.
    pub(crate) bytes: usize,
}

impl Node {
    /// The level of verification that the node's recent blocks reach.
    ///
    /// # Errors
    /// [`ChainError::Inconsistent`] when some of them are what their hashes say and others are not, or when none is although
    /// blocks of the chain were proved before;
    /// [`ChainError::Mismatch`] when the node offers neither receipts of blocks nor logs.
    pub(crate) async fn probe_verification(&self) -> Result<Verification, ChainError> {
        let BlockNumber(head) = self.head().await?;
        let last = BlockNumber(head.saturating_sub(PROBED_BELOW_HEAD));
        let first = BlockNumber(last.0.saturating_sub(PROBED_BLOCKS.saturating_sub(1)));
        let asked = self.ask_for_blocks(numbers(first, last)).await;
        let exchange = Arc::new(asked.map_err(|error| self.failed(error))?);
        let mut probed = self.probe(&exchange, numbers(first, last)).await;
        if let Err(fault) = &probed
            && self.note_unproved(fault)
            && !self.proofs.are_demanded()
        {
            probed = self.probe(&exchange, numbers(first, last)).await;
        }
        match probed {
            Ok(Some(level)) => {
                if level == Verification::Roots {
                    self.proofs.proved(self.position);
                }
                Ok(level)
            }
            Ok(None) => self.probe_logs(last).await,
            Err(fault) => Err(self.faulted(fault)),
        }
    }

    async fn probe(&self, exchange: &Arc<Exchange>, run: Run) -> Result<Option<Verification>, BlockFault> {
        let exchange = Arc::clone(exchange);
        let (provable, demanded) = (self.is_provable(), self.proofs.are_demanded());
        beside_the_network(move || probe(&exchange, run, provable, demanded)).await.and_then(|probed| probed)
    }

    /// Whether nothing is known against proving the node's blocks by their roots.
    fn is_provable(&self) -> bool {
        self.habits.are_roots_known() && !self.proofs.are_given_up()
    }

    /// Remembers a block that could not be proved; tells whether the fault is one.
    fn note_unproved(&self, fault: &BlockFault) -> bool {
        let BlockFault::Roots { number, hash, fault } = fault else { return false };
        // Where one node is enough, a block that is not what it says is a lie until the chain is seen to have changed.
        if fault.is_unverifiable() || self.proofs.quorum() > 1 {
            self.proofs.failed(self.position, (*number, *hash));
        }
        if fault.is_unverifiable() {
            self.habits.forget_roots();
        }
        true
    }

    /// What keeps the content of the node's blocks from being believed; `None` when nothing does.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let level = self.conduct.verification().filter(|level| *level != Verification::Roots)?;
        let (level, roots) = (level.name(), Verification::Roots.name());
        self.proofs.are_demanded().then(|| {
            format!("its blocks are verified by {level} alone, those of another node by {roots}: only its votes count")
        })
    }

    /// The level for blocks whose content is to be believed.
    ///
    /// # Errors
    /// As [`Node::probe_verification`]; [`ChainError::Unavailable`] when another node proves more.
    pub(crate) async fn level_for_content(&self) -> Result<Verification, ChainError> {
        let level = self.level().await?;
        match self.shortfall() {
            None => Ok(level),
            Some(shortfall) => {
                if self.conduct.falls_short() {
                    tracing::warn!(node = self.label(), shortfall, "a node gives votes and no content");
                }
                Err(self.unavailable(&shortfall))
            }
        }
    }

    /// How blocks from the node are verified: as its last check found, or found out now.
    ///
    /// # Errors
    /// As [`Node::probe_verification`].
    pub(crate) async fn level(&self) -> Result<Verification, ChainError> {
        let known = self.conduct.verification();
        if let Some(level) = known.filter(|level| *level != Verification::Roots || self.is_provable()) {
            return Ok(level);
        }
        let level = self.probe_verification().await?;
        self.conduct.verified_by(level);
        Ok(level)
    }

    /// A block with its transfers, verified to `level`; `None` when the node does not have it yet.
    ///
    /// # Errors
    /// [`ChainError::Inconsistent`] when it contradicts itself or is not what its hash says.
    pub(crate) async fn verified_block(
        &self,
        assets: &AssetIndex,
        number: BlockNumber,
        level: Verification,
    ) -> Result<Option<BlockTransfers>, ChainError> {
        let read = self.read_blocks(assets, numbers(number, number), level).await;
        let mut read = read.map_err(|fault| self.faulted(fault))?;
        let found = read.blocks.pop().flatten();
        if found.is_none() {
            self.conduct.lacks(number, Weight::Block);
        }
        Ok(found)
    }

    /// The blocks of a run with their transfers, asked for in one request; at the level of logs in several.
    pub(crate) async fn read_blocks(
        &self,
        assets: &AssetIndex,
        run: Run,
        level: Verification,
    ) -> Result<ReadBlocks, BlockFault> {
        if level == Verification::Logs {
            return self.read_logged_blocks(assets, run).await;
        }
        let single = (run.start() == run.end()).then_some(BlockNumber(*run.start()));
        let mut read = self.read_whole_blocks(assets, run, level).await;
        if let (Err(BlockFault::Rpc(error)), Some(number)) = (&read, single)
            && large_block::is_too_much(error)
        {
            read = self.read_large_block(assets, number, level).await;
        }
        read.inspect_err(|fault| {
            self.note_unproved(fault);
        })
    }

    async fn read_whole_blocks(
        &self,
        assets: &AssetIndex,
        run: Run,
        level: Verification,
    ) -> Result<ReadBlocks, BlockFault> {
        let exchange = self.ask_for_blocks(run.clone()).await?;
        let bytes = exchange.bytes();
        let assets = assets.clone();
        let read = beside_the_network(move || read(&exchange, &assets, run, level)).await.and_then(|read| read);
        Ok(ReadBlocks { blocks: read?, bytes })
    }

    /// Blocks and receipts in turn, in one request so that one backend answers all of it.
    async fn ask_for_blocks(&self, run: Run) -> Result<Exchange, RpcError> {
        let calls: Vec<Call> = run
            .flat_map(|number| {
                let number = quantity(BlockNumber(number));
                let block = Call::new("eth_getBlockByNumber", json!([&number, true]));
                [block, Call::new("eth_getBlockReceipts", json!([number]))]
            })
            .collect();
        self.rpc.ask(&calls).await
    }

    /// The port's error for a fault of this node.
    pub(crate) fn faulted(&self, fault: BlockFault) -> ChainError {
        match fault {
            BlockFault::Rpc(error) => self.failed(error),
            BlockFault::Missing(_) | BlockFault::TooManyTransfers(_) | BlockFault::Interrupted => {
                self.unavailable(&fault.to_string())
            }
            BlockFault::Contradiction { .. }
            | BlockFault::Roots { .. }
            | BlockFault::Logs(_)
            | BlockFault::NotLinked(_) => ChainError::Inconsistent { reason: format!("{}: {fault}", self.label()) },
        }
    }
}

/// The question for one block, verified as far as the node allows.
pub(crate) fn block_of(
    node: &Node,
    assets: AssetIndex,
    number: BlockNumber,
) -> Asking<'_, Shown<Option<BlockTransfers>>> {
    Box::pin(async move {
        let level = node.level_for_content().await?;
        let content = node.verified_block(&assets, number, level).await?;
        Ok(Shown { content, proven: level == Verification::Roots })
    })
}

/// The heights of neighbouring blocks.
pub(crate) type Run = core::ops::RangeInclusive<u64>;

pub(crate) fn numbers(first: BlockNumber, last: BlockNumber) -> Run {
    first.0..=last.0
}

/// The heights of a range.
pub(crate) fn run_of(range: BlockRange) -> Run {
    numbers(range.first(), range.last())
}

/// Does work for a processor where it holds up nobody who waits for the network.
pub(crate) async fn beside_the_network<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockFault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BlockFault::Interrupted)
}

fn read(
    exchange: &Exchange,
    assets: &AssetIndex,
    run: Run,
    level: Verification,
) -> Result<Vec<Option<BlockTransfers>>, BlockFault> {
    pairs(exchange, run)?.map(|(number, block, receipts)| read_block(number, block, receipts, assets, level)).collect()
}

type Pair<'e> = (BlockNumber, Result<Answer<'e>, RpcError>, Result<Answer<'e>, RpcError>);

/// The answers for a block and for its receipts, with the height that was asked for.
fn pairs(exchange: &Exchange, run: Run) -> Result<impl Iterator<Item = Pair<'_>>, BlockFault> {
    let mut answers = exchange.answers()?.into_iter();
    // There are as many answers as questions, two for each block.
    Ok(run.map_while(move |number| Some((BlockNumber(number), answers.next()?, answers.next()?))))
}

fn read_block(
    number: BlockNumber,
    block: Result<Answer<'_>, RpcError>,
    receipts: Result<Answer<'_>, RpcError>,
    assets: &AssetIndex,
    level: Verification,
) -> Result<Option<BlockTransfers>, BlockFault> {
    let no_receipts = || BlockFault::Contradiction { number, contradiction: Contradiction::NoReceipts };
    if level == Verification::Roots {
        let Some(block) = block?.read::<Option<WholeBlock>>()? else { return Ok(None) };
        let receipts = receipts?.read::<Option<Vec<WholeReceipt>>>()?.ok_or_else(no_receipts)?;
        return prove_block(number, block, receipts, assets).map(Some);
    }
    let Some(block) = block?.read::<Option<Block>>()? else { return Ok(None) };
    let receipts = receipts?.read::<Option<Vec<Receipt>>>()?.ok_or_else(no_receipts)?;
    agree_block(number, &block, &receipts, assets).map(Some)
}

/// The transfers of a block that is what its hash says.
pub(crate) fn prove_block(
    number: BlockNumber,
    block: WholeBlock,
    receipts: Vec<WholeReceipt>,
    assets: &AssetIndex,
) -> Result<BlockTransfers, BlockFault> {
    let (block, unproven) = block.split();
    let (receipts, kinds): (Vec<Receipt>, Vec<u64>) = receipts.into_iter().map(WholeReceipt::split).unzip();
    let found = agree_block(number, &block, &receipts, assets)?;
    roots::prove(&unproven, &block, &receipts, &kinds).map_err(|fault| BlockFault::Roots {
        number,
        hash: found.block.hash,
        fault,
    })?;
    Ok(found)
}

/// The transfers of a block that fits its receipts.
pub(crate) fn agree_block(
    number: BlockNumber,
    block: &Block,
    receipts: &[Receipt],
    assets: &AssetIndex,
) -> Result<BlockTransfers, BlockFault> {
    let place = agreement::agreed(block, receipts, number);
    let place = place.map_err(|contradiction| BlockFault::Contradiction { number, contradiction })?;
    Ok(BlockTransfers { block: place, transfers: decode::transfers(assets, block, receipts) })
}

/// The level that blocks with receipts reach; `None` when the node offers no receipts of blocks. `provable` is whether they
/// may be of that level, `demanded` whether they must be.
fn probe(exchange: &Exchange, run: Run, provable: bool, demanded: bool) -> Result<Option<Verification>, BlockFault> {
    let assets = AssetIndex::default();
    let (mut proved, mut unproved) = (false, None);
    for (number, block, receipts) in pairs(exchange, run)? {
        let (block, receipts) = match (block, receipts) {
            (Ok(_), Err(RpcError::Unsupported { .. })) => return Ok(None),
            (block, receipts) => (block?, receipts?),
        };
        match read_block(number, Ok(block), Ok(receipts), &assets, Verification::Roots) {
            Ok(Some(_)) => proved = true,
            Ok(None) => return Err(BlockFault::Missing(number)),
            Err(fault @ (BlockFault::Roots { .. } | BlockFault::Rpc(RpcError::Malformed { .. }))) if demanded => {
                return Err(fault);
            }
            // A header of another shape may still stand above a block that fits together.
            Err(fault @ (BlockFault::Roots { .. } | BlockFault::Rpc(RpcError::Malformed { .. }))) => {
                let plain = read_block(number, Ok(block), Ok(receipts), &assets, Verification::Receipts)?;
                plain.ok_or(BlockFault::Missing(number))?;
                unproved = unproved.or(Some(fault));
            }
            Err(fault) => return Err(fault),
        }
    }
    match unproved {
        None if provable => Ok(Some(Verification::Roots)),
        None => Ok(Some(Verification::Receipts)),
        // Roots that are computed otherwise on this chain never fit. Those that fit sometimes are Ethereum's, and a block
        // that they do not fit is not what its hash says.
        Some(BlockFault::Roots { number, hash, fault }) if proved && !fault.is_unverifiable() => {
            Err(BlockFault::Roots { number, hash, fault })
        }
        Some(_) => Ok(Some(Verification::Receipts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::whole::Unknown;

    #[test]
    fn only_a_question_that_is_not_offered_is_permanent() {
        let number = BlockNumber(7);
        let unknown = RootFault::UnknownTransaction { position: 0, unknown: Unknown::Type(0x7e) };
        let transient = [
            BlockFault::Contradiction { number, contradiction: Contradiction::NoReceipts },
            BlockFault::Roots { number, hash: BlockHash::new([0; 32]), fault: unknown },
            BlockFault::Logs(LogFault::Missing { number }),
            BlockFault::Missing(number),
            BlockFault::NotLinked(number),
            BlockFault::Interrupted,
        ];
        assert!(transient.iter().all(BlockFault::is_transient));
        assert!(!BlockFault::Rpc(RpcError::Unsupported { method: "eth_x" }).is_transient());
    }
}
