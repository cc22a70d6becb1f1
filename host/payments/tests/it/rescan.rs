//! Looking again: what was passed over is credited once, what is known stays, and nothing exceeds what an address received.

use std::sync::Arc;

use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRange, BlockRef};
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{BlockTransfers, Transfer};
use xthonpay_payments::access::Principal;
use xthonpay_payments::port::store::{Freeze, UsedSignature};
use xthonpay_payments::scanning::rescan::{Finding, RESCAN_BLOCKS_MAX, RescanError};
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::scripted_chain::{Question, no_answer};

use crate::world::{STRANGER, World, bnb, chain_name, usdt};

fn units(units: u128) -> Amount {
    Amount::from_units(units)
}

fn tx_of(transfer: &Transfer) -> TxHash {
    transfer.identity.origin.tx().expect("in a transaction")
}

/// Mines a payment in a block that the scanner is shown as empty, lets the scanner pass it as final, and shows it again.
async fn pass_over(world: &mut World, payment: &Transfer) -> BlockRef {
    let block = world.chain.mine(std::slice::from_ref(payment));
    world.chain.lie_about(block.number, BlockTransfers { block, transfers: Vec::new() });
    world.chain.mine_empty(1);
    world.finalise().await;
    world.chain.be_honest();
    block
}

/// An invoice whose payment was passed over.
async fn passed_over(asset: &AssetId) -> (World, Principal, Invoice, Transfer) {
    let (mut world, caller) = World::started().await;
    let invoice =
        if *asset == bnb() { world.bnb_invoice(&caller, 100).await } else { world.invoice(&caller, 100).await };
    let payment = world.chain.payment(asset, invoice.address, 100);
    pass_over(&mut world, &payment).await;
    (world, caller, invoice, payment)
}

async fn balance_of(world: &World, caller: &Principal, asset: &AssetId) -> Amount {
    world.balance(caller.merchant(), asset).await.available
}

/// One more block, a sweep of the balances, and finality.
async fn go_on(world: &mut World) {
    for _ in 0..2 {
        world.chain.mine_empty(1);
        world.finalise().await;
    }
}

#[tokio::test]
async fn a_transaction_that_was_passed_over_is_recorded_and_credited_once() {
    let (mut world, caller, invoice, payment) = passed_over(&usdt()).await;
    assert_eq!(world.deposits(&invoice).await, []);
    let rescan = world.rescan();
    let report = rescan.transaction(None, tx_of(&payment)).await.expect("all answer");
    let [Finding::Recorded(recorded)] = report.findings.as_slice() else { unreachable!("{report:?}") };
    assert!(report.is_final);
    assert_eq!((recorded.state, &recorded.transfer), (DepositState::Seen, &payment));
    assert_eq!(balance_of(&world, &caller, &usdt()).await, Amount::ZERO, "only the scanner credits");
    go_on(&mut world).await;
    assert_eq!(balance_of(&world, &caller, &usdt()).await, units(100));
    let again = rescan.transaction(Some(&chain_name()), tx_of(&payment)).await.expect("all answer");
    let [Finding::Known(known)] = again.findings.as_slice() else { unreachable!("{again:?}") };
    assert_eq!(known.state, DepositState::Final);
    go_on(&mut world).await;
    assert_eq!(balance_of(&world, &caller, &usdt()).await, units(100));
}

#[tokio::test]
async fn the_scanner_that_runs_meanwhile_reads_its_position_anew() {
    let (mut world, caller, _, payment) = passed_over(&usdt()).await;
    // The scanner keeps its memory: nothing restarts it.
    world.rescan().transaction(None, tx_of(&payment)).await.expect("all answer");
    for _ in 0..5 {
        world.chain.mine_empty(1);
        world.chain.finalise();
        let _ = world.try_scan().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_050)).await;
    let _ = world.try_scan().await;
    world.scan().await;
    assert_eq!(balance_of(&world, &caller, &usdt()).await, units(100));
}

