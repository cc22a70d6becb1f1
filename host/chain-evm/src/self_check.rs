//! Whether a node serves what the config says: at the start, every few minutes, and before a banned node is believed again.
//!
//! One check asks for everything that a node can show by itself: chain id, pinned block, clock, token contracts, the block
//! that was last agreed to be final, and how far its blocks can be verified. A node that differs is banned, and the others go
//! on as long as they can be enough; one that does not answer is not banned, since that says nothing about what it serves.

use core::time::Duration;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};
use xthonpay_domain::asset::{Asset, AssetKind};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_payments::port::chain::ChainError;
use xthonpay_payments::port::clock::Clock;

use crate::config::Checkpoint;
use crate::finality::FinalBlocks;
use crate::node::{Node, TipWanted, TokenContract};
use crate::pool::Pool;

/// How often a node that passed is checked again: so long at most can another chain behind the same address go unnoticed by
/// anything but the questions for final blocks, which ask for the chain id every other second at least.
const PASSED_EVERY: Duration = Duration::from_secs(300);
/// How often a node that did not pass is.
const NOT_PASSED_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether a check is due.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How far the time of a newest block may be from the host's clock. Blocks of BNB Smart Chain are a second old, those of
/// slower chains half a minute.
const SKEW_MAX: Duration = Duration::from_secs(120);

