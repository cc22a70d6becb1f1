//! How the scanner follows a chain: where it begins, what it waits for, what it tells and what it forgets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::hash::BlockHash;
use xthonpay_domain::invoice::assessment::{Flags, InvoiceState};
use xthonpay_domain::ledger::{Account, Line, Posting, PostingKind, Side};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::Transfer;
use xthonpay_payments::catalog::{Catalog, ChainTerms, simulated_chain};
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{Changeset, Cursor, Store as _, UsedSignature, Write};
use xthonpay_payments::scanning::changes::ScanError;
use xthonpay_payments::scanning::scanner::Progress;
use xthonpay_payments::scanning::status::Health;
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::scripted_chain::{Question, no_answer};

use crate::doubles::ScriptedRules;
use crate::world::{World, bnb, chain_name, unseen, usdt};

#[tokio::test]
async fn begins_at_the_newest_final_block() {
    let mut world = World::new(1);
    world.chain.mine_empty(10);
    let start = world.chain.finalise_below(4);
    world.chain.mine_empty(2);
    world.scan().await;
    let tables = world.store.tables();
    let cursor = &tables.cursors[&chain_name()];
    assert_eq!((cursor.finalized, cursor.tip), (start, world.chain.tip()));
    assert!(!tables.blocks.contains_key(&(chain_name(), BlockNumber(5))), "nothing below the start is read");
}

/// Deposits are told apart by the name of their chain too, so all of them would be new.
#[tokio::test]
async fn a_chain_under_another_name_is_not_scanned_again() {
    let (mut world, caller) = World::started().await;
    let own = world.store.deposit_address(caller.merchant()).await.expect("answers").expect("has one");
    world.pay(&[(own.address, 7)]);
    world.finalise().await;
    let before = world.store.tables();
    // Another chain than ours, ours under another name, and nodes that do not know yet.
    let of_another = BlockRef { hash: BlockHash::new([9; 32]), ..world.chain.tip() };
    for (agreed, frozen, begins) in
        [(Some(world.chain.tip()), true, false), (None, false, false), (Some(of_another), false, true)]
    {
        let name: ChainName = "bnb-chain".parse().expect("well formed");
        let mut renamed = world.reopened(7).await;
        let terms = BTreeMap::from([(name.clone(), ChainTerms { min_confirmations: 1 })]);
        renamed.scanner.books.catalog = Arc::new(Catalog::new(terms, Vec::new()));
        renamed.scanner.books.chain = name.clone();
        world.chain.agree_on(world.chain.tip().number, agreed);
        let outcome = renamed.try_scan().await;
        assert_eq!(outcome.is_ok(), begins, "{outcome:?}");
        if let Err(failure) = &outcome {
            assert_eq!(matches!(failure, ScanError::Frozen { .. }), frozen, "{failure}");
            assert!(failure.to_string().contains("bsc") && failure.to_string().contains("bnb-chain"), "{failure}");
            assert_eq!(world.store.tables().cursors, before.cursors);
        }
        assert_eq!(world.store.tables().postings.len(), 1);
        assert_eq!(world.store.tables().cursors.contains_key(&name), begins);
    }
}

/// While no node answers, invoices are made all the same, and nothing keeps a payer from paying.
#[tokio::test]
async fn begins_before_the_oldest_invoice_that_was_made_while_no_node_answered() {
    for before in [0, 1, 2, 7, 5_000] {
        let mut world = World::new(1);
        world.chain.mine_empty(before);
        world.clock.set(world.chain.tip().time);
        world.chain.fail_when(|_| Some(no_answer()));
        let caller = world.principal(xthonpay_domain::access::SignatureScheme::Request).await;
        assert!(world.try_scan().await.is_err());
        let first = world.invoice(&caller, 100).await;
        world.pass(Duration::from_secs(60));
        world.pay(&[(first.address, 100)]);
        let second = world.invoice(&caller, 50).await;
        world.chain.mine_empty(20);
        world.chain.finalise();
        world.pay(&[(second.address, 50)]);
        world.chain.recover();
        world.finalise().await;
        world.settle().await;
        assert_eq!(world.available(caller.merchant()).await, Amount::from_units(150), "after {before} blocks");
        let processed = world.store.tables().blocks.len();
        assert!(processed < 1_500, "reads {processed} blocks to find two payments of the last minutes");
    }
}

