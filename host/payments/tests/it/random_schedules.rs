//! Random lives of a deployment: payments, forks, finality, restarts, decisions of merchants, and a store and a node that fail, in an order drawn from
//! a printed seed. On the way, and at the end, the books are compared with the chain itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::id::{DepositId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::assessment::{Flags, InvoiceState};
use xthonpay_domain::invoice::resolution::{Choice, Resolution, Wish};
use xthonpay_domain::ledger::{Account, Balance, Posting, PostingKind, Side};
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{BlockTransfers, Origin, Transfer};
use xthonpay_payments::access::Principal;
use xthonpay_payments::scanning::changes::ScanError;
use xthonpay_tests::memory_store::{Fault, Tables};
use xthonpay_tests::scripted_chain::no_answer;
use xthonpay_tests::seeded::Seeded;

use crate::world::{STRANGER, World, bnb, unseen, usdt};

/// Lives in one run, and what happens in each: a few seconds in a debug build.
const LIVES: usize = 200;
const STEPS: usize = 60;
/// Steps between two comparisons, which cost more than the steps.
const STEPS_UNCHECKED: usize = 5;
/// Blocks that a fork takes away at most.
const FORK_DEPTH_MAX: u64 = 4;

/// A number below `limit`.
fn below(random: &mut Seeded, limit: u64) -> u64 {
    random.next_u64().checked_rem(limit).unwrap_or(0)
}

fn pick<T: Clone>(random: &mut Seeded, choices: &[T]) -> Option<T> {
    let at = below(random, u64::try_from(choices.len()).ok()?);
    choices.get(usize::try_from(at).ok()?).cloned()
}

struct Life {
    seed: u64,
    random: Seeded,
    world: World,
    callers: Vec<Principal>,
    /// Transactions of blocks that left the chain, still to be mined again.
    pool: Vec<Transfer>,
}

