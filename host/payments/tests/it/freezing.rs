//! The emergency stop of a chain: what sets it off, what it holds up, and the way on.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::transfer::BlockTransfers;
use xthonpay_payments::access::Principal;
use xthonpay_payments::port::chain::ChainError;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{Cursor, Freeze, Write};
use xthonpay_payments::scanning::changes::ScanError;
use xthonpay_payments::scanning::freeze::{ChainControl, FreezeError};
use xthonpay_payments::scanning::status::Health;
use xthonpay_tests::memory_store::Fault;

use crate::world::{World, chain_name};

fn is_frozen(outcome: &Result<(), ScanError>) -> bool {
    matches!(outcome, Err(ScanError::Frozen { .. }))
}

fn control(world: &World) -> ChainControl {
    ChainControl { books: world.scanner.books.clone(), source: world.chain.clone() }
}

fn cursor(world: &World) -> Cursor {
    world.store.tables().cursors[&chain_name()].clone()
}

/// A chain on which 100 was credited at height 3 and 10 at height 5, which then forked below both, and 7 that is only seen.
struct Forked {
    world: World,
    caller: Principal,
    invoice: Invoice,
    taken: Vec<BlockTransfers>,
}

impl Forked {
    async fn new() -> Self {
        let (mut world, caller) = World::started().await;
        let invoice = world.invoice(&caller, 1_000).await;
        world.chain.mine_empty(2);
        world.pay(&[(invoice.address, 100)]);
        world.chain.mine_empty(1);
        world.pay(&[(invoice.address, 10)]);
        world.finalise().await;
        world.pay(&[(invoice.address, 7)]);
        world.chain.mine_empty(1);
        world.scan().await;
        let taken = world.chain.fork(5);
        Self { world, caller, invoice, taken }
    }

    /// The nodes call another block final at height 4, so that the scanner freezes before it walks back.
    async fn freeze(&mut self) {
        self.world.chain.mine_empty(2);
        self.world.restart();
        let outcome = self.world.try_scan().await;
        assert!(is_frozen(&outcome), "{outcome:?}");
        self.world.chain.mine_empty(2);
    }

    async fn available(&self) -> Amount {
        self.world.available(self.caller.merchant()).await
    }
}

#[tokio::test]
async fn a_freeze_outlives_restarts_and_asks_no_node() {
    let mut forked = Forked::new().await;
    forked.freeze().await;
    let Some(Freeze { reason, at }) = cursor(&forked.world).frozen else { unreachable!("the freeze is stored") };
    assert!(reason.contains("was final and left the chain"), "{reason}");
    assert_eq!(at, forked.world.clock.now());
    let before = forked.world.store.tables();
    forked.world.chain.finalise();
    for _ in 0..3 {
        forked.world.restart();
        let world = &mut forked.world;
        let outcome = world.try_scan().await;
        assert!(is_frozen(&outcome), "{outcome:?}");
        assert_eq!(world.status().health, Health::Frozen { reason: reason.clone() });
    }
    let after = forked.world.store.tables();
    assert_eq!((after.cursors, after.deposits, after.balances), (before.cursors, before.deposits, before.balances));
    assert_eq!(forked.available().await, Amount::from_units(110));
}

#[tokio::test]
async fn a_freeze_that_could_not_be_stored_is_found_again() {
    let mut forked = Forked::new().await;
    forked.world.chain.mine_empty(8);
    let sets_freeze = |write: &Write| matches!(write, Write::SetCursor(cursor) if cursor.frozen.is_some());
    let mut failed = false;
    forked.world.store.faults.when(move |changes| {
        let fails = !failed && changes.writes.iter().any(sets_freeze);
        failed |= fails;
        fails.then_some(Fault::NothingStored)
    });
    let outcome = forked.world.try_scan().await;
    assert!(matches!(outcome, Err(ScanError::Commit(_))), "{outcome:?}");
    assert!(is_frozen(&forked.world.try_scan().await));
    assert!(cursor(&forked.world).frozen.is_some());
}

/// What one node says alone stops nothing, however wrong its chain is.
#[tokio::test]
async fn one_node_alone_does_not_freeze_a_chain() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 1_000).await;
    world.pay(&[(invoice.address, 100)]);
    world.chain.mine_empty(2);
    world.finalise().await;
    let ours = world.chain.tip();
    world.chain.fork(2);
    world.chain.mine_empty(4);
    for block in [Some(ours), None] {
        world.chain.agree_on(ours.number, block);
        world.chain.call_final(Some(ours));
        let outcome = world.try_scan().await;
        assert!(matches!(outcome, Err(ScanError::Chain(ChainError::Inconsistent { .. }))), "{outcome:?}");
        assert_eq!(cursor(&world).frozen, None);
    }
    world.chain.be_honest();
    world.chain.call_final(None);
    assert!(is_frozen(&world.try_scan().await), "all of them together do");
}

