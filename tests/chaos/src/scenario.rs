//! One life of a deployment: steps drawn from a seed, faults and crashes among them, and at the end a rest in which everything
//! becomes final and the books must equal the chain.

mod interlude;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::{BlockNumber, BlockRange};
use xthonpay_domain::invoice::resolution::Wish;
use xthonpay_payments::access::Principal;
use xthonpay_payments::invoicing::NewInvoice;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::signer::AddressSource as _;
use xthonpay_payments::port::store::Store;
use xthonpay_tests::crash_points::CrashPoint;
use xthonpay_tests::path_addresses::PathAddresses;
use xthonpay_tests::plain_catalog::{bnb, usdt};
use xthonpay_tests::seeded::Seeded;

use crate::deployment::Deployment;
use crate::findings::Findings;
use crate::oracle;
use crate::process::{Process, Scanned};
use crate::temper::{Story, Temper};
use crate::traffic::{Payees, STRANGER, Traffic};

/// Addresses of a merchant that may be paid before they are given out, counted from the newest one that was: fewer than are
/// watched ahead.
const AHEAD_MAX: u64 = 15;
/// Steps of a scanner in one turn.
const SCAN_STEPS_MAX: u64 = 8;

/// What came of a life.
pub(crate) struct Outcome {
    pub(crate) findings: Findings,
    pub(crate) crashes: Vec<CrashPoint>,
    /// Deposits that were credited or set aside.
    pub(crate) deposits: usize,
    /// Blocks of the chain.
    pub(crate) blocks: u64,
    pub(crate) story: Story,
}

/// A life under way.
struct Life {
    random: Seeded,
    temper: Temper,
    deployment: Deployment,
    process: Option<Process>,
    twin: Option<Process>,
    callers: Vec<Principal>,
    traffic: Traffic,
    /// The newest block that the chain kept when its finality broke.
    common: Option<BlockNumber>,
}

/// Lives the life of a seed on `store`, which must be empty.
pub(crate) async fn live(seed: u64, store: Arc<dyn Store>) -> Outcome {
    let mut random = Seeded::new(seed);
    let temper = Temper::draw(&mut random);
    let deployment = Deployment::new(store, &temper, &mut random);
    temper.crashes.iter().for_each(|(point, hit)| deployment.plan.arm(*point, *hit));
    let mut life = Life {
        random,
        temper,
        deployment,
        process: None,
        twin: None,
        callers: Vec::new(),
        traffic: Traffic::default(),
        common: None,
    };
    life.begin().await;
    life.go_on().await;
    life.come_to_rest().await;
    let deployment = &life.deployment;
    oracle::judge(deployment).await;
    let record = deployment.witness.record();
    let mut findings = record.findings.clone();
    let of_receivers = deployment.receivers.findings();
    findings.merge(&of_receivers);
    findings.told.extend(of_receivers.told);
    Outcome {
        deposits: record.final_deposits().count(),
        crashes: deployment.plan.happened(),
        blocks: deployment.chain.tip().number.0,
        story: life.temper.story,
        findings,
    }
}

impl Life {
    /// The first process, merchants and invoices. A store that fails from the start makes them later or never.
    async fn begin(&mut self) {
        let (unrest, random) = (self.temper.unrest, Seeded::new(self.random.next_u64()));
        self.deployment.chain.disturb(unrest, random);
        self.scan(SCAN_STEPS_MAX).await;
        for _ in 0..2 {
            self.make_merchant().await;
            self.make_invoice().await;
        }
    }

    async fn go_on(&mut self) {
        let pauses = self.temper.steps.checked_div(3).unwrap_or(1).max(1);
        for step in 0..self.temper.steps {
            self.step().await;
            let is_time = step.checked_rem(pauses) == Some(pauses.saturating_sub(1));
            if is_time && step < self.temper.steps.saturating_sub(pauses) {
                self.interlude().await;
            }
        }
    }

    async fn step(&mut self) {
        if self.random.chance(self.temper.node_trouble) {
            self.trouble_a_node();
        }
        match self.random.below(100) {
            0..26 => self.mine(1),
            26..30 => {
                let blocks = self.random.below(6);
                self.mine(blocks);
            }
            30..37 => self.fork(self.temper.fork_depth_max),
            37..47 => {
                let depth = self.random.below(5);
                self.deployment.chain.finalise_below(depth);
            }
            47..67 => {
                let steps = self.random.below(SCAN_STEPS_MAX);
                self.scan(steps).await;
            }
            67..70 => self.decide().await,
            70..74 => self.stop(),
            74..80 => self.settle().await,
            80..84 => self.route().await,
            84..88 => drop(self.deliver().await),
            88..92 => self.make_invoice().await,
            92..95 => {
                let secs = self.random.below(2_400);
                self.deployment.clock.advance(Duration::from_secs(secs));
                self.deployment.chain.wait_until(self.deployment.clock.now());
            }
            95..96 => self.make_merchant().await,
            96..98 => self.look_at_balances().await,
            98..99 => self.rescan().await,
            _ => self.scan_beside().await,
        }
    }

