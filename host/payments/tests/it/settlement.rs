//! Rulings on money that has arrived, and expiry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::{Advice, Flags, InvoiceState};
use xthonpay_domain::transfer::Origin;
use xthonpay_payments::access::Principal;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::port::hooks::{Draft, DraftRuling, HookFailure, InvoiceRules, OnFailure, PaymentReview};
use xthonpay_payments::port::lending::storage::Answered;
use xthonpay_payments::port::store::{READ_LIMIT_MAX, Write};
use xthonpay_payments::settlement::{Questions, SettlementError};
use xthonpay_tests::memory_store::Fault;

use crate::doubles::{ScriptedRules, failure};
use crate::world::World;

/// How long a loop may take for what it should do at once; only ever waited for in full when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An invoice over 100 whose final payments reach the target.
async fn awaiting(world: &mut World, caller: &Principal) -> Invoice {
    let invoice = world.invoice(caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.finalise().await;
    invoice
}

fn always(advice: Advice) -> Arc<dyn InvoiceRules> {
    ScriptedRules::on_payment(move |_| Ok(advice))
}

fn failing(policy: OnFailure) -> Arc<dyn InvoiceRules> {
    ScriptedRules::on_payment(move |_| Err(failure(policy)))
}

#[tokio::test]
async fn the_most_careful_word_of_all_rules_counts() {
    use Advice::{Review, Settle, Wait};
    use OnFailure::{Builtin, Closed, Hold};
    let confirming = (InvoiceState::Confirming, false);
    let reviewed = (InvoiceState::Confirming, true);
    let paid = (InvoiceState::Paid, false);
    let table = [
        (vec![], paid),
        (vec![always(Settle)], paid),
        (vec![always(Wait)], confirming),
        (vec![always(Review)], reviewed),
        (vec![always(Settle), always(Settle)], paid),
        (vec![always(Settle), always(Wait)], confirming),
        (vec![always(Wait), always(Review), always(Settle)], reviewed),
        (vec![failing(Builtin)], paid),
        (vec![failing(Hold)], confirming),
        (vec![failing(Closed)], confirming),
        (vec![always(Settle), failing(Hold)], confirming),
        (vec![failing(Hold), always(Review)], reviewed),
    ];
    for (row, (rules, expected)) in table.into_iter().enumerate() {
        let (mut world, caller) = World::started().await;
        world.hooks.bind_rules(rules);
        let invoice = awaiting(&mut world, &caller).await;
        world.settle().await;
        let now = world.stored(&invoice).await.assessment;
        assert_eq!((now.state, now.flags.contains(Flags::NEEDS_REVIEW)), expected, "row {row}");
        assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100), "credit waits for no rule");
    }
}

#[tokio::test]
async fn a_decided_invoice_is_not_asked_about_again() {
    for advice in [Advice::Settle, Advice::Review] {
        let (mut world, caller) = World::started().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        world.hooks.bind_rules([ScriptedRules::on_payment(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(advice)
        })]);
        let invoice = awaiting(&mut world, &caller).await;
        for _ in 0..3 {
            world.settle().await;
            world.questions = Questions::default();
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{advice:?}");
        // More money is another question.
        world.pay(&[(invoice.address, 1)]);
        world.finalise().await;
        world.settle().await;
        assert_eq!(asked.load(Ordering::SeqCst), if advice == Advice::Settle { 1 } else { 2 }, "{advice:?}");
    }
}

#[tokio::test]
async fn rules_that_wait_are_asked_again_after_a_pause_or_about_another_sum() {
    let (mut world, caller) = World::started().await;
    let attempts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = attempts.clone();
    world.hooks.bind_rules([ScriptedRules::on_payment(move |review| {
        seen.lock().expect("no panic before").push((review.invoice.assessment.received, review.attempt));
        Ok(Advice::Wait)
    })]);
    let invoice = awaiting(&mut world, &caller).await;
    for _ in 0..5 {
        world.settle().await;
    }
    assert_eq!(*attempts.lock().expect("no panic before"), [(Amount::from_units(100), 0)]);
    world.pay(&[(invoice.address, 7)]);
    world.chain.finalise();
    world.memory = Default::default();
    world.scan().await;
    world.settle().await;
    let second = (Amount::from_units(107), 0);
    assert_eq!(attempts.lock().expect("no panic before").last(), Some(&second), "another sum, a first question");
    // The first pause is two seconds.
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    world.settle().await;
    world.settle().await;
    let third = (Amount::from_units(107), 1);
    assert_eq!(*attempts.lock().expect("no panic before"), [(Amount::from_units(100), 0), second, third]);
    assert_eq!(world.questions.open(), 1);
}

