//! Random lives of a chain that breaks its promise: forks below what it called final, with absences, failures and operators in
//! between. Nothing of the last chain may be missing, nothing may be credited twice, and what was credited on a chain that is
//! gone must have been told.

use std::collections::{BTreeMap, BTreeSet};

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::id::DepositId;
use xthonpay_domain::transfer::Transfer;
use xthonpay_payments::access::Principal;
use xthonpay_payments::scanning::changes::ScanError;
use xthonpay_payments::scanning::freeze::ChainControl;
use xthonpay_payments::scanning::scanner::Progress;
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::scripted_chain::no_answer;
use xthonpay_tests::seeded::Seeded;

use crate::world::{STRANGER, World, usdt};

const LIVES: usize = 40;
const ROUNDS: usize = 8;
/// Attempts after which something does not recover.
const TRIES_MAX: usize = 2_000;

struct Life {
    seed: u64,
    random: Seeded,
    world: World,
    caller: Principal,
    addresses: Vec<Address>,
    /// Transfers of blocks that left the chain.
    pool: Vec<Transfer>,
    /// Credited deposits that operators were told to be lost.
    told_lost: BTreeSet<DepositId>,
    freezes: usize,
}

impl Life {
    async fn new(seed: u64) -> Self {
        let (world, caller) = World::started().await;
        let mut addresses = Vec::new();
        for _ in 0..3 {
            addresses.push(world.invoice(&caller, 50).await.address);
        }
        let (pool, told_lost) = (Vec::new(), BTreeSet::new());
        Self { seed, random: Seeded::new(seed), world, caller, addresses, pool, told_lost, freezes: 0 }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }

    fn mine(&mut self) {
        let mut transfers = Vec::new();
        for _ in 0..self.below(3) {
            let at = self.below(4);
            let to = usize::try_from(at).ok().and_then(|at| self.addresses.get(at)).copied().unwrap_or(STRANGER);
            let units = u128::from(self.below(40) + 1);
            transfers.push(self.world.chain.payment(&usdt(), to, units));
        }
        if !self.pool.is_empty() && self.below(2) == 0 {
            let at = usize::try_from(self.below(u64::try_from(self.pool.len()).expect("small"))).expect("small");
            transfers.push(self.pool.swap_remove(at));
        }
        self.world.chain.mine(&transfers);
    }

    /// Blocks come, sometimes so many that they are passed in runs, and become final up to somewhere.
    fn live(&mut self) {
        let blocks = if self.below(3) == 0 { 34 + self.below(30) } else { 1 + self.below(8) };
        (0..blocks).for_each(|_| self.mine());
        let depth = self.below(4);
        self.world.chain.finalise_below(depth);
        if self.below(2) == 0 {
            self.world.restart();
        }
    }

    /// A fork of any depth. Of its transactions most come back some time.
    fn fork(&mut self) {
        let height = self.world.chain.tip().number.0;
        let depth = 1 + self.below(height.clamp(1, 60));
        let taken = self.world.chain.fork(usize::try_from(depth).expect("small"));
        for transfer in taken.into_iter().flat_map(|block| block.transfers) {
            if self.below(4) > 0 {
                self.pool.push(transfer);
            }
        }
        (0..self.below(depth + 3)).for_each(|_| self.mine());
    }

    fn disturb(&mut self) {
        let mut store = Seeded::new(self.random.next_u64());
        self.world.store.faults.when(move |_| match store.next_u64() % 25 {
            0 => Some(Fault::NothingStored),
            1 => Some(Fault::Stored),
            2 => Some(Fault::Refused),
            _ => None,
        });
        let mut node = Seeded::new(self.random.next_u64());
        self.world.chain.fail_when(move |_| node.next_u64().is_multiple_of(20).then(no_answer));
    }

    async fn scan(&mut self) {
        for _ in 0..self.below(60) {
            match self.world.scanner.step(&mut self.world.memory).await {
                Err(ScanError::Frozen { .. }) if self.below(2) == 0 => self.resume().await,
                Err(failure) => assert!(is_expected(&failure), "seed {}: {failure}", self.seed),
                Ok(_) => {}
            }
        }
    }

