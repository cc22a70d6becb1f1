//! Receivers that are down, slow or odd for hours and days, on a clock that jumps from one attempt to the next.
//!
//! Whatever they do, an event is sent under one id and in the same bytes, and arrives as soon as the schedule meets a receiver
//! that takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xthonpay_domain::time::Timestamp;
use xthonpay_payments::delivery::schedule::Schedule;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::egress::WebhookRequest;
use xthonpay_payments::port::store::{DeliveryState, EndpointState, Store as _};

use crate::delivery::{deliveries, first_delivery, header, paid_invoice, stored, with_deliveries, with_endpoint};
use crate::doubles::Reply;
use crate::world::{BEGINNING, World};

const HOUR: Duration = Duration::from_secs(3_600);

/// Lets the clock run until `end`, from one due delivery to the next, and makes every attempt in its time.
async fn play(world: &World, end: Timestamp) {
    while let Some(next) = world.store.next_delivery_at().await.expect("the store answers") {
        let now = world.clock.now().max(next);
        if now > end {
            break;
        }
        world.clock.set(now);
        for delivery in world.store.due_deliveries(now, None, 100).await.expect("the store answers") {
            world.courier().attempt(&delivery).await.expect("the store answers");
        }
    }
    world.clock.set(end);
}

/// The receiver does this until `hours` have passed since the beginning, and takes everything from then on.
fn until_hour(world: &World, hours: u32, reply: Reply) {
    let clock = world.clock.clone();
    let recovers = clock.now().after(HOUR * hours);
    world.receivers.answer(move |_| if clock.now() < recovers { reply.clone() } else { Reply::Status(200) });
}

/// Every request of an event has one id and one body.
fn assert_each_event_has_one_form(got: &[WebhookRequest], events: usize) {
    let mut forms: BTreeMap<&str, BTreeSet<&[u8]>> = BTreeMap::new();
    for request in got {
        let [id] = header(request, "webhook-id")[..] else { unreachable!("one id") };
        forms.entry(id).or_default().insert(&request.body);
    }
    assert_eq!(forms.len(), events);
    assert!(forms.values().all(|bodies| bodies.len() == 1), "one body for each id");
}

/// The pauses of the schedule add up to 0 s, 5 s, 5 min, 35 min, 2.6 h, 7.6 h, 17.6 h, 31.6 h, 51.6 h and 75.6 h; each may be a fifth
/// longer.
#[tokio::test]
async fn an_outage_delays_events_and_loses_none() {
    let hanging = || Reply::Unreachable;
    for (hours, reply, attempts, arrives_within_h) in [
        (8, Reply::Unreachable, 6..=7, 8..=22),
        (8, Reply::Status(500), 6..=7, 8..=22),
        (8, Reply::Status(302), 6..=7, 8..=22),
        (8, Reply::Status(404), 6..=7, 8..=22),
        (60, Reply::Unreachable, 9..=10, 60..=91),
        (60, Reply::Status(502), 9..=10, 60..=91),
        (60, Reply::Says(500, "x".repeat(100_000)), 9..=10, 60..=91),
        (60, hanging(), 9..=10, 60..=91),
        (75, Reply::Status(503), 10..=10, 75..=91),
    ] {
        let (world, _) = with_deliveries().await;
        let began = world.clock.now();
        until_hour(&world, hours, reply.clone());
        play(&world, began.after(HOUR * 100)).await;
        for delivery in deliveries(&world) {
            assert_eq!(delivery.state, DeliveryState::Delivered, "{hours} h of {reply:?}");
            assert!(attempts.contains(&delivery.attempts), "{hours} h of {reply:?}: {} attempts", delivery.attempts);
            let arrived = delivery.log.last().expect("it arrived").at.since(began).as_secs() / 3_600;
            assert!(arrives_within_h.contains(&arrived), "{hours} h of {reply:?}: after {arrived} h");
        }
        assert_each_event_has_one_form(&world.receivers.got(), 2);
    }
}

