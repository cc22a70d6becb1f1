//! Final blocks that were missed, by the hundred: passed in runs, to the same end as block by block.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::access::Principal;
use xthonpay_payments::port::chain::{ChainError, RANGE_BLOCKS_MAX};
use xthonpay_payments::port::store::Write;
use xthonpay_payments::scanning::changes::ScanError;
use xthonpay_payments::scanning::scanner::Progress;
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::scripted_chain::{Question, no_answer};

use crate::world::{World, chain_name, usdt};

/// Steps after which a scanner that still fails will not recover.
const STEPS_MAX: usize = 400;

/// What the node is asked from now on.
fn listen(world: &World) -> Arc<Mutex<Vec<Question>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    world.chain.fail_when(move |question| {
        heard.lock().expect("nobody panics").push(question);
        None
    });
    asked
}

fn ranges(asked: &Mutex<Vec<Question>>) -> Vec<BlockRange> {
    let asked = asked.lock().expect("nobody panics");
    asked
        .iter()
        .filter_map(|question| if let Question::Range(range) = question { Some(*range) } else { None })
        .collect()
}

fn blocks_asked_for(asked: &Mutex<Vec<Question>>) -> usize {
    asked.lock().expect("nobody panics").iter().filter(|question| matches!(question, Question::Transfers(_))).count()
}

fn tip_of(world: &World) -> BlockRef {
    world.store.tables().cursors[&chain_name()].tip
}

/// A deployment that was down while `missed` blocks came, of which every `every`th paid 1 to the invoice, and are final.
async fn missed(missed: u64, every: u64) -> (World, Principal, Invoice) {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 1_000_000).await;
    world.scan().await;
    for nth in 1..=missed {
        if nth % every == 0 {
            world.pay(&[(invoice.address, 1)]);
        } else {
            world.chain.mine_empty(1);
        }
    }
    world.chain.finalise();
    world.restart();
    (world, caller, invoice)
}

#[tokio::test]
async fn many_missed_blocks_are_passed_in_runs() {
    let (mut world, caller, _) = missed(1_000, 7).await;
    let asked = listen(&world);
    world.scan().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(142));
    assert_eq!(tip_of(&world), world.chain.tip());
    assert_eq!(world.store.tables().cursors[&chain_name()].finalized, world.chain.tip());
    let ranges = ranges(&asked);
    assert_eq!(ranges.iter().map(|range| range.blocks()).sum::<u64>(), 1_000, "{ranges:?}");
    assert!(ranges.windows(2).all(|pair| pair[0].last().next() == Some(pair[1].first())), "{ranges:?}");
    assert!(blocks_asked_for(&asked) <= 3, "{} blocks alone", blocks_asked_for(&asked));
    assert_eq!(world.status().catch_up, None, "it is done");
}

#[tokio::test]
async fn runs_grow_up_to_what_a_source_takes_at_once() {
    let (mut world, _, _) = missed(9_000, 10_000).await;
    let asked = listen(&world);
    world.scan().await;
    let sizes: Vec<u64> = ranges(&asked).iter().map(|range| range.blocks()).collect();
    assert!(sizes.contains(&RANGE_BLOCKS_MAX) && sizes.iter().all(|size| *size <= RANGE_BLOCKS_MAX), "{sizes:?}");
}

#[tokio::test]
async fn few_missed_blocks_go_one_by_one() {
    let (mut world, caller, _) = missed(32, 8).await;
    let asked = listen(&world);
    world.scan().await;
    assert_eq!(ranges(&asked), []);
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(4));
}

#[tokio::test]
async fn no_run_reaches_above_the_agreed_final_block() {
    let (mut world, caller, invoice) = missed(100, 10).await;
    let newest_final = world.chain.finalized_number();
    world.pay(&[(invoice.address, 500)]);
    world.chain.mine_empty(40);
    let asked = listen(&world);
    world.scan().await;
    assert!(ranges(&asked).iter().all(|range| range.last() <= newest_final));
    assert_eq!(tip_of(&world), world.chain.tip(), "what is not final is seen all the same");
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(10), "and not credited");
}

/// The next run is on its way before the one before it is stored.
#[tokio::test]
async fn runs_are_fetched_ahead() {
    let (mut world, _, _) = missed(1_000, 10).await;
    let asked = listen(&world);
    while ranges(&asked).is_empty() {
        world.scanner.step(&mut world.memory).await.expect("nothing goes wrong");
        tokio::task::yield_now().await;
    }
    assert!(ranges(&asked).len() > 1, "{:?}", ranges(&asked));
    assert!(tip_of(&world).number < BlockNumber(251));
}

