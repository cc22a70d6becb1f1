//! Merchants who cancel and resolve: what each decision does, what is refused, and that no race and no crash loses or doubles
//! anything.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::{Flags, InvoiceState};
use xthonpay_domain::invoice::resolution::{Choice, DecisionError, Wish};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::access::Principal;
use xthonpay_payments::invoicing::Invoicing;
use xthonpay_payments::invoicing::decision::{DecidedInvoice, DecidingError};
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::store::{CommitError, PaymentFilter, PaymentSelection, Store as _, UsedSignature};
use xthonpay_payments::scanning::changes::Position;
use xthonpay_tests::memory_store::Fault;

use crate::audit::audit;
use crate::world::{World, unseen};

/// Who is promised money back.
const CUSTOMER: Address = Address::new([0x42; 20]);

fn refund(units: impl Into<Option<u128>>) -> Wish {
    Wish::Refund { to: CUSTOMER, amount: units.into().map(Amount::from_units) }
}

async fn cancel(world: &World, caller: &Principal, invoice: &Invoice) -> Result<Invoice, DecidingError> {
    world.invoicing.cancel(caller, &invoice.id, &unseen).await.map(|decided| decided.invoice)
}

async fn resolve(world: &World, caller: &Principal, invoice: &Invoice, wish: &Wish) -> Result<Invoice, DecidingError> {
    world.invoicing.resolve(caller, &invoice.id, wish, &unseen).await.map(|decided| decided.invoice)
}

/// An invoice over 100 with a final payment of `units`, in time.
async fn with_final(world: &mut World, caller: &Principal, units: u128) -> Invoice {
    let invoice = world.invoice(caller, 100).await;
    world.pay(&[(invoice.address, units)]);
    world.finalise().await;
    world.stored(&invoice).await
}

/// How often an event of an invoice was told.
fn told(world: &World, invoice: &Invoice, kind: EventKind) -> usize {
    world.events_of(&invoice.id).into_iter().filter(|told| *told == kind).count()
}

/// The caller with a signature that may be used once.
fn signed(caller: &Principal, signature: &str, world: &World) -> Principal {
    let expires_at = world.clock.now().after(std::time::Duration::from_secs(600));
    let used = UsedSignature { key: caller.key.id.clone(), signature: signature.to_owned(), expires_at };
    Principal { used_signature: Some(used), ..caller.clone() }
}

#[tokio::test]
async fn a_cancelled_invoice_is_watched_on_and_its_money_is_credited() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    let cancelled = cancel(&world, &caller, &invoice).await.expect("nothing was paid");
    assert_eq!(cancelled, world.stored(&invoice).await);
    assert_eq!((cancelled.assessment.state, cancelled.revision), (InvoiceState::Cancelled, 2));
    assert_eq!(world.events_of(&invoice.id), [EventKind::InvoiceCreated, EventKind::InvoiceCancelled]);
    let before = world.store.tables();
    assert_eq!(cancel(&world, &caller, &invoice).await, Ok(cancelled), "again");
    assert_eq!(format!("{:?}", world.store.tables().invoices), format!("{:?}", before.invoices));
    world.pay(&[(invoice.address, 100)]);
    world.finalise().await;
    world.settle().await;
    let now = world.stored(&invoice).await.assessment;
    assert_eq!((now.state, now.received), (InvoiceState::Cancelled, Amount::from_units(100)));
    assert!(now.flags.contains(Flags::LATE | Flags::NEEDS_REVIEW), "{now:?}");
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    for kind in [EventKind::InvoicePaymentLate, EventKind::InvoiceNeedsReview] {
        assert_eq!(told(&world, &invoice, kind), 1, "{}", kind.name());
    }
    resolve(&world, &caller, &invoice, &Wish::Accept).await.expect("needs a review");
    assert_eq!(told(&world, &invoice, EventKind::InvoicePaid), 1);
    assert!(audit(&world).await.ok);
}

#[tokio::test]
async fn an_invoice_with_money_on_it_is_not_cancelled() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    for (units, state) in [(40, InvoiceState::PartiallyPaid), (60, InvoiceState::Confirming)] {
        world.pay(&[(invoice.address, units)]);
        world.scan().await;
        let refused = DecidingError::Decision(DecisionError::NotCancellable { state });
        assert_eq!(cancel(&world, &caller, &invoice).await, Err(refused));
    }
    world.finalise().await;
    world.settle().await;
    let refused = DecidingError::Decision(DecisionError::NotCancellable { state: InvoiceState::Paid });
    assert_eq!(cancel(&world, &caller, &invoice).await, Err(refused));
}

