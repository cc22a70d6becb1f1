//! Catching up in runs of blocks, when many final ones were missed.
//!
//! A run is only stored once the nodes agree that its last block is final, and only on top of a tip that they agree on too; so
//! nothing in it can leave the chain, and the blocks between are not remembered one by one. The next run is on its way while
//! one is stored. Whatever does not fit is left to the loop that goes block by block and knows what to do about forks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::transfer::{BlockTransfers, RangeTransfers};

use crate::port::chain::{ChainError, ChainSource, RANGE_BLOCKS_MAX};
use crate::scanning::changes::{Books, Position, ScanError};
use crate::scanning::scanner::{BLOCKS_KEPT, Memory, Scanner};
use crate::scanning::status::CatchUpProgress;

/// Missed final blocks from which on runs pay: about 15 seconds of BNB Smart Chain, which go by block in about one.
pub(super) const GAP_MIN: u64 = 32;
/// Blocks in the first run: few, so that a node that is slow with runs shows it early.
const RUN_BLOCKS_FIRST: u64 = 250;
/// Blocks in the smallest run that failures lead to.
const RUN_BLOCKS_MIN: u64 = 16;
/// Runs that are asked for and not yet stored, besides the one that is being stored. Bounds memory together with the size of
/// a run; one is enough to keep the nodes busy, the second covers a run that holds little.
const RUNS_AHEAD: usize = 2;
/// Deposits after which a transaction takes no further block. A block is never divided, and its gas bounds what it can hold:
/// some 11 000 transfers on BNB Smart Chain, where a transfer that repeats one of the same call costs about 5 000 of the
/// 55 million gas of a block.
const DEPOSITS_PER_PART_MAX: usize = 200;
/// How far above the tip blocks of an earlier fork are looked for before runs begin. No command takes the scan further back.
pub(super) const LEFTOVERS_MAX: u64 = 4 * BLOCKS_KEPT;
/// How often progress is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Blocks that nodes of BNB Smart Chain keep in their index of logs by default: three days (`history.logs` of bsc 1.7).
const LOG_WINDOW_BLOCKS: u64 = 576_000;
/// From how many missed blocks on the operator is warned: three quarters of the window, as the rest goes by while catching up.
const LOG_WINDOW_WARN_BLOCKS: u64 = LOG_WINDOW_BLOCKS / 4 * 3;

/// Runs that are on their way, and what of them is still to be stored.
pub(super) struct CatchUp {
    source: Arc<dyn ChainSource>,
    /// The block on top of which the next part belongs.
    on: BlockHash,
    /// Not asked for yet.
    rest: Option<BlockRange>,
    /// Asked for, the lowest first.
    asked: VecDeque<(BlockRange, AbortOnDropHandle<Result<Run, ChainError>>)>,
    /// Fetched and checked, the lowest first.
    parts: VecDeque<Part>,
}

/// What is remembered about catching up beyond a failure.
pub(super) struct Effort {
    /// Blocks in the next run.
    run_blocks: u64,
    began: Option<(Instant, BlockNumber)>,
    logged_at: Option<Instant>,
}

impl Default for Effort {
    fn default() -> Self {
        Self { run_blocks: RUN_BLOCKS_FIRST, began: None, logged_at: None }
    }
}

impl Effort {
    /// A step failed: smaller runs come through where large ones do not.
    pub(super) fn failed(&mut self) {
        self.run_blocks = (self.run_blocks / 2).max(RUN_BLOCKS_MIN);
    }

    fn succeeded(&mut self) {
        self.run_blocks = self.run_blocks.saturating_mul(2).min(RANGE_BLOCKS_MAX);
    }
}

/// A run as the node shows it, and its last block as the nodes agree on it.
struct Run {
    found: RangeTransfers,
    agreed: Option<BlockRef>,
}

/// Blocks that are stored in one transaction.
struct Part {
    /// Those with transfers to addresses of ours.
    blocks: Vec<BlockTransfers>,
    /// The newest one, whether it holds such transfers or not.
    last: BlockRef,
}

impl CatchUp {
    fn new(source: Arc<dyn ChainSource>, on: BlockHash, missed: BlockRange) -> Self {
        Self { source, on, rest: Some(missed), asked: VecDeque::new(), parts: VecDeque::new() }
    }

