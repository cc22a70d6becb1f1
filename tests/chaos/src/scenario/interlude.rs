//! The long events of a life: an absence, a deep fork, and a broken finality.

use std::collections::BTreeSet;

use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::DepositId;
use xthonpay_domain::transfer::Origin;

use super::Life;
use crate::findings::Kind;
use crate::process::Scanned;
use crate::temper::Story;

/// Blocks that are mined while the process is down: at least as many as make a scanner read in runs.
const ABSENCE_BLOCKS: (u64, u64) = (35, 420);
/// Blocks above the final one when finality stalls; the last is the deepest fork that a chain of this kind allows.
const STALL_BLOCKS: (u64, u64) = (60, 239);
/// Blocks below the final one that a broken finality takes.
const BROKEN_BLOCKS: (u64, u64) = (1, 8);
/// Steps after which a scanner must have come to rest, or to a stop.
const STEPS_MAX: u64 = 2_000;

impl Life {
    /// What the story of this life brings.
    pub(super) async fn interlude(&mut self) {
        match self.temper.story {
            Story::Ordinary => {}
            Story::Absence => self.be_absent().await,
            Story::DeepFork => self.fork_deep().await,
            Story::BrokenFinality if self.random.chance(35) => self.freeze_by_hand().await,
            Story::BrokenFinality => self.break_finality().await,
        }
    }

    fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        self.random.below(high.saturating_sub(low).saturating_add(1)).saturating_add(low)
    }

    /// Mines blocks of which most are empty, as on a chain where few of the payments are ours.
    fn mine_sparsely(&mut self, blocks: u64) {
        for _ in 0..blocks {
            if self.random.chance(12) {
                self.mine(1);
            } else {
                self.deployment.chain.mine(Vec::new(), Vec::new());
            }
        }
    }

    async fn be_absent(&mut self) {
        // What is seen just before can leave the chain meanwhile.
        self.mine(3);
        self.scan(4).await;
        self.stop();
        self.fork(self.temper.fork_depth_max);
        let blocks = self.between(ABSENCE_BLOCKS);
        self.mine_sparsely(blocks);
        let depth = self.random.below(12);
        self.deployment.chain.finalise_below(depth);
        // A part of what was missed, so that the rest is read with the other steps in between, also after a restart.
        let steps = self.random.below(60);
        self.scan(steps).await;
    }

    async fn fork_deep(&mut self) {
        let blocks = self.between(STALL_BLOCKS);
        self.mine_sparsely(blocks);
        let steps = self.random.below(blocks.saturating_mul(2));
        self.scan(steps).await;
        let chain = &self.deployment.chain;
        let room = chain.tip().number.0.saturating_sub(chain.finalized_number().0);
        let depth = self.random.below(room.saturating_add(1));
        let taken = chain.fork(depth);
        self.traffic.take_back(&taken, &mut self.random);
        // Shorter at first, or longer at once.
        let again = self.random.below(depth.saturating_mul(2).saturating_add(2));
        self.mine_sparsely(again);
        let steps = self.random.below(300);
        self.scan(steps).await;
    }

    /// A fork below what the scanner has seen final. It must stop crediting until an operator lets it go on.
    async fn break_finality(&mut self) {
        self.be_well();
        self.mine(4);
        self.deployment.chain.finalise_below(0);
        self.scan_until_rest().await;
        let depth = self.between(BROKEN_BLOCKS);
        let taken = self.deployment.chain.break_finality(depth);
        let seen_final = self.deployment.witness.record().cursor.as_ref().map(|cursor| cursor.finalized.number);
        let broken = seen_final > Some(self.deployment.chain.finalized_number());
        self.common = Some(self.deployment.chain.tip().number);
        self.deployment.witness.record().finality_broke = true;
        self.traffic.take_back(&taken, &mut self.random);
        self.excuse();
        self.mine(depth.saturating_add(2));
        self.deployment.chain.finalise_below(0);
        let scanned = self.scan_until_rest().await;
        let frozen = self.is_frozen();
        if broken && (scanned != Some(Scanned::Frozen) || !frozen) {
            let what = format!("finality broke {depth} blocks deep, and the scanner is {scanned:?}, frozen: {frozen}");
            self.deployment.witness.record().findings.add(Kind::Wrong, what);
        }
        self.wait_frozen().await;
    }

    /// An operator freezes the chain, of which nothing else is wrong.
    async fn freeze_by_hand(&mut self) {
        self.mine(2);
        self.scan(4).await;
        self.running().await;
        let Some(process) = self.process.as_ref() else { return };
        if process.freeze().await.is_none() {
            self.stop();
        }
        self.mine(2);
        self.deployment.chain.finalise_below(0);
        self.scan(4).await;
        self.wait_frozen().await;
    }

    /// Nothing is credited while a freeze lasts, which the witness watches; not even after a restart.
    async fn wait_frozen(&mut self) {
        self.stop();
        self.mine(2);
        self.deployment.chain.finalise_below(0);
        self.scan(20).await;
        self.resume().await;
    }

    /// Remembers what was credited on blocks that are gone: no code takes it back, and an operator decides what becomes of it.
    fn excuse(&self) {
        let chain = self.deployment.chain.blocks();
        let shown = chain.iter().flat_map(|mined| &mined.found.transfers);
        let remaining: BTreeSet<DepositId> = shown.map(|transfer| transfer.identity.deposit_id()).collect();
        let is_there = |deposit: &Deposit| match deposit.transfer.identity.origin {
            Origin::Transaction { .. } => remaining.contains(&deposit.id),
            Origin::Balance { block } => block <= self.deployment.chain.tip().number,
        };
        let mut record = self.deployment.witness.record();
        let gone: Vec<_> = record.final_deposits().filter(|deposit| !is_there(deposit)).cloned().collect();
        record.excused.extend(gone.into_iter().map(|deposit| (deposit.id.clone(), deposit)));
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.deployment.witness.record().cursor.as_ref().is_some_and(|cursor| cursor.frozen.is_some())
    }

    /// Scans until there is nothing to do, or nothing may be done.
    pub(super) async fn scan_until_rest(&mut self) -> Option<Scanned> {
        let mut scanned = None;
        for _ in 0..STEPS_MAX {
            scanned = self.scan(1).await;
            if matches!(scanned, Some(Scanned::Idle | Scanned::Frozen)) {
                break;
            }
        }
        scanned
    }
}