    async fn resume(&mut self) {
        self.freezes += 1;
        let control = ChainControl { books: self.world.scanner.books.clone(), source: self.world.chain.clone() };
        match control.resume(None).await {
            Ok(resumed) => {
                assert_eq!(resumed.lost.len(), resumed.lost_count, "seed {}", self.seed);
                self.told_lost.extend(resumed.lost.into_iter().map(|lost| lost.deposit.id));
            }
            // The changeset may be stored all the same; what was lost is told again by no one then.
            Err(failure) => {
                assert!(failure.is_transient(), "seed {}: {failure}", self.seed);
                self.told_lost.extend(self.credited_and_gone());
            }
        }
        self.world.restart();
    }

    /// Credited deposits whose block is not in the chain now.
    fn credited_and_gone(&self) -> BTreeSet<DepositId> {
        let hashes: BTreeSet<_> = self.world.chain.blocks().into_iter().map(|found| found.block.hash).collect();
        let deposits = self.world.store.tables().deposits.into_values();
        let gone =
            deposits.filter(|deposit| deposit.state == DepositState::Final && !hashes.contains(&deposit.block.hash));
        gone.map(|deposit| deposit.id).collect()
    }

    async fn come_to_rest(&mut self) {
        self.world.store.faults.clear();
        self.world.chain.recover();
        // A fork is noticed at the latest when its chain is as long as ours.
        let tip = self.world.store.tables().cursors.into_values().next().expect("the scan has begun").tip.number;
        while self.world.chain.tip().number <= tip {
            self.mine();
        }
        self.pool.clear();
        self.world.chain.finalise();
        self.world.restart();
        for _ in 0..TRIES_MAX {
            match self.world.scanner.step(&mut self.world.memory).await {
                Ok(Progress::Idle) => return,
                Ok(Progress::Advanced) => {}
                Err(ScanError::Frozen { .. }) => self.resume().await,
                Err(failure) => assert!(is_expected(&failure), "seed {}: {failure}", self.seed),
            }
        }
        unreachable!("seed {}: the scanner does not come to rest", self.seed);
    }

    async fn check(&self) {
        let seed = self.seed;
        let tables = self.world.store.tables();
        let on_chain: BTreeMap<DepositId, Transfer> = self
            .world
            .chain
            .blocks()
            .into_iter()
            .flat_map(|found| found.transfers)
            .filter(|transfer| self.addresses.contains(&transfer.identity.to))
            .map(|transfer| (transfer.identity.deposit_id(), transfer))
            .collect();
        let credited: BTreeSet<&DepositId> =
            tables.deposits.values().filter(|one| one.state == DepositState::Final).map(|one| &one.id).collect();
        let missing: Vec<_> = on_chain.keys().filter(|id| !credited.contains(id)).collect();
        assert!(missing.is_empty(), "seed {seed}: lost {missing:?}");
        let untold: Vec<_> =
            credited.iter().filter(|id| !on_chain.contains_key(**id) && !self.told_lost.contains(**id)).collect();
        assert!(untold.is_empty(), "seed {seed}: credited, gone and not told: {untold:?}");
        let causes: BTreeSet<&str> = tables.postings.values().map(|posting| posting.cause()).collect();
        assert_eq!(causes.len(), tables.postings.len(), "seed {seed}: a deposit was posted twice");
        assert_eq!(causes, credited.iter().map(|id| id.as_str()).collect(), "seed {seed}");
        let sum = Amount::sum(credited.iter().map(|id| tables.deposits[*id].transfer.amount)).expect("small sums");
        assert_eq!(self.world.available(self.caller.merchant()).await, sum, "seed {seed}");
        let cursor = tables.cursors.values().next().expect("the scan has begun");
        assert_eq!((cursor.tip, cursor.finalized), (self.world.chain.tip(), self.world.chain.tip()), "seed {seed}");
    }
}

/// A frozen chain waits for its operator; everything else passes.
fn is_expected(failure: &ScanError) -> bool {
    matches!(failure, ScanError::Frozen { .. }) || failure.is_transient()
}

#[tokio::test]
async fn the_books_outlive_chains_that_break_their_promise() {
    let mut seeds = Seeded::announced("random forks").expect("the seed is a number");
    let (mut freezes, mut lost) = (0, 0);
    for _ in 0..LIVES {
        let mut life = Life::new(seeds.next_u64()).await;
        life.disturb();
        for _ in 0..ROUNDS {
            life.live();
            life.scan().await;
            if life.below(3) == 0 {
                life.fork();
                life.scan().await;
            }
        }
        life.come_to_rest().await;
        life.check().await;
        freezes += life.freezes;
        lost += life.told_lost.len();
    }
    assert!(freezes > LIVES / 4 && lost > LIVES / 4, "{freezes} freezes and {lost} lost deposits say little");
}
