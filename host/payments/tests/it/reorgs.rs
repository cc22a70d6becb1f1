//! Forks above the final block, of any depth, and what one node's word about them is worth.

use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::transfer::{Origin, Transfer};
use xthonpay_payments::port::chain::ChainError;
use xthonpay_payments::scanning::changes::ScanError;
use xthonpay_tests::scripted_chain::Question;
use xthonpay_tests::seeded::Seeded;

use crate::world::{World, chain_name};

/// Finality stalls and the chain forks: of the payments that it takes away some are mined again elsewhere, some never.
#[tokio::test]
async fn forks_of_any_depth_above_the_final_block_leave_one_credit_for_each_payment_of_the_chain() {
    let mut seeds = Seeded::announced("deep reorganisations").expect("the seed is a number");
    for depth in [1, 2, 3, 7, 16, 17, 63, 128, 239] {
        let mut random = Seeded::new(seeds.next_u64());
        let (mut world, caller) = World::started().await;
        let invoice = world.invoice(&caller, 1_000_000).await;
        world.chain.mine_empty(5);
        world.finalise().await;
        for _ in 0..depth {
            match random.next_u64() % 4 {
                0 => world.pay(&[(invoice.address, 1)]),
                1 => world.pay(&[(invoice.address, 3), (invoice.address, 5)]),
                _ => {
                    world.chain.mine_empty(1);
                }
            }
        }
        world.scan().await;
        let taken = world.chain.fork(depth);
        for transfer in taken.into_iter().flat_map(|block| block.transfers) {
            match random.next_u64() % 10 {
                0..3 => {}
                3..6 => {
                    world.chain.mine_empty(1);
                    world.chain.mine(&[transfer]);
                }
                _ => {
                    world.chain.mine(&[transfer]);
                }
            }
        }
        world.chain.mine_empty(depth);
        world.scan().await;
        assert_eq!(world.available(caller.merchant()).await, Amount::ZERO, "depth {depth}: nothing is final");
        world.finalise().await;
        let transfers: Vec<Transfer> = world.chain.blocks().into_iter().flat_map(|block| block.transfers).collect();
        let owed = Amount::sum(transfers.iter().map(|transfer| transfer.amount)).expect("small sums");
        assert_eq!(world.available(caller.merchant()).await, owed, "depth {depth}");
        assert_eq!(world.store.tables().postings.len(), transfers.len(), "depth {depth}");
    }
}

/// While no further block comes, nothing but a look at the tip's own height can tell.
#[tokio::test]
async fn another_block_in_the_place_of_the_tip_is_noticed_without_a_further_one() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.chain.mine_empty(2);
    world.finalise().await;
    world.pay(&[(invoice.address, 100)]);
    world.scan().await;
    for depth in [1, 2] {
        world.chain.fork(depth);
        world.chain.mine_empty(depth);
        world.restart();
        world.scan().await;
        assert_eq!(world.store.tables().cursors[&chain_name()].tip, world.chain.tip(), "depth {depth}");
        let states: Vec<_> = world.deposits(&invoice).await.iter().map(|deposit| deposit.state).collect();
        assert_eq!(states, [DepositState::Orphaned]);
        world.chain.mine_empty(1);
        world.scan().await;
    }
}

#[tokio::test]
async fn a_node_that_fell_back_takes_nothing_back() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.chain.mine_empty(3);
    world.scan().await;
    let tip = world.chain.tip();
    let taken = world.chain.fork(3);
    world.restart();
    world.scan().await;
    assert_eq!(world.store.tables().cursors[&chain_name()].tip, tip, "a shorter chain is lag");
    assert_eq!(world.status().lag_blocks(), Some(0));
    assert_eq!(taken.len(), 3);
    world.chain.mine_empty(5);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
}

#[tokio::test]
async fn the_same_transaction_with_another_place_in_its_block_is_one_deposit() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    let payment = world.chain.payment(&crate::world::usdt(), invoice.address, 100);
    let before_it = |world: &World| world.chain.payment(&crate::world::usdt(), crate::world::STRANGER, 1);
    world.chain.mine(std::slice::from_ref(&payment));
    world.scan().await;
    world.chain.fork(1);
    let strangers = [before_it(&world), before_it(&world), payment.clone()];
    world.chain.mine_empty(1);
    world.chain.mine(&strangers);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    assert!(matches!(payment.identity.origin, Origin::Transaction { nth: 0, .. }));
    assert_eq!(world.deposits(&invoice).await.len(), 1);
}

fn another(block: BlockRef) -> BlockRef {
    BlockRef { hash: BlockHash::new([0xee; 32]), ..block }
}

/// The one node that shows blocks shows a payment; the nodes together have another block at its height.
#[tokio::test]
async fn what_the_nodes_do_not_agree_on_is_not_credited() {
    for agreed in [Some(()), None] {
        let (mut world, caller) = World::started().await;
        let invoice = world.invoice(&caller, 100).await;
        world.pay(&[(invoice.address, 100)]);
        let shown = world.chain.tip();
        world.scan().await;
        world.chain.agree_on(shown.number, agreed.map(|()| another(shown)));
        world.chain.call_final(Some(BlockRef { number: shown.number.next().expect("small"), ..another(shown) }));
        world.restart();
        let outcome = world.try_scan().await;
        match agreed {
            Some(()) => {
                assert!(matches!(outcome, Err(ScanError::Chain(ChainError::Inconsistent { .. }))), "{outcome:?}");
            }
            None => assert!(outcome.is_ok(), "{outcome:?}"),
        }
        assert_eq!(world.available(caller.merchant()).await, Amount::ZERO);
        assert_eq!(world.store.tables().cursors[&chain_name()].finalized.number.0, 0);
        world.chain.be_honest();
        world.chain.call_final(None);
        world.finalise().await;
        assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    }
}

/// Whether our block is the final one is asked of the quorum, not of the one node that showed it.
#[tokio::test]
async fn credits_ask_the_quorum() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.scan().await;
    let tip = world.chain.tip().number;
    world.chain.mine_empty(3);
    world.chain.finalise();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let heard = asked.clone();
    // Only as far as finality has to be looked at below its newest block.
    world.chain.fail_when(move |question| {
        heard.fetch_add(usize::from(question == Question::FinalBlock(tip)), std::sync::atomic::Ordering::SeqCst);
        None
    });
    world.restart();
    world.scan().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}
