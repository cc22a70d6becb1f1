//! The promises of a chain: links, finality, forks, balances, and going on after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use xthonpay_chain_simulated::{Beginning, PAYER, SimulatedChain, assets};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::chain::{ChainError, ChainSource as _};
use xthonpay_payments::port::simulation::{BlockMaker as _, FINAL_BEHIND, ForkRefused, Movement, Way};
use xthonpay_tests::manual_clock::ManualClock;

const BEGINNING: Timestamp = Timestamp::from_secs(1_700_000_000);
const BUYER: Address = Address::new([0xb0; 20]);

fn chain(beginning: Beginning) -> (SimulatedChain, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::starting_at(BEGINNING));
    (SimulatedChain::new(beginning, clock.clone()), clock)
}

fn asset(symbol: &str) -> AssetId {
    format!("test:{symbol}").parse().expect("well formed")
}

fn paid(symbol: &str, tx: u8, units: u128) -> Movement {
    let way = Way::Transaction(TxHash::new([tx; 32]));
    Movement { asset: asset(symbol), to: BUYER, amount: Amount::from_units(units), way }
}

fn passed_on(units: u128) -> Movement {
    Movement { asset: asset("BNB"), to: BUYER, amount: Amount::from_units(units), way: Way::PassedOn }
}

/// Mines so many blocks with the same movements in each.
fn mine(chain: &SimulatedChain, blocks: u32, movements: &[Movement]) {
    for _ in 0..blocks {
        chain.mine(movements);
    }
}

/// Every block from `first` to the head, as a scanner reads them.
async fn read(chain: &SimulatedChain, first: u64) -> Vec<BlockRef> {
    let head = chain.tip().number.0;
    let mut blocks = Vec::new();
    for number in first..=head {
        blocks.push(chain.block(BlockNumber(number)).await.expect("answers").expect("kept"));
    }
    blocks
}

/// Whether each block names the one before it, is one higher, and comes later.
fn are_linked(blocks: &[BlockRef]) -> bool {
    let follows = |(below, above): (&BlockRef, &BlockRef)| {
        above.parent == below.hash && Some(above.number) == below.number.next() && above.time > below.time
    };
    blocks.iter().zip(&blocks[1..]).all(follows)
}

async fn balance(chain: &SimulatedChain, block: BlockRef) -> Amount {
    chain.native_balances(block, &[BUYER]).await.expect("answers")[0]
}

#[tokio::test]
async fn blocks_are_linked_and_later_than_those_below_whatever_the_clock_does() {
    let (chain, clock) = chain(Beginning::default());
    for pause in [0, 5_000, 0, 0, 1] {
        clock.advance(Duration::from_millis(pause));
        chain.mine(&[]);
    }
    clock.set(Timestamp::EPOCH);
    chain.mine(&[]);
    let blocks = read(&chain, 0).await;
    assert!(blocks.len() == 7 && are_linked(&blocks), "{blocks:?}");
    assert_eq!(blocks[0].time, BEGINNING);
    assert_eq!(blocks[2].time, BEGINNING.after(Duration::from_secs(5)), "the clock's time where it is later");
}

#[tokio::test]
async fn a_block_is_final_when_two_others_stand_on_it() {
    let (chain, _) = chain(Beginning::default());
    assert_eq!(chain.finalized().await.expect("answers").number, BlockNumber(0), "the first block is final at once");
    for head in 1..6_u64 {
        chain.mine(&[]);
        let finalized = chain.finalized().await.expect("answers");
        assert_eq!(finalized.number, BlockNumber(head.saturating_sub(FINAL_BEHIND)));
        assert_eq!(chain.final_block(finalized.number).await, Ok(Some(finalized)));
        assert_eq!(chain.final_block(BlockNumber(finalized.number.0 + 1)).await, Ok(None), "{head}");
    }
}

#[tokio::test]
async fn shows_transfers_as_a_node_does() {
    let (chain, _) = chain(Beginning::default());
    let block = chain.mine(&[paid("USDT", 1, 5), paid("BNB", 2, 6), passed_on(7)]);
    let found = chain.transfers(block.number).await.expect("answers").expect("there");
    let shown: Vec<_> = found
        .transfers
        .iter()
        .map(|found| (found.identity.asset.to_string(), found.amount.to_string(), found.from))
        .collect();
    let expected =
        [("test:USDT".to_owned(), "5".to_owned(), Some(PAYER)), ("test:BNB".to_owned(), "6".to_owned(), None)];
    assert_eq!(shown, expected, "what is passed on leaves no trace");
    assert_eq!(balance(&chain, block).await, Amount::from_units(13), "but in the balance");

    let alone = chain.transfers_of(TxHash::new([2; 32])).await.expect("answers").expect("mined");
    assert_eq!((alone.block, alone.transfers.len()), (block, 1));
    assert_eq!(chain.transfers_of(TxHash::new([9; 32])).await, Ok(None));

    chain.mine(&[]);
    let range = BlockRange::new(BlockNumber(1), BlockNumber(2)).expect("in order");
    let run = chain.transfers_in(range).await.expect("answers");
    assert_eq!((run.parent, run.last), (block.parent, chain.tip()));
    assert_eq!(run.blocks, [found], "the empty block is left out");
    let beyond = BlockRange::new(BlockNumber(1), BlockNumber(9)).expect("in order");
    assert!(matches!(chain.transfers_in(beyond).await, Err(ChainError::Unavailable { .. })));
}