impl Life {
    async fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.scan().await;
        let callers =
            vec![world.principal(SignatureScheme::Request).await, world.principal(SignatureScheme::Request).await];
        let mut life = Self { seed, random: Seeded::new(seed), world, callers, pool: Vec::new() };
        life.invoice().await;
        life
    }

    /// Lets one of ten commits and one of twenty questions to the node fail.
    fn disturb(&mut self) {
        let mut store = Seeded::new(self.random.next_u64());
        self.world.store.faults.when(move |_| match below(&mut store, 30) {
            0 => Some(Fault::NothingStored),
            1 => Some(Fault::Stored),
            2 => Some(Fault::Refused),
            _ => None,
        });
        let mut node = Seeded::new(self.random.next_u64());
        self.world.chain.fail_when(move |_| (below(&mut node, 20) == 0).then(no_answer));
    }

    fn calm(&self) {
        self.world.store.faults.clear();
        self.world.chain.recover();
    }

    async fn step(&mut self) {
        match below(&mut self.random, 100) {
            0..29 => self.mine(),
            29 => self.absence(),
            30..38 => self.fork(),
            38..50 => {
                let depth = below(&mut self.random, 5);
                self.world.chain.finalise_below(depth);
            }
            50..78 => self.scan().await,
            78..82 => self.world.restart(),
            82..87 => {
                // Whatever fails here is tried again by a later step.
                let _ = self.world.settlement.rule_all(&self.world.questions).await;
                let _ = self.world.settlement.expire_all().await;
                self.world.questions = Default::default();
            }
            87..90 => self.decide().await,
            90..94 => self.invoice().await,
            94..96 => {
                let secs = below(&mut self.random, 2_400);
                self.world.pass(Duration::from_secs(secs));
            }
            _ => {
                let _ = self.world.routing().route_all().await;
            }
        }
    }

    async fn invoice(&mut self) {
        let caller = pick(&mut self.random, &self.callers).expect("there are callers");
        let units = below(&mut self.random, 150).saturating_add(1);
        // A creation that fails may have made the invoice nevertheless.
        let _ = self.world.make(&caller, self.world.new_invoice(units.into())).await;
    }

    /// A merchant decides about one of its invoices, if it may. What seems to fail may be decided nevertheless.
    async fn decide(&mut self) {
        let invoices: Vec<_> = self.world.store.tables().invoices.into_values().collect();
        let Some(invoice) = pick(&mut self.random, &invoices) else { return };
        let owner = self.callers.iter().find(|caller| *caller.merchant() == invoice.merchant);
        let caller = owner.expect("a caller made it").clone();
        let wish = match below(&mut self.random, 4) {
            0 => Wish::Accept,
            1 => Wish::Refund { to: STRANGER, amount: None },
            2 => Wish::Ignore,
            _ => {
                let _ = self.world.invoicing.cancel(&caller, &invoice.id, &unseen).await;
                return;
            }
        };
        let _ = self.world.invoicing.resolve(&caller, &invoice.id, &wish, &unseen).await;
    }

    fn mine(&mut self) {
        let addresses: Vec<Address> = self.world.store.tables().addresses.keys().copied().collect();
        let mut transfers = Vec::new();
        for _ in 0..below(&mut self.random, 4) {
            let stranger = below(&mut self.random, 8) == 0;
            let to = pick(&mut self.random, &addresses).filter(|_| !stranger).unwrap_or(STRANGER);
            let asset = if below(&mut self.random, 8) == 0 { bnb() } else { usdt() };
            let units = below(&mut self.random, 120).saturating_add(1);
            transfers.push(self.world.chain.payment(&asset, to, units.into()));
            if below(&mut self.random, 6) == 0 {
                // A second transfer in the same transaction.
                let mut second = transfers.last().expect("just pushed").clone();
                let tx = second.identity.origin.tx().expect("is in a transaction");
                second.identity.origin = Origin::Transaction { tx, nth: 1 };
                second.amount = Amount::from_units(below(&mut self.random, 9).saturating_add(1).into());
                transfers.push(second);
            }
        }
        let again = below(&mut self.random, 3);
        while transfers.len() < 6 && !self.pool.is_empty() && again > 0 {
            let at = below(&mut self.random, u64::try_from(self.pool.len()).expect("small"));
            transfers.push(self.pool.swap_remove(usize::try_from(at).expect("small")));
        }
        self.world.chain.mine(&transfers);
    }

    /// The host is down while more blocks come and become final than go one by one.
    fn absence(&mut self) {
        let blocks = below(&mut self.random, 12).saturating_add(33);
        (0..blocks).for_each(|_| self.mine());
        let depth = below(&mut self.random, 3);
        self.world.chain.finalise_below(depth);
        self.world.restart();
    }

    /// A fork above the final block. Most of its transactions come back some time, the others never.
    fn fork(&mut self) {
        let room = self.world.chain.tip().number.0.saturating_sub(self.world.chain.finalized_number().0);
        let depth = below(&mut self.random, room.min(FORK_DEPTH_MAX).saturating_add(1));
        let taken = self.world.chain.fork(usize::try_from(depth).expect("small"));
        for transfer in taken.into_iter().flat_map(|block| block.transfers) {
            if below(&mut self.random, 4) > 0 {
                self.pool.push(transfer);
            }
        }
        for _ in 0..below(&mut self.random, depth.saturating_add(2)) {
            self.mine();
        }
    }

    async fn scan(&mut self) {
        for _ in 0..below(&mut self.random, 6) {
            if let Err(failure) = self.world.scanner.step(&mut self.world.memory).await {
                assert!(!matches!(failure, ScanError::Frozen { .. }), "seed {}: {failure}", self.seed);
                assert!(failure.is_transient(), "seed {}: {failure}", self.seed);
            }
        }
    }

    /// Nothing fails any more, and everything becomes final.
    async fn come_to_rest(&mut self) {
        self.calm();
        // A fork is noticed when its chain is the longer one.
        let cursor = self.world.store.tables().cursors.into_values().next().expect("the scan has begun");
        while self.world.chain.tip().number <= cursor.tip.number {
            self.world.chain.mine_empty(1);
        }
        self.world.finalise().await;
        self.world.settle().await;
        // An expiry can leave an invoice that awaits a ruling.
        self.world.questions = Default::default();
        self.world.settle().await;
        self.world.routing().route_all().await.expect("the store answers");
    }

    /// What must be true at any moment.
    fn check(&self) {
        let seed = self.seed;
        let tables = self.world.store.tables();
        let finalized = self.world.chain.finalized_number();
        let final_on_chain = deposits_on_chain(&self.world, finalized);
        let posted: BTreeMap<&str, &Posting> =
            tables.postings.values().map(|posting| (posting.cause(), posting)).collect();
        assert_eq!(posted.len(), tables.postings.len(), "seed {seed}: a deposit was posted twice");
        for (id, deposit) in &tables.deposits {
            let is_final = deposit.state == DepositState::Final;
            assert!(!is_final || final_on_chain.contains_key(id), "seed {seed}: {id} was final before the chain was");
            assert_eq!(is_final, posted.contains_key(id.as_str()), "seed {seed}: {id} and its posting");
        }
        let stored: BTreeMap<_, _> =
            tables.balances.iter().map(|(key, (balance, _))| (key.clone(), *balance)).collect();
        assert_eq!(stored, balances(&tables), "seed {seed}");
        self.check_events(&tables);
    }

    fn check_events(&self, tables: &Tables) {
        let seed = self.seed;
        let mut sequences: BTreeMap<&InvoiceId, Vec<u64>> = BTreeMap::new();
        let mut paid: BTreeSet<&InvoiceId> = BTreeSet::new();
        for event in &tables.events {
            let Some(invoice) = &event.invoice else { continue };
            if event.sequence > 0 {
                sequences.entry(invoice).or_default().push(event.sequence);
            }
            if event.kind == EventKind::InvoicePaid {
                assert!(paid.insert(invoice), "seed {seed}: {invoice} was told to be paid twice");
            }
        }
        for (id, invoice) in &tables.invoices {
            let expected: Vec<u64> = (1..=invoice.events).collect();
            assert_eq!(sequences.get(id), Some(&expected), "seed {seed}: {id}");
            assert_eq!(paid.contains(id), invoice.assessment.state == InvoiceState::Paid, "seed {seed}: {id}");
        }
    }

    /// What must be true once everything is final.
    fn check_end(&self) {
        self.check();
        let seed = self.seed;
        let tables = self.world.store.tables();
        let on_chain = deposits_on_chain(&self.world, self.world.chain.tip().number);
        let ours = |transfer: &Transfer| tables.addresses.contains_key(&transfer.identity.to);
        let owed: BTreeMap<&DepositId, &Transfer> =
            on_chain.iter().map(|(id, (transfer, _))| (id, transfer)).filter(|(_, transfer)| ours(transfer)).collect();
        let credited: BTreeMap<&DepositId, &Transfer> = tables
            .deposits
            .iter()
            .filter(|(_, deposit)| deposit.state == DepositState::Final)
            .map(|(id, deposit)| (id, &deposit.transfer))
            .collect();
        let lost: Vec<_> = owed.iter().filter(|(id, transfer)| credited.get(*id) != Some(transfer)).collect();
        let invented: Vec<_> = credited.keys().filter(|id| !owed.contains_key(*id)).collect();
        assert!(lost.is_empty() && invented.is_empty(), "seed {seed}: lost {lost:?}, invented {invented:?}");
        self.check_accounts(&tables);
        for (id, invoice) in &tables.invoices {
            let pays = |transfer: &Transfer| {
                transfer.identity.to == invoice.address && transfer.identity.asset == invoice.terms.asset
            };
            let paid = on_chain.values().filter(|(transfer, _)| pays(transfer));
            let (mut sum, mut in_time) = (Amount::ZERO, Amount::ZERO);
            for (transfer, time) in paid {
                sum = sum.checked_add(transfer.amount).expect("small sums");
                if *time <= invoice.terms.expires_at {
                    in_time = in_time.checked_add(transfer.amount).expect("small sums");
                }
            }
            let now = &invoice.assessment;
            assert_eq!((now.received, now.pending), (sum, Amount::ZERO), "seed {seed}: {id}");
            let reached = in_time >= invoice.terms.target();
            let expired = self.world.chain.tip().time > invoice.terms.expires_at;
            let told =
                |kind| tables.events.iter().any(|event| event.kind == kind && event.invoice.as_ref() == Some(id));
            let accepted = tables.events.iter().any(|event| {
                let of_this = event.invoice.as_ref() == Some(id) && event.kind == EventKind::InvoiceResolved;
                of_this && event.data_json.contains(r#""choice":"accept""#)
            });
            let cancelled = told(EventKind::InvoiceCancelled);
            // What was promised back before it was paid is not settled any more without the merchant.
            let refunds = |made: &Resolution| matches!(made.choice, Choice::Refund { .. });
            let promised_back = now.state != InvoiceState::Paid && invoice.resolution.as_ref().is_some_and(refunds);
            let expected = match (accepted, cancelled) {
                (true, _) => InvoiceState::Paid,
                (false, true) => InvoiceState::Cancelled,
                (false, false) if reached && promised_back => InvoiceState::Confirming,
                (false, false) if reached => InvoiceState::Paid,
                (false, false) if expired => InvoiceState::Expired,
                (false, false) if in_time.is_zero() => InvoiceState::Pending,
                (false, false) => InvoiceState::PartiallyPaid,
            };
            assert_eq!(now.state, expected, "seed {seed}: {id}");
            let judged = invoice.resolution.as_ref().is_some_and(|made| made.judged == sum);
            let left_over = matches!(now.state, InvoiceState::Expired | InvoiceState::Cancelled) && !sum.is_zero();
            let asks = now.flags.contains(Flags::NEEDS_REVIEW);
            assert!(asks || judged || !left_over, "seed {seed}: {id} {now:?}");
        }
        let told: BTreeSet<_> = tables.deliveries.values().map(|delivery| &delivery.event).collect();
        assert_eq!(told.len(), tables.deliveries.len(), "seed {seed}: an event has two deliveries");
        assert_eq!(tables.routed.len(), tables.events.len(), "seed {seed}: an event was not routed");
    }
}