#[tokio::test]
async fn each_choice_does_what_it_says_and_moves_no_money() {
    let table = [
        (Wish::Accept, InvoiceState::Paid, Choice::Accept),
        (refund(None), InvoiceState::Expired, Choice::Refund { to: CUSTOMER, amount: Amount::from_units(40) }),
        (refund(7), InvoiceState::Expired, Choice::Refund { to: CUSTOMER, amount: Amount::from_units(7) }),
        (Wish::Ignore, InvoiceState::Expired, Choice::Ignore),
    ];
    for (wish, state, choice) in table {
        let (mut world, caller) = World::started().await;
        let invoice = with_final(&mut world, &caller, 40).await;
        world.pass(std::time::Duration::from_secs(7_200));
        world.chain.mine_empty(1);
        world.finalise().await;
        world.settle().await;
        assert!(world.stored(&invoice).await.assessment.flags.contains(Flags::NEEDS_REVIEW));
        let before = world.store.tables();
        let resolved = resolve(&world, &caller, &invoice, &wish).await.expect("needs a review");
        assert_eq!(resolved, world.stored(&invoice).await);
        let now = &resolved.assessment;
        assert_eq!((now.state, resolved.resolution.as_ref().map(|made| &made.choice)), (state, Some(&choice)));
        assert!(now.flags.contains(Flags::MANUAL) && !now.flags.contains(Flags::NEEDS_REVIEW), "{now:?}");
        assert_eq!(told(&world, &invoice, EventKind::InvoiceResolved), 1);
        assert_eq!(told(&world, &invoice, EventKind::InvoicePaid), usize::from(choice == Choice::Accept));
        let after = world.store.tables();
        assert_eq!(format!("{:?}", after.postings), format!("{:?}", before.postings), "{choice:?}");
        assert_eq!(after.balances, before.balances, "{choice:?}");
        // The same once more is no second decision.
        world.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(resolve(&world, &caller, &invoice, &wish).await, Ok(resolved.clone()));
        // More money is judged anew.
        world.pay(&[(invoice.address, 1)]);
        world.finalise().await;
        world.settle().await;
        let more = world.stored(&invoice).await;
        assert!(more.assessment.flags.contains(Flags::NEEDS_REVIEW), "{choice:?}: {more:?}");
        assert_eq!(told(&world, &invoice, EventKind::InvoicePaymentLate), 1);
        resolve(&world, &caller, &invoice, &Wish::Ignore).await.expect("judged anew");
        assert_eq!(world.available(caller.merchant()).await, Amount::from_units(41));
        assert!(audit(&world).await.ok, "{choice:?}");
    }
}

#[tokio::test]
async fn the_event_holds_the_decision() {
    let (mut world, caller) = World::started().await;
    let invoice = with_final(&mut world, &caller, 130).await;
    world.settle().await;
    resolve(&world, &caller, &invoice, &refund(30)).await.expect("received too much");
    let events = world.store.tables().events;
    let event = events.iter().find(|event| event.kind == EventKind::InvoiceResolved).expect("told");
    let data: serde_json::Value = serde_json::from_str(&event.data_json).expect("events are JSON");
    let resolution = &data["resolution"];
    assert_eq!((&resolution["choice"], &resolution["amount"]), (&"refund".into(), &"130".into()));
    assert_eq!(resolution["refund_to"], CUSTOMER.to_string());
    assert_eq!(resolution["refund_amount"], "30");
    assert_eq!((&data["status"], &data["amount_received"]), (&"paid".into(), &"130".into()));
}