#[tokio::test]
async fn a_fork_drops_one_transaction_and_mines_all_others_again() {
    let (chain, _) = chain(Beginning::default());
    let before = chain.mine(&[paid("BNB", 1, 1)]);
    let lost = chain.mine(&[paid("BNB", 2, 10), paid("USDT", 3, 100)]);
    let old_head = chain.mine(&[passed_on(1_000)]);

    let head = chain.fork(lost.number, TxHash::new([2; 32])).expect("not final");
    assert_eq!((head.number, chain.tip()), (BlockNumber(old_head.number.0 + 1), head), "one block longer");
    let blocks = read(&chain, 0).await;
    assert!(are_linked(&blocks), "{blocks:?}");
    assert_eq!(blocks[1], before, "what lies below stays");
    let hashes: BTreeSet<_> = blocks.iter().chain([&lost, &old_head]).map(|block| block.hash).collect();
    assert_eq!(hashes.len(), blocks.len() + 2, "no new block is an old one");

    assert_eq!(chain.transfers_of(TxHash::new([2; 32])).await, Ok(None));
    let again = chain.transfers_of(TxHash::new([3; 32])).await.expect("answers").expect("mined again");
    assert_eq!(again.block.number, lost.number);
    assert_eq!(balance(&chain, head).await, Amount::from_units(1_001), "without what was lost");
    let gone = chain.native_balances(old_head, &[BUYER]).await;
    assert!(matches!(gone, Err(ChainError::Unavailable { .. })), "{gone:?}");
}

#[tokio::test]
async fn what_is_final_is_not_replaced() {
    let (chain, _) = chain(Beginning::default());
    mine(&chain, 4, &[]);
    let blocks = read(&chain, 0).await;
    let tx = TxHash::new([1; 32]);
    for from in [0, 1, 2, 5, 99].map(BlockNumber) {
        assert_eq!(chain.fork(from, tx), Err(ForkRefused { from }));
    }
    assert_eq!(read(&chain, 0).await, blocks, "nothing happened");
    assert!(chain.fork(BlockNumber(3), tx).is_ok());
}

#[tokio::test]
async fn goes_on_above_the_tip_of_the_last_process() {
    let tip = {
        let (chain, _) = chain(Beginning::default());
        mine(&chain, 5, &[passed_on(3)]);
        chain.tip()
    };
    let coins = BTreeMap::from([(BUYER, Amount::from_units(15))]);
    let (chain, clock) = chain(Beginning { tip: Some(tip), coins });
    // The host's clock was set back meanwhile.
    clock.set(Timestamp::EPOCH);
    assert_eq!((chain.tip(), chain.finalized().await), (tip, Ok(tip)), "all that was processed is final");
    assert_eq!(balance(&chain, tip).await, Amount::from_units(15));
    let next = chain.mine(&[passed_on(1)]);
    assert!(are_linked(&[tip, next]));
    assert_eq!(balance(&chain, next).await, Amount::from_units(16));
    assert_eq!(balance(&chain, tip).await, Amount::from_units(15), "as it was at that block");
    assert_eq!(chain.finalized().await, Ok(tip));
    let below = BlockNumber(tip.number.0 - 1);
    assert_eq!(chain.block(below).await, Ok(None), "what lies below is gone");
    assert_eq!(chain.fork(tip.number, TxHash::new([1; 32])), Err(ForkRefused { from: tip.number }));
}

#[tokio::test]
async fn the_oldest_blocks_are_forgotten_and_the_chain_goes_on() {
    let (chain, _) = chain(Beginning::default());
    chain.mine(&[passed_on(4)]);
    mine(&chain, 5_000, &[]);
    let head = chain.tip().number.0;
    assert_eq!(head, 5_001);
    let kept = read(&chain, head - 3_999).await;
    assert!(kept.len() == 4_000 && are_linked(&kept));
    assert_eq!(chain.block(BlockNumber(head - 4_000)).await, Ok(None));
    assert_eq!(balance(&chain, chain.tip()).await, Amount::from_units(4), "balances outlive the blocks");
}

#[tokio::test]
async fn an_announcement_is_not_lost_when_nobody_waits_for_it() {
    let (chain, _) = chain(Beginning::default());
    chain.mine(&[]);
    let heard = tokio::time::timeout(Duration::from_secs(5), chain.announced()).await;
    assert!(heard.is_ok());
    let report = chain.report();
    assert_eq!((report.head, report.quorum, report.nodes.len()), (Some(BlockNumber(1)), 1, 1));
}

#[test]
fn its_assets_are_those_of_the_chain_called_test() {
    let names: Vec<String> = assets().iter().map(|asset| asset.id.to_string()).collect();
    assert_eq!(names, ["test:USDT", "test:BNB"]);
    assert!(assets().iter().all(|asset| asset.decimals.get() == 18));
}