    /// The running process, which is started when there is none. `None` when it dies in its start.
    async fn running(&mut self) -> Option<&mut Process> {
        if self.process.is_none() {
            let random = Seeded::new(self.random.next_u64());
            self.process = Process::start(&self.deployment, self.temper.store, random, None).await;
        }
        self.process.as_mut()
    }

    /// The process ends, in order or not: it keeps nothing either way.
    fn stop(&mut self) {
        self.process = None;
        self.twin = None;
    }

    async fn scan(&mut self, steps: u64) -> Option<Scanned> {
        self.running().await?;
        let process = self.process.as_mut()?;
        let scanned = process.scan(steps, &self.deployment).await;
        if scanned.is_none() {
            self.stop();
        }
        scanned
    }

    /// A second scanner of the same chain works on, with a memory of its own.
    async fn scan_beside(&mut self) {
        if !self.temper.twin || self.running().await.is_none() {
            return;
        }
        let Some(watch) = self.process.as_ref().map(Process::watch) else { return };
        if self.twin.is_none() {
            let random = Seeded::new(self.random.next_u64());
            self.twin = Process::start(&self.deployment, self.temper.store, random, Some(watch)).await;
        }
        let steps = self.random.below(SCAN_STEPS_MAX);
        if let Some(twin) = self.twin.as_mut() {
            twin.scan(steps, &self.deployment).await;
        }
    }

    async fn settle(&mut self) {
        if let Some(process) = self.running().await
            && process.settle().await.is_none()
        {
            self.stop();
        }
    }

    async fn route(&mut self) {
        if let Some(process) = self.running().await
            && process.route().await.is_none()
        {
            self.stop();
        }
    }

    async fn deliver(&mut self) -> usize {
        self.running().await;
        let Some(process) = self.process.as_ref() else { return 0 };
        let due = process.deliver(&self.deployment).await;
        if due.is_none() {
            self.stop();
        }
        due.unwrap_or(0)
    }

    /// An operator asks for some blocks to be looked at again, final or not.
    async fn rescan(&mut self) {
        let tip = self.deployment.chain.tip().number.0;
        let first = self.random.below(tip.saturating_add(1));
        let last = first.saturating_add(self.random.below(20)).min(tip);
        let Some(range) = BlockRange::new(BlockNumber(first), BlockNumber(last)) else { return };
        self.running().await;
        if let Some(process) = self.process.as_ref()
            && process.rescan(range).await.is_none()
        {
            self.stop();
        }
    }

    /// An operator asks for the balances of invoices in the native coin to be read.
    async fn look_at_balances(&mut self) {
        for address in self.native_addresses() {
            self.running().await;
            let Some(process) = self.process.as_ref() else { return };
            if process.look_at_balance(address).await.is_none() {
                return self.stop();
            }
        }
    }

    async fn make_merchant(&mut self) {
        let Some(process) = self.running().await else { return };
        match process.make_merchant().await {
            Some(caller) => self.callers.extend(caller),
            None => self.stop(),
        }
    }

    async fn make_invoice(&mut self) {
        let Some(caller) = self.random.pick(&self.callers) else { return };
        let new = self.new_invoice();
        let Some(process) = self.running().await else { return };
        if process.make_invoice(&caller, new).await.is_none() {
            self.stop();
        }
    }

    /// A merchant withdraws one of its invoices, or decides about what it received, if it may.
    async fn decide(&mut self) {
        let invoices: Vec<_> = self.deployment.witness.record().invoices.values().cloned().collect();
        let Some(invoice) = self.random.pick(&invoices) else { return };
        let Some(caller) = self.callers.iter().find(|caller| *caller.merchant() == invoice.merchant).cloned() else {
            return;
        };
        let wish = match self.random.below(4) {
            0 => None,
            1 => Some(Wish::Accept),
            2 => Some(Wish::Ignore),
            _ => Some(Wish::Refund { to: STRANGER, amount: None }),
        };
        let Some(process) = self.running().await else { return };
        if process.decide(&caller, &invoice.id, wish.as_ref()).await.is_none() {
            self.stop();
        }
    }