#[tokio::test]
async fn what_cannot_be_decided_is_refused_and_stores_nothing() {
    use DecisionError::{NothingReceived, NothingToDecide, PaymentPending, RefundAddress, RefundOutOfRange};
    let (mut world, caller) = World::started().await;
    let pending = world.invoice(&caller, 100).await;
    let part_seen = world.invoice(&caller, 100).await;
    let part = with_final(&mut world, &caller, 40).await;
    let paid = with_final(&mut world, &caller, 100).await;
    let stray = world.invoice(&caller, 100).await;
    let other = world.chain.payment(&crate::world::bnb(), stray.address, 5);
    world.chain.mine(&[other]);
    world.finalise().await;
    world.settle().await;
    world.pay(&[(part_seen.address, 40)]);
    world.scan().await;
    let expired = with_final(&mut world, &caller, 40).await;
    world.settle().await;
    let state = |state| NothingToDecide { state };
    let to_itself = Wish::Refund { to: expired.address, amount: None };
    let to_nobody = Wish::Refund { to: Address::ZERO, amount: None };
    let table = [
        (&pending, Wish::Accept, state(InvoiceState::Pending)),
        (&pending, Wish::Ignore, state(InvoiceState::Pending)),
        (&part, Wish::Ignore, state(InvoiceState::PartiallyPaid)),
        (&part, refund(None), state(InvoiceState::PartiallyPaid)),
        (&paid, Wish::Accept, state(InvoiceState::Paid)),
        (&stray, Wish::Accept, NothingReceived),
        (&stray, refund(None), NothingReceived),
    ];
    let before = format!("{:?}", world.store.tables());
    for (invoice, wish, error) in table {
        let refused = resolve(&world, &caller, invoice, &wish).await;
        assert_eq!(refused, Err(DecidingError::Decision(error)), "{wish:?}");
    }
    assert_eq!(format!("{:?}", world.store.tables()), before);
    // Seen, and not final yet.
    let fresh = world.invoice(&caller, 100).await;
    world.pay(&[(fresh.address, 40)]);
    world.scan().await;
    let refused = resolve(&world, &caller, &fresh, &Wish::Accept).await;
    assert_eq!(refused, Err(DecidingError::Decision(PaymentPending)));
    assert!(refused.is_err_and(|error| error.is_transient()));
    world.finalise().await;
    world.pass(std::time::Duration::from_secs(7_200));
    world.chain.mine_empty(1);
    world.finalise().await;
    world.settle().await;
    for (wish, error) in [
        (refund(41), RefundOutOfRange),
        (refund(0), RefundOutOfRange),
        (to_itself, RefundAddress),
        (to_nobody, RefundAddress),
    ] {
        let refused = resolve(&world, &caller, &expired, &wish).await;
        assert_eq!(refused, Err(DecidingError::Decision(error)), "{wish:?}");
    }
}

#[tokio::test]
async fn another_merchants_invoice_cannot_be_told_from_none() {
    let (mut world, caller) = World::started().await;
    let invoice = with_final(&mut world, &caller, 40).await;
    let other = world.principal(SignatureScheme::Request).await;
    let missing = Invoice { id: "inv_ffffffffffffffffffffffffffffffff".parse().expect("an id"), ..invoice.clone() };
    for (caller, invoice) in [(&other, &invoice), (&caller, &missing)] {
        assert_eq!(cancel(&world, caller, invoice).await, Err(DecidingError::NotFound));
        assert_eq!(resolve(&world, caller, invoice, &Wish::Accept).await, Err(DecidingError::NotFound));
    }
    let deposits = world.deposits(&invoice).await;
    let of_invoice = PaymentFilter { select: PaymentSelection::OfInvoice(invoice.id.clone()), after: None };
    for (merchant, filter, count) in [
        (caller.merchant(), &PaymentFilter::default(), 1),
        (caller.merchant(), &of_invoice, 1),
        (other.merchant(), &PaymentFilter::default(), 0),
        (other.merchant(), &of_invoice, 0),
    ] {
        let listed = world.invoicing.payments(merchant, filter, 10).await.expect("the store answers");
        assert_eq!(listed.len(), count, "{filter:?}");
        let read = world.invoicing.payment(merchant, &deposits[0].id).await.expect("the store answers");
        assert_eq!(read.is_some(), count == 1 || merchant == caller.merchant());
    }
    let at = |merchant| world.invoicing.at_address(merchant, &invoice.address);
    assert_eq!(at(caller.merchant()).await.map(|found| found.map(|found| found.id)), Ok(Some(invoice.id.clone())));
    assert_eq!(at(other.merchant()).await, Ok(None));
}

#[tokio::test]
async fn a_signature_decides_once() {
    let (mut world, caller) = World::started().await;
    let (one, two) = (world.invoice(&caller, 100).await, with_final(&mut world, &caller, 40).await);
    let once = signed(&caller, "aa", &world);
    cancel(&world, &once, &one).await.expect("nothing was paid");
    let replayed = resolve(&world, &once, &two, &Wish::Accept).await;
    assert_eq!(replayed, Err(DecidingError::SignatureReplayed));
    assert_eq!(world.stored(&two).await.assessment.state, InvoiceState::PartiallyPaid);
    // A replay finds it done, and is one nevertheless.
    assert_eq!(cancel(&world, &once, &one).await, Err(DecidingError::SignatureReplayed));
    // So is one of a decision that was refused: the invoice may stand differently by then.
    let refused = signed(&caller, "bb", &world);
    let refusal = resolve(&world, &refused, &one, &Wish::Accept).await;
    assert!(matches!(refusal, Err(DecidingError::Decision(_))), "{refusal:?}");
    assert_eq!(resolve(&world, &refused, &one, &Wish::Accept).await, Err(DecidingError::SignatureReplayed));
    // Without a signature that counts once, what is decided already is said again.
    assert!(cancel(&world, &caller, &one).await.is_ok());
}

