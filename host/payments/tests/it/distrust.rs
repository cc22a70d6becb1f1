//! What the scanner refuses to believe: a final block that leaves the chain, answers that contradict each other, transfers
//! that cannot be payments.

use xthonpay_domain::amount::Amount;
use xthonpay_domain::transfer::BlockTransfers;
use xthonpay_payments::port::chain::ChainError;
use xthonpay_payments::port::signer::AddressSource as _;
use xthonpay_payments::scanning::changes::ScanError;
use xthonpay_payments::scanning::status::Health;
use xthonpay_tests::memory_store::Fault;

use crate::doubles::PathAddresses;
use crate::world::{World, chain_name, usdt};

fn is_frozen(outcome: &Result<(), ScanError>) -> bool {
    matches!(outcome, Err(ScanError::Frozen { .. }))
}

#[tokio::test]
async fn freezes_when_a_final_block_leaves_the_chain() {
    for (depth, mined) in [(1, 2), (3, 5), (3, 4)] {
        let (mut world, caller) = World::started().await;
        let invoice = world.invoice(&caller, 100).await;
        world.pay(&[(invoice.address, 100)]);
        world.chain.mine_empty(2);
        world.finalise().await;
        world.chain.fork(depth);
        world.chain.mine_empty(mined);
        let outcome = world.try_scan().await;
        assert!(is_frozen(&outcome), "{depth} {mined}: {outcome:?}");
        assert!(matches!(world.status().health, Health::Frozen { .. }));
        // A restart alone does not thaw it, and what was credited stays credited until a person decides.
        world.restart();
        assert!(is_frozen(&world.try_scan().await));
        assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    }
}

/// The other chain need not be longer than ours: what it calls final is enough.
#[tokio::test]
async fn freezes_when_the_node_calls_another_block_final() {
    for mined in [1, 2, 3] {
        let (mut world, caller) = World::started().await;
        let invoice = world.invoice(&caller, 100).await;
        world.pay(&[(invoice.address, 100)]);
        world.chain.mine_empty(2);
        world.finalise().await;
        world.chain.fork(3);
        world.chain.mine_empty(mined);
        world.restart();
        let outcome = world.try_scan().await;
        assert!(is_frozen(&outcome), "{mined} blocks: {outcome:?}");
    }
}

#[tokio::test]
async fn waits_for_blocks_that_the_node_announces_and_does_not_have() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.chain.announce(Some(50));
    world.chain.mine_empty(1);
    world.restart();
    world.scan().await;
    assert_eq!(world.status().cursor.expect("processed").tip, world.chain.tip());
    assert_eq!(world.status().lag_blocks(), Some(49));
    world.pay(&[(invoice.address, 100)]);
    world.chain.announce(None);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
}

#[tokio::test]
async fn does_not_go_back_when_the_announced_head_does() {
    let (mut world, _) = World::started().await;
    let tip = world.chain.mine_empty(5);
    world.scan().await;
    world.chain.announce(Some(2));
    world.scan().await;
    assert_eq!(world.status().cursor.expect("processed").tip, tip);
}

/// Two nodes behind one address: the next block does not link to a block that the node still has.
#[tokio::test]
async fn concludes_nothing_from_answers_that_contradict_each_other() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.scan().await;
    let before = world.store.tables().cursors[&chain_name()].clone();
    let mut next = world.chain.mine_empty(1);
    next.parent = before.finalized.hash;
    world.chain.lie_about(next.number, BlockTransfers { block: next, transfers: Vec::new() });
    let outcome = world.try_scan().await;
    assert!(matches!(outcome, Err(ScanError::Chain(ChainError::Inconsistent { .. }))), "{outcome:?}");
    assert_eq!(world.store.tables().cursors[&chain_name()], before, "nothing is stored");
    assert!(matches!(world.status().health, Health::Failing { .. }));
    world.chain.be_honest();
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    assert_eq!(world.status().health, Health::Running);
}

#[tokio::test]
async fn a_block_that_names_one_transfer_twice_is_not_believed() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    let transfer = world.chain.payment(&usdt(), invoice.address, 100);
    let honest = world.chain.mine(std::slice::from_ref(&transfer));
    world.chain.lie_about(honest.number, BlockTransfers { block: honest, transfers: vec![transfer.clone(), transfer] });
    let outcome = world.try_scan().await;
    assert!(matches!(outcome, Err(ScanError::Chain(ChainError::Inconsistent { .. }))), "{outcome:?}");
    world.chain.be_honest();
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
}

/// Sources leave such transfers out. One that slips through must not stop the chain for everybody.
#[tokio::test]
async fn transfers_of_nothing_change_nothing() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 0), (invoice.address, 100), (invoice.address, 0)]);
    world.finalise().await;
    assert_eq!(world.deposits(&invoice).await.len(), 1);
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
}

/// Whoever knows the derivation path can pay to an address that was never given out.
#[tokio::test]
async fn a_transfer_to_an_address_without_a_record_does_not_stop_the_chain() {
    let (mut world, caller) = World::started().await;
    world.store.faults.next([Some(Fault::NothingStored)]);
    let known = world.watch.len();
    let refused = world.make(&caller, world.new_invoice(100)).await;
    assert!(refused.is_err());
    assert!(world.watch.len() > known);
    let invoice = world.invoice(&caller, 100).await;
    let never_given = {
        let index = world.store.tables().addresses[&invoice.address].index.checked_sub(1).expect("not the first");
        let account = world.store.tables().merchants[caller.merchant()].account;
        PathAddresses.derive(account, index).expect("in range")
    };
    assert!(world.watch.contains(&never_given));
    world.pay(&[(never_given, 1), (invoice.address, 100)]);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
}

#[tokio::test]
async fn a_fork_deeper_than_the_remembered_blocks_freezes() {
    let (mut world, _) = World::started().await;
    world.chain.mine_empty(10);
    world.scan().await;
    world.store.tamper(|tables| tables.blocks.retain(|(_, number), _| number.0 > 7));
    world.chain.fork(5);
    world.chain.mine_empty(7);
    assert!(is_frozen(&world.try_scan().await));
}

#[tokio::test]
async fn the_mark_of_finality_never_moves_back() {
    let (mut world, _) = World::started().await;
    world.chain.mine_empty(10);
    world.finalise().await;
    let reached = world.chain.tip();
    // A node that lags calls an older block final.
    world.chain.call_final(Some(world.chain.blocks()[4].block));
    world.chain.mine_empty(1);
    world.restart();
    world.scan().await;
    assert_eq!(world.store.tables().cursors[&chain_name()].finalized, reached);
}
