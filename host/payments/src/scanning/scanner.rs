//! The loop that follows one chain.
//!
//! Every step is one changeset on top of the stored cursor. Whatever fails, the scanner forgets what it had in memory, reads
//! the stored position and goes on from there, so a crash at any line repeats the same block and nothing else.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use xthonpay_domain::block::{BlockNumber, BlockRef};

use crate::port::chain::{ChainError, ChainSource};
use crate::port::store::{Changeset, Cursor, Write};
use crate::scanning::beginning::first_block;
use crate::scanning::changes::{Books, Position, ScanError, Step};
use crate::scanning::status::{Health, SharedStatus};
use crate::wake::Wakeups;

/// How long a failing step waits at first and at most. The first is a few blocks of BNB Smart Chain; the last keeps a dead
/// node from being hammered while staying below what a merchant notices.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often finality is asked for when no new block came: it can move, or start to move again, without one.
const FINALITY_INTERVAL: Duration = Duration::from_secs(1);
/// Blocks between two looks at finality while the scanner is behind: one question per block would double the cost of catching up.
const FINALITY_STRIDE: u64 = 16;
/// Blocks remembered below the final one, to recognise forks: 2 000 are 15 minutes of BNB Smart Chain, many times the depth of
/// any reorganisation since its fast finality.
const BLOCKS_KEPT: u64 = 2_000;
/// Blocks between two removals of what is no longer needed.
const FORGET_STRIDE: u64 = 200;

/// Follows one chain.
pub struct Scanner {
    /// The chain.
    pub source: Arc<dyn ChainSource>,
    /// Records, and what a block means for them.
    pub books: Books,
    /// What the scanner says about itself.
    pub status: SharedStatus,
    /// Workers to wake.
    pub wakeups: Wakeups,
    /// How often the node is asked for its newest block.
    pub poll_interval: Duration,
}

/// What the loop keeps between steps; none of it is needed after a restart.
#[derive(Default)]
pub struct Memory {
    position: Option<Position>,
    finality_asked_at: Option<Instant>,
    checked: bool,
    /// The store removed something when it was last asked to, so there may be more.
    forgetting: bool,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Stored something; there may be more to do at once.
    Advanced,
    /// Nothing to do until the node has a new block.
    Idle,
}

