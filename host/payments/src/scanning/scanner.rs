//! The loop that follows one chain.
//!
//! Every step is one changeset on top of the stored cursor. Whatever fails, the scanner forgets what it had in memory, reads
//! the stored position and goes on from there, so a crash at any line repeats the same blocks and nothing else.
//!
//! What is not final may come from one node: it is only seen. What is credited has been agreed by as many nodes as must agree,
//! and so has what freezes the chain: one node alone can neither move money nor stop it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;

use crate::port::chain::{ChainError, ChainSource};
use crate::port::store::{Changeset, Cursor, Write};
use crate::scanning::beginning::first_block;
use crate::scanning::catch_up::{CatchUp, Effort};
use crate::scanning::changes::{Books, Position, ScanError, Step};
use crate::scanning::freeze::ChainControl;
use crate::scanning::internal::BalanceSweep;
use crate::scanning::pace::Pace;
use crate::scanning::rhythm::Rhythm;
use crate::scanning::status::{Health, SharedStatus};
use crate::wake::Wakeups;

/// How long a failing step waits at first and at most. The first is a few blocks of BNB Smart Chain; the last keeps a dead
/// node from being hammered while staying below what a merchant notices.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long a step may go on after the scanner was told to stop. A changeset is stored in milliseconds; a run of blocks from a
/// slow node can take minutes.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How often a frozen scanner looks whether its operator has resumed it. Only the store is asked.
const FROZEN_PAUSE: Duration = Duration::from_secs(2);
/// How often finality is asked for, whether a new block came or not. While deposits wait for it, it is asked for after a new
/// block too, since somebody waits; but not for those that are not as deep yet as the final block always is.
const FINALITY_INTERVAL: Duration = Duration::from_secs(1);
/// Blocks remembered below the final one, to recognise forks: 2 000 are 15 minutes of BNB Smart Chain, many times the depth of
/// any reorganisation since its fast finality.
pub(super) const BLOCKS_KEPT: u64 = 2_000;
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
    /// The longest pause between two looks for a block that is due, or whose coming cannot be predicted.
    pub poll_interval: Duration,
}

/// What the loop keeps between steps; none of it is needed after a restart.
#[derive(Default)]
pub struct Memory {
    position: Option<Position>,
    checked: bool,
    /// The newest block that a node told of.
    head: Option<BlockNumber>,
    /// The newest agreed final block that was told of.
    pub(super) told: Option<BlockRef>,
    pub(super) finality_asked_at: Option<Instant>,
    /// The tip when finality was last asked for.
    tip_then: Option<BlockNumber>,
    /// How far below the tip the final block was then.
    depth: Option<u64>,
    /// The same if it was so the time before too: finality follows the tip at this distance.
    steady_depth: Option<u64>,
    pub(super) catch_up: Option<CatchUp>,
    pub(super) effort: Effort,
    /// Up to here blocks are stored from before the tip was last taken back; unknown until it matters.
    pub(super) passed_before: Option<BlockNumber>,
    sweep: BalanceSweep,
    rhythm: Rhythm,
    /// The block at which old records were last removed.
    forgot_at: Option<BlockNumber>,
    /// The store removed something when it was last asked to, so there may be more.
    forgetting: bool,
}

impl Memory {
    /// What outlives a failed step: nothing that could differ from the store.
    fn after_failure(self) -> Self {
        let mut effort = self.effort;
        effort.failed();
        Self {
            checked: self.checked,
            effort,
            sweep: self.sweep.after_failure(),
            rhythm: self.rhythm,
            ..Self::default()
        }
    }

    fn tip(&self) -> Option<BlockNumber> {
        self.position.as_ref().map(|position| position.cursor.tip.number)
    }

    /// Whether a node has told of blocks above `tip`.
    fn is_behind(&self, tip: BlockNumber) -> bool {
        self.catch_up.is_some() || self.head.is_some_and(|head| tip < head)
    }

    /// Notes how far below the tip the final block is.
    fn note_depth(&mut self, depth: u64) {
        self.steady_depth = self.depth.filter(|before| *before == depth);
        self.depth = Some(depth);
    }

    fn hear_of(&mut self, head: impl IntoIterator<Item = BlockNumber>) {
        self.head = self.head.into_iter().chain(head).max();
    }
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Stored something; there may be more to do at once.
    Advanced,
    /// Nothing to do until the node has a new block.
    Idle,
}