    fn new_invoice(&mut self) -> NewInvoice {
        let asset = if self.random.chance(30) { bnb() } else { usdt() };
        let due = u128::from(self.random.below(150)).saturating_add(1);
        let callback = self.random.chance(70).then(|| "https://shop.example/hook".parse().expect("a URL"));
        NewInvoice {
            asset: self.deployment.catalog.asset(&asset).expect("accepted").clone(),
            due: Amount::from_units(due),
            external_id: None,
            customer: None,
            metadata: Vec::new(),
            callback_url: callback,
            expires_in_s: self.random.pick(&[None, None, Some(60), Some(600)]).flatten(),
        }
    }

    /// Mines blocks with whatever strangers pay at the moment.
    fn mine(&mut self, blocks: u64) {
        let payees = self.payees();
        for _ in 0..blocks {
            let transfers = self.traffic.block(&self.deployment.chain, &payees, &mut self.random);
            let passed_on = self.passed_on();
            self.deployment.chain.mine(transfers, passed_on);
        }
    }

    /// Coins that a contract passes on to an invoice which asks for them, or to a merchant.
    fn passed_on(&mut self) -> Vec<(Address, Amount)> {
        if !self.random.chance(15) {
            return Vec::new();
        }
        let asking = self.native_addresses();
        let amount = Amount::from_units(u128::from(self.random.below(100)).saturating_add(1));
        self.random.pick(&asking).map(|to| (to, amount)).into_iter().collect()
    }

    /// The addresses of invoices in the native coin, and those of merchants.
    fn native_addresses(&self) -> Vec<Address> {
        let record = self.deployment.witness.record();
        let native = record.invoices.values().filter(|invoice| invoice.terms.asset == bnb());
        let of_merchants = record.addresses.values().filter(|own| own.invoice.is_none());
        native.map(|invoice| invoice.address).chain(of_merchants.map(|own| own.address)).collect()
    }

    fn payees(&self) -> Payees {
        let record = self.deployment.witness.record();
        let ahead = record.merchants.values().filter_map(|merchant| {
            let given = record.addresses.values().filter(|own| own.merchant == merchant.id);
            // Who has given out no address of an invoice has no gap that anybody could know.
            let newest = given.map(|own| own.index).max().filter(|newest| *newest > 0)?;
            let beyond = u32::try_from(record.commits.checked_rem(usize::try_from(AHEAD_MAX).ok()?)?).ok()?;
            let index = newest.saturating_add(1).saturating_add(beyond);
            PathAddresses.derive(merchant.account, index).ok()
        });
        Payees { ahead: ahead.collect(), known: record.addresses.keys().copied().collect() }
    }

    /// A fork above the final block, of at most this depth.
    fn fork(&mut self, depth_max: u64) {
        let chain = &self.deployment.chain;
        let room = chain.tip().number.0.saturating_sub(chain.finalized_number().0);
        let depth = self.random.below(room.min(depth_max).saturating_add(1));
        let taken = chain.fork(depth);
        self.traffic.take_back(&taken, &mut self.random);
        let again = self.random.below(depth.saturating_add(2));
        self.mine(again);
    }

    /// One node misbehaves, or all are well again. Only one lies at a time, and only where a quorum of honest ones remains.
    fn trouble_a_node(&mut self) {
        let count = self.deployment.chain.count();
        let node = self.random.index(count);
        match self.random.below(9) {
            0 => self.deployment.chain.silence(node),
            1 => {
                let lag = self.random.below(25).saturating_add(1);
                self.deployment.chain.delay(node, lag);
            }
            2 => self.deployment.chain.hollow(node),
            3 => self.deployment.chain.strand(node),
            4 if self.temper.liar && count > 2 => self.lie(),
            5 => self.deployment.chain.prefer(node),
            6 if self.temper.hides => self.hide(node),
            _ => (0..count).for_each(|node| self.deployment.chain.heal(node)),
        }
    }

    /// A node hides payments. What it hides is found again on an operator's request, and perhaps after an expiry was told.
    fn hide(&mut self, node: usize) {
        self.deployment.chain.hide(node);
        self.deployment.chain.prefer(node);
        self.deployment.witness.record().hidden = true;
    }

    /// The first node invents payments to addresses of ours, in blocks that it calls final.
    fn lie(&mut self) {
        let payees = self.payees();
        let mut invented = Traffic::default();
        let blocks = self.random.below(4).saturating_add(1);
        let blocks = (0..blocks).map(|_| invented.block(&self.deployment.chain, &payees, &mut self.random)).collect();
        let replaced = self.random.below(4);
        self.deployment.chain.lie(0, replaced, blocks);
        self.deployment.chain.prefer(0);
    }
}
