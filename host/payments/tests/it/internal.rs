//! Coins that contracts pass on: found in balances, credited once and exactly, and a cause of nothing else.

use std::time::Duration;

use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::Origin;
use xthonpay_payments::access::Principal;
use xthonpay_payments::port::store::Store as _;
use xthonpay_payments::scanning::internal::BalanceSweep;
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::scripted_chain::{Question, no_answer};

use crate::world::{World, bnb};

async fn bnb_of(world: &World, caller: &Principal) -> Amount {
    world.balance(caller.merchant(), &bnb()).await.available
}

/// Finality, a sweep, and one more block with which what the sweep found is credited.
async fn sweep(world: &mut World) {
    world.finalise().await;
    // A restart stands in for the seconds between two sweeps.
    world.restart();
    world.scan().await;
    world.chain.mine_empty(1);
    world.finalise().await;
}

fn units(units: u128) -> Amount {
    Amount::from_units(units)
}

#[tokio::test]
async fn what_a_contract_passes_on_pays_the_invoice_once() {
    let (mut world, caller) = World::started().await;
    let invoice = world.bnb_invoice(&caller, 100).await;
    let paid_in = world.chain.mine_passing_on(&bnb(), invoice.address, 100);
    sweep(&mut world).await;
    for _ in 0..5 {
        sweep(&mut world).await;
    }
    assert_eq!(bnb_of(&world, &caller).await, units(100));
    let deposits = world.deposits(&invoice).await;
    let [deposit] = deposits.as_slice() else { unreachable!("one deposit, not {deposits:?}") };
    assert_eq!((deposit.state, deposit.transfer.amount), (DepositState::Final, units(100)));
    assert_eq!((deposit.transfer.from, deposit.transfer.identity.origin.tx()), (None, None));
    assert!(deposit.block.number >= paid_in.number);
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Paid);
    let events = world.events_of(&invoice.id);
    assert_eq!(events.iter().filter(|kind| **kind == EventKind::PaymentConfirmed).count(), 1);
}

#[tokio::test]
async fn only_what_no_transaction_explains_is_internal() {
    let (mut world, caller) = World::started().await;
    let invoice = world.bnb_invoice(&caller, 100).await;
    let shown = world.chain.payment(&bnb(), invoice.address, 40);
    world.chain.set_native(&bnb());
    world.chain.mine(&[shown]);
    sweep(&mut world).await;
    assert_eq!(world.deposits(&invoice).await.len(), 1);
    world.chain.mine_passing_on(&bnb(), invoice.address, 25);
    world.chain.mine_passing_on(&bnb(), invoice.address, 35);
    sweep(&mut world).await;
    let mut internal: Vec<Amount> = Vec::new();
    for deposit in world.deposits(&invoice).await {
        if matches!(deposit.transfer.identity.origin, Origin::Balance { .. }) {
            internal.push(deposit.transfer.amount);
        }
    }
    assert_eq!(internal, [units(60)], "two that came between two sweeps are one");
    assert_eq!(bnb_of(&world, &caller).await, units(100));
}

#[tokio::test]
async fn what_is_not_final_is_not_looked_at() {
    let (mut world, caller) = World::started().await;
    let invoice = world.bnb_invoice(&caller, 100).await;
    world.chain.mine_passing_on(&bnb(), invoice.address, 100);
    world.restart();
    world.scan().await;
    assert_eq!(world.deposits(&invoice).await, []);
    world.chain.fork(1);
    world.chain.mine_empty(2);
    sweep(&mut world).await;
    assert_eq!(world.deposits(&invoice).await, []);
    assert_eq!(bnb_of(&world, &caller).await, Amount::ZERO);
}

#[tokio::test]
async fn a_balance_below_the_deposits_debits_nobody() {
    let (mut world, caller) = World::started().await;
    let invoice = world.bnb_invoice(&caller, 100).await;
    // The chain was not told which asset is native, so its balances stay at zero.
    world.chain.mine(&[world.chain.payment(&bnb(), invoice.address, 40)]);
    sweep(&mut world).await;
    sweep(&mut world).await;
    assert_eq!(bnb_of(&world, &caller).await, units(40));
    assert_eq!(world.deposits(&invoice).await.len(), 1);
}

#[tokio::test]
async fn a_node_without_balances_holds_up_nothing() {
    let (mut world, caller) = World::started().await;
    let waiting = world.bnb_invoice(&caller, 100).await;
    let invoice = world.invoice(&caller, 50).await;
    world.chain.fail_when(|question| matches!(question, Question::Balances(_)).then(no_answer));
    world.chain.mine_passing_on(&bnb(), waiting.address, 100);
    world.pay(&[(invoice.address, 50)]);
    sweep(&mut world).await;
    assert_eq!(world.available(caller.merchant()).await, units(50));
    assert_eq!(bnb_of(&world, &caller).await, Amount::ZERO);
    world.chain.recover();
    sweep(&mut world).await;
    assert_eq!(bnb_of(&world, &caller).await, units(100));
}