impl Life {
    /// Money in the asset of its invoice is the merchant's; any other money on an invoice's address is set aside.
    fn check_accounts(&self, tables: &Tables) {
        for posting in tables.postings.values() {
            let id = posting.cause().parse::<DepositId>().expect("a deposit caused it");
            let deposit = &tables.deposits[&id];
            let own = &tables.addresses[&deposit.transfer.identity.to];
            let asked = own.invoice.as_ref().map(|invoice| &tables.invoices[invoice].terms.asset);
            let expected = asked.is_none_or(|asset| *asset == deposit.transfer.identity.asset);
            let kind = if expected { PostingKind::DepositCredited } else { PostingKind::DepositSuspended };
            assert_eq!(posting.kind(), kind, "seed {}: {id}", self.seed);
            assert_eq!(
                (&deposit.merchant, &deposit.invoice),
                (&own.merchant, &own.invoice),
                "seed {}: {id}",
                self.seed
            );
        }
    }
}

/// The deposits that the chain shows up to `top`, by id, with the times of their blocks.
fn deposits_on_chain(world: &World, top: BlockNumber) -> BTreeMap<DepositId, (Transfer, Timestamp)> {
    let blocks = world.chain.blocks().into_iter().filter(|found| found.block.number <= top);
    let transfers = blocks.flat_map(|BlockTransfers { block, transfers }| {
        transfers.into_iter().map(move |transfer| (transfer.identity.deposit_id(), (transfer, block.time)))
    });
    transfers.collect()
}

