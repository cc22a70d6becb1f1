//! Telling again: single deliveries and ranges of the feed.

use std::collections::BTreeSet;
use std::time::Duration;

use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::event::{Event, EventFilter, EventKind};
use xthonpay_domain::id::DeliveryId;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::access::Principal;
use xthonpay_payments::delivery::replay::{REPLAYED_MAX, RangeEnd, RangeStart, ReplayError, ReplayRequest, Replayed};
use xthonpay_payments::endpoints::EndpointChange;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::hooks::OnFailure;
use xthonpay_payments::port::store::{
    Changeset, CommitError, Delivery, DeliveryState, EndpointState, FeedPosition, Store as _, UsedSignature, Write,
};
use xthonpay_tests::memory_store::Fault;

use crate::delivery::{deliveries, first_delivery, paid_invoice};
use crate::doubles::{Reply, failure};
use crate::world::{World, unseen};

const EVERYTHING: ReplayRequest =
    ReplayRequest { from: RangeStart::Behind(FeedPosition(0)), to: None, endpoint: None, kinds: BTreeSet::new() };

fn off() -> EndpointChange {
    EndpointChange { enabled: Some(false), ..EndpointChange::default() }
}

fn once(caller: &Principal, signature: &str) -> Principal {
    let used =
        UsedSignature { key: caller.key.id.clone(), signature: signature.to_owned(), expires_at: Timestamp::EPOCH };
    Principal { used_signature: Some(used), ..caller.clone() }
}

/// Makes every delivery as if its receiver had taken it.
async fn deliver_all(world: &World) {
    for delivery in deliveries(world) {
        world.courier().attempt(&delivery).await.expect("the store answers");
    }
}

fn pending(world: &World) -> Vec<Delivery> {
    deliveries(world).into_iter().filter(|delivery| delivery.state == DeliveryState::Pending).collect()
}

/// What never changes about a delivery.
fn bytes(delivery: &Delivery) -> (DeliveryId, String, Vec<(String, String)>, Vec<u8>) {
    (delivery.id.clone(), delivery.content_type.clone(), delivery.headers.clone(), delivery.body.clone())
}

#[tokio::test]
async fn a_delivery_in_any_state_goes_out_again_in_its_old_bytes() {
    for (state, attempts) in [(DeliveryState::Delivered, 1), (DeliveryState::Failed, 10), (DeliveryState::Pending, 3)] {
        let (mut world, caller) = World::started().await;
        paid_invoice(&mut world, &caller).await;
        world.routing().route_all().await.expect("the store answers");
        let before = first_delivery(&world);
        world.store.tamper(|tables| {
            let delivery = tables.deliveries.get_mut(&before.id).expect("there");
            (delivery.state, delivery.attempts, delivery.attempts_on_schedule) = (state, attempts, attempts);
            delivery.next_at = world.clock.now().after(Duration::from_secs(9_000));
        });
        let again = world.replay().redeliver(&caller, &before.id, &unseen).await.expect("asked for again");
        assert_eq!(again, first_delivery(&world));
        assert_eq!(bytes(&again), bytes(&before));
        assert_eq!((again.state, again.next_at), (DeliveryState::Pending, world.clock.now()));
        assert_eq!((again.attempts, again.attempts_on_schedule), (attempts, 0));
        // The schedule begins anew.
        world.receivers.answer(|_| Reply::Status(500));
        world.courier().attempt(&again).await.expect("the store answers");
        let failed = first_delivery(&world);
        assert_eq!(
            (failed.state, failed.attempts, failed.attempts_on_schedule),
            (DeliveryState::Pending, attempts + 1, 1)
        );
    }
}