#[tokio::test]
async fn states_that_nodes_no_longer_keep_are_not_asked_for() {
    let (mut world, caller) = World::started().await;
    let invoice = world.bnb_invoice(&caller, 100).await;
    world.chain.mine_passing_on(&bnb(), invoice.address, 100);
    world.chain.finalise();
    world.chain.mine_empty(101);
    let tip = world.chain.tip().number;
    world.chain.fail_when(move |question| {
        assert!(!matches!(question, Question::Balances(at) if at != tip), "asked for {question:?}");
        None
    });
    world.restart();
    world.scan().await;
    assert_eq!(world.deposits(&invoice).await, [], "what is not final is not believed");
    world.chain.recover();
    world.chain.finalise_below(100);
    world.restart();
    world.scan().await;
    assert_eq!(world.deposits(&invoice).await.len(), 1);
}

#[tokio::test]
async fn a_sweep_that_fails_at_any_commit_leaves_one_credit() {
    for fault in [Fault::NothingStored, Fault::Stored, Fault::Refused] {
        for nth in 0..6_usize {
            let (mut world, caller) = World::started().await;
            let invoice = world.bnb_invoice(&caller, 100).await;
            world.chain.mine_passing_on(&bnb(), invoice.address, 100);
            world.chain.finalise();
            world.store.faults.next(std::iter::repeat_n(None, nth).chain([Some(fault)]));
            for _ in 0..8 {
                world.restart();
                let _ = world.try_scan().await;
                world.chain.mine_empty(1);
                world.chain.finalise();
            }
            assert_eq!(bnb_of(&world, &caller).await, units(100), "{fault:?} at commit {nth}");
        }
    }
}

/// Copies of an invoice, none of which was ever paid, that expire before it.
fn crowd(world: &World, invoice: &Invoice, count: u32) {
    world.store.tamper(|tables| {
        for number in 0..count {
            let id = InvoiceId::from_fact(&["crowd", &number.to_string()]);
            let mut copy = Invoice { id: id.clone(), ..invoice.clone() };
            copy.terms.asset = "bsc:USDT".parse().expect("well formed");
            copy.terms.expires_at = Timestamp::from_millis(invoice.terms.expires_at.as_millis().saturating_sub(1));
            tables.invoices.insert(id, copy);
        }
    });
}

#[tokio::test]
async fn every_open_invoice_gets_its_turn() {
    let (mut world, caller) = World::started().await;
    let invoice = world.bnb_invoice(&caller, 100).await;
    crowd(&world, &invoice, 9_000);
    world.chain.mine_passing_on(&bnb(), invoice.address, 100);
    world.chain.finalise();
    world.chain.fail_when(|question| matches!(question, Question::Balances(_)).then(no_answer));
    world.restart();
    world.scan().await;
    world.chain.recover();
    let books = world.scanner.books.clone();
    let cursor = world.store.cursor(&books.chain).await.expect("the store answers").expect("scanned");
    assert_eq!(cursor.finalized, world.chain.tip());
    let at = xthonpay_payments::scanning::changes::Position { cursor, seen: Vec::new() };
    let mut sweep = BalanceSweep::every(Duration::ZERO);
    let mut sweeps = 0;
    let found = loop {
        sweeps += 1;
        assert!(sweeps < 10, "never found");
        let source = world.chain.as_ref();
        let step = books.sweep_internal(&at, at.cursor.tip.number, source, &mut sweep).await.expect("all answer");
        if let Some(step) = step {
            break step;
        }
    };
    assert_eq!(sweeps, 3, "four thousand invoices a sweep");
    assert_eq!(found.after.seen.len(), 1);
}

#[tokio::test]
async fn sweeps_wait_for_each_other_and_for_a_new_final_block() {
    let (mut world, caller) = World::started().await;
    world.bnb_invoice(&caller, 100).await;
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::<BlockNumber>::new()));
    let log = asked.clone();
    world.chain.fail_when(move |question| {
        if let Question::Balances(block) = question {
            log.lock().expect("no panic before").push(block);
        }
        None
    });
    world.restart();
    for _ in 0..20 {
        world.chain.mine_empty(1);
        world.chain.finalise();
        world.scan().await;
    }
    assert_eq!(asked.lock().expect("no panic before").len(), 1, "twenty blocks in no time are one sweep");
    let cursor = world.store.cursor(&world.scanner.books.chain).await.expect("the store answers").expect("scanned");
    let at = xthonpay_payments::scanning::changes::Position { cursor, seen: Vec::new() };
    let mut sweep = BalanceSweep::every(Duration::ZERO);
    for _ in 0..3 {
        let (books, source) = (&world.scanner.books, world.chain.as_ref());
        books.sweep_internal(&at, at.cursor.tip.number, source, &mut sweep).await.expect("all answer");
    }
    assert_eq!(asked.lock().expect("no panic before").len(), 2, "one final block is looked at once");
}