/// A crash or a failure at the commit of a decision: it is made, or it is not, and asking again makes it once.
#[tokio::test]
async fn a_failure_at_any_commit_decides_once_or_not_at_all() {
    let decisions: [(u128, Option<Wish>); 4] =
        [(0, None), (40, Some(Wish::Accept)), (130, Some(refund(30))), (130, Some(Wish::Ignore))];
    for (units, wish) in decisions {
        for fault in [Fault::NothingStored, Fault::Stored, Fault::StoredAndSilent, Fault::Refused] {
            let (mut world, caller) = World::started().await;
            let invoice = if units == 0 {
                world.invoice(&caller, 100).await
            } else {
                with_final(&mut world, &caller, units).await
            };
            world.settle().await;
            world.store.faults.next([Some(fault)]);
            let decide = async || match &wish {
                None => cancel(&world, &caller, &invoice).await,
                Some(wish) => resolve(&world, &caller, &invoice, wish).await,
            };
            let first = decide().now_or_never();
            let expected = match fault {
                Fault::NothingStored | Fault::Stored => matches!(first, Some(Err(DecidingError::Commit(_)))),
                // The process dies while it waits.
                Fault::StoredAndSilent => first.is_none(),
                Fault::Refused => matches!(first, Some(Ok(_))),
            };
            assert!(expected, "{wish:?} {fault:?}: {first:?}");
            let again = decide().await.expect("can be decided");
            assert_eq!(again, world.stored(&invoice).await);
            let kind = if wish.is_none() { EventKind::InvoiceCancelled } else { EventKind::InvoiceResolved };
            assert_eq!(told(&world, &invoice, kind), 1, "{wish:?} {fault:?}");
            let paid = usize::from(again.assessment.state == InvoiceState::Paid);
            assert_eq!(told(&world, &invoice, EventKind::InvoicePaid), paid, "{wish:?} {fault:?}");
            assert!(audit(&world).await.ok, "{wish:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_refuses_for_ever_is_given_up() {
    let (world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.store.faults.when(|_| Some(Fault::Refused));
    let outcome = cancel(&world, &caller, &invoice).await;
    assert_eq!(outcome, Err(DecidingError::Overtaken));
    assert!(outcome.is_err_and(|error| error.is_transient()));
    world.store.faults.clear();
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Pending);
}

type Interruption = Box<dyn FnOnce() + Send>;

/// A clock that lets something happen between the reading of the records and the commit.
struct Interrupted {
    now: Timestamp,
    by: Mutex<Option<Interruption>>,
}

impl Clock for Interrupted {
    fn now(&self) -> Timestamp {
        if let Some(interruption) = self.by.lock().expect("no panic before").take() {
            interruption();
        }
        self.now
    }
}

/// A decision between whose reading and whose commit another process scans what `pay` puts on the chain.
async fn interrupted(
    world: &World,
    caller: &Principal,
    invoice: &Invoice,
    wish: Option<&Wish>,
    pay: impl FnOnce(&World) + Send + 'static,
) -> Result<DecidedInvoice, DecidingError> {
    let mut beside = world.reopened(7).await;
    let by: Interruption = Box::new(move || {
        pay(&beside);
        beside.scan().now_or_never().expect("everything is in memory");
    });
    let mut invoicing = Invoicing::clone(&world.invoicing);
    invoicing.clock = Arc::new(Interrupted { now: world.clock.now(), by: Mutex::new(Some(by)) });
    match wish {
        None => invoicing.cancel(caller, &invoice.id, &unseen).await,
        Some(wish) => invoicing.resolve(caller, &invoice.id, wish, &unseen).await,
    }
}

#[tokio::test]
async fn a_payment_that_comes_in_between_is_seen_before_anything_is_decided() {
    // Cancelled while a payment arrives: the payment was first.
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    let address = invoice.address;
    let outcome = interrupted(&world, &caller, &invoice, None, move |beside| beside.pay(&[(address, 100)])).await;
    let refused = DecisionError::NotCancellable { state: InvoiceState::Confirming };
    assert_eq!(outcome, Err(DecidingError::Decision(refused)));
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.stored(&invoice).await.assessment.state, InvoiceState::Paid);
    assert_eq!(told(&world, &invoice, EventKind::InvoiceCancelled), 0);

    // Accepted in part while the rest arrives: the rest is waited for.
    let invoice = with_final(&mut world, &caller, 40).await;
    let address = invoice.address;
    let pay = move |beside: &World| beside.pay(&[(address, 60)]);
    let outcome = interrupted(&world, &caller, &invoice, Some(&Wish::Accept), pay).await;
    let refused = DecisionError::NothingToDecide { state: InvoiceState::Confirming };
    assert_eq!(outcome, Err(DecidingError::Decision(refused)));
    world.finalise().await;
    world.settle().await;
    let now = world.stored(&invoice).await;
    assert_eq!((now.assessment.state, now.resolution), (InvoiceState::Paid, None));
    assert_eq!(told(&world, &invoice, EventKind::InvoicePaid), 1);

    // Judged while more becomes final: the sum that is judged is the one that is there.
    let invoice = with_final(&mut world, &caller, 130).await;
    world.settle().await;
    let address = invoice.address;
    let pay = move |beside: &World| {
        beside.pay(&[(address, 5)]);
        beside.chain.finalise();
    };
    let outcome = interrupted(&world, &caller, &invoice, Some(&refund(None)), pay).await.expect("received too much");
    let judged = outcome.invoice.resolution.map(|made| (made.judged, made.choice));
    let all = Amount::from_units(135);
    assert_eq!(judged, Some((all, Choice::Refund { to: CUSTOMER, amount: all })));
    world.settle().await;
    assert!(audit(&world).await.ok);
}

#[tokio::test]
async fn a_scanner_that_read_before_a_decision_reads_again() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 100)]);
    let cursor = world.store.tables().cursors.into_values().next().expect("the scan has begun");
    let found = world.chain.blocks().pop().expect("a block was mined");
    let books = world.scanner.books.clone();
    let step = books.extend(&Position { cursor, seen: Vec::new() }, &found).await.expect("a payment");
    cancel(&world, &caller, &invoice).await.expect("no payment is known yet");
    assert_eq!(world.store.commit(step.changes).await, Err(CommitError::Refused));
    world.finalise().await;
    world.settle().await;
    let now = world.stored(&invoice).await.assessment;
    assert_eq!((now.state, now.received), (InvoiceState::Cancelled, Amount::from_units(100)));
    assert_eq!(told(&world, &invoice, EventKind::InvoicePaymentLate), 1);
    assert_eq!(world.available(caller.merchant()).await, Amount::from_units(100));
    assert!(audit(&world).await.ok);
}