#[tokio::test]
async fn a_range_finds_everything_in_it_and_repeats_nothing() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    let own = world.store.tables().addresses.into_values().find(|own| own.invoice.is_none()).expect("made");
    let mut missing = Vec::new();
    for nth in 0..3_u128 {
        let payment = world.chain.payment(&usdt(), invoice.address, 10 + nth);
        missing.push(pass_over(&mut world, &payment).await.number);
    }
    let stray = world.chain.payment(&bnb(), own.address, 7);
    missing.push(pass_over(&mut world, &stray).await.number);
    world.pay(&[(invoice.address, 50), (STRANGER, 1)]);
    world.finalise().await;
    // Not before, so that no sweep finds the stray payment in its balance.
    world.chain.set_native(&bnb());
    let range = BlockRange::new(BlockNumber(0), world.chain.finalized_number()).expect("in order");
    let report = world.rescan().range(None, range).await.expect("all answer");
    let recorded = report.findings.iter().filter(|finding| matches!(finding, Finding::Recorded(_))).count();
    assert_eq!((recorded, report.findings.len()), (4, 5));
    go_on(&mut world).await;
    assert_eq!(balance_of(&world, &caller, &usdt()).await, units(83));
    assert_eq!(balance_of(&world, &caller, &bnb()).await, units(7));
    let again = world.rescan().range(None, range).await.expect("all answer");
    assert!(again.findings.iter().all(|finding| matches!(finding, Finding::Known(_))), "{again:?}");
}

#[tokio::test]
async fn what_is_recorded_as_internal_is_not_credited_again_by_its_transaction() {
    let (mut world, caller) = World::started().await;
    world.chain.set_native(&bnb());
    let invoice = world.bnb_invoice(&caller, 100).await;
    let payment = world.chain.payment(&bnb(), invoice.address, 100);
    pass_over(&mut world, &payment).await;
    go_on(&mut world).await;
    let deposits = world.deposits(&invoice).await;
    let [internal] = deposits.as_slice() else { unreachable!("the sweep found it: {deposits:?}") };
    assert_eq!(balance_of(&world, &caller, &bnb()).await, units(100));
    let report = world.rescan().transaction(None, tx_of(&payment)).await.expect("all answer");
    let [Finding::Refused { reason, transfer, .. }] = report.findings.as_slice() else { unreachable!("{report:?}") };
    assert_eq!(transfer, &payment);
    assert!(reason.contains(internal.id.as_str()), "{reason}");
    let range = BlockRange::new(BlockNumber(0), world.chain.finalized_number()).expect("in order");
    let report = world.rescan().range(None, range).await.expect("all answer");
    assert!(matches!(report.findings.as_slice(), [Finding::Refused { .. }]), "{report:?}");
    go_on(&mut world).await;
    go_on(&mut world).await;
    assert_eq!(balance_of(&world, &caller, &bnb()).await, units(100));
    // A further payment that was passed over too fits below the balance, though only until the sweep has found it.
    let second = world.chain.payment(&bnb(), invoice.address, 30);
    world.chain.fail_when(|question| matches!(question, Question::Balances(_)).then(no_answer));
    pass_over(&mut world, &second).await;
    world.chain.recover();
    let report = world.rescan().transaction(None, tx_of(&second)).await.expect("all answer");
    assert!(matches!(report.findings.as_slice(), [Finding::Recorded(_)]), "{report:?}");
    for _ in 0..3 {
        go_on(&mut world).await;
    }
    assert_eq!(balance_of(&world, &caller, &bnb()).await, units(130), "and the sweep finds nothing more");
}