    /// Lets as many runs be on their way as there may be.
    fn ask_ahead(&mut self, run_blocks: u64) {
        while self.asked.len() < RUNS_AHEAD {
            let Some(rest) = self.rest.take() else { return };
            let (range, rest) = rest.split_first(run_blocks.min(RANGE_BLOCKS_MAX));
            self.rest = rest;
            let source = Arc::clone(&self.source);
            let answer = tokio::spawn(async move {
                let (found, agreed) =
                    futures::future::try_join(source.transfers_in(range), source.final_block(range.last())).await?;
                Ok(Run { found, agreed })
            });
            self.asked.push_back((range, AbortOnDropHandle::new(answer)));
        }
    }
}

impl Scanner {
    /// Stores the next part of the final blocks that were missed, if they are many and lie on top of our tip; tells whether
    /// it did.
    pub(super) async fn catch_up(&self, at: Position, memory: &mut Memory) -> Result<(Position, bool), ScanError> {
        if memory.catch_up.is_none() {
            memory.catch_up = self.begin(&at, memory).await?;
        }
        let Some(catch_up) = &mut memory.catch_up else {
            // After a failure the rest may be too little for runs.
            if memory.told.is_some() && memory.effort.began.is_some() {
                self.end(&at, memory);
            }
            return Ok((at, false));
        };
        if catch_up.on != at.cursor.tip.hash {
            // Somebody took the tip back in between.
            memory.catch_up = None;
            return Ok((at, false));
        }
        if catch_up.parts.is_empty() {
            catch_up.ask_ahead(memory.effort.run_blocks);
            match catch_up.asked.pop_front() {
                Some((range, answer)) => {
                    let run =
                        answer.await.map_err(|broken| ChainError::Unavailable { reason: broken.to_string() })??;
                    if run.found.parent != at.cursor.tip.hash {
                        // The nodes agreed on our tip when the runs began. What lies between is the business of the loop that
                        // goes block by block.
                        self.source.contradicted();
                        memory.catch_up = None;
                        return Ok((at, false));
                    }
                    let found = check(range, run).inspect_err(|error| {
                        if matches!(error, ChainError::Inconsistent { .. }) {
                            self.source.contradicted();
                        }
                    })?;
                    // What is ours among a run is only known once the runs below it are stored, and once its own payments to
                    // addresses that a restored store does not know have moved the gaps.
                    self.books.reach(&found.blocks).await?;
                    catch_up.parts = self.books.divide(found);
                    memory.effort.succeeded();
                    catch_up.ask_ahead(memory.effort.run_blocks);
                }
                None => {
                    self.end(&at, memory);
                    return Ok((at, false));
                }
            }
        }
        let Some(part) = catch_up.parts.pop_front() else { return Ok((at, false)) };
        catch_up.on = part.last.hash;
        let step = self.books.extend_run(&at, &part.blocks, part.last).await?;
        let at = self.store(step).await?;
        // Every block of the run lies below one that the nodes agreed to be final, and is linked to it.
        let at = self.credit(at, part.last).await?;
        self.tell_progress(&at, memory);
        Ok((at, true))
    }

    /// The runs to fetch, unless few blocks were missed or our tip is not what the nodes agree on.
    async fn begin(&self, at: &Position, memory: &mut Memory) -> Result<Option<CatchUp>, ScanError> {
        let tip = at.cursor.tip;
        let Some(told) = memory.told else { return Ok(None) };
        let gap = told.number.0.saturating_sub(tip.number.0);
        let missed = tip.number.next().and_then(|first| BlockRange::new(first, told.number));
        let Some(missed) = missed.filter(|_| gap > GAP_MIN) else { return Ok(None) };
        if tip.number < self.passed_before(tip.number, missed.last(), memory).await? {
            return Ok(None);
        }
        if self.source.final_block(tip.number).await?.is_none_or(|agreed| agreed.hash != tip.hash) {
            return Ok(None);
        }
        if memory.effort.began.is_none() {
            info!(chain = %self.books.chain, blocks = gap, from = %tip.number, to = %told.number, "catching up");
            if gap >= LOG_WINDOW_WARN_BLOCKS {
                warn!(
                    chain = %self.books.chain,
                    blocks = gap,
                    window = LOG_WINDOW_BLOCKS,
                    "so many blocks were missed that nodes with default settings may no longer tell their logs: add a node that keeps them, or that answers for receipts of whole blocks"
                );
            }
            memory.effort.began = Some((Instant::now(), tip.number));
        }
        memory.told = None;
        Ok(Some(CatchUp::new(Arc::clone(&self.source), tip.hash, missed)))
    }