/// What is checked, and whose word counts.
pub(crate) struct SelfCheck {
    pub(crate) pool: Arc<Pool>,
    pub(crate) final_blocks: Arc<FinalBlocks>,
    pub(crate) tokens: Vec<Asset>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl SelfCheck {
    /// Where there is a checkpoint, nothing is asked of a node that has not shown it: on a branch of its own it would have a
    /// say in what is final.
    pub(crate) fn hold_back_unchecked(&self) {
        if self.checkpoint.is_some() {
            self.pool.nodes().iter().for_each(|node| node.conduct.hold_back());
        }
    }

    /// Checks every node at once: at least one must be there and serve the chain as configured, so many must not differ from
    /// the config that the others are too few for the quorum, and they must not contradict each other about what is final.
    /// One that differs while enough others do not is banned, and no more than that.
    pub(crate) async fn all(&self) -> Result<(), ChainError> {
        let mut checks: FuturesUnordered<_> = self.pool.nodes().iter().map(|node| self.one(node)).collect();
        let (mut passed, mut silent): (usize, usize) = (0, 0);
        let (mut failure, mut mismatch) = (None, None);
        while let Some(outcome) = checks.next().await {
            match outcome {
                Ok(()) => passed = passed.saturating_add(1),
                Err(error) if error.is_transient() => {
                    silent = silent.saturating_add(1);
                    failure = failure.or(Some(error));
                }
                Err(error) => mismatch = mismatch.or(Some(error)),
            }
        }
        // With the silent ones it may still become enough, unless all that is known speaks against the config.
        let hopeless = passed == 0 || passed.saturating_add(silent) < self.final_blocks.quorum();
        if let Some(error) = mismatch {
            if hopeless {
                return Err(error);
            }
            tracing::warn!(chain = %self.pool.chain(), %error, passed, "going on without the nodes that differ from the config");
        }
        match failure {
            Some(error) if passed == 0 => Err(error),
            _ => match self.final_blocks.newest().await {
                Err(error @ ChainError::Inconsistent { .. }) => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Checks nodes again and again, each when it is due. Never ends by itself.
    pub(crate) async fn keep_checking(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            for node in self.pool.nodes().iter().filter(|node| is_due(node)) {
                // What came of it is in the node's conduct.
                let _ = self.one(node).await;
            }
        }
    }

    /// Checks one node and draws the conclusions.
    async fn one(&self, node: &Node) -> Result<(), ChainError> {
        let checked = self.look_at(node).await;
        match &checked {
            Ok(()) => {}
            Err(error @ ChainError::Mismatch { .. }) => {
                self.pool.ban(node, error.clone());
                node.conduct.not_passed();
            }
            Err(error) => {
                // Once for each time that it begins: a node may be away for long.
                if node.conduct.last_check().is_none_or(|(_, passed)| passed) {
                    tracing::warn!(chain = %self.pool.chain(), %error, "a node could not be checked");
                }
                node.conduct.disappointed(error);
                node.conduct.not_passed();
            }
        }
        checked
    }

    /// Everything that one node can show about the config.
    async fn look_at(&self, node: &Node) -> Result<(), ChainError> {
        let tip = node.tip(TipWanted { head: true, ..self.final_blocks.wanted() }).await?;
        self.pool.judge_chain(node, tip.chain_id)?;
        let head = tip.head.ok_or_else(|| node.unavailable("it has no block yet"))?;
        if let Some(checkpoint) = self.checkpoint {
            self.check_checkpoint(node, checkpoint, head.number).await?;
        }
        if let Some(agreed) = self.final_blocks.agreed() {
            check_agreed(node, agreed).await?;
        }
        for asset in &self.tokens {
            self.check_token(node, asset).await?;
        }
        // A node whose blocks cannot be had is told apart here, not at the first block.
        let verification = node.probe_verification().await?;
        if node.conduct.verification() != Some(verification) {
            let (label, level) = (node.label(), verification.name());
            tracing::info!(chain = %self.pool.chain(), node = label, verified_by = level, "a node passed its self-check");
        }
        node.conduct.passed(verification, self.concern(head));
        Ok(())
    }

    async fn check_checkpoint(&self, node: &Node, checkpoint: Checkpoint, head: BlockNumber) -> Result<(), ChainError> {
        let (number, label, chain) = (checkpoint.number, node.label(), self.pool.chain());
        let reason = match node.block(number).await? {
            Some(found) if found.hash == checkpoint.hash => return Ok(()),
            Some(found) => format!(
                "{label} has block {number} as {}, but chains.{chain}.checkpoint.hash is {}",
                found.hash, checkpoint.hash
            ),
            None if number > head => {
                return Err(
                    node.unavailable(&format!("its head {head} has not reached block {number}, the checkpoint"))
                );
            }
            // Silence about a block that it must have is no way around the checkpoint.
            None => format!(
                "{label} shows no block {number}, chains.{chain}.checkpoint.number, though its head is {head}: name a \
                 younger block if it keeps no old ones"
            ),
        };
        Err(ChainError::Mismatch { reason })
    }

    async fn check_token(&self, node: &Node, asset: &Asset) -> Result<(), ChainError> {
        let AssetKind::Token { contract } = asset.kind else { return Ok(()) };
        let key = format!("chains.{}.assets.{}", self.pool.chain(), asset.id.symbol);
        let configured = asset.decimals.get();
        let reason = match node.token(contract).await? {
            TokenContract::Decimals(found) if found == configured => return Ok(()),
            TokenContract::Decimals(found) => {
                format!("{key}.decimals is {configured}, but {contract} answers {found} to {}", node.label())
            }
            TokenContract::WithoutDecimals => {
                format!("{key}.contract is {contract}, which answers no decimals() at {}", node.label())
            }
            TokenContract::Absent => format!("{key}.contract is {contract}, where {} finds no contract", node.label()),
        };
        Err(ChainError::Mismatch { reason })
    }

    /// What the newest block's time says against the node, or against the host's own clock: they cannot be told apart here,
    /// so that it is no reason for a ban.
    fn concern(&self, head: BlockRef) -> Option<String> {
        let (now, told) = (self.clock.now().as_millis(), head.time.as_millis());
        let skew = Duration::from_millis(now.abs_diff(told));
        let side = if told > now { "ahead of" } else { "behind" };
        (skew > SKEW_MAX)
            .then(|| format!("its newest block {} is {} s {side} this host's clock", head.number, skew.as_secs()))
    }
}

/// A node that lost a vote passes once it has the block that won.
async fn check_agreed(node: &Node, agreed: BlockRef) -> Result<(), ChainError> {
    let number = agreed.number;
    match node.block(number).await? {
        Some(found) if found.hash != agreed.hash => {
            let reason = format!("{} has block {number} as {}, agreed is {}", node.label(), found.hash, agreed.hash);
            Err(ChainError::Inconsistent { reason })
        }
        Some(_) => Ok(()),
        // A ban does not end by silence.
        None if node.conduct.banned().is_some() => {
            Err(node.unavailable(&format!("it must show block {number}, which is agreed, and does not have it")))
        }
        // A node that is behind says nothing about the block.
        None => Ok(()),
    }
}

fn is_due(node: &Node) -> bool {
    let Some((at, passed)) = node.conduct.last_check() else { return true };
    let every = if passed && node.conduct.banned().is_none() { PASSED_EVERY } else { NOT_PASSED_EVERY };
    Instant::now().saturating_duration_since(at) >= every
}