#[tokio::test]
async fn two_transfers_of_one_block_do_not_share_one_ceiling() {
    let (mut world, caller) = World::started().await;
    world.chain.set_native(&bnb());
    let invoice = world.bnb_invoice(&caller, 100).await;
    let payments = [40, 60].map(|units| world.chain.payment(&bnb(), invoice.address, units));
    let block = world.chain.mine(&payments);
    world.chain.lie_about(block.number, BlockTransfers { block, transfers: vec![payments[0].clone()] });
    world.chain.mine_empty(1);
    // The sweep records what the hidden one has brought.
    world.finalise().await;
    go_on(&mut world).await;
    world.chain.be_honest();
    assert_eq!(balance_of(&world, &caller, &bnb()).await, units(100));
    let range = BlockRange::new(block.number, block.number).expect("in order");
    let report = world.rescan().range(None, range).await.expect("all answer");
    let kinds: Vec<_> = report.findings.iter().map(|finding| matches!(finding, Finding::Refused { .. })).collect();
    assert_eq!(kinds.iter().filter(|refused| **refused).count(), 1, "{report:?}");
    go_on(&mut world).await;
    assert_eq!(balance_of(&world, &caller, &bnb()).await, units(100));
}

#[tokio::test]
async fn an_address_that_a_contract_paid_late_is_found_on_request() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.chain.mine_passing_on(&bnb(), invoice.address, 5);
    world.finalise().await;
    go_on(&mut world).await;
    assert_eq!(world.deposits(&invoice).await, [], "an invoice in another asset is not swept");
    let found = world.rescan().address(None, invoice.address).await.expect("all answer").expect("a surplus");
    assert_eq!((found.transfer.amount, found.state), (units(5), DepositState::Seen));
    assert_eq!(world.rescan().address(None, invoice.address).await.expect("all answer"), None);
    go_on(&mut world).await;
    assert_eq!(balance_of(&world, &caller, &bnb()).await, Amount::ZERO, "the wrong asset is set aside");
    let suspended = xthonpay_payments::port::store::Store::suspended_deposits(world.store.as_ref(), None, 10).await;
    assert_eq!(suspended.expect("the store answers").len(), 1);
    let unknown = world.rescan().address(None, STRANGER).await;
    assert!(matches!(unknown, Err(RescanError::UnknownAddress { address: STRANGER })), "{unknown:?}");
}

#[tokio::test]
async fn what_is_not_final_is_left_to_the_scanner() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    let payment = world.chain.payment(&usdt(), invoice.address, 100);
    world.chain.mine(std::slice::from_ref(&payment));
    let report = world.rescan().transaction(None, tx_of(&payment)).await.expect("all answer");
    assert!(!report.is_final);
    assert!(matches!(report.findings.as_slice(), [Finding::Awaited { .. }]), "{report:?}");
    assert_eq!(world.deposits(&invoice).await, []);
    let top = world.chain.tip().number;
    let range = BlockRange::new(top, top).expect("in order");
    let refused = world.rescan().range(None, range).await;
    assert!(matches!(refused, Err(RescanError::NotFinal { last, .. }) if last == top), "{refused:?}");
    world.scan().await;
    let report = world.rescan().transaction(None, tx_of(&payment)).await.expect("all answer");
    assert!(matches!(report.findings.as_slice(), [Finding::Known(_)]), "{report:?}");
}

#[tokio::test]
async fn a_block_that_the_nodes_do_not_agree_on_changes_nothing() {
    let (world, _, invoice, payment) = passed_over(&usdt()).await;
    let block = world.chain.blocks().into_iter().find(|found| found.transfers.contains(&payment)).expect("mined").block;
    world.chain.call_final(Some(BlockRef { hash: BlockHash::new([9; 32]), ..block }));
    let refused = world.rescan().transaction(None, tx_of(&payment)).await;
    assert!(matches!(refused, Err(RescanError::Disputed { number, .. }) if number == block.number), "{refused:?}");
    assert_eq!(world.deposits(&invoice).await, []);
}

