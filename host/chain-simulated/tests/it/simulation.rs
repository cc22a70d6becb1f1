//! Every case under the real scanner, rules and ledger: what an invoice becomes, what is told, and what is credited.

use futures::future::join_all;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::EventKind;
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_payments::port::simulation::{BlockMaker as _, Movement, Way};
use xthonpay_payments::port::store::{Changeset, Cursor, Freeze, Store as _, Write};
use xthonpay_payments::scanning::status::Health;
use xthonpay_payments::simulation::{Case, Simulated, SimulationError, Wish};

use crate::world::{World, asset};

fn units(units: u128) -> Amount {
    Amount::from_units(units)
}

fn flags(simulated: &Simulated) -> Vec<&'static str> {
    simulated.invoice.assessment.flags.names().collect()
}

/// Case, asset of the invoice, state, flags, what is credited in its asset, and the events behind `invoice.created`.
type Story = (Case, &'static str, InvoiceState, &'static [&'static str], u128, &'static [EventKind]);

use EventKind::{
    DepositUnattributed as Unattributed, InvoiceConfirming as Confirming, InvoiceExpired as Expired,
    InvoiceNeedsReview as NeedsReview, InvoiceOverpaid as Overpaid, InvoicePaid as Paid,
    InvoicePartiallyPaid as PartiallyPaid, InvoicePaymentLate as PaymentLate, InvoicePaymentReverted as Reverted,
    PaymentConfirmed as Confirmed, PaymentDetected as Detected, PaymentReorged as Reorged,
};

#[rustfmt::skip]
const STORIES: [Story; 11] = [
    (Case::Paid, "USDT", InvoiceState::Paid, &[], 90, &[Detected, Confirming, Confirmed, Paid]),
    (Case::Paid, "BNB", InvoiceState::Paid, &[], 90, &[Detected, Confirming, Confirmed, Paid]),
    (Case::Underpaid, "USDT", InvoiceState::PartiallyPaid, &[], 45, &[Detected, PartiallyPaid, Confirmed]),
    (Case::Overpaid, "USDT", InvoiceState::Paid, &["overpaid"], 135, &[Detected, Confirming, Confirmed, Paid, Overpaid]),
    (Case::Late, "USDT", InvoiceState::Expired, &["late", "needs_review"], 90,
        &[Expired, Detected, Confirmed, PaymentLate, NeedsReview]),
    (Case::Late, "BNB", InvoiceState::Expired, &["late", "needs_review"], 90,
        &[Expired, Detected, Confirmed, PaymentLate, NeedsReview]),
    (Case::Multi, "USDT", InvoiceState::Paid, &["multi_payment"], 90,
        &[Detected, PartiallyPaid, Detected, Detected, Confirming, Confirmed, Confirmed, Confirmed, Paid]),
    (Case::Reorg, "USDT", InvoiceState::Paid, &["reorged"], 90,
        &[Detected, Confirming, Reorged, Reverted, Detected, Confirming, Confirmed, Paid]),
    (Case::WrongAsset, "USDT", InvoiceState::Pending, &["wrong_asset", "needs_review"], 0,
        &[Unattributed, Detected, NeedsReview, Confirmed]),
    (Case::WrongAsset, "BNB", InvoiceState::Pending, &["wrong_asset", "needs_review"], 0,
        &[Unattributed, Detected, NeedsReview, Confirmed]),
    (Case::InternalBnb, "BNB", InvoiceState::Paid, &[], 90, &[Detected, Confirming, Confirmed, Paid]),
];

/// Events that follow each other in the order of the blocks; which of the parts of a payment is final first is not told.
fn told(events: &[EventKind]) -> Vec<EventKind> {
    events.iter().copied().filter(|kind| *kind != EventKind::InvoiceCreated).collect()
}

#[tokio::test]
async fn every_case_ends_as_it_does_with_real_money() {
    let world = World::new().await;
    for (case, symbol, state, marks, credited, events) in STORIES {
        let caller = world.caller().await;
        let invoice = world.invoice(&caller, symbol).await;
        let simulated = world.simulate(&caller, &invoice, case).await.expect("simulated");
        let name = format!("{} in {symbol}", case.name());
        assert_eq!(simulated.invoice.assessment.state, state, "{name}");
        assert_eq!(flags(&simulated), marks, "{name}");
        assert_eq!(world.available(caller.merchant(), symbol).await, units(credited), "{name}");
        assert!(simulated.deposits.iter().all(|deposit| deposit.state == DepositState::Final), "{name}");
        let mut told = told(&world.events(&invoice));
        if case == Case::Multi {
            // A part may be final before the next one is seen.
            let mut expected = events.to_vec();
            told.sort();
            expected.sort();
            assert_eq!(told, expected, "{name}");
        } else {
            assert_eq!(told, events, "{name}");
        }
    }
}

#[tokio::test]
async fn simulations_at_the_same_time_do_not_disturb_each_other() {
    let world = World::new().await;
    let cases = [Case::Reorg, Case::Paid, Case::Multi, Case::Reorg, Case::Late, Case::Underpaid, Case::Reorg];
    let runs = cases.map(|case| {
        let world = &world;
        async move {
            let caller = world.caller().await;
            let invoice = world.invoice(&caller, "USDT").await;
            let simulated = world.simulate(&caller, &invoice, case).await.expect("simulated");
            (case, flags(&simulated), world.available(caller.merchant(), "USDT").await)
        }
    });
    for (case, marks, credited) in join_all(runs).await {
        let story = STORIES.iter().find(|story| story.0 == case).expect("every case has one");
        assert_eq!((marks.as_slice(), credited), (story.3, units(story.4)), "{case:?}");
    }
}

#[tokio::test]
async fn what_was_paid_in_part_is_completed_and_what_is_paid_is_paid_again() {
    let world = World::new().await;
    let caller = world.caller().await;
    let invoice = world.invoice(&caller, "USDT").await;
    for (case, state, marks, credited) in [
        (Case::Underpaid, InvoiceState::PartiallyPaid, vec![], 45),
        (Case::Paid, InvoiceState::Paid, vec!["multi_payment"], 90),
        (Case::Paid, InvoiceState::Paid, vec!["overpaid", "multi_payment"], 180),
    ] {
        let simulated = world.simulate(&caller, &invoice, case).await.expect("simulated");
        assert_eq!((simulated.invoice.assessment.state, flags(&simulated)), (state, marks));
        assert_eq!(world.available(caller.merchant(), "USDT").await, units(credited));
    }
}

#[tokio::test]
async fn as_many_blocks_are_made_as_the_rules_want_to_see() {
    let world = World::with_confirmations(120).await;
    let caller = world.caller().await;
    for (case, symbol) in [(Case::Paid, "USDT"), (Case::InternalBnb, "BNB"), (Case::Reorg, "USDT")] {
        let invoice = world.invoice(&caller, symbol).await;
        assert_eq!(invoice.terms.confirmations, 120);
        let simulated = world.simulate(&caller, &invoice, case).await.expect("simulated");
        assert_eq!(simulated.invoice.assessment.state, InvoiceState::Paid, "{case:?}");
    }
}

#[tokio::test]
async fn only_the_invoice_that_shall_be_late_expires() {
    let world = World::new().await;
    let caller = world.caller().await;
    let (late, other) = (world.invoice(&caller, "USDT").await, world.invoice(&caller, "USDT").await);
    let simulated = world.simulate(&caller, &late, Case::Late).await.expect("simulated");
    let expiry = simulated.invoice.terms.expires_at;
    assert!(expiry < late.terms.expires_at && expiry >= late.created_at, "{expiry}");
    assert!(simulated.deposits.iter().all(|deposit| deposit.block.time > expiry));
    let stored = world.store.invoice(&other.id).await.expect("the store answers").expect("it was made");
    assert_eq!(stored, other);
}

#[tokio::test]
async fn a_restart_between_two_payments_loses_and_invents_nothing() {
    let world = World::new().await;
    let caller = world.caller().await;
    let (tokens, coins) = (world.invoice(&caller, "USDT").await, world.invoice(&caller, "BNB").await);
    let untouched = world.invoice(&caller, "BNB").await;
    for invoice in [&tokens, &coins] {
        world.simulate(&caller, invoice, Case::Underpaid).await.expect("simulated");
    }
    // Something stands in the newest block and is seen, and the process ends before it is final.
    let way = Way::Transaction(TxHash::new([5; 32]));
    world.chain.mine(&[Movement { asset: asset("USDT"), to: tokens.address, amount: units(5), way }]);
    let seen = |deposits: &[Deposit]| deposits.iter().any(|deposit| deposit.state == DepositState::Seen);
    while !seen(&world.store.deposits_of_invoice(&tokens.id).await.expect("the store answers")) {
        tokio::task::yield_now().await;
    }
    let world = world.restarted().await;

    let simulated = world.simulate(&caller, &tokens, Case::Paid).await.expect("simulated");
    assert!(simulated.deposits.iter().all(|deposit| deposit.state == DepositState::Final));
    // The balance of the address is what was credited before the restart and what came after it.
    let simulated = world.simulate(&caller, &coins, Case::InternalBnb).await.expect("simulated");
    assert_eq!((simulated.invoice.assessment.state, flags(&simulated)), (InvoiceState::Paid, vec!["multi_payment"]));
    assert_eq!(world.available(caller.merchant(), "BNB").await, units(90));
    let stored = world.store.invoice(&untouched.id).await.expect("the store answers").expect("it was made");
    assert_eq!(stored.assessment.state, InvoiceState::Pending);
}

#[tokio::test]
async fn what_cannot_happen_to_an_invoice_is_refused_and_makes_no_block() {
    let world = World::new().await;
    let (caller, stranger) = (world.caller().await, world.caller().await);
    let (tokens, coins) = (world.invoice(&caller, "USDT").await, world.invoice(&caller, "BNB").await);
    world.simulate(&caller, &coins, Case::Paid).await.expect("simulated");
    let in_usdt = SimulationError::OnlyNative { asset: asset("USDT") };
    let paid = SimulationError::NotOpen { state: InvoiceState::Paid };
    let unknown = SimulationError::UnknownInvoice { invoice: tokens.id.clone() };
    let too_much = Wish { case: Case::Paid, amount: Some(Amount::MAX) };
    assert_eq!(world.simulate(&caller, &tokens, Case::InternalBnb).await.err(), Some(in_usdt));
    assert_eq!(world.simulate(&caller, &coins, Case::InternalBnb).await.err(), Some(paid));
    assert_eq!(world.simulate(&stranger, &tokens, Case::Paid).await.err(), Some(unknown));
    let refused = world.simulation.simulate(&caller, &tokens.id, too_much).await;
    assert_eq!(refused.err(), Some(SimulationError::TooLarge));
    assert_eq!(world.events(&tokens), [EventKind::InvoiceCreated]);
    assert!(world.store.deposits_of_invoice(&tokens.id).await.expect("the store answers").is_empty());
}

#[tokio::test]
async fn no_block_is_made_for_a_scanner_that_stopped() {
    let world = World::new().await;
    let caller = world.caller().await;
    let invoice = world.invoice(&caller, "USDT").await;
    world.simulate(&caller, &invoice, Case::Paid).await.expect("simulated");
    let cursor = world.store.cursor(&asset("USDT").chain).await.expect("the store answers").expect("begun");
    let frozen = Freeze { reason: "a test".to_owned(), at: cursor.tip.time };
    let revision = cursor.revision + 1;
    let changes = Changeset::new().with(Write::SetCursor(Cursor { frozen: Some(frozen), revision, ..cursor }));
    world.store.commit(changes).await.expect("nobody else writes");
    while !matches!(world.simulation.status.get().health, Health::Frozen { .. }) {
        tokio::time::sleep(core::time::Duration::from_millis(10)).await;
    }
    let head = world.chain.tip();
    let refused = world.simulate(&caller, &invoice, Case::Paid).await;
    assert_eq!((refused.err(), world.chain.tip()), (Some(SimulationError::Behind), head));
}
