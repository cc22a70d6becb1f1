//! What attempts make of endpoints: which secrets sign, where deliveries go, and when an endpoint is switched off.

use std::time::Duration;

use xthonpay_domain::event::EventKind;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::delivery::schedule::Schedule;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{Delivery, DeliveryState, Endpoint, EndpointState, RetiringSecret};
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::signatures;

use crate::delivery::{
    RETIRING_SECRET, SECRET, attempt, endpoint, first_delivery, header, sealed, stored, with_deliveries, with_endpoint,
};
use crate::doubles::Reply;
use crate::world::{DISABLE_AFTER, World};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn change(world: &World, endpoint: &Endpoint, change: impl FnOnce(&mut Endpoint)) {
    world.store.tamper(|tables| change(tables.endpoints.get_mut(&endpoint.id).expect("it is stored")));
}

/// Makes an attempt of the only delivery as if somebody had asked for it anew.
async fn attempt_again(world: &World) -> Delivery {
    attempt_behind(world, 0).await
}

/// The last attempt of the schedule.
async fn last_attempt(world: &World) -> Delivery {
    let attempts = u32::try_from(Schedule::standard().pauses().len()).expect("a few");
    attempt_behind(world, attempts - 1).await
}

/// An attempt with so many before it on the schedule.
async fn attempt_behind(world: &World, attempts: u32) -> Delivery {
    world.store.tamper(|tables| {
        for delivery in tables.deliveries.values_mut() {
            (delivery.state, delivery.attempts_on_schedule) = (DeliveryState::Pending, attempts);
        }
    });
    attempt(world, &first_delivery(world)).await
}

fn disabled_events(world: &World) -> Vec<serde_json::Value> {
    let events = world.store.tables().events.into_iter().filter(|event| event.kind == EventKind::EndpointDisabled);
    events.map(|event| serde_json::from_str(&event.data_json).expect("JSON")).collect()
}

#[tokio::test]
async fn the_secret_of_the_endpoint_signs() {
    let (world, _) = with_endpoint().await;
    let delivery = attempt(&world, &first_delivery(&world)).await;
    assert_eq!(delivery.state, DeliveryState::Delivered);
    let got = world.receivers.got();
    let [timestamp] = header(&got[0], "webhook-timestamp")[..] else { unreachable!("one time stamp") };
    let standard = signatures::standard_webhook(SECRET, delivery.event.as_str(), timestamp, &delivery.body);
    assert_eq!(header(&got[0], "webhook-signature"), [standard.expect("a good secret")]);
    assert_eq!(header(&got[0], "x-xthon-signature"), [signatures::xthon_webhook(SECRET, &delivery.body)]);
}

#[tokio::test]
async fn a_retiring_secret_signs_beside_the_new_one_until_its_time_is_over() {
    let (world, endpoint) = with_endpoint().await;
    world.receivers.answer(|_| Reply::Status(500));
    let until = world.clock.now().after(DAY);
    let secret = sealed(&endpoint.id, RETIRING_SECRET);
    change(&world, &endpoint, |endpoint| endpoint.retiring_secret = Some(RetiringSecret { secret, until }));
    for (at, valid) in [
        (world.clock.now(), &[SECRET, RETIRING_SECRET][..]),
        (Timestamp::from_millis(until.as_millis() - 1), &[SECRET, RETIRING_SECRET]),
        (until, &[SECRET]),
        (until.after(HOUR), &[SECRET]),
    ] {
        world.clock.set(at);
        let delivery = attempt_again(&world).await;
        let request = world.receivers.got().pop().expect("it was sent");
        let stamp = at.as_secs().to_string();
        let sign = |secret| signatures::standard_webhook(secret, delivery.event.as_str(), &stamp, &delivery.body);
        let expected: Vec<String> = valid.iter().map(|secret| sign(secret).expect("a good secret")).collect();
        assert_eq!(header(&request, "webhook-signature"), [expected.join(" ")], "at {at}");
        let own = signatures::xthon_webhook(SECRET, &delivery.body);
        assert_eq!(header(&request, "x-xthon-signature"), [own], "at {at}");
    }
}

#[tokio::test]
async fn deliveries_follow_the_endpoint_to_its_new_address() {
    let (world, endpoint) = with_endpoint().await;
    change(&world, &endpoint, |endpoint| endpoint.url = "https://moved.example/".parse().expect("a URL"));
    let before = first_delivery(&world);
    let after = attempt(&world, &before).await;
    assert_eq!(world.receivers.got()[0].url.as_str(), "https://moved.example/");
    assert_eq!(world.receivers.got()[0].body, before.body);
    assert_eq!((after.url.as_str(), after.id), ("https://moved.example/", before.id));
}

