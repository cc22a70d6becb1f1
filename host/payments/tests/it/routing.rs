//! Events become deliveries, each once and in fixed bytes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::event::{Event, EventFilter, EventKind};
use xthonpay_domain::id::{EventId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::delivery::routing::RoutingError;
use xthonpay_payments::endpoints::{EndpointChange, NewEndpoint};
use xthonpay_payments::invoicing::NewInvoice;
use xthonpay_payments::port::hooks::{OnFailure, Rendered};
use xthonpay_payments::port::store::{Changeset, Delivery, DeliveryState, Endpoint, Store as _, Write};
use xthonpay_payments::scanning::changes::Position;
use xthonpay_tests::memory_store::Fault;

use crate::delivery::{deliveries, first_delivery, paid_invoice, until};
use crate::doubles::failure;
use crate::world::{BEGINNING, World, chain_name, unseen};

/// The kinds of an invoice's events that have a delivery, in the order of the events.
fn delivered_kinds(world: &World, invoice: &Invoice) -> Vec<EventKind> {
    let tables = world.store.tables();
    let kind = |id| tables.events.iter().find(|event| event.id == id).expect("a delivery has its event").kind;
    let of_invoice = |delivery: &Delivery| delivery.invoice.as_ref() == Some(&invoice.id);
    deliveries(world).into_iter().filter(of_invoice).map(|delivery| kind(delivery.event)).collect()
}

fn all_routed(world: &World) -> bool {
    let tables = world.store.tables();
    tables.events.iter().all(|event| tables.routed.contains(&event.id))
}

fn rendered(body: &str) -> Rendered {
    Rendered { content_type: "text/plain".to_owned(), headers: Vec::new(), body: body.as_bytes().to_vec() }
}

#[tokio::test]
async fn the_callback_hears_of_what_happens_to_the_invoice() {
    let (mut world, caller) = World::started().await;
    let invoice = paid_invoice(&mut world, &caller).await;
    let silent = world.make(&caller, NewInvoice { callback_url: None, ..world.new_invoice(5) }).await.expect("made");
    let routed = world.routing().route_all().await.expect("the store answers");
    assert_eq!(routed, 2, "the others were recorded as routed");
    assert!(all_routed(&world));
    assert_eq!(delivered_kinds(&world, &invoice), [EventKind::InvoiceConfirming, EventKind::InvoicePaid]);
    assert_eq!(delivered_kinds(&world, &silent), []);
    let first = first_delivery(&world);
    assert_eq!((first.state, first.attempts, first.revision), (DeliveryState::Pending, 0, 1));
    assert_eq!(world.routing().route_all().await.expect("the store answers"), 0);
}

#[tokio::test]
async fn events_without_an_invoice_are_routed_to_nobody() {
    let (mut world, caller) = World::started().await;
    let own = world.store.tables().addresses.into_values().next().expect("the merchant's own");
    world.pay(&[(own.address, 5)]);
    world.finalise().await;
    assert_eq!(world.available(caller.merchant()).await, xthonpay_domain::amount::Amount::from_units(5));
    assert!(all_routed(&world) && deliveries(&world).is_empty(), "it was recorded as routed");
}

fn only(kinds: &[EventKind]) -> EventFilter {
    EventFilter::Only(kinds.iter().copied().collect())
}

/// An event that is not routed.
fn event(number: u64, kind: EventKind, merchant: &MerchantId, invoice: Option<&Invoice>) -> Event {
    Event {
        id: format!("evt_{number:032x}").parse().expect("well formed"),
        kind,
        at: BEGINNING,
        merchant: merchant.clone(),
        invoice: invoice.map(|invoice| invoice.id.clone()),
        deposit: None,
        sequence: number,
        data_json: "{}".to_owned(),
    }
}

async fn record(world: &World, events: impl IntoIterator<Item = Event>) {
    let changes: Changeset = events.into_iter().map(Write::CreateEvent).collect();
    world.store.commit(changes).await.expect("the store takes it");
}

/// The kinds of the events that were delivered to an endpoint.
fn kinds_to(world: &World, endpoint: &Endpoint) -> BTreeSet<EventKind> {
    let tables = world.store.tables();
    let kind =
        |id: &EventId| tables.events.iter().find(|event| event.id == *id).expect("a delivery has its event").kind;
    let to = |delivery: &&Delivery| delivery.endpoint.as_ref() == Some(&endpoint.id);
    tables.deliveries.values().filter(to).map(|delivery| kind(&delivery.event)).collect()
}

#[tokio::test]
async fn every_endpoint_hears_of_the_kinds_that_it_wants_and_of_no_ping() {
    use EventKind::{DepositCredited, InvoiceExpired, InvoicePaid, Ping};
    let (world, caller) = World::started().await;
    let every: BTreeSet<EventKind> = EventKind::ALL.into_iter().filter(|kind| *kind != Ping).collect();
    let none = BTreeSet::new();
    let table = [
        (EventFilter::All, true, every),
        (EventFilter::All, false, none.clone()),
        (only(&[InvoicePaid]), true, [InvoicePaid].into()),
        (only(&[InvoicePaid]), false, none),
        (
            only(&[InvoicePaid, InvoiceExpired, DepositCredited]),
            true,
            [InvoicePaid, InvoiceExpired, DepositCredited].into(),
        ),
    ];
    let mut endpoints = Vec::new();
    for (filter, enabled, expected) in table {
        let endpoint = world.endpoint(&caller, filter).await;
        let change = EndpointChange { enabled: Some(enabled), ..EndpointChange::default() };
        world.endpoints().update(&caller, &endpoint.id, change, &unseen).await.expect("changed");
        endpoints.push((endpoint, expected));
    }
    let stranger = world.principal(SignatureScheme::Request).await;
    let elsewhere = world.endpoint(&stranger, EventFilter::All).await;
    record(&world, (1..).zip(EventKind::ALL).map(|(number, kind)| event(number, kind, caller.merchant(), None))).await;
    world.routing().route_all().await.expect("the store answers");
    assert!(all_routed(&world));
    for (endpoint, expected) in endpoints {
        assert_eq!(kinds_to(&world, &endpoint), expected, "{:?}", endpoint.events);
    }
    assert!(kinds_to(&world, &elsewhere).is_empty());
}

#[tokio::test]
async fn the_callback_and_each_endpoint_get_a_delivery_of_their_own_in_their_own_form() {
    let (mut world, caller) = World::started().await;
    world.hooks.bind_format_for_targets(|_, target| Ok(Some(rendered(&format!("bound for {target}")))));
    world.hooks.offer_format("slim", |_, target| Ok(Some(rendered(&format!("slim for {target}")))));
    let every = world.endpoint(&caller, EventFilter::All).await;
    let slim = world.endpoint(&caller, only(&[EventKind::InvoicePaid, EventKind::PaymentConfirmed])).await;
    let change = EndpointChange { format: Some(Some("slim".parse().expect("a name"))), ..EndpointChange::default() };
    let slim = world.endpoints().update(&caller, &slim.id, change, &unseen).await.expect("changed");
    let invoice = paid_invoice(&mut world, &caller).await;
    assert!(!all_routed(&world), "somebody hears");
    world.routing().route_all().await.expect("the store answers");
    assert!(all_routed(&world));
    let bodies = |endpoint: Option<&Endpoint>| -> Vec<String> {
        let to = |delivery: &Delivery| delivery.endpoint.as_ref() == endpoint.map(|endpoint| &endpoint.id);
        deliveries(&world)
            .into_iter()
            .filter(to)
            .map(|delivery| String::from_utf8(delivery.body).expect("text"))
            .collect()
    };
    assert_eq!(bodies(None), ["bound for callback"; 2]);
    assert_eq!(bodies(Some(&every)), vec![format!("bound for {}", every.id); world.events_of(&invoice.id).len()]);
    assert_eq!(bodies(Some(&slim)), vec![format!("slim for {}", slim.id); 2]);
    // A format that is offered no longer.
    world.hooks.offer_nothing();
    record(&world, [event(99, EventKind::InvoicePaid, caller.merchant(), None)]).await;
    world.routing().route_all().await.expect("the store answers");
    assert!(bodies(Some(&slim)).contains(&format!("bound for {}", slim.id)));
}

#[tokio::test]
async fn deposits_without_an_invoice_are_heard_of_by_endpoints() {
    let (mut world, caller) = World::started().await;
    let endpoint = world.endpoint(&caller, only(&[EventKind::DepositCredited])).await;
    let own = world.store.deposit_address(caller.merchant()).await.expect("the store answers").expect("has one");
    world.pay(&[(own.address, 5)]);
    world.finalise().await;
    world.routing().route_all().await.expect("the store answers");
    assert_eq!(kinds_to(&world, &endpoint), [EventKind::DepositCredited].into());
}

#[tokio::test]
async fn an_endpoint_whose_maker_went_away_hears_from_the_moment_of_its_record() {
    let (world, caller) = World::started().await;
    world.store.faults.next([Some(Fault::StoredAndSilent)]);
    let new = NewEndpoint {
        url: "https://shop.example/".parse().expect("a URL"),
        events: EventFilter::All,
        label: None,
        format: None,
    };
    let endpoints = world.endpoints();
    let made = tokio::time::timeout(Duration::from_millis(20), endpoints.create(&caller, new, &unseen)).await;
    assert!(made.is_err(), "it waits for an answer of the store");
    world.invoice(&caller, 1).await;
    world.routing().route_all().await.expect("the store answers");
    assert_eq!(deliveries(&world).len(), 1);
    // A second process learns of it from the store.
    let again = world.reopened(7).await;
    again.invoice(&caller, 1).await;
    again.routing().route_all().await.expect("the store answers");
    assert_eq!(deliveries(&world).len(), 2);
}

#[tokio::test]
async fn an_endpoint_is_not_made_while_somebody_records_who_did_not_know_it() {
    let (mut world, caller) = World::started().await;
    let invoice = world.make(&caller, NewInvoice { callback_url: None, ..world.new_invoice(5) }).await.expect("made");
    world.pay(&[(invoice.address, 5)]);
    world.scan().await;
    world.chain.finalise();
    // The scanner has asked who hears of the payment, and its changeset is not stored yet.
    let cursor = world.store.cursor(&chain_name()).await.expect("the store answers").expect("it has begun");
    let at = Position { cursor, seen: world.store.seen_deposits(&chain_name()).await.expect("the store answers") };
    let step = world.scanner.books.finalise(&at, at.cursor.tip).await.expect("reads").expect("credits");
    let tells = step.changes.writes.iter().filter(|write| matches!(write, Write::CreateEvent(_))).count();
    let asked_for = |url: &str| NewEndpoint {
        url: url.parse().expect("a URL"),
        events: EventFilter::All,
        label: None,
        format: None,
    };
    let endpoints = world.endpoints();
    let made = endpoints.create(&caller, asked_for("https://shop.example/"), &unseen);
    tokio::pin!(made);
    assert!(futures::poll!(&mut made).is_pending());
    assert!(world.store.tables().endpoints.is_empty());
    // One that asks now knows of the endpoint already.
    world.make(&caller, NewInvoice { callback_url: None, ..world.new_invoice(7) }).await.expect("made");
    assert!(!all_routed(&world));
    world.store.commit(step.changes).await.expect("stored");
    drop(step.recording);
    let endpoint = made.await.expect("made").endpoint;
    world.routing().route_all().await.expect("the store answers");
    assert!(tells > 0 && all_routed(&world));
    assert_eq!(kinds_to(&world, &endpoint), [EventKind::InvoiceCreated].into());
}

#[tokio::test]
async fn any_failure_of_the_store_leaves_one_delivery_for_each_event_and_target() {
    for fault in [Fault::NothingStored, Fault::Stored, Fault::Refused] {
        for nth in 0..6 {
            let (mut world, caller) = World::started().await;
            let every = world.endpoint(&caller, EventFilter::All).await;
            let some = world.endpoint(&caller, only(&[EventKind::InvoicePaid])).await;
            let invoice = paid_invoice(&mut world, &caller).await;
            let kinds = world.events_of(&invoice.id);
            world.store.faults.next(std::iter::repeat_n(None, nth).chain([Some(fault)]));
            let outcome = world.routing().route_all().await;
            assert_eq!(outcome.is_err(), nth < kinds.len(), "{fault:?} at commit {nth}: {outcome:?}");
            world.store.faults.clear();
            world.routing().route_all().await.expect("the store answers");
            assert!(all_routed(&world));
            assert_eq!(deliveries(&world).len(), 2 + kinds.len() + 1, "{fault:?} at commit {nth}");
            assert_eq!(kinds_to(&world, &every), kinds.into_iter().collect());
            assert_eq!(kinds_to(&world, &some), [EventKind::InvoicePaid].into());
        }
    }
}

#[tokio::test]
async fn one_target_that_is_waited_for_holds_up_no_other_and_keeps_its_order() {
    let (mut world, caller) = World::started().await;
    let held = world.endpoint(&caller, EventFilter::All).await;
    let free = world.endpoint(&caller, EventFilter::All).await;
    let (fails, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (id, failing, counted) = (held.id.to_string(), fails.clone(), calls.clone());
    world.hooks.bind_format_for_targets(move |event, target| {
        if target == id && event.kind == EventKind::InvoiceConfirming && failing.load(Ordering::SeqCst) {
            return Err(failure(OnFailure::Hold));
        }
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Some(rendered("shaped")))
    });
    let invoice = paid_invoice(&mut world, &caller).await;
    let every: BTreeSet<EventKind> = world.events_of(&invoice.id).into_iter().collect();
    for _ in 0..3 {
        assert!(matches!(world.routing().route_all().await, Err(RoutingError::Format(_))));
        assert_eq!(kinds_to(&world, &free), every);
        assert_eq!(kinds_to(&world, &held), [EventKind::InvoiceCreated, EventKind::PaymentDetected].into());
        assert_eq!(delivered_kinds(&world, &invoice).len(), every.len() + 2 + 2);
    }
    let shaped = calls.load(Ordering::SeqCst);
    assert_eq!(shaped, deliveries(&world).len(), "what is there is not shaped again");
    fails.store(false, Ordering::SeqCst);
    world.routing().route_all().await.expect("the store answers");
    assert!(all_routed(&world));
    assert_eq!(kinds_to(&world, &held), every);
    assert_eq!(calls.load(Ordering::SeqCst), every.len() * 2 + 2);
    // An endpoint that is switched off is waited for no longer.
    fails.store(true, Ordering::SeqCst);
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect_err("waits again");
    let off = EndpointChange { enabled: Some(false), ..EndpointChange::default() };
    world.endpoints().update(&caller, &held.id, off, &unseen).await.expect("changed");
    world.routing().route_all().await.expect("the store answers");
    assert!(all_routed(&world));
}

#[tokio::test]
async fn events_that_wait_hide_no_later_ones_however_many_they_are() {
    let (world, caller) = World::started().await;
    let (first, last) = (world.invoice(&caller, 1).await, world.invoice(&caller, 1).await);
    let id = last.id.clone();
    world.hooks.bind_format(move |event| {
        if event.invoice.as_ref() == Some(&id) { Ok(Some(rendered("ok"))) } else { Err(failure(OnFailure::Hold)) }
    });
    let waiting = (1..=600).map(|number| event(number, EventKind::InvoicePaid, caller.merchant(), Some(&first)));
    record(&world, waiting).await;
    record(&world, [event(601, EventKind::InvoicePaid, caller.merchant(), Some(&last))]).await;
    assert!(matches!(world.routing().route_all().await, Err(RoutingError::Format(_))));
    assert_eq!(delivered_kinds(&world, &last), [EventKind::InvoicePaid]);
    assert_eq!(delivered_kinds(&world, &first), []);
}

#[tokio::test]
async fn events_that_nobody_hears_are_routed_when_they_are_recorded() {
    let (mut world, caller) = World::started().await;
    let silent = world.make(&caller, NewInvoice { callback_url: None, ..world.new_invoice(100) }).await.expect("made");
    world.pay(&[(silent.address, 100)]);
    world.finalise().await;
    world.settle().await;
    assert_eq!(world.events_of(&silent.id).last(), Some(&EventKind::InvoicePaid));
    assert!(all_routed(&world));
    assert_eq!(world.routing().route_all().await.expect("the store answers"), 0);
}

#[tokio::test]
async fn events_that_turn_out_to_have_no_listener_are_routed_in_one_transaction() {
    let (mut world, caller) = World::started().await;
    for _ in 0..3 {
        paid_invoice(&mut world, &caller).await;
    }
    world.routing().route_all().await.expect("the store answers");
    let before = deliveries(&world);
    world.store.tamper(|tables| {
        let unheard = |kind| matches!(kind, EventKind::InvoiceCreated | EventKind::PaymentDetected);
        let back: Vec<_> =
            tables.events.iter().filter(|event| unheard(event.kind)).map(|event| event.id.clone()).collect();
        assert_eq!(back.len(), 6);
        back.iter().for_each(|id| assert!(tables.routed.remove(id)));
    });
    // The second commit would fail.
    world.store.faults.next([None, Some(Fault::NothingStored)]);
    assert_eq!(world.routing().route_all().await.expect("one commit is enough"), 6);
    assert!(all_routed(&world));
    assert_eq!(deliveries(&world), before);
}

#[tokio::test]
async fn any_single_failure_of_the_store_leaves_one_delivery_for_each_event() {
    for fault in [Fault::NothingStored, Fault::Stored] {
        for nth in 0..2 {
            let (mut world, caller) = World::started().await;
            let invoice = paid_invoice(&mut world, &caller).await;
            world.store.faults.next(std::iter::repeat_n(None, nth).chain([Some(fault)]));
            let outcome = world.routing().route_all().await;
            assert!(matches!(outcome, Err(RoutingError::Commit(_))), "{fault:?} at commit {nth}: {outcome:?}");
            world.routing().route_all().await.expect("the store answers");
            assert!(all_routed(&world));
            assert_eq!(
                delivered_kinds(&world, &invoice),
                [EventKind::InvoiceConfirming, EventKind::InvoicePaid],
                "{fault:?} at commit {nth}"
            );
        }
    }
}

#[tokio::test]
async fn an_event_that_has_its_delivery_keeps_those_bytes() {
    let (mut world, caller) = World::started().await;
    paid_invoice(&mut world, &caller).await;
    let calls = AtomicUsize::new(0);
    world.hooks.bind_format(move |_| Ok(Some(rendered(&format!("call {}", calls.fetch_add(1, Ordering::SeqCst))))));
    world.routing().route_all().await.expect("the store answers");
    let before = deliveries(&world);
    world.store.tamper(|tables| tables.routed.clear());
    world.routing().route_all().await.expect("the store answers");
    assert_eq!(deliveries(&world), before);
    assert!(all_routed(&world));
    assert_eq!(before[0].body, b"call 0");
    assert_eq!(before[0].content_type, "text/plain");
}

#[tokio::test]
async fn a_formatter_can_leave_out_an_event() {
    let (mut world, caller) = World::started().await;
    let invoice = paid_invoice(&mut world, &caller).await;
    world.hooks.bind_format(|event| Ok((event.kind == EventKind::InvoicePaid).then(|| rendered("paid"))));
    world.routing().route_all().await.expect("the store answers");
    assert_eq!(delivered_kinds(&world, &invoice), [EventKind::InvoicePaid]);
    assert!(all_routed(&world));
}

#[tokio::test]
async fn a_formatter_that_fails_is_replaced_by_the_built_in_form_and_says_so() {
    let (mut world, caller) = World::started().await;
    paid_invoice(&mut world, &caller).await;
    world.hooks.bind_format(|_| Err(failure(OnFailure::Builtin)));
    world.routing().route_all().await.expect("the store answers");
    for delivery in deliveries(&world) {
        assert_eq!(delivery.headers, [("x-format-fallback".to_owned(), "builtin".to_owned())]);
        assert!(delivery.body.starts_with(br#"{"event":"invoice."#));
    }
}

#[tokio::test]
async fn a_formatter_that_is_waited_for_holds_up_its_invoice_and_no_other() {
    for policy in [OnFailure::Hold, OnFailure::Closed] {
        let (mut world, caller) = World::started().await;
        let held = paid_invoice(&mut world, &caller).await;
        let other = paid_invoice(&mut world, &caller).await;
        let (id, fails) = (held.id.clone(), Arc::new(AtomicUsize::new(1)));
        let left = fails.clone();
        world.hooks.bind_format(move |event| {
            let fails = event.invoice.as_ref() == Some(&id) && event.kind == EventKind::InvoiceConfirming;
            if fails && left.load(Ordering::SeqCst) > 0 { Err(failure(policy)) } else { Ok(Some(rendered("ok"))) }
        });
        let outcome = world.routing().route_all().await;
        assert!(matches!(outcome, Err(RoutingError::Format(_))), "{outcome:?}");
        assert_eq!(delivered_kinds(&world, &held), [], "nothing overtakes the event that waits");
        assert_eq!(delivered_kinds(&world, &other), [EventKind::InvoiceConfirming, EventKind::InvoicePaid]);
        fails.store(0, Ordering::SeqCst);
        world.routing().route_all().await.expect("the store answers");
        assert_eq!(delivered_kinds(&world, &held), [EventKind::InvoiceConfirming, EventKind::InvoicePaid]);
    }
}

#[tokio::test]
async fn headers_that_a_formatter_may_not_set_never_go_out() {
    let table = [
        ("x-shop", "1", true),
        ("x-shop-2", "a b/c; d=\"e\"", true),
        ("x-xthon-signature", "00", false),
        ("webhook-id", "evt_0", false),
        ("content-type", "text/html", false),
        ("host", "elsewhere.example", false),
        ("X-Shop", "1", false),
        ("x-shop:", "1", false),
        ("x-shop", "1\r\nx-xthon-signature: 00", false),
        ("x-shop", "ü", false),
        ("", "1", false),
    ];
    for (name, value, allowed) in table {
        let (mut world, caller) = World::started().await;
        paid_invoice(&mut world, &caller).await;
        world.hooks.bind_format(move |_| {
            let headers = vec![(name.to_owned(), value.to_owned())];
            Ok(Some(Rendered { headers, ..rendered("shaped") }))
        });
        world.routing().route_all().await.expect("the store answers");
        let delivery = first_delivery(&world);
        assert_eq!(delivery.body == b"shaped", allowed, "{name:?}: {value:?}");
        let expected = if allowed { (name, value) } else { ("x-format-fallback", "builtin") };
        assert_eq!(delivery.headers, [(expected.0.to_owned(), expected.1.to_owned())]);
    }
    for content_type in ["", "text/plain\r\nx: y", "text/plain\0", "téxt"] {
        let (mut world, caller) = World::started().await;
        paid_invoice(&mut world, &caller).await;
        world
            .hooks
            .bind_format(move |_| Ok(Some(Rendered { content_type: content_type.to_owned(), ..rendered("shaped") })));
        world.routing().route_all().await.expect("the store answers");
        assert_eq!(first_delivery(&world).content_type, "application/json", "{content_type:?}");
    }
}

#[tokio::test]
async fn more_events_than_one_look_takes_are_all_routed() {
    let (world, caller) = World::started().await;
    for _ in 0..300 {
        world.invoice(&caller, 1).await;
    }
    // As if they had been left to routing.
    world.store.tamper(|tables| tables.routed.clear());
    let stop = CancellationToken::new();
    let run = tokio::spawn(world.routing().run(stop.clone()));
    until("all events are routed", || all_routed(&world)).await;
    stop.cancel();
    run.await.expect("ends in order");
}

#[tokio::test]
async fn run_goes_on_after_a_failure() {
    let (mut world, caller) = World::started().await;
    let invoice = paid_invoice(&mut world, &caller).await;
    world.store.faults.fail_reads(true);
    let stop = CancellationToken::new();
    let run = tokio::spawn(world.routing().run(stop.clone()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.store.faults.clear();
    until("all events are routed", || all_routed(&world)).await;
    stop.cancel();
    run.await.expect("ends in order");
    assert_eq!(delivered_kinds(&world, &invoice), [EventKind::InvoiceConfirming, EventKind::InvoicePaid]);
}