/// 429 and 503 say when to come again: that is heard where it is later than the schedule, up to a day, and costs no more attempts
/// than other failures.
#[tokio::test]
async fn receivers_that_ask_for_time_get_it() {
    for (status, asked_s, first_pause_s, arrives_by_h) in [
        (429, 0, 5..=6, 22),
        (429, 1, 5..=6, 22),
        (429, 60, 60..=60, 22),
        (503, 3_600, 3_600..=3_600, 24),
        (503, 86_400, 86_400..=86_400, 48),
        (503, u64::MAX, 86_400..=86_400, 48),
    ] {
        let (world, _) = with_deliveries().await;
        let began = world.clock.now();
        until_hour(&world, 8, Reply::RetryAfter(status, Duration::from_secs(asked_s)));
        play(&world, began).await;
        let waits = first_delivery(&world).next_at.since(began).as_secs();
        assert!(first_pause_s.contains(&waits), "{status}, {asked_s} s: {waits} s");
        play(&world, began.after(HOUR * 100)).await;
        for delivery in deliveries(&world) {
            assert_eq!(delivery.state, DeliveryState::Delivered, "{status}, {asked_s} s");
            let arrived = delivery.log.last().expect("it arrived").at.since(began).as_secs();
            assert!(arrived <= arrives_by_h * 3_600, "{status}, {asked_s} s: after {arrived} s");
        }
        assert_each_event_has_one_form(&world.receivers.got(), 2);
    }
}

#[tokio::test]
async fn a_receiver_that_stays_down_fails_the_delivery_at_the_end_of_its_schedule() {
    let (world, endpoint) = with_endpoint().await;
    let began = world.clock.now();
    world.receivers.answer(|_| Reply::Unreachable);
    play(&world, began.after(HOUR * 100)).await;
    let delivery = first_delivery(&world);
    assert_eq!((delivery.state, delivery.attempts, delivery.log.len()), (DeliveryState::Failed, 10, 10));
    let endpoint = stored(&world, &endpoint);
    assert_eq!((endpoint.state, endpoint.failing_since), (EndpointState::Enabled, Some(began)));
}

/// Four days of failures and a good hour do not add up with the next four.
#[tokio::test]
async fn only_failures_without_a_success_between_them_switch_an_endpoint_off() {
    for (good_hour, disabled) in [(true, false), (false, true)] {
        let (world, endpoint) = with_endpoint().await;
        let began = world.clock.now();
        let before_the_last = u32::try_from(Schedule::standard().pauses().len()).expect("a few") - 1;
        for hour in 0..200 {
            let good = good_hour && hour == 96;
            world.receivers.answer(move |_| Reply::Status(if good { 200 } else { 500 }));
            world.clock.set(began.after(HOUR * hour));
            world.store.tamper(|tables| {
                for delivery in tables.deliveries.values_mut() {
                    delivery.next_at = began.after(HOUR * hour);
                    (delivery.state, delivery.attempts_on_schedule) = (DeliveryState::Pending, before_the_last);
                }
            });
            play(&world, began.after(HOUR * hour)).await;
        }
        let state = stored(&world, &endpoint).state;
        assert_eq!(matches!(state, EndpointState::Disabled { .. }), disabled, "{state:?}");
        // From the moment on that it is switched off, nothing is sent: at 121 hours.
        let sent = world.receivers.got().len();
        assert_eq!(sent, if disabled { 122 } else { 200 });
    }
}

#[tokio::test]
async fn many_events_during_an_outage_all_arrive_afterwards() {
    const INVOICES: usize = 20;
    let (mut world, caller) = World::started().await;
    world.receivers.answer(|_| Reply::Unreachable);
    for _ in 0..INVOICES {
        paid_invoice(&mut world, &caller).await;
        world.routing().route_all().await.expect("the store answers");
        let soon = world.clock.now().after(HOUR / 2);
        play(&world, soon).await;
    }
    assert!(world.clock.now() >= BEGINNING.after(HOUR * 8));
    world.receivers.answer(|_| Reply::Status(200));
    let end = world.clock.now().after(HOUR * 100);
    play(&world, end).await;
    assert!(deliveries(&world).iter().all(|delivery| delivery.state == DeliveryState::Delivered));
    assert_each_event_has_one_form(&world.receivers.got(), INVOICES * 2);
}