#[tokio::test]
async fn a_decision_lets_nothing_expire() {
    let (mut world, caller) = World::started().await;
    let invoice = with_final(&mut world, &caller, 40).await;
    let other = world.chain.payment(&crate::world::bnb(), invoice.address, 5);
    world.chain.mine(&[other]);
    world.finalise().await;
    world.pass(std::time::Duration::from_secs(7_200));
    world.chain.mine_empty(1);
    world.finalise().await;
    // The chain has passed the expiry, and nobody has looked yet.
    let ignored = resolve(&world, &caller, &invoice, &Wish::Ignore).await.expect("another asset came");
    assert_eq!(ignored.assessment.state, InvoiceState::PartiallyPaid);
    world.settle().await;
    let now = world.stored(&invoice).await.assessment;
    assert_eq!(now.state, InvoiceState::Expired);
    assert!(!now.flags.contains(Flags::NEEDS_REVIEW), "the same sum was judged: {now:?}");
    assert!(audit(&world).await.ok);
}

#[tokio::test]
async fn the_audit_misses_a_decision_that_was_not_told() {
    for kind in [EventKind::InvoiceResolved, EventKind::InvoiceCancelled] {
        let (mut world, caller) = World::started().await;
        if kind == EventKind::InvoiceCancelled {
            let invoice = world.invoice(&caller, 100).await;
            cancel(&world, &caller, &invoice).await.expect("nothing was paid");
        } else {
            let invoice = with_final(&mut world, &caller, 40).await;
            resolve(&world, &caller, &invoice, &Wish::Accept).await.expect("partially paid");
        }
        assert!(audit(&world).await.ok);
        world.store.tamper(|tables| {
            let event = tables.events.iter_mut().find(|event| event.kind == kind).expect("was told");
            Arc::make_mut(event).kind = EventKind::InvoiceConfirming;
        });
        let report = audit(&world).await;
        let named = |detail: &str| detail.contains(&format!("{} was told 0 times", kind.name()));
        assert!(report.breaches.iter().any(|breach| named(&breach.detail)), "{report:#?}");
    }
}