#[tokio::test]
async fn goes_on_after_the_newest_block_that_the_nodes_agree_on() {
    let mut forked = Forked::new().await;
    forked.freeze().await;
    // The payment of 100 is mined again on the other chain, the others never.
    forked.world.chain.mine(&forked.taken[0].transfers);
    forked.world.chain.mine_empty(3);
    forked.world.chain.finalise();
    let resumed = control(&forked.world).resume(None).await.expect("there is a common block");
    let common = forked.world.chain.blocks()[2].block;
    assert_eq!((resumed.tip, resumed.finalized), (common, common));
    assert_eq!(resumed.orphaned, 1, "the payment of 7");
    let mut lost: Vec<_> =
        resumed.lost.iter().map(|lost| (lost.deposit.transfer.amount, lost.mined_again_in)).collect();
    lost.sort();
    assert_eq!(lost, [(Amount::from_units(10), None), (Amount::from_units(100), Some(BlockNumber(7)))]);
    assert_eq!(resumed.lost_count, 2);
    assert_eq!(cursor(&forked.world).frozen, None);

    forked.world.restart();
    forked.world.scan().await;
    assert_eq!(cursor(&forked.world).tip, forked.world.chain.tip());
    assert_eq!(forked.world.status().health, Health::Running);
    assert_eq!(forked.available().await, Amount::from_units(110), "nothing is credited twice, nothing is debited");
    assert_eq!(forked.world.store.tables().postings.len(), 2);
    forked.world.pay(&[(forked.invoice.address, 3)]);
    forked.world.finalise().await;
    assert_eq!(forked.available().await, Amount::from_units(113), "and crediting goes on");
    assert!(forked.world.events_of(&forked.invoice.id).contains(&EventKind::PaymentReorged));
}

#[tokio::test]
async fn what_was_only_seen_comes_back_when_it_is_mined_again() {
    let mut forked = Forked::new().await;
    forked.freeze().await;
    forked.taken.iter().for_each(|block| {
        forked.world.chain.mine(&block.transfers);
    });
    forked.world.chain.finalise();
    control(&forked.world).resume(None).await.expect("there is a common block");
    forked.world.restart();
    forked.world.scan().await;
    assert_eq!(forked.available().await, Amount::from_units(117));
    assert_eq!(forked.world.store.tables().postings.len(), 3);
}

#[tokio::test]
async fn without_a_common_block_the_operator_has_to_name_one() {
    let mut forked = Forked::new().await;
    forked.freeze().await;
    forked.world.chain.finalise();
    forked.world.store.tamper(|tables| tables.blocks.retain(|(_, number), _| number.0 > 4));
    let refused = control(&forked.world).resume(None).await;
    assert!(matches!(refused, Err(FreezeError::NoCommonBlock { oldest }) if oldest == BlockNumber(5)), "{refused:?}");
    let too_high = control(&forked.world).resume(Some(BlockNumber(5))).await;
    assert!(matches!(too_high, Err(FreezeError::TooHigh { highest: BlockNumber(4), .. })), "{too_high:?}");
    assert!(cursor(&forked.world).frozen.is_some());
    let resumed = control(&forked.world).resume(Some(BlockNumber(1))).await.expect("an agreed final block");
    assert_eq!(resumed.tip, forked.world.chain.blocks()[1].block);
    assert_eq!((resumed.orphaned, resumed.lost_count), (1, 2));
    forked.world.restart();
    forked.world.scan().await;
    assert_eq!(forked.available().await, Amount::from_units(110));
}

/// What the new chain holds between its fork and the named block would never be looked at.
#[tokio::test]
async fn a_block_above_the_fork_cannot_be_named() {
    let mut forked = Forked::new().await;
    forked.freeze().await;
    forked.world.chain.finalise();
    let refused = control(&forked.world).resume(Some(BlockNumber(3))).await;
    assert!(matches!(refused, Err(FreezeError::TooHigh { highest: BlockNumber(2), .. })), "{refused:?}");
    let resumed = control(&forked.world).resume(Some(BlockNumber(0))).await.expect("below the fork");
    assert_eq!(resumed.tip.number, BlockNumber(0));
}

#[tokio::test]
async fn a_block_too_far_back_cannot_be_named() {
    let (mut world, _) = World::started().await;
    world.chain.mine_empty(8_010);
    world.finalise().await;
    control(&world).freeze("a drill").await.expect("the store takes it");
    let refused = control(&world).resume(Some(BlockNumber(9))).await;
    assert!(matches!(refused, Err(FreezeError::TooLow { lowest: BlockNumber(10) })), "{refused:?}");
    let resumed = control(&world).resume(Some(BlockNumber(10))).await.expect("far enough");
    assert_eq!(resumed.finalized.number, BlockNumber(10));
    world.restart();
    world.scan().await;
    assert_eq!(cursor(&world).finalized, world.chain.tip());
}