/// A merchant can be made, and its own address paid, before the host has ever seen a block.
#[tokio::test]
async fn begins_before_the_oldest_merchant_whose_address_can_have_been_paid() {
    let mut world = World::new(1);
    world.chain.mine_empty(100);
    world.clock.set(world.chain.tip().time);
    let caller = world.principal(xthonpay_domain::access::SignatureScheme::Request).await;
    let own = world.store.deposit_address(caller.merchant()).await.expect("answers").expect("has one");
    world.pass(Duration::from_secs(60));
    world.pay(&[(own.address, 70)]);
    world.chain.mine_empty(20);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(70));
}

/// The simulated chain waits for no node, so it is always scanned first.
#[tokio::test]
async fn begins_before_the_oldest_merchant_though_the_simulated_chain_was_scanned() {
    let mut world = World::new(1);
    let (terms, block) = (ChainTerms { min_confirmations: 1 }, world.chain.tip());
    let chains = BTreeMap::from([(chain_name(), terms), (simulated_chain(), terms)]);
    world.scanner.books.catalog = Arc::new(Catalog::new(chains, world.catalog.assets().cloned().collect()));
    let scanned = Cursor { chain: simulated_chain(), tip: block, finalized: block, frozen: None, revision: 1 };
    world.store.commit(Changeset::new().with(Write::SetCursor(scanned))).await.expect("nobody else writes");
    let caller = world.principal(xthonpay_domain::access::SignatureScheme::Request).await;
    let own = world.store.deposit_address(caller.merchant()).await.expect("answers").expect("has one");
    world.pass(Duration::from_secs(60));
    world.pay(&[(own.address, 70)]);
    world.chain.mine_empty(20);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(70));
}

#[tokio::test]
async fn waits_for_as_many_confirmations_as_the_terms_ask_for() {
    let (mut world, caller) = World::started().await;
    world.hooks.bind_rules([ScriptedRules::on_draft(|draft| {
        let mut proposal = draft.proposed;
        proposal.confirmations = 4;
        Ok(xthonpay_payments::port::hooks::DraftRuling::Accept(proposal))
    })]);
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    for confirmations in 1..=3 {
        world.finalise().await;
        assert_eq!(world.available(caller.merchant()).await, Amount::ZERO, "{confirmations} confirmations");
        world.chain.mine_empty(1);
    }
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100), "4 confirmations");
}

#[tokio::test]
async fn credits_more_than_fits_into_one_transaction() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 1_250).await;
    world.pay(&vec![(invoice.address, 1); 1_250]);
    world.pay(&[(invoice.address, 7)]);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(1_257));
    assert_eq!(world.store.tables().postings.len(), 1_251);
    assert_eq!(world.store.tables().cursors[&chain_name()].finalized, world.chain.tip());
}

/// Until the last of them is credited, chain time stands still for whoever asks the store.
#[tokio::test]
async fn the_mark_of_finality_waits_for_the_last_credit_below_it() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 1_250).await;
    world.pay(&vec![(invoice.address, 1); 1_250]);
    world.scan().await;
    let before = world.store.tables().cursors[&chain_name()].finalized;
    world.chain.finalise();
    world.restart();
    world.store.faults.next([None, Some(Fault::NothingStored)]);
    assert!(world.try_scan().await.is_err());
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(500), "a part is credited");
    assert_eq!(world.store.tables().cursors[&chain_name()].finalized, before);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(1_250));
    assert_eq!(world.store.tables().cursors[&chain_name()].finalized, world.chain.tip());
}