#[tokio::test]
async fn many_surpluses_are_recorded_in_bounded_steps() {
    let (mut world, caller) = World::started().await;
    let mut invoices = Vec::new();
    for _ in 0..130 {
        let invoice = world.bnb_invoice(&caller, 10).await;
        world.chain.mine_passing_on(&bnb(), invoice.address, 10);
        invoices.push(invoice);
    }
    let largest = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = largest.clone();
    world.store.faults.when(move |changes| {
        let created = changes
            .writes
            .iter()
            .filter(|write| matches!(write, xthonpay_payments::port::store::Write::CreateDeposit(_)));
        seen.fetch_max(created.count(), std::sync::atomic::Ordering::SeqCst);
        None
    });
    for _ in 0..4 {
        sweep(&mut world).await;
    }
    assert_eq!(bnb_of(&world, &caller).await, units(1_300));
    assert_eq!(largest.load(std::sync::atomic::Ordering::SeqCst), 100);
    let other = world.principal(SignatureScheme::Request).await;
    assert_eq!(bnb_of(&world, &other).await, Amount::ZERO);
}

const HOURS: Duration = Duration::from_secs(2 * 3_600);

#[tokio::test]
async fn what_came_before_the_expiry_is_in_time_although_it_is_found_behind_it() {
    let (mut world, caller) = World::started().await;
    let invoice = world.bnb_invoice(&caller, 100).await;
    let paid_in = world.chain.mine_passing_on(&bnb(), invoice.address, 100);
    world.pass(HOURS);
    world.chain.mine_passing_on(&bnb(), invoice.address, 30);
    world.chain.finalise();
    world.restart();
    // A tick of the settlement after each step of the scanner, as late and as early as it can be.
    for _ in 0..20 {
        let _ = world.scanner.step(&mut world.memory).await.expect("nothing goes wrong");
        world.settle().await;
    }
    world.chain.mine_empty(1);
    world.finalise().await;
    world.settle().await;
    world.settle().await;
    let deposits = world.deposits(&invoice).await;
    let early = deposits.iter().find(|deposit| deposit.block == paid_in).expect("told at the block before the expiry");
    assert_eq!((deposits.len(), early.transfer.amount), (2, units(100)), "{deposits:?}");
    let now = world.stored(&invoice).await.assessment;
    assert_eq!((now.state, now.received_late), (InvoiceState::Paid, units(30)));
    assert_eq!(bnb_of(&world, &caller).await, units(130));
    assert!(!world.events_of(&invoice.id).contains(&EventKind::InvoiceExpired));
}

#[tokio::test]
async fn no_invoice_in_the_native_coin_expires_before_its_balance_was_looked_at() {
    let (mut world, caller) = World::started().await;
    let waits = world.bnb_invoice(&caller, 100).await;
    let other = world.invoice(&caller, 100).await;
    world.chain.fail_when(|question| matches!(question, Question::Balances(_)).then(no_answer));
    world.pass(HOURS);
    world.chain.mine_empty(1);
    world.finalise().await;
    // Another payment touches the invoice: that does not let it expire either.
    world.pay(&[(waits.address, 5)]);
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.stored(&waits).await.assessment.state, InvoiceState::Pending);
    assert_eq!(world.stored(&other).await.assessment.state, InvoiceState::Expired, "a token needs no look");
    world.chain.recover();
    world.settle().await;
    assert_eq!(world.stored(&waits).await.assessment.state, InvoiceState::Pending);
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.stored(&waits).await.assessment.state, InvoiceState::Expired);
}

#[tokio::test]
async fn what_is_read_while_finality_stalls_is_believed_once_it_is_final() {
    for stays in [true, false] {
        let (mut world, caller) = World::started().await;
        let invoice = world.bnb_invoice(&caller, 100).await;
        world.chain.mine_empty(150);
        let paid_in = world.chain.mine_passing_on(&bnb(), invoice.address, 100);
        world.restart();
        world.scan().await;
        assert_eq!(world.deposits(&invoice).await, []);
        if !stays {
            world.chain.fork(1);
            world.chain.mine_empty(1);
        }
        world.chain.mine_empty(200);
        world.chain.finalise_below(150);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        world.chain.mine_empty(1);
        world.scan().await;
        let found = world.deposits(&invoice).await;
        assert_eq!(found.iter().any(|deposit| deposit.block == paid_in), stays, "{found:?}");
        assert_eq!(found.len(), usize::from(stays), "{found:?}");
    }
}

#[tokio::test]
async fn what_a_contract_passes_on_to_a_merchants_address_is_credited_once() {
    let (mut world, caller) = World::started().await;
    let own = world.store.deposit_address(caller.merchant()).await.expect("answers").expect("has one").address;
    world.chain.mine_passing_on(&bnb(), own, 40);
    world.chain.mine(&[world.chain.payment(&bnb(), own, 2)]);
    for _ in 0..3 {
        sweep(&mut world).await;
    }
    assert_eq!(bnb_of(&world, &caller).await, units(42));
    world.chain.mine_passing_on(&bnb(), own, 3);
    sweep(&mut world).await;
    assert_eq!(bnb_of(&world, &caller).await, units(45));
}