#[tokio::test]
async fn nothing_is_sent_to_an_endpoint_that_is_switched_off() {
    let disabled = EndpointState::Disabled { reason: "it failed".to_owned(), at: Timestamp::EPOCH };
    for state in [EndpointState::Paused, disabled, EndpointState::Removed] {
        let (world, endpoint) = with_endpoint().await;
        change(&world, &endpoint, |endpoint| endpoint.state = state.clone());
        let before = first_delivery(&world);
        let after = attempt(&world, &before).await;
        assert!(world.receivers.got().is_empty(), "{state:?}");
        assert_eq!((after.state, after.attempts, after.log.len()), (DeliveryState::Failed, 0, 0), "{state:?}");
        assert_eq!(after.last_error.as_deref(), Some("not sent: the endpoint is switched off"), "{state:?}");
        assert_eq!(stored(&world, &endpoint).revision, endpoint.revision, "{state:?}");
        // Once it is switched on again, it can be asked for, with the same bytes.
        change(&world, &endpoint, |endpoint| endpoint.state = EndpointState::Enabled);
        let again = attempt_again(&world).await;
        assert_eq!((again.state, again.attempts), (DeliveryState::Delivered, 1), "{state:?}");
        assert_eq!(world.receivers.got()[0].body, before.body, "{state:?}");
    }
}

#[tokio::test]
async fn nothing_goes_to_an_endpoint_of_somebody_else() {
    let (world, endpoint) = with_endpoint().await;
    change(&world, &endpoint, |endpoint| endpoint.merchant = MerchantId::from_random([9; 16]));
    let delivery = attempt(&world, &first_delivery(&world)).await;
    assert!(world.receivers.got().is_empty());
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 1));
    assert_eq!(stored(&world, &endpoint).failing_since, None, "it is not its failure");
}

#[tokio::test]
async fn an_endpoint_is_written_when_it_begins_to_fail_and_when_it_recovers() {
    let (world, endpoint) = with_endpoint().await;
    let began = world.clock.now();
    // The answer; since when it fails; how often it was written.
    for (hours, reply, failing_since, written) in [
        (0, Reply::Status(200), None, 0),
        (0, Reply::Status(500), Some(0), 1),
        (1, Reply::Unreachable, Some(0), 1),
        (2, Reply::Refused, Some(0), 1),
        (119, Reply::Status(302), Some(0), 1),
        (120, Reply::Status(404), Some(0), 1),
        (121, Reply::Status(204), None, 2),
        (122, Reply::Status(200), None, 2),
        (123, Reply::Panic, None, 2),
        (124, Reply::Status(503), Some(124), 3),
        (244, Reply::Status(503), Some(124), 3),
    ] {
        world.clock.set(began.after(HOUR * hours));
        let answer = reply.clone();
        world.receivers.answer(move |_| answer.clone());
        attempt_again(&world).await;
        let now = stored(&world, &endpoint);
        assert_eq!(now.state, EndpointState::Enabled, "hour {hours}");
        assert_eq!(now.failing_since, failing_since.map(|since| began.after(HOUR * since)), "hour {hours}");
        assert_eq!(now.revision, endpoint.revision + written, "hour {hours}");
    }
    assert!(disabled_events(&world).is_empty());
}

#[tokio::test]
async fn an_endpoint_that_fails_for_too_long_is_switched_off_and_somebody_is_told() {
    let (world, endpoint) = with_endpoint().await;
    world.receivers.answer(|_| Reply::Status(500));
    let began = world.clock.now();
    attempt_again(&world).await;
    world.clock.set(began.after(DISABLE_AFTER));
    last_attempt(&world).await;
    assert_eq!(stored(&world, &endpoint).state, EndpointState::Enabled, "not at the very limit");
    world.clock.advance(Duration::from_millis(1));
    let at = world.clock.now();
    attempt_again(&world).await;
    assert_eq!(stored(&world, &endpoint).state, EndpointState::Enabled, "not while it may still arrive");
    let commits = world.store.faults.commits();
    let delivery = last_attempt(&world).await;
    assert_eq!(world.store.faults.commits(), commits + 1, "one changeset");
    assert_eq!((delivery.attempts, delivery.last_status), (4, Some(500)));
    let now = stored(&world, &endpoint);
    let reason = "every attempt failed for 5 days".to_owned();
    assert_eq!(now.state, EndpointState::Disabled { reason: reason.clone(), at });
    assert_eq!(now.failing_since, Some(began));
    let [told] = &disabled_events(&world)[..] else { unreachable!("one event") };
    assert_eq!(told["endpoint"]["endpoint_id"], endpoint.id.as_str());
    assert_eq!(told["endpoint"]["status"], "disabled");
    assert_eq!(told["endpoint"]["disabled_reason"], reason.as_str());
    assert!(!told.to_string().contains("whsec_"), "{told}");
    assert_eq!(world.tally.counts().endpoints_disabled, 1);
    // Routing has the event before it, for the merchant's other endpoints.
    let tables = world.store.tables();
    let event = tables.events.iter().find(|event| event.kind == EventKind::EndpointDisabled).expect("it is stored");
    assert_eq!((&event.merchant, event.at), (&endpoint.merchant, at));
    assert!(!tables.routed.contains(&event.id));
}