/// Balances as the sum of postings, computed without the domain's own rule.
fn balances(tables: &Tables) -> BTreeMap<(MerchantId, AssetId), Balance> {
    let mut sums: BTreeMap<(MerchantId, AssetId), Balance> = BTreeMap::new();
    for posting in tables.postings.values() {
        for line in posting.lines() {
            let Account::MerchantAvailable(merchant) = &line.account else { continue };
            assert_eq!((posting.kind(), line.side), (PostingKind::DepositCredited, Side::Credit));
            let balance = sums.entry((merchant.clone(), line.asset.clone())).or_default();
            balance.available = balance.available.checked_add(line.amount).expect("small sums");
        }
    }
    sums
}

#[tokio::test]
async fn the_books_equal_the_chain_whatever_happens() {
    let mut seeds = Seeded::announced("random schedules").expect("the seed is a number");
    let (mut credited, mut decided) = (0_usize, 0_usize);
    for _ in 0..LIVES {
        let mut life = Life::new(seeds.next_u64()).await;
        life.disturb();
        for step in 0..STEPS {
            life.step().await;
            if step.is_multiple_of(STEPS_UNCHECKED) {
                life.check();
            }
        }
        life.come_to_rest().await;
        life.check_end();
        let tables = life.world.store.tables();
        let is_decision = |kind| matches!(kind, EventKind::InvoiceCancelled | EventKind::InvoiceResolved);
        credited = credited.saturating_add(tables.postings.len());
        decided = decided.saturating_add(tables.events.iter().filter(|event| is_decision(event.kind)).count());
    }
    assert!(credited > LIVES, "{credited} credits in {LIVES} lives say little");
    assert!(decided > LIVES / 8, "{decided} decisions in {LIVES} lives say little");
}
