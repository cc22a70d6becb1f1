//! The loop that sends what is due: nobody waits for somebody else's receiver, and nothing is sent twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::id::DeliveryId;
use xthonpay_payments::delivery::dispatch::Dispatch;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{Delivery, DeliveryState};
use xthonpay_tests::memory_store::Fault;

use crate::delivery::{copies, deliveries, first_delivery, header, paid_invoice, told, until, with_deliveries};
use crate::doubles::Reply;
use crate::world::World;

fn start(world: &World) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let dispatch = Dispatch { courier: Arc::new(world.courier()), wakeups: world.wakeups.clone() };
    (stop.clone(), tokio::spawn(dispatch.run(stop)))
}

fn all_delivered(world: &World) -> bool {
    deliveries(world).iter().all(|delivery| delivery.state == DeliveryState::Delivered)
}

fn put(world: &World, more: BTreeMap<DeliveryId, Delivery>) {
    world.store.tamper(|tables| tables.deliveries.extend(more));
}

#[tokio::test]
async fn every_delivery_arrives_exactly_once() {
    let (mut world, caller) = World::started().await;
    for _ in 0..10 {
        paid_invoice(&mut world, &caller).await;
    }
    world.routing().route_all().await.expect("the store answers");
    put(&world, copies(&first_delivery(&world), 40, |number| format!("https://shop{}.example/", number % 3)));
    let (stop, run) = start(&world);
    until("everything is delivered", || all_delivered(&world)).await;
    // Several looks more.
    for _ in 0..5 {
        world.wakeups.dispatch.notify_one();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    run.await.expect("ends in order");
    assert_eq!(world.receivers.got().len(), 60);
    assert!(deliveries(&world).iter().all(|delivery| delivery.attempts == 1));
}

#[tokio::test]
async fn events_of_an_invoice_arrive_in_their_order_even_when_the_clock_jumps_back() {
    let (mut world, caller) = World::started().await;
    let invoice = world.invoice(&caller, 100).await;
    world.pay(&[(invoice.address, 60)]);
    world.scan().await;
    world.routing().route_all().await.expect("the store answers");
    world.clock.set(xthonpay_domain::time::Timestamp::from_secs(1_600_000_000));
    world.pay(&[(invoice.address, 40)]);
    world.finalise().await;
    world.settle().await;
    world.routing().route_all().await.expect("the store answers");
    world.clock.set(crate::world::BEGINNING.after(Duration::from_secs(60)));
    let (stop, run) = start(&world);
    until("everything is delivered", || all_delivered(&world)).await;
    stop.cancel();
    run.await.expect("ends in order");
    let told: Vec<String> = world.receivers.got().iter().map(told).collect();
    assert_eq!(told, ["invoice.partially_paid", "invoice.confirming", "invoice.paid"]);
}

#[tokio::test]
async fn an_event_that_failed_does_not_hold_up_the_later_ones() {
    let (world, _) = with_deliveries().await;
    world.receivers.answer(|request| Reply::Status(if told(request) == "invoice.confirming" { 500 } else { 200 }));
    let (stop, run) = start(&world);
    until("the later one is delivered", || deliveries(&world)[1].state == DeliveryState::Delivered).await;
    stop.cancel();
    run.await.expect("ends in order");
    let first = first_delivery(&world);
    assert_eq!((first.state, first.attempts), (DeliveryState::Pending, 1));
}

#[tokio::test]
async fn a_hanging_receiver_does_not_delay_another_however_much_it_is_owed() {
    let (world, _) = with_deliveries().await;
    let good = first_delivery(&world);
    let mut owed = copies(&good, 2_500, |_| "https://hangs.example/hook".to_owned());
    owed.values_mut().for_each(|delivery| delivery.next_at = crate::world::BEGINNING);
    put(&world, owed);
    world.receivers.answer(
        |request| {
            if request.url.as_str().contains("hangs") { Reply::Hang } else { Reply::Status(200) }
        },
    );
    world.clock.advance(Duration::from_secs(60));
    let (stop, run) = start(&world);
    let delivered = || world.store.tables().deliveries[&good.id].state == DeliveryState::Delivered;
    until("the good receiver gets its webhook", delivered).await;
    let hanging = world.receivers.got().iter().filter(|request| request.url.as_str().contains("hangs")).count();
    assert!(hanging <= 8, "{hanging} under way to one receiver");
    world.receivers.release();
    stop.cancel();
    run.await.expect("ends in order");
}

#[tokio::test]
async fn hanging_receivers_of_one_merchant_leave_room_for_another() {
    let (mut world, caller) = World::started().await;
    paid_invoice(&mut world, &caller).await;
    world.routing().route_all().await.expect("the store answers");
    put(&world, copies(&first_delivery(&world), 400, |number| format!("https://hangs{number}.example/")));
    world.receivers.answer(
        |request| {
            if request.url.as_str().contains("hangs") { Reply::Hang } else { Reply::Status(200) }
        },
    );
    let (stop, run) = start(&world);
    until("many hang", || world.receivers.got().len() >= 60).await;
    let other = world.principal(SignatureScheme::Request).await;
    let theirs = paid_invoice(&mut world, &other).await;
    world.routing().route_all().await.expect("the store answers");
    let arrived = || {
        let of_theirs = |delivery: &&Delivery| delivery.invoice.as_ref() == Some(&theirs.id);
        deliveries(&world).iter().filter(of_theirs).all(|delivery| delivery.state == DeliveryState::Delivered)
    };
    until("the other merchant hears of its invoice", arrived).await;
    world.receivers.release();
    stop.cancel();
    run.await.expect("ends in order");
}

/// Hanging receivers, and how much each is owed.
struct Hanging {
    what: &'static str,
    merchants: usize,
    receivers: usize,
    owed: usize,
}

/// Whoever hangs, an event for a healthy receiver arrives at once: of another merchant, and of the merchant whose receivers hang.
#[tokio::test]
async fn hanging_receivers_delay_nobody_else() {
    const EVENTS: usize = 50;
    for Hanging { what, merchants, receivers, owed } in [
        Hanging { what: "one receiver is owed 5,000", merchants: 1, receivers: 1, owed: 5_000 },
        Hanging { what: "50 receivers of one merchant", merchants: 1, receivers: 50, owed: 30 },
        Hanging { what: "50 receivers of 50 merchants", merchants: 50, receivers: 1, owed: 30 },
    ] {
        let (world, _) = with_deliveries().await;
        let pattern = first_delivery(&world);
        let mut owners = vec![pattern.merchant.clone()];
        while owners.len() < merchants {
            owners.push(world.merchant().await.merchant.id);
        }
        let count = merchants * receivers * owed;
        let mut backlog =
            copies(&pattern, count, |number| format!("https://hangs{}.example/hook", number % (merchants * receivers)));
        for (number, delivery) in backlog.values_mut().enumerate() {
            delivery.merchant = owners[number % merchants].clone();
            delivery.next_at = crate::world::BEGINNING;
        }
        world.store.tamper(|tables| tables.deliveries = backlog);
        world.receivers.answer(
            |request| {
                if request.url.as_str().contains("hangs") { Reply::Hang } else { Reply::Status(200) }
            },
        );
        world.clock.advance(Duration::from_secs(60));
        let stranger = world.merchant().await.merchant.id;
        let (stop, run) = start(&world);
        until("all of them hang", || world.receivers.count_to("hangs") >= merchants * receivers).await;

        let mut took = Vec::new();
        for number in 0..EVENTS {
            world.clock.advance(Duration::from_millis(20));
            let merchant = if number % 2 == 0 { &stranger } else { &pattern.merchant };
            let id = DeliveryId::from_fact(&["healthy", &number.to_string()]);
            let url = "https://healthy.example/hook".parse().expect("a URL");
            let next_at = world.clock.now();
            let event = Delivery { id: id.clone(), merchant: merchant.clone(), url, next_at, ..pattern.clone() };
            let began = Instant::now();
            put(&world, BTreeMap::from([(id, event)]));
            world.wakeups.dispatch.notify_one();
            until("it arrives", || world.receivers.count_to("healthy") > number).await;
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let p99 = took[EVENTS * 99 / 100 - 1];
        assert!(p99 < Duration::from_secs(2), "{what}: {took:?}");
        for receiver in 0..merchants * receivers {
            let at_once = world.receivers.count_to(&format!("//hangs{receiver}."));
            assert!(at_once <= 8, "{what}: {at_once} under way to one receiver");
        }
        world.receivers.release();
        stop.cancel();
        run.await.expect("ends in order");
    }
}

/// A backlog of many pages to receivers that take everything is worked off, each delivery once and each invoice in its order.
#[tokio::test]
async fn a_backlog_is_worked_off_in_order() {
    const EACH: usize = 520;
    let (world, _) = with_deliveries().await;
    let pattern = first_delivery(&world);
    let mut backlog = copies(&pattern, EACH * 2, |number| format!("https://shop{}.example/", number % 7));
    let firsts: Vec<Delivery> = backlog.values().take(EACH).cloned().collect();
    for ((number, delivery), first) in (0_u64..).zip(backlog.values_mut().skip(EACH)).zip(&firsts) {
        // The second event of the same invoice, to the same receiver, due later.
        delivery.url = first.url.clone();
        delivery.invoice.clone_from(&first.invoice);
        delivery.sequence = first.sequence + 1;
        delivery.next_at = first.next_at.after(Duration::from_millis(number % 3));
    }
    for delivery in backlog.values_mut() {
        let told = format!("{}/{}", delivery.invoice.as_ref().expect("an invoice"), delivery.sequence);
        delivery.body = told.into_bytes();
    }
    world.store.tamper(|tables| tables.deliveries = backlog);
    world.clock.advance(Duration::from_secs(60));
    let (stop, run) = start(&world);
    until("everything arrives", || world.receivers.count_to("shop") >= EACH * 2).await;
    stop.cancel();
    run.await.expect("ends in order");
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in world.receivers.got() {
        let text = String::from_utf8(request.body).expect("text");
        let (invoice, sequence) = text.split_once('/').expect("two parts");
        told.entry(invoice.to_owned()).or_default().push(sequence.to_owned());
    }
    assert_eq!(told.len(), EACH);
    let (first, second) = (pattern.sequence.to_string(), (pattern.sequence + 1).to_string());
    assert!(told.values().all(|order| *order == [first.as_str(), second.as_str()]));
}

#[tokio::test]
async fn does_not_ask_the_store_all_the_time_while_an_attempt_is_under_way() {
    let (world, _) = with_deliveries().await;
    world.receivers.answer(|_| Reply::Hang);
    let (stop, run) = start(&world);
    until("one hangs", || world.receivers.got().len() == 1).await;
    let before = world.store.faults.reads();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let reads = world.store.faults.reads().saturating_sub(before);
    assert!(reads <= 4, "{reads} reads in 300 ms");
    world.receivers.release();
    stop.cancel();
    run.await.expect("ends in order");
}

#[tokio::test]
async fn a_wake_up_is_served_at_once() {
    let (world, _) = with_deliveries().await;
    let (stop, run) = start(&world);
    until("everything is delivered", || all_delivered(&world)).await;
    let more = copies(&first_delivery(&world), 8, |number| format!("https://shop{number}.example/"));
    let began = Instant::now();
    for (id, delivery) in more {
        let due = Delivery { state: DeliveryState::Pending, ..delivery };
        put(&world, BTreeMap::from([(id, due)]));
        world.wakeups.dispatch.notify_one();
        until("it is delivered", || all_delivered(&world)).await;
    }
    // Each would wait half a second for the next look otherwise.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    stop.cancel();
    run.await.expect("ends in order");
}

#[tokio::test]
async fn an_attempt_that_panics_frees_its_place() {
    let (world, _) = with_deliveries().await;
    let panics = std::sync::atomic::AtomicBool::new(true);
    world.receivers.answer(move |_| {
        if panics.swap(false, std::sync::atomic::Ordering::SeqCst) { Reply::Panic } else { Reply::Status(200) }
    });
    let (stop, run) = start(&world);
    until("the next event of the invoice arrives", || deliveries(&world)[1].state == DeliveryState::Delivered).await;
    world.clock.set(first_delivery(&world).next_at);
    world.wakeups.dispatch.notify_one();
    until("the first one arrives too", || all_delivered(&world)).await;
    stop.cancel();
    run.await.expect("ends in order");
}

#[tokio::test]
async fn retries_what_failed_when_it_is_due() {
    let (world, _) = with_deliveries().await;
    world.receivers.answer(|_| Reply::Status(503));
    let (stop, run) = start(&world);
    until("both were tried", || deliveries(&world).iter().all(|delivery| delivery.attempts == 1)).await;
    world.receivers.answer(|_| Reply::Status(200));
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(world.receivers.got().len(), 2, "not before it is due");
    world.clock.advance(Duration::from_secs(6));
    until("both arrive", || all_delivered(&world)).await;
    stop.cancel();
    run.await.expect("ends in order");
    let got = world.receivers.got();
    assert_eq!(header(&got[0], "webhook-id"), header(&got[2], "webhook-id"));
    assert_eq!(got[0].body, got[2].body);
}

#[tokio::test]
async fn lets_attempts_end_before_it_stops() {
    let (world, _) = with_deliveries().await;
    world.receivers.answer(|_| Reply::Hang);
    let (stop, run) = start(&world);
    until("one hangs", || world.receivers.got().len() == 1).await;
    stop.cancel();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!run.is_finished(), "the attempt under way is waited for");
    world.receivers.release();
    run.await.expect("ends in order");
    assert_eq!(first_delivery(&world).state, DeliveryState::Delivered);
    assert_eq!(deliveries(&world)[1].attempts, 0, "nothing new is begun");
}

#[tokio::test]
async fn a_crash_between_sending_and_recording_repeats_the_same_webhook() {
    let (world, _) = with_deliveries().await;
    world.store.faults.when(|_| Some(Fault::NothingStored));
    let (_, crashes) = start(&world);
    until("one was sent", || world.receivers.got().len() == 1).await;
    crashes.abort();
    let _ = crashes.await;
    world.store.faults.clear();
    let (stop, run) = start(&world);
    until("everything is delivered", || all_delivered(&world)).await;
    stop.cancel();
    run.await.expect("ends in order");
    let got = world.receivers.got();
    let ids: Vec<Vec<&str>> = got.iter().map(|request| header(request, "webhook-id")).collect();
    assert_eq!(got.len(), 3);
    assert_eq!((&ids[0], &got[0].body), (&ids[1], &got[1].body));
    assert!(world.clock.now() >= crate::world::BEGINNING);
}

#[tokio::test]
async fn goes_on_after_the_store_failed() {
    let (world, _) = with_deliveries().await;
    world.store.faults.fail_reads(true);
    let (stop, run) = start(&world);
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.store.faults.clear();
    until("everything is delivered", || all_delivered(&world)).await;
    stop.cancel();
    run.await.expect("ends in order");
}