/// Grains that anybody can send cost a read each, to know whether they are known, and nothing more for each of them.
#[tokio::test]
async fn reads_an_invoice_once_for_all_of_its_payments_in_a_step() {
    let (mut world, caller) = World::started().await;
    let one = world.invoice(&caller, 1_000).await;
    let other = world.invoice(&caller, 1_000).await;
    let mixed: Vec<_> = (0..400).map(|nth| if nth % 2 == 0 { (one.address, 1) } else { (other.address, 1) }).collect();
    world.pay(&mixed);
    let before = world.store.faults.reads();
    world.scan().await;
    let sighting = world.store.faults.reads() - before;
    assert!((400..440).contains(&sighting), "{sighting} reads to see 400 payments");
    world.chain.finalise();
    world.restart();
    let before = world.store.faults.reads();
    world.scan().await;
    let crediting = world.store.faults.reads() - before;
    assert!(crediting < 40, "{crediting} reads to credit 400 payments");
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(400));
}

/// A token that anybody can mint shows any amount.
#[tokio::test]
async fn amounts_that_no_asset_has_are_set_aside_and_stop_nothing() {
    let widest = Amount::PAYMENT_MAX;
    let above = widest.checked_add(Amount::from_units(1)).expect("below 2^256");
    let money = Amount::from_units(100);
    // What is paid in one block; how much of it is the merchant's.
    let cases = [
        (vec![Amount::MAX, Amount::MAX, money], money),
        (vec![money, Amount::MAX], money),
        (vec![Amount::MAX, Amount::MAX], Amount::ZERO),
        (vec![above, above, money], money),
        (vec![widest, widest], widest.checked_add(widest).expect("below 2^256")),
    ];
    for (paid, credited) in cases {
        for to_invoice in [true, false] {
            let (mut world, caller) = World::started().await;
            let invoice = world.invoice(&caller, 100).await;
            let own = world.store.deposit_address(caller.merchant()).await.expect("answers").expect("has one");
            let to = if to_invoice { invoice.address } else { own.address };
            let transfers: Vec<_> =
                paid.iter().map(|amount| Transfer { amount: *amount, ..world.chain.payment(&usdt(), to, 1) }).collect();
            world.chain.mine(&transfers);
            world.finalise().await;
            world.settle().await;
            let case = format!("{paid:?}, to the invoice: {to_invoice}");
            assert_eq!(world.available(caller.merchant()).await, credited, "{case}");
            let tables = world.store.tables();
            let set_aside = paid.iter().filter(|amount| **amount > widest).count();
            let suspended = |posting: &&Posting| posting.kind() == PostingKind::DepositSuspended;
            assert_eq!(tables.postings.values().filter(suspended).count(), set_aside, "{case}");
            let unattributed = |event: &&Arc<Event>| event.kind == EventKind::DepositUnattributed;
            assert_eq!(tables.events.iter().filter(unattributed).count(), set_aside, "{case}");
            let told = tables.events.iter().filter(|event| event.kind == EventKind::DepositCredited).count();
            assert_eq!(told, if to_invoice { 0 } else { paid.len() - set_aside }, "{case}");
            if to_invoice {
                let now = world.stored(&invoice).await.assessment;
                let state = if credited.is_zero() { InvoiceState::Pending } else { InvoiceState::Paid };
                assert_eq!((now.state, now.received), (state, credited), "{case}");
                assert_eq!(now.flags.contains(Flags::NEEDS_REVIEW), set_aside > 0, "{case}");
            }
            // And the chain goes on.
            world.pay(&[(own.address, 1)]);
            world.finalise().await;
            assert_eq!(world.store.tables().cursors[&chain_name()].finalized, world.chain.tip(), "{case}");
        }
    }
}

#[tokio::test]
async fn another_asset_than_the_invoices_is_set_aside_and_told() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    let wrong = world.chain.payment(&bnb(), invoice.address, 7);
    world.chain.mine(&[wrong]);
    world.finalise().await;
    let tables = world.store.tables();
    let posting = tables.postings.values().next().expect("it is in the books");
    assert_eq!(posting.kind(), PostingKind::DepositSuspended);
    let credited = |line: &&Line| line.side == Side::Credit;
    let accounts: Vec<&Account> = posting.lines().iter().filter(credited).map(|line| &line.account).collect();
    assert_eq!(accounts, [&Account::Suspense]);
    assert!(tables.balances.is_empty(), "nobody can spend it");
    use EventKind::{InvoiceCreated, InvoiceNeedsReview, PaymentConfirmed, PaymentDetected};
    let of_invoice = |event: &&Arc<Event>| event.sequence > 0;
    let told: Vec<EventKind> = tables.events.iter().filter(of_invoice).map(|event| event.kind).collect();
    assert_eq!(told, [InvoiceCreated, PaymentDetected, InvoiceNeedsReview, PaymentConfirmed]);
    let unattributed = tables.events.iter().filter(|event| event.kind == EventKind::DepositUnattributed);
    assert_eq!(unattributed.map(|event| event.invoice.clone()).collect::<Vec<_>>(), [Some(invoice.id)]);
}