#[tokio::test]
async fn nothing_goes_to_an_endpoint_that_is_off_and_all_to_where_it_is_now() {
    let (mut world, caller) = World::started().await;
    let endpoint = world.endpoint(&caller, EventFilter::All).await;
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    let of_endpoint = |delivery: &Delivery| delivery.endpoint.as_ref() == Some(&endpoint.id);
    let delivery = deliveries(&world).into_iter().find(of_endpoint).expect("there");
    let moved = EndpointChange { url: "https://shop.example/new".parse().ok(), ..EndpointChange::default() };
    world.endpoints().update(&caller, &endpoint.id, moved, &unseen).await.expect("changed");
    let again = world.replay().redeliver(&caller, &delivery.id, &unseen).await.expect("asked for again");
    assert_eq!(again.url.as_str(), "https://shop.example/new");
    let states = [
        EndpointState::Paused,
        EndpointState::Removed,
        EndpointState::Disabled { reason: String::new(), at: Timestamp::EPOCH },
    ];
    for state in states {
        world.store.tamper(|tables| tables.endpoints.get_mut(&endpoint.id).expect("made").state = state.clone());
        let before = deliveries(&world);
        let refused = world.replay().redeliver(&caller, &delivery.id, &unseen).await;
        assert_eq!(refused, Err(ReplayError::NotEnabled), "{state:?}");
        let request = ReplayRequest { endpoint: Some(endpoint.id.clone()), ..EVERYTHING };
        let expected = if state == EndpointState::Removed { ReplayError::NotFound } else { ReplayError::NotEnabled };
        assert_eq!(world.replay().range(&caller, &request, &unseen).await, Err(expected), "{state:?}");
        assert_eq!(deliveries(&world), before);
    }
}

#[tokio::test]
async fn a_range_goes_to_everybody_once_however_often_it_is_asked_for() {
    let (mut world, caller) = World::started().await;
    let endpoint = world.endpoint(&caller, EventFilter::Only([EventKind::InvoicePaid].into())).await;
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    let before: Vec<_> = deliveries(&world).iter().map(bytes).collect();
    assert_eq!(before.len(), 3, "two to the callback, one to the endpoint");
    deliver_all(&world).await;
    assert_eq!(pending(&world), []);
    for _ in 0..3 {
        let done = world.replay().range(&caller, &EVERYTHING, &unseen).await.expect("told again");
        assert_eq!((done.events, done.deliveries, done.has_more), (2, 3, false));
        assert_eq!(pending(&world).iter().map(bytes).collect::<Vec<_>>(), before);
    }
    let revisions: Vec<u64> = pending(&world).iter().map(|delivery| delivery.revision).collect();
    assert_eq!(revisions, [3; 3], "what is due already is left alone");
    deliver_all(&world).await;
    let to_one = ReplayRequest { endpoint: Some(endpoint.id.clone()), ..EVERYTHING };
    let done = world.replay().range(&caller, &to_one, &unseen).await.expect("told again");
    assert_eq!((done.events, done.deliveries), (1, 1));
    assert_eq!(pending(&world)[0].endpoint, Some(endpoint.id));
}

#[tokio::test]
async fn an_endpoint_that_is_newer_than_the_events_gets_them() {
    let (mut world, caller) = World::started().await;
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    deliver_all(&world).await;
    let endpoint = world.endpoint(&caller, EventFilter::All).await;
    world.endpoints().ping(&caller, &endpoint.id, &unseen).await.expect("made");
    deliver_all(&world).await;
    let request = ReplayRequest { endpoint: Some(endpoint.id.clone()), ..EVERYTHING };
    let done = world.replay().range(&caller, &request, &unseen).await.expect("told");
    let kinds = world.store.tables().events.len() - 1;
    assert_eq!((done.events, done.deliveries), (kinds, kinds), "a ping is not told again");
    assert!(pending(&world).iter().all(|delivery| delivery.endpoint.as_ref() == Some(&endpoint.id)));
    let first = pending(&world);
    world.replay().range(&caller, &request, &unseen).await.expect("told");
    assert_eq!(pending(&world), first);
    // One that is off gets nothing when everybody is told.
    deliver_all(&world).await;
    world.endpoints().update(&caller, &endpoint.id, off(), &unseen).await.expect("changed");
    let done = world.replay().range(&caller, &EVERYTHING, &unseen).await.expect("told");
    assert_eq!(done.deliveries, 2, "the callback alone");
}