#[tokio::test]
async fn nothing_of_a_run_is_stored_unless_the_nodes_agree_on_its_end() {
    let (mut world, caller, _) = missed(300, 10).await;
    let before = world.store.tables();
    let other = |number| BlockRef { number, hash: BlockHash::new([9; 32]), ..world.chain.tip() };
    for number in (33..=300).map(BlockNumber) {
        world.chain.agree_on(number, Some(other(number)));
    }
    world.chain.agree_on(world.chain.tip().number, Some(world.chain.tip()));
    let outcome = world.try_scan().await;
    assert!(matches!(outcome, Err(ScanError::Chain(ChainError::Inconsistent { .. }))), "{outcome:?}");
    let after = world.store.tables();
    assert_eq!(after.cursors, before.cursors);
    assert!(after.deposits.is_empty() && after.events.len() == before.events.len());
    for number in (33..=300).map(BlockNumber) {
        world.chain.agree_on(number, None);
    }
    world.chain.agree_on(world.chain.tip().number, Some(world.chain.tip()));
    let outcome = world.try_scan().await;
    assert!(matches!(outcome, Err(ScanError::Chain(ChainError::Unavailable { .. }))), "{outcome:?}");
    assert_eq!(world.store.tables().cursors, before.cursors);
    world.chain.be_honest();
    world.scan().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(30));
}

/// The chain forked while the host was down: back block by block, then forward in runs.
#[tokio::test]
async fn a_fork_during_the_absence_is_walked_back_before_runs_begin() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 1_000).await;
    world.chain.mine_empty(5);
    world.finalise().await;
    world.pay(&[(invoice.address, 100)]);
    world.pay(&[(invoice.address, 20)]);
    world.chain.mine_empty(3);
    world.scan().await;
    let taken = world.chain.fork(5);
    world.chain.mine_empty(60);
    // One comes back in another block, the other never.
    world.chain.mine(&taken[0].transfers);
    world.chain.mine_empty(60);
    world.chain.finalise();
    world.restart();
    let asked = listen(&world);
    world.scan().await;
    assert!(!ranges(&asked).is_empty());
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    let states: BTreeSet<_> = world.deposits(&invoice).await.iter().map(|one| format!("{:?}", one.state)).collect();
    assert_eq!(states, BTreeSet::from(["Final".to_owned(), "Orphaned".to_owned()]));
}

/// Gas bounds what one block can hold; it is never divided.
#[tokio::test]
async fn a_block_full_of_payments_is_one_transaction_and_others_are_bounded() {
    let (mut world, caller) = World::started().await;
    let mut addresses = Vec::new();
    for _ in 0..20 {
        addresses.push(world.invoice(&caller, 1_000_000).await.address);
    }
    let pays = |count: usize| addresses.iter().cycle().take(count).map(|to| (*to, 1)).collect::<Vec<_>>();
    for _ in 0..30 {
        world.pay(&pays(30));
    }
    world.pay(&pays(2_300));
    for _ in 0..30 {
        world.pay(&pays(1));
    }
    world.chain.finalise();
    world.restart();
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let counted = sizes.clone();
    world.store.faults.when(move |changes| {
        let deposits = changes.writes.iter().filter(|write| matches!(write, Write::CreateDeposit(_))).count();
        counted.lock().expect("nobody panics").push(deposits);
        None
    });
    world.scan().await;
    world.store.faults.clear();
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(900 + 2_300 + 30));
    let mut sizes = sizes.lock().expect("nobody panics").clone();
    sizes.sort_unstable();
    assert_eq!(sizes.pop(), Some(2_300), "the block alone");
    assert!(sizes.iter().all(|size| *size <= 200), "{sizes:?}");
}

/// Kills between any two transactions: what is stored is always a beginning of the whole.
#[tokio::test]
async fn any_single_failure_while_catching_up_leaves_exactly_one_credit_each() {
    let undisturbed = {
        let (mut world, caller, invoice) = missed(120, 3).await;
        let first = world.store.faults.commits();
        let asked = listen(&world);
        world.scan().await;
        let commits = world.store.faults.commits() - first;
        let questions = asked.lock().expect("nobody panics").len();
        (commits, questions, world.available(caller.merchant()).await, world.deposits(&invoice).await.len())
    };
    let (commits, questions, available, deposits) = undisturbed;
    assert_eq!((available, deposits), (Amount::from_units(40), 40));
    for nth in 0..commits {
        for fault in [Fault::NothingStored, Fault::Stored, Fault::Refused] {
            let (mut world, caller, _) = missed(120, 3).await;
            let passing = std::iter::repeat_n(None, usize::try_from(nth).expect("a small number"));
            world.store.faults.next(passing.chain([Some(fault)]));
            recover(&mut world).await;
            assert_eq!(world.available(caller.merchant()).await, available, "{fault:?} at commit {nth}");
            assert_eq!(world.store.tables().postings.len(), deposits, "{fault:?} at commit {nth}");
        }
    }
    for nth in 0..questions {
        let (mut world, caller, _) = missed(120, 3).await;
        let mut left = Some(nth);
        world.chain.fail_when(move |_| {
            let fails = left == Some(0);
            left = left.and_then(|left| left.checked_sub(1));
            fails.then(no_answer)
        });
        recover(&mut world).await;
        assert_eq!(world.available(caller.merchant()).await, available, "failure at question {nth}");
        assert_eq!(world.store.tables().postings.len(), deposits, "failure at question {nth}");
    }
}