impl Scanner {
    /// Works until `stop` is cancelled or the scanner freezes. A step that has begun is completed.
    pub async fn run(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let mut backoff = BACKOFF_MIN;
        while !stop.is_cancelled() {
            let pause = match self.step(&mut memory).await {
                Ok(Progress::Advanced) => {
                    backoff = BACKOFF_MIN;
                    continue;
                }
                Ok(Progress::Idle) => {
                    backoff = BACKOFF_MIN;
                    self.poll_interval
                }
                Err(ScanError::Frozen { .. }) => return,
                Err(_) => {
                    let pause = backoff;
                    backoff = backoff.saturating_mul(2).min(BACKOFF_MAX);
                    pause
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Processes at most one block, or takes one back, and credits what has become final. Reports what came of it; after a
    /// failure `memory` holds nothing that could differ from the store.
    ///
    /// # Errors
    /// [`ScanError`]; after [`ScanError::Frozen`] no further step may be made without a person.
    pub async fn step(&self, memory: &mut Memory) -> Result<Progress, ScanError> {
        let outcome = self.advance(memory).await;
        match &outcome {
            Ok(_) => self.report(Health::Running),
            Err(failure) => {
                *memory = Memory { checked: memory.checked, ..Memory::default() };
                self.report_failure(failure);
            }
        }
        outcome
    }

    async fn advance(&self, memory: &mut Memory) -> Result<Progress, ScanError> {
        if !memory.checked {
            self.source.self_check().await?;
            memory.checked = true;
        }
        let position = match memory.position.take() {
            Some(position) => position,
            None => self.stored_position().await?,
        };
        let head = self.source.head().await?;
        self.status.update(|status| {
            status.head = Some(head);
            status.cursor = Some(position.cursor.clone());
        });
        let (position, advanced) = self.follow_head(position, head).await?;
        let position = self.follow_finality(position, head, advanced, memory).await?;
        self.status.update(|status| status.cursor = Some(position.cursor.clone()));
        self.forget_old(&position, advanced, memory).await?;
        memory.position = Some(position);
        Ok(if advanced { Progress::Advanced } else { Progress::Idle })
    }

    /// The position in the store, which the first start of a deployment has to choose.
    async fn stored_position(&self) -> Result<Position, ScanError> {
        let chain = &self.books.chain;
        if let Some(cursor) = self.books.store.cursor(chain).await? {
            let seen = self.books.store.seen_deposits(chain).await?;
            return Ok(Position { cursor, seen });
        }
        let start = first_block(self.source.as_ref(), self.books.store.as_ref(), chain, &self.books.catalog).await?;
        let cursor = Cursor { chain: chain.clone(), tip: start, finalized: start, revision: 1 };
        let changes = Changeset::new()
            .with(Write::PutBlock { chain: chain.clone(), block: start })
            .with(Write::SetCursor(cursor.clone()));
        self.books.store.commit(changes).await?;
        info!(%chain, block = %start.number, "scanning begins after this block");
        Ok(Position { cursor, seen: Vec::new() })
    }

    /// Processes the next block if the node has it, or takes back the tip if the node's chain no longer contains it.
    async fn follow_head(&self, at: Position, head: BlockNumber) -> Result<(Position, bool), ScanError> {
        let tip = at.cursor.tip;
        let Some(next) = tip.number.next().filter(|next| *next <= head) else { return Ok((at, false)) };
        let Some(found) = self.source.transfers(next).await? else { return Ok((at, false)) };
        if found.block.parent != tip.hash {
            return Ok((self.retract(at).await?, true));
        }
        let step = self.books.extend(&at, &found).await?;
        let wakes = step.changes.writes.iter().any(|write| matches!(write, Write::CreateEvent(_)));
        let after = self.store(step).await?;
        if wakes {
            self.wakeups.routing.notify_one();
        }
        Ok((after, true))
    }

    /// Takes back one block that left the chain.
    async fn retract(&self, at: Position) -> Result<Position, ScanError> {
        let tip = at.cursor.tip;
        let now_there = self.source.block(tip.number).await?;
        if now_there.is_none_or(|block| block.hash == tip.hash) {
            // The next block does not link to our tip although the node still has it: two nodes behind one address disagree.
            let reason =
                format!("block {} does not link to block {}", BlockNumber(tip.number.0.saturating_add(1)), tip.hash);
            return Err(ChainError::Inconsistent { reason }.into());
        }
        if tip.number <= at.cursor.finalized.number {
            return Err(finality_broken(&tip));
        }
        let below = tip.number.previous().unwrap_or_default();
        let parent = self.books.store.block(&self.books.chain, below).await?.filter(|block| block.hash == tip.parent);
        let Some(parent) = parent else {
            return Err(ScanError::Frozen {
                reason: format!("the chain forked deeper than block {below} is remembered"),
            });
        };
        warn!(chain = %self.books.chain, block = %tip.number, hash = %tip.hash, "block left the chain");
        let step = self.books.retract(&at, parent).await?;
        let after = self.store(step).await?;
        self.wakeups.routing.notify_one();
        Ok(after)
    }

    /// Credits what has become final.
    async fn follow_finality(
        &self,
        mut at: Position,
        head: BlockNumber,
        advanced: bool,
        memory: &mut Memory,
    ) -> Result<Position, ScanError> {
        let behind = at.cursor.tip.number < head;
        let stride_due = at.cursor.tip.number.0.checked_rem(FINALITY_STRIDE) == Some(0);
        let timer_due = memory.finality_asked_at.is_none_or(|asked| asked.elapsed() >= FINALITY_INTERVAL);
        let due = if behind { stride_due || timer_due } else { advanced || timer_due };
        if !due {
            return Ok(at);
        }
        memory.finality_asked_at = Some(Instant::now());
        let Some(finalized) = self.final_in_our_chain(&at).await? else { return Ok(at) };
        while let Some(step) = self.books.finalise(&at, finalized).await? {
            let credited = step.changes.writes.iter().any(|write| matches!(write, Write::Post(_)));
            at = self.store(step).await?;
            if credited {
                self.wakeups.routing.notify_one();
            }
            self.status.update(|status| status.cursor = Some(at.cursor.clone()));
            self.wakeups.settlement.notify_one();
        }
        Ok(at)
    }

    /// The newest block of our own chain that is final, or `None` when the node's final block is not in our chain.
    async fn final_in_our_chain(&self, at: &Position) -> Result<Option<BlockRef>, ScanError> {
        let told = self.source.finalized().await?;
        let tip = at.cursor.tip;
        // One height as the node has it and as we have it: that of the final block, or of our tip where it is lower.
        let (theirs, ours) = if told.number > tip.number {
            (self.source.block(tip.number).await?, Some(tip))
        } else if told.number == tip.number {
            (Some(told), Some(tip))
        } else {
            (Some(told), self.books.store.block(&self.books.chain, told.number).await?)
        };
        // A final block below those that we remember changes nothing.
        let Some((theirs, ours)) = theirs.zip(ours) else { return Ok(None) };
        if theirs.hash == ours.hash {
            return Ok(Some(ours));
        }
        if ours.number <= at.cursor.finalized.number {
            return Err(finality_broken(&ours));
        }
        debug!(chain = %self.books.chain, block = %ours.number, "the node's final block is not in our chain yet");
        Ok(None)
    }

    /// Removes what is no longer needed: a bounded number of rows each time, until nothing is left to remove.
    async fn forget_old(&self, at: &Position, advanced: bool, memory: &mut Memory) -> Result<(), ScanError> {
        let stride_due = advanced && at.cursor.tip.number.0.checked_rem(FORGET_STRIDE) == Some(0);
        if stride_due || memory.forgetting {
            let keep_from = BlockNumber(at.cursor.finalized.number.0.saturating_sub(BLOCKS_KEPT));
            let gone = self.books.store.forget(self.books.clock.now(), &self.books.chain, keep_from).await?;
            memory.forgetting = gone > 0;
        }
        Ok(())
    }

    async fn store(&self, step: Step) -> Result<Position, ScanError> {
        self.books.store.commit(step.changes).await?;
        Ok(step.after)
    }

    fn report_failure(&self, failure: &ScanError) {
        let chain = &self.books.chain;
        if let ScanError::Frozen { reason } = failure {
            error!(%chain, %reason, "scanner frozen: nothing is credited on this chain until an operator resumes it");
            return self.report(Health::Frozen { reason: reason.clone() });
        }
        if failure.is_transient() {
            warn!(%chain, %failure, "scanner step failed; trying again");
        } else {
            error!(%chain, %failure, "scanner step failed and will keep failing until the cause is removed");
        }
        self.report(Health::Failing { reason: failure.to_string() });
    }

    fn report(&self, health: Health) {
        let at = self.books.clock.now();
        self.status.update(|status| {
            status.health = health;
            status.at = at;
        });
    }
}

/// A block of ours that was final is no longer in the node's chain.
fn finality_broken(block: &BlockRef) -> ScanError {
    ScanError::Frozen { reason: format!("block {} {} was final and left the chain", block.number, block.hash) }
}
