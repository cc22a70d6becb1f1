//! The end of a life: nothing fails any more, everything becomes final, every worker ends its work.

use std::time::Duration;

use xthonpay_domain::block::{BlockNumber, BlockRange};
use xthonpay_domain::deposit::DepositState;
use xthonpay_payments::scanning::rescan::RESCAN_BLOCKS_MAX;

use super::Life;
use crate::findings::Kind;
use crate::gate::StoreTrouble;
use crate::process::Scanned;

/// Blocks on top of the last one, so that every payment has the confirmations that any life asks for, and a fork that went
/// unnoticed belongs to the longer chain.
const BLOCKS_ON_TOP: u64 = 13;
/// How often the workers are run before the life counts as stuck.
const ROUNDS_MAX: usize = 40;
/// How often a scanner is started anew to follow the chain to its end. Each time some blocks come on top.
const SCANS_MAX: usize = 10;
/// Longer than the longest pause between two attempts to deliver.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2 * 24 * 3_600);

impl Life {
    /// All nodes are well and the store too; crashes may still happen.
    pub(super) fn be_well(&mut self) {
        self.deployment.chain.heal_all();
        self.temper.store = StoreTrouble::default();
        self.stop();
    }

    pub(super) async fn come_to_rest(&mut self) {
        self.deployment.plan.disarm();
        self.be_well();
        self.deployment.receivers.take_all();
        self.scan_to_the_end().await;
        for _ in 0..ROUNDS_MAX {
            // Invoices in the native coin expire only after this very process has looked at their balances.
            self.scan_until_rest().await;
            // An expiry can leave an invoice that awaits a ruling, a ruling leaves events, and these deliveries.
            self.settle().await;
            self.route().await;
            self.deployment.clock.advance(BETWEEN_ATTEMPTS);
            let before = self.deployment.witness.record().commits;
            self.settle().await;
            self.route().await;
            let due = self.deliver().await;
            if due == 0 && self.deployment.witness.record().commits == before {
                return;
            }
        }
        self.deployment.witness.record().findings.add(Kind::Wrong, "the workers do not come to rest");
    }

    /// The chain becomes longer than whatever the scanner has seen of it, and final.
    fn mine_on_top(&self) {
        let seen = self.deployment.witness.record().cursor.as_ref().map_or(0, |cursor| cursor.tip.number.0);
        let missing = seen.saturating_sub(self.deployment.chain.tip().number.0).saturating_add(BLOCKS_ON_TOP);
        for _ in 0..missing {
            self.deployment.chain.mine(Vec::new(), Vec::new());
        }
        self.deployment.chain.finalise_below(0);
    }

    async fn scan_to_the_end(&mut self) {
        let mut scanned = None;
        for _ in 0..SCANS_MAX {
            if self.is_frozen() {
                self.resume().await;
            }
            self.mine_on_top();
            // A restart stands in for the pause after which finality and balances are looked at without a new block.
            self.stop();
            scanned = self.scan_until_rest().await;
            let before = self.deployment.witness.record().commits;
            // Balances of invoices that are no longer open are read on request, and blocks in which something was hidden.
            self.look_at_balances().await;
            self.rescan_all().await;
            let record = self.deployment.witness.record();
            // What a balance showed in the last step is credited with the next one.
            let waits = record.deposits.values().any(|deposit| deposit.state == DepositState::Seen);
            if scanned == Some(Scanned::Idle) && record.commits == before && !waits {
                return;
            }
        }
        let what = format!("the scanner does not come to rest: {scanned:?}");
        self.deployment.witness.record().findings.add(Kind::Wrong, what);
    }

    /// Looks at all blocks again where something was hidden.
    async fn rescan_all(&mut self) {
        if !self.deployment.witness.record().hidden {
            return;
        }
        let tip = self.deployment.chain.tip().number;
        let mut rest = BlockRange::new(BlockNumber(0), tip);
        while let Some(range) = rest {
            let (first, others) = range.split_first(RESCAN_BLOCKS_MAX);
            rest = others;
            self.running().await;
            let Some(process) = self.process.as_ref() else { return };
            if process.rescan(first).await.is_none() {
                return self.stop();
            }
        }
    }

    /// An operator lets a frozen chain go on.
    pub(super) async fn resume(&mut self) {
        if !self.is_frozen() {
            return;
        }
        // Where the scan can go on is asked of a quorum, so the operator sees to the nodes first.
        (0..self.deployment.chain.count()).for_each(|node| self.deployment.chain.heal(node));
        let mut refusal = None;
        // Asked for again until it is stored, as a person would.
        for _ in 0..ROUNDS_MAX {
            self.running().await;
            let Some(process) = self.process.as_ref() else { continue };
            match process.resume(self.common).await {
                Some(_) if !self.is_frozen() => return,
                Some(outcome) => refusal = outcome.err(),
                None => self.stop(),
            }
        }
        let what = format!("a frozen chain cannot be resumed: {refusal:?}");
        self.deployment.witness.record().findings.add(Kind::Wrong, what);
    }
}