#[tokio::test]
async fn kinds_and_ends_narrow_a_range() {
    let (world, caller) = World::started().await;
    let endpoint = world.endpoint(&caller, EventFilter::All).await;
    let minute = |number: u64| Timestamp::from_secs(1_700_000_000 + number * 600);
    let events = (0..10_u64).map(|number| Event {
        id: format!("evt_{number:032x}").parse().expect("well formed"),
        kind: if number % 2 == 0 { EventKind::InvoicePaid } else { EventKind::InvoiceExpired },
        at: minute(number),
        merchant: caller.merchant().clone(),
        invoice: None,
        deposit: None,
        sequence: 0,
        data_json: "{}".to_owned(),
    });
    world.store.commit(events.map(Write::CreateEvent).collect()).await.expect("stored");
    world.routing().route_all().await.expect("the store answers");
    let feed = world.store.feed(caller.merchant(), FeedPosition(0), 100).await.expect("the store answers");
    let place = |number: usize| feed[number].0;
    let between = Duration::from_secs(1);
    let behind = |number| RangeStart::Behind(place(number));
    let table = [
        (EVERYTHING.from, None, "", 10),
        (behind(3), None, "", 6),
        (behind(3), Some(RangeEnd::Position(place(5))), "", 2),
        (behind(5), Some(RangeEnd::Position(place(5))), "", 0),
        (behind(9), None, "", 0),
        (RangeStart::Time(minute(0)), None, "", 10),
        (RangeStart::Time(minute(4)), None, "", 6),
        (RangeStart::Time(minute(4).after(between)), None, "", 5),
        (RangeStart::Time(minute(4)), Some(RangeEnd::Time(minute(6))), "", 3),
        (RangeStart::Time(minute(4)), Some(RangeEnd::Time(minute(4))), "", 1),
        (RangeStart::Time(minute(6)), Some(RangeEnd::Time(minute(4))), "", 0),
        (RangeStart::Time(minute(20)), None, "", 0),
        (RangeStart::Time(Timestamp::EPOCH), Some(RangeEnd::Time(minute(9))), "", 10),
        (EVERYTHING.from, None, "invoice.paid", 5),
        (behind(3), Some(RangeEnd::Time(minute(8))), "invoice.expired", 2),
        (EVERYTHING.from, None, "payment.detected", 0),
    ];
    for (from, to, kind, expected) in table {
        world.store.tamper(|tables| {
            tables.deliveries.values_mut().for_each(|delivery| delivery.state = DeliveryState::Delivered);
        });
        let kinds = kind.parse::<EventKind>().into_iter().collect();
        let request = ReplayRequest { from, to, kinds, endpoint: Some(endpoint.id.clone()) };
        let done = world.replay().range(&caller, &request, &unseen).await.expect("told again");
        assert_eq!((done.events, done.has_more), (expected, false), "{request:?}");
        assert_eq!(pending(&world).len(), expected, "{request:?}");
    }
}

#[tokio::test]
async fn a_time_is_found_in_a_long_feed_in_few_reads() {
    let (world, caller) = World::started().await;
    let at = |number: u64| Timestamp::from_secs(1_700_000_000 + number * 60);
    let events = (0..20_000_u64).map(|number| Event {
        id: format!("evt_{number:032x}").parse().expect("well formed"),
        kind: EventKind::PaymentDetected,
        at: at(number),
        merchant: caller.merchant().clone(),
        invoice: None,
        deposit: None,
        sequence: 0,
        data_json: "{}".to_owned(),
    });
    let writes: Vec<_> = events.map(std::sync::Arc::new).collect();
    world.store.tamper(|tables| tables.events.extend(writes));
    world.endpoint(&caller, EventFilter::All).await;
    for number in [0, 1, 9_999, 19_990, 19_999] {
        let before = world.store.faults.reads();
        let request =
            ReplayRequest { from: RangeStart::Time(at(number)), to: Some(RangeEnd::Time(at(number))), ..EVERYTHING };
        let done = world.replay().range(&caller, &request, &unseen).await.expect("told again");
        assert_eq!((done.events, done.deliveries), (1, 1), "event {number}");
        assert!(world.store.faults.reads() - before < 60, "event {number}");
    }
}

#[tokio::test]
async fn a_long_range_goes_on_from_the_answers_cursor_and_leaves_out_nothing() {
    let (world, caller) = World::started().await;
    for _ in 0..3 {
        world.endpoint(&caller, EventFilter::All).await;
    }
    let events = (0..300_u64).map(|number| Event {
        id: format!("evt_{number:032x}").parse().expect("well formed"),
        kind: EventKind::InvoicePaid,
        at: world.clock.now(),
        merchant: caller.merchant().clone(),
        invoice: None,
        deposit: None,
        sequence: 0,
        data_json: "{}".to_owned(),
    });
    world.store.commit(events.map(Write::CreateEvent).collect()).await.expect("stored");
    let mut request = EVERYTHING;
    let mut total = 0;
    loop {
        let done = world.replay().range(&caller, &request, &unseen).await.expect("told");
        assert!(done.deliveries <= REPLAYED_MAX);
        total += done.deliveries;
        request.from = RangeStart::Behind(done.next);
        if !done.has_more {
            break;
        }
    }
    assert_eq!(total, 900);
    assert_eq!(pending(&world).len(), 900);
    // Routing finds them and makes no second ones.
    world.routing().route_all().await.expect("the store answers");
    assert_eq!(deliveries(&world).len(), 900);
}