#[tokio::test]
async fn refuses_what_cannot_be_looked_at() {
    let (world, _, _, payment) = passed_over(&usdt()).await;
    let rescan = world.rescan();
    let tx = TxHash::new([0xee; 32]);
    let unknown = rescan.transaction(None, tx).await;
    assert!(matches!(unknown, Err(RescanError::UnknownTransaction { .. })), "{unknown:?}");
    let chain = "eth".parse().expect("a name");
    let refused = rescan.transaction(Some(&chain), tx).await.expect_err("no such chain");
    assert_eq!(refused.to_string(), "there is no chain eth; this deployment has: bsc");
    let range = BlockRange::new(BlockNumber(0), BlockNumber(RESCAN_BLOCKS_MAX)).expect("in order");
    let refused = rescan.range(None, range).await;
    assert!(matches!(refused, Err(RescanError::RangeTooLarge { .. })), "{refused:?}");
    world.store.tamper(|tables| {
        let cursor = tables.cursors.get_mut(&chain_name()).expect("scanned");
        cursor.frozen = Some(Freeze { reason: "a test".to_owned(), at: Timestamp::EPOCH });
    });
    let refused = rescan.transaction(None, tx_of(&payment)).await.expect_err("frozen");
    assert_eq!(refused.to_string(), "bsc is frozen: a test");
    world.store.tamper(|tables| tables.cursors.clear());
    let refused = rescan.transaction(None, tx_of(&payment)).await;
    assert!(matches!(refused, Err(RescanError::NotBegun { .. })), "{refused:?}");
}

#[tokio::test]
async fn any_failing_commit_leaves_one_credit() {
    for fault in [Fault::NothingStored, Fault::Stored, Fault::Refused] {
        let (mut world, caller, _, payment) = passed_over(&usdt()).await;
        world.store.faults.next([Some(fault)]);
        let first = world.rescan().transaction(None, tx_of(&payment)).await;
        assert_eq!(first.is_ok(), fault == Fault::Refused, "{fault:?}: {first:?}");
        world.rescan().transaction(None, tx_of(&payment)).await.expect("all answer");
        go_on(&mut world).await;
        go_on(&mut world).await;
        assert_eq!(balance_of(&world, &caller, &usdt()).await, units(100), "{fault:?}");
    }
}

#[tokio::test]
async fn a_merchant_learns_of_its_own_deposits_alone() {
    let (world, caller, _, payment) = passed_over(&usdt()).await;
    let stranger = world.principal(SignatureScheme::Request).await;
    let rescan = world.rescan();
    let refused = rescan.for_merchant(&stranger, None, tx_of(&payment)).await;
    assert!(matches!(refused, Err(RescanError::UnknownTransaction { .. })), "{refused:?}");
    let report = rescan.for_merchant(&caller, None, tx_of(&payment)).await.expect("all answer");
    assert_eq!(report.findings.len(), 1, "recorded by whoever asked first, told to its owner");
}

#[tokio::test]
async fn a_signature_is_used_once() {
    let (world, caller, _, payment) = passed_over(&usdt()).await;
    let used = UsedSignature {
        key: caller.key.id.clone(),
        signature: "a".repeat(64),
        expires_at: Timestamp::from_millis(u64::MAX),
    };
    let signed = Principal { key: Arc::clone(&caller.key), used_signature: Some(used), claim: None };
    let rescan = world.rescan();
    rescan.for_merchant(&signed, None, tx_of(&payment)).await.expect("all answer");
    let refused = rescan.for_merchant(&signed, None, tx_of(&payment)).await;
    assert!(matches!(refused, Err(RescanError::SignatureReplayed)), "{refused:?}");
}

#[tokio::test]
async fn a_merchants_deposit_address_is_looked_at_on_request() {
    let (mut world, caller) = World::started().await;
    let own = world.store.tables().addresses.into_values().find(|own| own.invoice.is_none()).expect("made");
    world.chain.mine_passing_on(&bnb(), own.address, 5);
    world.chain.finalise();
    world.chain.fail_when(|question| {
        matches!(question, xthonpay_tests::scripted_chain::Question::Balances(_))
            .then(xthonpay_tests::scripted_chain::no_answer)
    });
    world.restart();
    world.scan().await;
    world.chain.recover();
    let found = world.rescan().address(None, own.address).await.expect("all answer").expect("a surplus");
    assert_eq!(found.transfer.amount, units(5));
    go_on(&mut world).await;
    go_on(&mut world).await;
    assert_eq!(balance_of(&world, &caller, &bnb()).await, units(5));
}