/// What the agreed final block says about our chain.
enum Verdict {
    /// This block of ours, and all below it, is final.
    Final(BlockRef),
    /// Nothing yet.
    Open,
    /// Our tip is no longer in the chain; the chain has this block in its place or below it.
    TipLeft(BlockRef),
}

impl Scanner {
    /// What an operator can do to the chain while the scanner works.
    #[must_use]
    pub fn control(&self) -> ChainControl {
        ChainControl { books: self.books.clone(), source: Arc::clone(&self.source) }
    }

    /// Works until `stop` is cancelled. A step that has begun is completed if that takes a moment only. A frozen scanner waits for its operator.
    pub async fn run(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let mut pace = Pace::new(self.poll_interval);
        let mut backoff = BACKOFF_MIN;
        let mut announced = false;
        while !stop.is_cancelled() {
            let looked_at = Instant::now();
            let outcome = tokio::select! {
                outcome = self.step(&mut memory) => outcome,
                // What is under way is stored as a whole or found again; slow nodes are not worth waiting for.
                () = cancelled_since(&stop, STOP_GRACE) => return,
            };
            let pause = match (&outcome, memory.tip()) {
                (Ok(Progress::Advanced), Some(tip)) if memory.is_behind(tip) => {
                    pace.forget();
                    Duration::ZERO
                }
                (Ok(_), Some(tip)) => {
                    pace.looked(tip, announced, looked_at);
                    // Finality can move without a block, so the pause is never long.
                    pace.pause(Instant::now()).min(FINALITY_INTERVAL.max(self.poll_interval))
                }
                (Ok(_), None) => self.poll_interval,
                (Err(ScanError::Frozen { .. }), _) => FROZEN_PAUSE,
                (Err(_), _) => backoff,
            };
            backoff = match &outcome {
                Ok(_) => BACKOFF_MIN,
                Err(_) => backoff.saturating_mul(2).min(BACKOFF_MAX),
            };
            announced = false;
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                // A hint: whether there is a block, only the look tells.
                () = self.source.announced(), if outcome.is_ok() => announced = true,
            }
        }
    }

    /// Processes at most one block or one part of a run of missed ones, or takes one block back, and credits what has become
    /// final. Reports what came of it; after a failure `memory` holds nothing that could differ from the store.
    ///
    /// # Errors
    /// [`ScanError`]; [`ScanError::Frozen`] until an operator resumes the chain.
    pub async fn step(&self, memory: &mut Memory) -> Result<Progress, ScanError> {
        let outcome = match self.advance(memory).await {
            // First durable, then told: a restart alone must not thaw it.
            Err(ScanError::Frozen { reason }) => Err(self.freeze(reason).await),
            outcome => outcome,
        };
        match &outcome {
            Ok(_) => self.report(Health::Running),
            Err(failure) => {
                *memory = std::mem::take(memory).after_failure();
                self.status.update(|status| status.balances_until = None);
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
        let at = match memory.position.take() {
            Some(position) => position,
            None => self.stored_position().await?,
        };
        let before = at.cursor.tip;
        self.see(&at.cursor);
        // Before the first block: whether many were missed decides how to go on.
        let at = if memory.finality_asked_at.is_none() { self.follow_finality(at, memory).await? } else { at };
        let (at, caught_up) = self.catch_up(at, memory).await?;
        let (at, advanced) = if caught_up { (at, true) } else { self.follow_head(at, memory).await? };
        if !advanced && memory.told.is_some_and(|told| told.number > at.cursor.tip.number) {
            // The nodes agree on a block that the one asked first does not have yet.
            self.source.contradicted();
        }
        let at = if self.finality_is_due(&at, advanced, memory) {
            self.follow_finality(at, memory).await?
        } else {
            match memory.told.filter(|told| advanced && told.number == at.cursor.tip.number) {
                // What is final reaches as far as we have come; that was told before.
                Some(told) => self.follow_verdict(at, told).await?,
                None => at,
            }
        };
        let at = self.look_at_balances(at, memory).await?;
        self.forget_old(&at.cursor, memory).await?;
        memory.rhythm.note(at.cursor.tip);
        self.tell(memory);
        let moved = at.cursor.tip != before;
        if at.cursor.tip.number < before.number {
            memory.passed_before = None;
        }
        memory.position = Some(at);
        Ok(if advanced || moved { Progress::Advanced } else { Progress::Idle })
    }

    /// The position in the store, which the first start of a deployment has to choose.
    async fn stored_position(&self) -> Result<Position, ScanError> {
        let chain = &self.books.chain;
        if let Some(cursor) = self.books.store.cursor(chain).await? {
            if let Some(freeze) = &cursor.frozen {
                let reason = freeze.reason.clone();
                self.see(&cursor);
                return Err(ScanError::Frozen { reason });
            }
            let seen = self.books.store.seen_deposits(chain).await?;
            return Ok(Position { cursor, seen });
        }
        let start = first_block(self.source.as_ref(), self.books.store.as_ref(), chain, &self.books.catalog).await?;
        let cursor = Cursor { chain: chain.clone(), tip: start, finalized: start, frozen: None, revision: 1 };
        let changes = Changeset::new()
            .with(Write::PutBlock { chain: chain.clone(), block: start })
            .with(Write::SetCursor(cursor.clone()));
        self.books.store.commit(changes).await?;
        info!(%chain, block = %start.number, "scanning begins after this block");
        Ok(Position { cursor, seen: Vec::new() })
    }

    /// Processes the next block if the node has it, or takes back the tip if the node's chain no longer contains it.
    ///
    /// The node is asked for the block itself: whether it has one costs as much to ask as the block.
    async fn follow_head(&self, at: Position, memory: &mut Memory) -> Result<(Position, bool), ScanError> {
        let tip = at.cursor.tip;
        let Some(next) = tip.number.next() else { return Ok((at, false)) };
        let Some(found) = self.source.transfers(next).await? else { return Ok((at, false)) };
        memory.hear_of([next]);
        if found.block.parent != tip.hash {
            let there = self.source.block(tip.number).await?.filter(|block| block.hash != tip.hash);
            // Otherwise the node still has our tip, and its next block does not link to it: two nodes behind one address.
            let reason = format!("block {next} does not link to block {}", tip.hash);
            let there = there.ok_or_else(|| self.contradiction(reason))?;
            return Ok((self.retract_if_confirmed(at, there).await?, true));
        }
        let step = self.books.extend(&at, &found).await.inspect_err(|failure| self.doubt(failure))?;
        Ok((self.store(step).await?, true))
    }

    /// An answer that does not fit: whoever gave it is not asked first any more.
    pub(super) fn contradiction(&self, reason: String) -> ChainError {
        self.source.contradicted();
        ChainError::Inconsistent { reason }
    }

    /// The same for a failure that tells of one.
    pub(super) fn doubt(&self, failure: &ScanError) {
        if let ScanError::Chain(ChainError::Inconsistent { .. }) = failure {
            self.source.contradicted();
        }
    }

    /// Takes back the tip, in whose place one node has block `there`, if another node has not our tip either. One node alone,
    /// forked or lying, must not undo what was seen.
    async fn retract_if_confirmed(&self, at: Position, there: BlockRef) -> Result<Position, ScanError> {
        let tip = at.cursor.tip;
        if self.source.report().nodes.len() > 1 {
            self.source.contradicted();
            let second = self.source.block(tip.number).await?;
            if second.is_none_or(|second| second.hash == tip.hash) {
                let reason = format!("one node alone has another block in the place of {} {}", tip.number, tip.hash);
                return Err(ChainError::Inconsistent { reason }.into());
            }
        }
        self.retract(at, there).await
    }

    /// Takes back the tip, in whose place the chain has block `there`.
    async fn retract(&self, at: Position, there: BlockRef) -> Result<Position, ScanError> {
        let tip = at.cursor.tip;
        if tip.number <= at.cursor.finalized.number {
            let reason = format!("block {} {} was final and left the chain", tip.number, tip.hash);
            return Err(self.freeze_if_agreed(tip, reason).await?);
        }
        let below = tip.number.previous().unwrap_or_default();
        let parent = self.books.store.block(&self.books.chain, below).await?.filter(|block| block.hash == tip.parent);
        let Some(parent) = parent else {
            let reason = format!("the chain forked deeper than block {below} is remembered");
            return Err(self.freeze_if_agreed(tip, reason).await?);
        };
        warn!(chain = %self.books.chain, block = %tip.number, hash = %tip.hash, now = %there.hash, "block left the chain");
        let step = self.books.retract(&at, parent).await?;
        self.store(step).await
    }

    /// What to make of a node that no longer has `block`: reason to freeze the chain only if the other nodes agree with it.
    async fn freeze_if_agreed(&self, block: BlockRef, reason: String) -> Result<ScanError, ScanError> {
        match self.source.final_block(block.number).await? {
            Some(agreed) if agreed.hash != block.hash => Ok(ScanError::Frozen { reason }),
            Some(_) | None => Ok(self.contradiction(format!("{reason}, says one node; the others do not")).into()),
        }
    }

    /// Freezes the chain in the store; what the step is to fail with.
    async fn freeze(&self, reason: String) -> ScanError {
        match self.books.freeze(&reason).await {
            Ok(Some(freeze)) => ScanError::Frozen { reason: freeze.reason },
            // Nothing was ever stored, so nothing can go on either.
            Ok(None) => ScanError::Frozen { reason },
            Err(failure) => failure.into(),
        }
    }

    fn finality_is_due(&self, at: &Position, advanced: bool, memory: &Memory) -> bool {
        let tip = at.cursor.tip.number;
        let deep = |deposit: &Deposit| tip.0.saturating_sub(deposit.block.number.0) >= memory.steady_depth.unwrap_or(0);
        let awaited = advanced && !memory.is_behind(tip) && at.seen.iter().any(deep);
        awaited || memory.finality_asked_at.is_none_or(|asked| asked.elapsed() >= FINALITY_INTERVAL)
    }

    /// Asks what is final, credits what has become so, and takes back a tip that is shown to be lost.
    async fn follow_finality(&self, at: Position, memory: &mut Memory) -> Result<Position, ScanError> {
        let at = self.renew(at, memory).await?;
        let tip = at.cursor.tip;
        let told = self.source.finalized().await?;
        let stands = memory.tip_then.is_none_or(|then| then == tip.number);
        if stands || memory.is_behind(tip.number) {
            memory.head = Some(self.source.head().await?);
        }
        memory.finality_asked_at = Some(Instant::now());
        memory.tip_then = Some(tip.number);
        memory.told = Some(told);
        memory.note_depth(tip.number.0.saturating_sub(told.number.0));
        let at = self.follow_verdict(at, told).await?;
        // While no block comes, another one in the place of our tip would not be noticed.
        if stands && at.cursor.tip == tip && tip.number > at.cursor.finalized.number {
            // A node that has no block there lags; that says nothing about ours.
            if let Some(there) = self.source.block(tip.number).await?.filter(|there| there.hash != tip.hash) {
                return self.retract_if_confirmed(at, there).await;
            }
        }
        Ok(at)
    }

    /// The position as it is stored, if somebody else moved it: an operator, or a search for what was passed over.
    async fn renew(&self, at: Position, memory: &mut Memory) -> Result<Position, ScanError> {
        if self.books.store.cursor(&self.books.chain).await?.as_ref() == Some(&at.cursor) {
            return Ok(at);
        }
        debug!(chain = %self.books.chain, "somebody else moved the cursor");
        memory.catch_up = None;
        self.stored_position().await
    }

    async fn follow_verdict(&self, at: Position, told: BlockRef) -> Result<Position, ScanError> {
        match self.judge(&at, told).await? {
            Verdict::Final(ours) => self.credit(at, ours).await,
            Verdict::TipLeft(there) => self.retract(at, there).await,
            Verdict::Open => Ok(at),
        }
    }

    /// What the agreed final block `told` says about our chain.
    async fn judge(&self, at: &Position, told: BlockRef) -> Result<Verdict, ScanError> {
        let tip = at.cursor.tip;
        // One height as the nodes agree on it and as we have it: that of the final block, or of our tip where it is lower.
        let (theirs, ours) = if told.number > tip.number {
            (self.source.final_block(tip.number).await?, Some(tip))
        } else if told.number == tip.number {
            (Some(told), Some(tip))
        } else {
            (Some(told), self.books.store.block(&self.books.chain, told.number).await?)
        };
        // A final block that we do not remember, or that too few nodes have, changes nothing.
        let Some((theirs, ours)) = theirs.zip(ours) else { return Ok(Verdict::Open) };
        if theirs.hash == ours.hash {
            return Ok(Verdict::Final(ours));
        }
        if !self.is_in_our_chain(ours, &at.cursor).await? {
            return Ok(Verdict::Open);
        }
        if ours.number <= at.cursor.finalized.number {
            let reason = format!("block {} {} was final and left the chain", ours.number, ours.hash);
            return Err(ScanError::Frozen { reason });
        }
        let several = self.source.report().nodes.len() > 1;
        match self.source.block(tip.number).await? {
            Some(there) if there.hash != tip.hash => Ok(Verdict::TipLeft(there)),
            // What the nodes agree on decides, whatever one of them shows above it.
            Some(_) if several => {
                self.source.contradicted();
                Ok(Verdict::TipLeft(theirs))
            }
            None if several => Ok(Verdict::TipLeft(theirs)),
            Some(_) => {
                let reason = format!("a node shows block {}, and the nodes agree on {}", ours.hash, theirs.hash);
                Err(self.contradiction(reason).into())
            }
            None => Ok(Verdict::Open),
        }
    }

    /// Whether a stored block is linked to the tip or to the final block. A block that once was can still be stored at a height
    /// that was later passed in a run; it says nothing.
    async fn is_in_our_chain(&self, block: BlockRef, cursor: &Cursor) -> Result<bool, ScanError> {
        let mut below = block;
        // Ends at the tip at the latest.
        while below.hash != cursor.tip.hash && below.hash != cursor.finalized.hash {
            let Some(number) = below.number.next().filter(|number| *number <= cursor.tip.number) else {
                return Ok(false);
            };
            let known = [cursor.tip, cursor.finalized].into_iter().find(|block| block.number == number);
            let above = match known {
                Some(block) => Some(block),
                None => self.books.store.block(&self.books.chain, number).await?,
            };
            match above.filter(|above| above.parent == below.hash) {
                Some(above) => below = above,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Credits everything up to `ours`, a block of our chain that the nodes agree to be final.
    pub(super) async fn credit(&self, mut at: Position, ours: BlockRef) -> Result<Position, ScanError> {
        while let Some(step) = self.books.finalise(&at, ours).await? {
            at = self.store(step).await?;
            self.wakeups.settlement.notify_one();
        }
        Ok(at)
    }

    /// Looks for coins that no transfer shows, once the blocks that are there are processed: what they show comes first.
    async fn look_at_balances(&self, at: Position, memory: &mut Memory) -> Result<Position, ScanError> {
        let tip = at.cursor.tip.number;
        if memory.is_behind(tip) {
            return Ok(at);
        }
        let head = memory.head.unwrap_or(tip);
        let at = match self.books.sweep_internal(&at, head, self.source.as_ref(), &mut memory.sweep).await? {
            Some(step) => {
                let at = self.store(step).await?;
                memory.sweep.stored();
                at
            }
            None => at,
        };
        self.status.update(|status| status.balances_until = memory.sweep.covered());
        Ok(at)
    }

    /// Removes what is no longer needed: a bounded number of rows each time, until nothing is left to remove.
    async fn forget_old(&self, cursor: &Cursor, memory: &mut Memory) -> Result<(), ScanError> {
        let tip = cursor.tip.number;
        let since = tip.0.saturating_sub(memory.forgot_at.get_or_insert(tip).0);
        if since >= FORGET_STRIDE || memory.forgetting {
            memory.forgot_at = Some(tip);
            let keep_from = BlockNumber(cursor.finalized.number.0.saturating_sub(BLOCKS_KEPT));
            let gone = self.books.store.forget(self.books.clock.now(), &self.books.chain, keep_from).await?;
            memory.forgetting = gone > 0;
        }
        Ok(())
    }

    /// Stores a step, tells of it and wakes who has to know.
    pub(super) async fn store(&self, step: Step) -> Result<Position, ScanError> {
        let tells = step.changes.writes.iter().any(|write| matches!(write, Write::CreateEvent(_)));
        self.books.store.commit(step.changes).await?;
        self.see(&step.after.cursor);
        if tells {
            self.wakeups.routing.notify_one();
        }
        Ok(step.after)
    }

    fn see(&self, cursor: &Cursor) {
        let now = self.books.clock.now();
        self.status.update(|status| status.follow(cursor, now));
    }

    /// What the nodes say about themselves, as far as it is known without asking.
    fn tell(&self, memory: &mut Memory) {
        let source = self.source.report();
        memory.hear_of(source.head);
        let (head, block_interval) = (memory.head, memory.rhythm.interval());
        self.status.update(|status| {
            status.head = head.or(status.head);
            status.block_interval = block_interval;
            status.source = source;
        });
    }

    fn report_failure(&self, failure: &ScanError) {
        let chain = &self.books.chain;
        if let ScanError::Frozen { reason } = failure {
            let health = Health::Frozen { reason: reason.clone() };
            if self.status.get().health != health {
                error!(%chain, %reason, "scanner frozen: nothing is credited on this chain until an operator resumes it");
            }
            return self.report(health);
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

/// Ends when `stop` has been cancelled for as long as `grace`.
async fn cancelled_since(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    sleep(grace).await;
}
