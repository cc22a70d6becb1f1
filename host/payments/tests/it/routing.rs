//! Events become deliveries, each once and in fixed bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::delivery::routing::RoutingError;
use xthonpay_payments::invoicing::NewInvoice;
use xthonpay_payments::port::hooks::{OnFailure, Rendered};
use xthonpay_payments::port::store::DeliveryState;
use xthonpay_tests::memory_store::Fault;

use crate::delivery::{deliveries, first_delivery, paid_invoice, until};
use crate::doubles::failure;
use crate::world::World;

/// The kinds of an invoice's events that have a delivery, in the order of the events.
fn delivered_kinds(world: &World, invoice: &Invoice) -> Vec<EventKind> {
    let tables = world.store.tables();
    let kind = |id| tables.events.iter().find(|event| event.id == id).expect("a delivery has its event").kind;
    let of_invoice =
        |delivery: &xthonpay_payments::port::store::Delivery| delivery.invoice.as_ref() == Some(&invoice.id);
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
    assert_eq!(world.routing().route_all().await.expect("the store answers"), 1);
    assert!(all_routed(&world) && deliveries(&world).is_empty());
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