#[tokio::test]
async fn gone_switches_the_endpoint_off_at_once() {
    let (world, endpoint) = with_endpoint().await;
    world.receivers.answer(|_| Reply::RetryAfter(410, HOUR));
    let delivery = attempt(&world, &first_delivery(&world)).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Failed, 1));
    let now = stored(&world, &endpoint);
    assert!(matches!(&now.state, EndpointState::Disabled { reason, .. } if reason.contains("410")), "{:?}", now.state);
    assert_eq!(disabled_events(&world).len(), 1);
}

#[tokio::test]
async fn gone_ends_no_more_than_the_delivery_where_there_is_no_endpoint() {
    let (world, _) = with_deliveries().await;
    let other = endpoint(&world, &first_delivery(&world).merchant, 1, "https://other.example/").await;
    world.receivers.answer(|_| Reply::Status(410));
    let delivery = attempt(&world, &first_delivery(&world)).await;
    assert_eq!(delivery.state, DeliveryState::Failed);
    assert_eq!(stored(&world, &other), other);
    assert!(disabled_events(&world).is_empty());
}

/// A merchant changes the endpoint while an attempt is under way: neither the change nor the result is lost.
#[tokio::test]
async fn a_change_of_the_endpoint_during_an_attempt_and_the_result_both_count() {
    type Meddle = fn(&mut Endpoint);
    let renamed: Meddle = |endpoint| endpoint.label = Some("till".parse().expect("a label"));
    let paused: Meddle = |endpoint| endpoint.state = EndpointState::Paused;
    for (meddle, status, disabled, failing) in [
        (renamed, 500, false, true),
        (renamed, 410, true, true),
        (paused, 500, false, false),
        (paused, 410, false, false),
    ] {
        let (world, endpoint) = with_endpoint().await;
        let (store, id) = (world.store.clone(), endpoint.id.clone());
        world.receivers.answer(move |_| {
            store.tamper(|tables| {
                let endpoint = tables.endpoints.get_mut(&id).expect("it is stored");
                meddle(endpoint);
                endpoint.revision += 1;
            });
            Reply::Status(status)
        });
        let delivery = attempt(&world, &first_delivery(&world)).await;
        assert_eq!((delivery.attempts, delivery.last_status), (1, Some(status)), "{status}");
        let now = stored(&world, &endpoint);
        assert_eq!(matches!(now.state, EndpointState::Disabled { .. }), disabled, "{status}: {:?}", now.state);
        assert_eq!(now.failing_since.is_some(), failing, "{status}");
        let mut expected = endpoint.clone();
        meddle(&mut expected);
        assert_eq!(now.label, expected.label, "{status}");
        assert_eq!(disabled_events(&world).len(), usize::from(disabled), "{status}");
    }
}

/// Whatever the store says about the commit, and whether it is true: the endpoint is switched off once and told of once.
#[tokio::test]
async fn a_commit_that_fails_or_only_seems_to_switches_off_once() {
    for faults in [
        vec![Fault::NothingStored],
        vec![Fault::Stored],
        vec![Fault::Refused, Fault::NothingStored, Fault::Stored],
        vec![Fault::NothingStored; 4],
    ] {
        let (world, endpoint) = with_endpoint().await;
        world.receivers.answer(|_| Reply::Status(410));
        world.store.faults.next(faults.iter().copied().map(Some));
        let delivery = attempt(&world, &first_delivery(&world)).await;
        assert_eq!(
            (delivery.state, delivery.attempts, delivery.log.len()),
            (DeliveryState::Failed, 1, 1),
            "{faults:?}"
        );
        assert!(matches!(stored(&world, &endpoint).state, EndpointState::Disabled { .. }), "{faults:?}");
        assert_eq!((disabled_events(&world).len(), world.receivers.got().len()), (1, 1), "{faults:?}");
        assert_eq!(world.tally.counts().endpoints_disabled, 1, "{faults:?}");
    }
}

/// Eight attempts to one endpoint fail at the same time: each result is recorded, and the endpoint is written once.
#[tokio::test]
async fn attempts_that_fail_together_are_all_recorded() {
    let (world, endpoint) = with_endpoint().await;
    world.receivers.answer(|_| Reply::Status(500));
    let deliveries = crate::delivery::copies(&first_delivery(&world), 8, |_| endpoint.url.to_string());
    world.store.tamper(|tables| tables.deliveries = deliveries.clone());
    let courier = world.courier();
    let attempts = deliveries.values().map(|delivery| courier.attempt(delivery));
    for outcome in futures::future::join_all(attempts).await {
        outcome.expect("the store answers");
    }
    assert!(world.store.tables().deliveries.values().all(|delivery| delivery.attempts == 1));
    assert_eq!(stored(&world, &endpoint).revision, endpoint.revision + 1);
}