#[tokio::test]
async fn an_operator_can_freeze_a_chain_and_nothing_is_lost_by_it() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 1_000).await;
    world.pay(&[(invoice.address, 100)]);
    world.scan().await;
    for reason in ["", "  ", "two\nlines", &"x".repeat(201)] {
        assert!(matches!(control(&world).freeze(reason).await, Err(FreezeError::Reason)), "{reason:?}");
    }
    let freeze = control(&world).freeze(" news of a bridge ").await.expect("the store takes it");
    assert_eq!(freeze.reason, "news of a bridge");
    world.chain.finalise();
    world.chain.mine_empty(1);
    // Not restarted: the scanner finds out because its next changeset is refused.
    assert!(world.try_scan().await.is_err());
    assert!(is_frozen(&world.try_scan().await));
    assert_eq!(world.available(caller.merchant()).await, Amount::ZERO);
    assert_eq!(control(&world).freeze("again").await.expect("it stands").reason, "news of a bridge");

    let (tip, finalized) = (cursor(&world).tip, cursor(&world).finalized);
    let resumed = control(&world).resume(None).await.expect("nothing left the chain");
    assert_eq!((resumed.tip, resumed.finalized, resumed.orphaned, resumed.lost_count), (tip, finalized, 0, 0));
    world.restart();
    world.scan().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    let again = control(&world).resume(None).await;
    assert!(matches!(again, Err(FreezeError::NotFrozen(_))), "{again:?}");
}

#[tokio::test]
async fn a_chain_that_was_never_scanned_has_nothing_to_freeze() {
    let world = World::new(1);
    assert!(matches!(control(&world).freeze("early").await, Err(FreezeError::NotScanned(_))));
    assert!(matches!(control(&world).resume(None).await, Err(FreezeError::NotScanned(_))));
}

/// An idle scanner stores nothing, so no refusal tells it.
#[tokio::test]
async fn a_scanner_without_new_blocks_finds_out_that_it_is_frozen() {
    let (mut world, _) = World::started().await;
    world.chain.mine_empty(3);
    world.finalise().await;
    control(&world).freeze("a drill").await.expect("the store takes it");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert!(is_frozen(&world.try_scan().await));
}

#[tokio::test]
async fn many_seen_deposits_are_orphaned_in_bounded_transactions() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100_000).await;
    world.chain.mine_empty(3);
    world.finalise().await;
    world.pay(&vec![(invoice.address, 1); 250]);
    world.scan().await;
    world.chain.fork(3);
    world.chain.mine_empty(1);
    world.restart();
    assert!(is_frozen(&world.try_scan().await));
    world.chain.mine_empty(4);
    world.chain.finalise();
    // Interrupted once, and simply given again.
    world.store.faults.next([None, Some(Fault::NothingStored)]);
    assert!(control(&world).resume(None).await.is_err());
    assert!(cursor(&world).frozen.is_some());
    let largest = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = largest.clone();
    world.store.faults.when(move |changes| {
        let updates = changes.writes.iter().filter(|write| matches!(write, Write::UpdateDeposit { .. })).count();
        seen.fetch_max(updates, std::sync::atomic::Ordering::SeqCst);
        None
    });
    let resumed = control(&world).resume(None).await.expect("nothing goes wrong");
    assert_eq!(resumed.orphaned, 150, "the others are orphaned already");
    assert_eq!(largest.load(std::sync::atomic::Ordering::SeqCst), 100);
    assert!(world.deposits(&invoice).await.iter().all(|deposit| deposit.state == DepositState::Orphaned));
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Pending);
}

#[tokio::test]
async fn no_invoice_expires_on_a_frozen_chain() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pass(Duration::from_secs(7_200));
    world.chain.mine_empty(1);
    world.finalise().await;
    control(&world).freeze("a drill").await.expect("the store takes it");
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Pending);
    control(&world).resume(None).await.expect("nothing left the chain");
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Expired);
}

#[tokio::test]
async fn the_running_scanner_waits_for_its_operator_and_goes_on() {
    let mut forked = Forked::new().await;
    forked.freeze().await;
    forked.world.chain.finalise();
    let control = control(&forked.world);
    let World { scanner, chain, .. } = forked.world;
    let status = scanner.status.clone();
    let stop = CancellationToken::new();
    let run = tokio::spawn(scanner.run(stop.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!run.is_finished());
    assert!(matches!(status.get().health, Health::Frozen { .. }));
    control.resume(None).await.expect("there is a common block");
    let goes_on = async {
        while status.get().cursor.is_none_or(|cursor| cursor.finalized != chain.tip()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), goes_on).await.expect("it goes on by itself");
    stop.cancel();
    run.await.expect("ends in order");
}

/// A node that lags knows no block where a deposit stands: that is no reason to take the deposit back.
#[tokio::test]
async fn a_deposit_is_not_given_up_because_nodes_lag() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    let block = world.chain.tip();
    world.chain.mine_empty(3);
    world.scan().await;
    control(&world).freeze("a test").await.expect("stored");
    world.chain.finalise_below(1);
    world.chain.agree_on(block.number, None);
    let refused = control(&world).resume(None).await.expect_err("too few nodes have the block");
    assert!(refused.is_transient(), "{refused}");
    assert_eq!(world.deposits(&invoice).await[0].state, DepositState::Seen);
    world.chain.be_honest();
    let resumed = control(&world).resume(None).await.expect("all agree");
    assert_eq!(resumed.orphaned, 0);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
}