#[tokio::test]
async fn tells_of_every_payment_once_and_in_order() {
    use EventKind::{
        InvoiceConfirming, InvoiceCreated, InvoicePaid, InvoicePaymentReverted, PaymentConfirmed, PaymentDetected,
        PaymentReorged,
    };
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.scan().await;
    world.restart();
    world.scan().await;
    let taken = world.chain.fork(1);
    world.chain.mine_empty(2);
    world.scan().await;
    world.chain.mine(&taken[0].transfers);
    world.finalise().await;
    world.settle().await;
    world.finalise().await;
    world.settle().await;
    let told = [
        InvoiceCreated,
        PaymentDetected,
        InvoiceConfirming,
        PaymentReorged,
        InvoicePaymentReverted,
        PaymentDetected,
        InvoiceConfirming,
        PaymentConfirmed,
        InvoicePaid,
    ];
    assert_eq!(world.events_of(&invoice.id), told);
    let sequences: Vec<u64> = world.store.tables().events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=9).collect::<Vec<u64>>());
}

#[tokio::test]
async fn reports_failing_for_as_long_as_it_fails() {
    let (mut world, _) = World::started().await;
    world.chain.mine_empty(1);
    let status = world.scanner.status.clone();
    world.chain.fail_when(move |question| {
        let asked_before = matches!(status.get().health, Health::Failing { .. });
        assert!(asked_before || status.get().health == Health::Running);
        matches!(question, Question::Transfers(_)).then(no_answer)
    });
    assert!(world.try_scan().await.is_err());
    let status = world.scanner.status.clone();
    world.chain.fail_when(move |question| {
        assert!(matches!(status.get().health, Health::Failing { .. }), "{:?} at {question:?}", status.get().health);
        matches!(question, Question::Transfers(_)).then(no_answer)
    });
    assert!(world.try_scan().await.is_err());
}

/// The caller can go away while the record is written, and find the invoice in a list afterwards.
#[tokio::test]
async fn finds_payments_to_an_invoice_whose_caller_went_away() {
    let (mut world, caller) = World::started().await;
    world.store.faults.next([Some(Fault::StoredAndSilent)]);
    let creation = world.invoicing.create(&caller, world.new_invoice(100), &unseen);
    assert!(tokio::time::timeout(Duration::from_millis(20), creation).await.is_err(), "the caller went away");
    let listed = world.invoicing.list(caller.merchant(), &Default::default(), 10).await.expect("the store answers");
    world.pay(&[(listed[0].address, 100)]);
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.stored(&listed[0]).await.assessment.state, InvoiceState::Paid);
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
}

#[tokio::test]
async fn a_restart_watches_every_address_again() {
    let (world, caller) = World::started().await;
    for _ in 0..7 {
        world.invoice(&caller, 1).await;
    }
    let watch = WatchSet::default();
    watch.load(world.store.as_ref()).await.expect("the store answers");
    assert_eq!(watch.len(), world.store.tables().addresses.len());
    assert!(world.store.tables().addresses.keys().all(|address| watch.contains(address)));
}