#[tokio::test]
async fn a_ruling_on_a_sum_that_has_changed_meanwhile_is_dropped() {
    let (mut world, caller) = World::started().await;
    let invoice = awaiting(&mut world, &caller).await;
    let (store, id) = (world.store.clone(), invoice.id.clone());
    world.hooks.bind_rules([ScriptedRules::on_payment(move |_| {
        // A further payment becomes final while the rules think.
        store.tamper(|tables| {
            let invoice = tables.invoices.get_mut(&id).expect("it was made");
            invoice.assessment.received = Amount::from_units(150);
            invoice.revision += 1;
        });
        Ok(Advice::Review)
    })]);
    world.settle().await;
    let now = world.stored(&invoice).await;
    assert_eq!((now.assessment.state, now.ruling), (InvoiceState::Confirming, None));
}

/// Whoever sends a grain with every block must not keep an invoice from being settled.
#[tokio::test]
async fn agreement_holds_when_more_has_come_meanwhile_and_nothing_else_does() {
    use InvoiceState::{Confirming, Paid};
    let (less, more, as_much) = (99, 101, 100);
    for (advice, received, state) in [
        (Advice::Settle, as_much, Paid),
        (Advice::Settle, more, Paid),
        (Advice::Settle, less, Confirming),
        (Advice::Review, as_much, Confirming),
        (Advice::Review, more, Confirming),
    ] {
        let (mut world, caller) = World::started().await;
        let invoice = awaiting(&mut world, &caller).await;
        let (store, id) = (world.store.clone(), invoice.id.clone());
        world.hooks.bind_rules([ScriptedRules::on_payment(move |_| {
            store.tamper(|tables| {
                let invoice = tables.invoices.get_mut(&id).expect("it was made");
                invoice.assessment.received = Amount::from_units(received);
                invoice.revision += 1;
                if received == more {
                    let mut grain = tables.deposits.values().next().expect("it was paid").clone();
                    grain.transfer.amount = Amount::from_units(1);
                    grain.transfer.identity.origin = Origin::Transaction { tx: TxHash::new([9; 32]), nth: 0 };
                    grain.id = grain.transfer.identity.deposit_id();
                    tables.deposits.insert(grain.id.clone(), grain);
                }
            });
            Ok(advice)
        })]);
        world.settle().await;
        let now = world.stored(&invoice).await;
        assert_eq!(now.assessment.state, state, "{advice:?} with {received}");
    }
}

#[tokio::test]
async fn a_ruling_survives_a_record_that_changed_for_another_reason() {
    let (mut world, caller) = World::started().await;
    let invoice = awaiting(&mut world, &caller).await;
    world.store.faults.next([Some(Fault::Refused), Some(Fault::Refused)]);
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Paid);
}

#[tokio::test]
async fn a_failure_of_the_store_delays_a_ruling_and_tells_it_once() {
    for fault in [Fault::NothingStored, Fault::Stored] {
        let (mut world, caller) = World::started().await;
        let invoice = awaiting(&mut world, &caller).await;
        world.store.faults.next([Some(fault)]);
        world.settle().await;
        world.questions = Questions::default();
        world.settle().await;
        assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Paid, "{fault:?}");
        let paid = world.events_of(&invoice.id).into_iter().filter(|kind| *kind == EventKind::InvoicePaid).count();
        assert_eq!(paid, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn remembers_nothing_about_invoices_that_are_decided() {
    let (mut world, caller) = World::started().await;
    let waits = world.invoice(&caller, 1).await;
    let forever = waits.id.clone();
    world.hooks.bind_rules([ScriptedRules::on_payment(move |review| {
        Ok(if review.invoice.id == forever { Advice::Wait } else { Advice::Settle })
    })]);
    world.pay(&[(waits.address, 1)]);
    for _ in 0..20 {
        let invoice = world.invoice(&caller, 100).await;
        world.pay(&[(invoice.address, 100)]);
        world.chain.finalise();
        world.memory = Default::default();
        world.scan().await;
        world.settle().await;
        assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Paid);
    }
    assert_eq!(world.questions.open(), 1, "only the one that waits");
}

#[tokio::test]
async fn an_asset_that_left_the_config_waits_and_is_credited() {
    let (mut world, caller) = World::started().await;
    world.hooks.bind_rules([ScriptedRules::on_payment(|_| unreachable!("no rule can be told an amount"))]);
    let invoice = awaiting(&mut world, &caller).await;
    world.settlement.catalog = Arc::new(Catalog::new(BTreeMap::new(), Vec::new()));
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Confirming);
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
}

/// Copies of an invoice under other ids, of lower ids than any random one.
fn copies(of: &Invoice, count: usize) -> Vec<Invoice> {
    (0..count)
        .map(|number| {
            let id = format!("inv_{number:032x}").parse::<InvoiceId>().expect("well formed");
            Invoice { id, ..of.clone() }
        })
        .collect()
}