    /// The highest block above the tip that is still stored from before the tip was taken back, or the tip. A run would leave
    /// such blocks where they are, to be taken for blocks of our chain later; going block by block replaces them.
    async fn passed_before(
        &self,
        tip: BlockNumber,
        last: BlockNumber,
        memory: &mut Memory,
    ) -> Result<BlockNumber, ScanError> {
        if let Some(known) = memory.passed_before {
            return Ok(known);
        }
        let top = last.min(BlockNumber(tip.0.saturating_add(LEFTOVERS_MAX)));
        let mut highest = tip;
        for number in (tip.0.saturating_add(1)..=top.0).rev().map(BlockNumber) {
            if self.books.store.block(&self.books.chain, number).await?.is_some() {
                highest = number;
                break;
            }
        }
        memory.passed_before = Some(highest);
        Ok(highest)
    }

    /// Every run is stored; finality has moved on in the meantime.
    fn end(&self, at: &Position, memory: &mut Memory) {
        memory.catch_up = None;
        memory.finality_asked_at = None;
        if let Some((began, from)) = memory.effort.began.take() {
            let blocks = at.cursor.tip.number.0.saturating_sub(from.0);
            info!(chain = %self.books.chain, blocks, seconds = began.elapsed().as_secs(), "caught up");
        }
        self.status.update(|status| status.catch_up = None);
    }

    fn tell_progress(&self, at: &Position, memory: &mut Memory) {
        let Some(((began, from), catch_up)) = memory.effort.began.zip(memory.catch_up.as_ref()) else { return };
        let tip = at.cursor.tip.number;
        let asked = catch_up.asked.back().map(|(range, _)| range.last());
        let stored_next = catch_up.parts.back().map(|part| part.last.number);
        let target = catch_up.rest.map(BlockRange::last).or(asked).or(stored_next).unwrap_or(tip);
        let done = tip.0.saturating_sub(from.0);
        let progress = CatchUpProgress { from, target, done, took: began.elapsed() };
        self.status.update(|status| status.catch_up = Some(progress));
        if memory.effort.logged_at.unwrap_or(began).elapsed() >= LOG_INTERVAL {
            memory.effort.logged_at = Some(Instant::now());
            info!(
                chain = %self.books.chain,
                done,
                total = progress.total(),
                blocks_per_second = progress.blocks_per_second(),
                seconds_left = progress.remaining().map(|left| left.as_secs()),
                "catching up"
            );
        }
    }
}

/// A run that may be stored: it is what was asked for, and the nodes agree on where it ends.
fn check(range: BlockRange, run: Run) -> Result<RangeTransfers, ChainError> {
    let Run { found, agreed } = run;
    let inconsistent = |reason: String| Err(ChainError::Inconsistent { reason });
    let Some(agreed) = agreed else {
        return Err(ChainError::Unavailable { reason: format!("too few nodes have block {}", range.last()) });
    };
    if found.last.number != range.last() || found.last.hash != agreed.hash {
        let (number, hash) = (found.last.number, found.last.hash);
        return inconsistent(format!(
            "blocks {range} end with block {number} {hash}, and the nodes agree on {}",
            agreed.hash
        ));
    }
    let numbers = found.blocks.iter().map(|found| found.block.number);
    let ascending = numbers.clone().zip(numbers.clone().skip(1)).all(|(one, next)| one < next);
    if !ascending || numbers.clone().any(|number| number < range.first() || number > range.last()) {
        return inconsistent(format!("blocks {range} are answered with others, or in disorder"));
    }
    let at_the_end = found.blocks.iter().find(|block| block.block.number == range.last());
    if at_the_end.is_some_and(|block| block.block.hash != agreed.hash) {
        return inconsistent(format!("blocks {range} name two last blocks"));
    }
    Ok(found)
}

impl Books {
    /// A run in parts of a bounded number of deposits, each of whole blocks.
    fn divide(&self, run: RangeTransfers) -> VecDeque<Part> {
        let mut parts = VecDeque::new();
        let mut blocks: Vec<BlockTransfers> = Vec::new();
        let mut deposits = 0_usize;
        for BlockTransfers { block, transfers } in run.blocks {
            let transfers: Vec<_> = self.ours(&transfers).cloned().collect();
            if transfers.is_empty() {
                continue;
            }
            let with_this = deposits.saturating_add(transfers.len());
            if let Some(last) = blocks.last().map(|found| found.block).filter(|_| with_this > DEPOSITS_PER_PART_MAX) {
                parts.push_back(Part { blocks: std::mem::take(&mut blocks), last });
                deposits = 0;
            }
            deposits = deposits.saturating_add(transfers.len());
            blocks.push(BlockTransfers { block, transfers });
        }
        parts.push_back(Part { blocks, last: run.last });
        parts
    }
}