#[tokio::test]
async fn forgets_old_blocks_and_used_signatures_to_the_last_row() {
    let (mut world, caller) = World::started().await;
    for number in 0..500_u32 {
        let used = UsedSignature {
            key: caller.key.id.clone(),
            signature: format!("{number:064x}"),
            expires_at: world.clock.now(),
        };
        world.store.commit(Changeset::new().with(Write::UseSignature(used))).await.expect("not used before");
    }
    world.clock.advance(Duration::from_secs(1));
    world.chain.mine_empty(200);
    for _ in 0..400 {
        if world.scanner.step(&mut world.memory).await.expect("nothing goes wrong") == Progress::Idle {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(world.store.tables().signatures.len(), 0);
    // Few enough each time that every one of them is remembered.
    for _ in 0..80 {
        world.chain.mine_empty(30);
        world.finalise().await;
    }
    world.chain.mine_empty(200);
    world.scan().await;
    for _ in 0..400 {
        world.scanner.step(&mut world.memory).await.expect("nothing goes wrong");
    }
    let lowest = world.store.tables().blocks.keys().map(|(_, number)| number.0).min();
    assert_eq!(lowest, Some(600), "2 000 blocks below the final one are kept");
}

#[tokio::test]
async fn run_recovers_by_itself_and_stops_when_told() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.chain.finalise();
    world.restart();
    let mut failures = 2;
    world.chain.fail_when(move |question| {
        let fails = matches!(question, Question::Transfers(_)) && failures > 0;
        failures -= i32::from(fails);
        fails.then(no_answer)
    });
    let stop = CancellationToken::new();
    let status = world.scanner.status.clone();
    let run = tokio::spawn(world.scanner.run(stop.clone()));
    let tip = world.chain.tip();
    let caught_up = async {
        while status.get().cursor.is_none_or(|cursor| cursor.finalized != tip) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), caught_up).await.expect("catches up after the failures");
    stop.cancel();
    run.await.expect("ends in order");
    assert_eq!(world.store.tables().postings.len(), 1);
}

/// A run of missed blocks can take minutes on slow nodes; nobody waits for it at the end.
#[tokio::test]
async fn stops_within_seconds_although_the_store_gives_no_answer() {
    let (world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.store.faults.next([Some(Fault::StoredAndSilent)]);
    let stop = CancellationToken::new();
    let run = tokio::spawn(world.scanner.run(stop.clone()));
    while world.store.tables().deposits.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(15), run).await.expect("does not hang").expect("ends in order");
}

/// The timer would look once in ten seconds.
#[tokio::test]
async fn announced_blocks_are_looked_for_at_once_and_cost_little_more_than_themselves() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.scanner.poll_interval = Duration::from_secs(10);
    let looks = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = looks.clone();
    world.chain.fail_when(move |question| {
        let is_look = matches!(question, Question::Transfers(_));
        counted.fetch_add(usize::from(is_look), std::sync::atomic::Ordering::SeqCst);
        None
    });
    let World { scanner, chain, .. } = world;
    let (status, stop) = (scanner.status.clone(), CancellationToken::new());
    let run = tokio::spawn(scanner.run(stop.clone()));
    let blocks = 60;
    for _ in 0..blocks {
        tokio::time::sleep(Duration::from_millis(40)).await;
        chain.mine(&[chain.payment(&crate::world::usdt(), invoice.address, 1)]);
        chain.spread_the_news();
    }
    let tip = chain.tip();
    let found = async {
        while status.get().cursor.is_none_or(|cursor| cursor.tip != tip) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), found).await.expect("the announcement alone leads to it");
    stop.cancel();
    run.await.expect("ends in order");
    // Until the rhythm is known, each block is followed by a look for one more.
    let looks = looks.load(std::sync::atomic::Ordering::SeqCst);
    assert!(looks <= blocks * 8 / 5, "{looks} looks for {blocks} blocks");
}

#[tokio::test]
async fn an_orphaned_deposit_is_not_credited_by_later_finality() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.scan().await;
    world.chain.fork(1);
    world.chain.mine_empty(2);
    world.finalise().await;
    let deposits = world.deposits(&invoice).await;
    assert_eq!(deposits.iter().map(|deposit| deposit.state).collect::<Vec<_>>(), [DepositState::Orphaned]);
    assert_eq!(world.available(caller.merchant()).await, Amount::ZERO);
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Pending);
    assert!(world.status().at > Timestamp::EPOCH);
}