#[tokio::test]
async fn a_thousand_undecided_invoices_do_not_hide_the_next_one() {
    let (mut world, caller) = World::started().await;
    let invoice = awaiting(&mut world, &caller).await;
    let undecided = world.stored(&invoice).await;
    world.store.tamper(|tables| {
        tables.invoices.extend(copies(&undecided, READ_LIMIT_MAX).into_iter().map(|copy| (copy.id.clone(), copy)));
    });
    let decided = invoice.id.clone();
    world.hooks.bind_rules([ScriptedRules::on_payment(move |review| {
        Ok(if review.invoice.id == decided { Advice::Settle } else { Advice::Wait })
    })]);
    for _ in 0..3 {
        world.settlement.rule_all(&world.questions).await.expect("the store answers");
    }
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Paid);
}

#[tokio::test]
async fn expiry_follows_the_chain_and_never_the_clock() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.clock.advance(Duration::from_secs(48 * 3_600));
    world.chain.mine_empty(1);
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Pending, "only the clock is late");
    world.chain.wait_until(invoice.terms.expires_at);
    world.chain.mine_empty(1);
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Pending, "the expiry itself is in time");
    world.clock.set(crate::world::BEGINNING);
    world.chain.mine_empty(1);
    world.scan().await;
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Pending, "seen, but not final");
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Expired, "the clock stands still");
}

#[tokio::test]
async fn nothing_expires_while_the_scanner_is_behind() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    world.pass(Duration::from_secs(7_200));
    world.chain.mine_empty(1);
    world.chain.finalise();
    // The host was down all the time and looks at expiry first.
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Pending);
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Paid);
}

#[tokio::test]
async fn one_invoice_that_cannot_expire_does_not_hold_up_the_others() {
    let (mut world, caller) = World::started().await;
    let mut invoices = Vec::new();
    for _ in 0..4 {
        invoices.push(world.invoice(&caller, 100).await);
        world.clock.advance(Duration::from_secs(1));
    }
    world.pass(Duration::from_secs(7_200));
    world.chain.mine_empty(1);
    world.finalise().await;
    let first = invoices[0].id.clone();
    world.store.faults.when(move |changes| {
        let concerns_first =
            changes.writes.iter().any(|write| matches!(write, Write::UpdateInvoice(invoice) if invoice.id == first));
        concerns_first.then_some(Fault::NothingStored)
    });
    let outcome = world.settlement.expire_all().await;
    assert!(matches!(outcome, Err(SettlementError::Commit(_))), "{outcome:?}");
    for invoice in &invoices[1..] {
        assert_eq!(world.stored(invoice).await.assessment.state, InvoiceState::Expired);
    }
    world.store.faults.clear();
    world.settle().await;
    assert_eq!(world.stored(&invoices[0]).await.assessment.state, InvoiceState::Expired);
}

/// Rules that never answer.
struct Stuck;

#[async_trait]
impl InvoiceRules for Stuck {
    async fn on_draft(&self, draft: &Draft) -> Result<Answered<DraftRuling>, HookFailure> {
        Ok(Answered::plain(DraftRuling::Accept(draft.proposed)))
    }

    async fn on_payment(&self, _: &PaymentReview) -> Result<Answered<Advice>, HookFailure> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn rules_that_hang_hold_up_neither_credit_nor_expiry() {
    let (mut world, caller) = World::started().await;
    world.hooks.bind_rules([Arc::new(Stuck) as Arc<dyn InvoiceRules>]);
    let expires = world.invoice(&caller, 100).await;
    awaiting(&mut world, &caller).await;
    let stop = CancellationToken::new();
    let store = world.store.clone();
    let status = world.scanner.status.clone();
    let settlement = xthonpay_payments::settlement::Settlement {
        store: world.store.clone(),
        catalog: world.catalog.clone(),
        hooks: world.hooks.clone(),
        clock: world.clock.clone(),
        listeners: world.listeners.clone(),
        chains: vec![status],
        wakeups: world.wakeups.clone(),
    };
    let run = tokio::spawn(settlement.run(stop.clone()));
    tokio::task::yield_now().await;
    world.pass(Duration::from_secs(7_200));
    world.chain.mine_empty(1);
    world.finalise().await;
    let expired = async {
        while store.tables().invoices[&expires.id].assessment.state != InvoiceState::Expired {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, expired).await.expect("expires beside the rules that hang");
    run.abort();
}

#[tokio::test]
async fn run_rules_and_expires_without_being_woken_and_stops_when_told() {
    let (mut world, caller) = World::started().await;
    let pays = awaiting(&mut world, &caller).await;
    let expires = world.invoice(&caller, 100).await;
    world.pass(Duration::from_secs(7_200));
    world.chain.mine_empty(1);
    world.finalise().await;
    let stop = CancellationToken::new();
    let store = world.store.clone();
    let run = tokio::spawn(world.settlement.run(stop.clone()));
    let state = |id: &InvoiceId| store.tables().invoices[id].assessment.state;
    let done = async {
        while (state(&pays.id), state(&expires.id)) != (InvoiceState::Paid, InvoiceState::Expired) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("both are settled");
    stop.cancel();
    tokio::time::timeout(PATIENCE, run).await.expect("stops when told").expect("ends in order");
}