#[tokio::test]
async fn a_signature_tells_again_once() {
    let (mut world, caller) = World::started().await;
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    deliver_all(&world).await;
    let first = first_delivery(&world);
    let signed = once(&caller, "11");
    world.replay().range(&signed, &EVERYTHING, &unseen).await.expect("the first use");
    let other = once(&caller, "22");
    world.replay().redeliver(&other, &first.id, &unseen).await.expect("the first use");
    deliver_all(&world).await;
    let before = deliveries(&world);
    for _ in 0..100 {
        let replayed = Err(ReplayError::SignatureReplayed);
        assert_eq!(world.replay().range(&signed, &EVERYTHING, &unseen).await, replayed);
        assert_eq!(world.replay().redeliver(&other, &first.id, &unseen).await, Err(ReplayError::SignatureReplayed));
    }
    assert_eq!(deliveries(&world), before);
}

#[tokio::test]
async fn a_failure_of_the_store_leaves_all_or_nothing() {
    for (fault, told) in [(Fault::NothingStored, 0), (Fault::Stored, 3)] {
        let (mut world, caller) = World::started().await;
        world.endpoint(&caller, EventFilter::Only([EventKind::InvoicePaid].into())).await;
        paid_invoice(&mut world, &caller).await;
        world.routing().route_all().await.expect("the store answers");
        deliver_all(&world).await;
        world.store.faults.next([Some(fault)]);
        let outcome = world.replay().range(&caller, &EVERYTHING, &unseen).await;
        assert!(matches!(outcome, Err(ReplayError::Commit(CommitError::Store(_)))), "{outcome:?}");
        assert_eq!(pending(&world).len(), told);
        world.replay().range(&caller, &EVERYTHING, &unseen).await.expect("the store answers");
        assert_eq!(pending(&world).len(), 3);
    }
    // What cannot be shaped is told to the caller, and nothing else goes out.
    let (mut world, caller) = World::started().await;
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    deliver_all(&world).await;
    world.endpoint(&caller, EventFilter::All).await;
    world.hooks.bind_format(|_| Err(failure(OnFailure::Hold)));
    let outcome = world.replay().range(&caller, &EVERYTHING, &unseen).await;
    assert!(matches!(outcome, Err(ReplayError::Format(_))));
    assert_eq!(pending(&world), []);
}

#[tokio::test]
async fn an_attempt_at_the_same_moment_does_not_stop_it() {
    let (mut world, caller) = World::started().await;
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    deliver_all(&world).await;
    let (store, id) = (world.store.clone(), first_delivery(&world).id);
    let raced = std::sync::atomic::AtomicUsize::new(0);
    world.store.faults.when(move |_: &Changeset| {
        if raced.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
            store.tamper(|tables| tables.deliveries.get_mut(&id).expect("there").revision += 1);
        }
        None
    });
    let done = world.replay().range(&caller, &EVERYTHING, &unseen).await.expect("told at last");
    assert_eq!(done.deliveries, 2);
    assert_eq!(pending(&world).len(), 2);
}

#[tokio::test]
async fn nobody_sends_what_is_anothers() {
    let (mut world, caller) = World::started().await;
    let stranger = world.principal(SignatureScheme::Request).await;
    let endpoint = world.endpoint(&caller, EventFilter::All).await;
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    deliver_all(&world).await;
    let before = deliveries(&world);
    let id = &before[0].id;
    assert_eq!(world.replay().redeliver(&stranger, id, &unseen).await, Err(ReplayError::NotFound));
    let request = ReplayRequest { endpoint: Some(endpoint.id), ..EVERYTHING };
    assert_eq!(world.replay().range(&stranger, &request, &unseen).await, Err(ReplayError::NotFound));
    let done = world.replay().range(&stranger, &EVERYTHING, &unseen).await.expect("has no events");
    let nothing = Replayed { events: 0, deliveries: 0, next: FeedPosition(0), has_more: false };
    assert_eq!(done, nothing);
    assert_eq!(deliveries(&world), before);
}