async fn recover(world: &mut World) {
    for _ in 0..STEPS_MAX {
        if matches!(world.scanner.step(&mut world.memory).await, Ok(Progress::Idle)) {
            return;
        }
    }
    unreachable!("the scanner does not recover");
}

#[tokio::test]
async fn tells_how_far_it_is() {
    let (mut world, _, _) = missed(2_000, 5).await;
    let mut told = Vec::new();
    while world.scanner.step(&mut world.memory).await.expect("nothing goes wrong") == Progress::Advanced {
        told.extend(world.status().catch_up);
    }
    let first = told.first().expect("it takes several steps");
    assert_eq!((first.from, first.target, first.total()), (BlockNumber(0), BlockNumber(2_000), 2_000));
    assert!(told.windows(2).all(|pair| pair[0].done < pair[1].done || pair[1].done == 2_000), "{told:?}");
    assert_eq!(told.last().map(|last| (last.done, last.remaining())), Some((2_000, Some(std::time::Duration::ZERO))));
    assert_eq!(world.status().catch_up, None);
}

/// A failure in the middle, after which the rest goes block by block: nothing claims that it still catches up.
#[tokio::test]
async fn a_rest_that_is_too_small_for_runs_ends_the_catching_up() {
    let (mut world, caller, _) = missed(270, 10).await;
    // Only the first run gets through.
    world.chain.fail_when(|question| {
        let second = matches!(question, Question::Range(range) if range.first() > BlockNumber(1));
        second.then(no_answer)
    });
    for _ in 0..60 {
        // Fails again and again at the second run until it is given up.
        let _ = world.scanner.step(&mut world.memory).await;
    }
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(27));
    assert_eq!(world.status().catch_up, None);
}

/// The blocks below it are not remembered, and need not be: what the nodes agreed on is not taken back at one node's word.
#[tokio::test]
async fn a_tip_that_runs_have_led_to_is_never_taken_back() {
    let (mut world, caller, _) = missed(100, 10).await;
    world.scan().await;
    let (before, tip) = (world.store.tables(), world.chain.tip());
    // One node shows another chain; the others do not.
    world.chain.fork(1);
    world.chain.mine_empty(3);
    world.chain.agree_on(tip.number, Some(tip));
    world.chain.call_final(Some(tip));
    let outcome = world.try_scan().await;
    assert!(matches!(outcome, Err(ScanError::Chain(ChainError::Inconsistent { .. }))), "{outcome:?}");
    assert_eq!(world.store.tables().cursors, before.cursors);
    // They all do.
    world.chain.be_honest();
    world.chain.call_final(None);
    let outcome = world.try_scan().await;
    assert!(matches!(outcome, Err(ScanError::Frozen { .. })), "{outcome:?}");
    assert_eq!(world.store.tables().deposits, before.deposits);
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(10));
}

/// A block that left the chain stays stored until another one takes its place. No run passes over it, or it would be taken for
/// a block of our chain some day.
#[tokio::test]
async fn no_run_passes_over_blocks_that_are_stored_from_before_a_fork() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 1_000).await;
    world.chain.mine_empty(10);
    world.scan().await;
    world.chain.fork(8);
    world.chain.mine_empty(100);
    world.pay(&[(invoice.address, 100)]);
    let asked = listen(&world);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    assert!(ranges(&asked).iter().all(|range| range.first() > BlockNumber(10)), "{:?}", ranges(&asked));
    assert!(!ranges(&asked).is_empty());
    let chain: BTreeSet<_> = world.chain.blocks().into_iter().map(|found| found.block.hash).collect();
    let leftover: Vec<_> =
        world.store.tables().blocks.into_values().filter(|block| !chain.contains(&block.hash)).collect();
    assert_eq!(leftover, []);
}

#[tokio::test]
async fn an_answer_with_blocks_of_another_run_is_not_believed() {
    let (mut world, _, invoice) = missed(200, 10).await;
    let before = world.store.tables().cursors;
    let mut shown = world.chain.blocks()[10].clone();
    shown.block.number = BlockNumber(9_999);
    shown.transfers = vec![world.chain.payment(&usdt(), invoice.address, 77)];
    world.chain.lie_about(BlockNumber(10), shown);
    let outcome = world.try_scan().await;
    assert!(matches!(outcome, Err(ScanError::Chain(ChainError::Inconsistent { .. }))), "{outcome:?}");
    assert_eq!(world.store.tables().cursors, before);
}
