//! Single attempts of deliveries: what is sent, and what is recorded.

use std::time::Duration;

use xthonpay_domain::time::Timestamp;
use xthonpay_payments::delivery::dispatch::DispatchError;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{Delivery, DeliveryState};
use xthonpay_payments::port::vault::{Purpose, Vault as _};
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::signatures;

use crate::delivery::{first_delivery, header, told, with_deliveries};
use crate::doubles::{PlainVault, Reply};
use crate::world::World;

async fn attempt(world: &World, delivery: &Delivery) -> Delivery {
    world.courier().attempt(delivery).await.expect("the store answers");
    world.store.tables().deliveries[&delivery.id].clone()
}

fn webhook_secret(world: &World, delivery: &Delivery) -> String {
    let sealed = world.store.tables().merchants[&delivery.merchant].webhook_secret.clone();
    let secret = PlainVault.open(Purpose::WebhookSecret, delivery.merchant.as_str(), &sealed).expect("opens");
    String::from_utf8(secret.expose().to_vec()).expect("text")
}

#[tokio::test]
async fn every_attempt_sends_the_same_bytes_under_a_fresh_signature() {
    let (world, _) = with_deliveries().await;
    world.receivers.answer(|_| Reply::Status(500));
    let secret = webhook_secret(&world, &first_delivery(&world));
    for _ in 0..4 {
        let delivery = attempt(&world, &first_delivery(&world)).await;
        world.clock.set(delivery.next_at);
    }
    let got = world.receivers.got();
    assert_eq!(got.len(), 4);
    let delivery = first_delivery(&world);
    for request in &got {
        assert_eq!((request.body.as_slice(), request.url.as_str()), (delivery.body.as_slice(), delivery.url.as_str()));
        let [timestamp] = header(request, "webhook-timestamp")[..] else { unreachable!("one time stamp") };
        let standard = signatures::standard_webhook(&secret, delivery.event.as_str(), timestamp, &request.body);
        let standard = standard.expect("a good secret");
        assert_eq!(header(request, "webhook-id"), [delivery.event.as_str()]);
        assert_eq!(header(request, "webhook-signature"), [standard.as_str()]);
        let own = signatures::xthon_webhook(&secret, &request.body);
        assert_eq!(header(request, "x-xthon-signature"), [own.as_str()]);
        assert_eq!(header(request, "content-type"), ["application/json"]);
        assert!(request.headers.iter().all(|(_, value)| !value.contains(&secret)), "the secret stays here");
    }
    assert_eq!(told(&got[0]), "invoice.confirming");
    let stamps: std::collections::BTreeSet<&str> =
        got.iter().flat_map(|request| header(request, "webhook-timestamp")).collect();
    assert_eq!(stamps.len(), 4);
}

#[tokio::test]
async fn follows_the_schedule_to_its_end_and_then_gives_up() {
    let (world, _) = with_deliveries().await;
    world.receivers.answer(|_| Reply::Unreachable);
    let pauses = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (made, pause) in (1..).zip(pauses) {
        let now = world.clock.now();
        let delivery = attempt(&world, &first_delivery(&world)).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, made));
        let waits = delivery.next_at.since(now);
        let pause = Duration::from_secs(pause);
        assert!(waits >= pause && waits <= pause.saturating_mul(6) / 5, "after attempt {made}: {waits:?}");
        world.clock.set(delivery.next_at);
    }
    let delivery = attempt(&world, &first_delivery(&world)).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Failed, 10));
    assert_eq!(delivery.last_error.as_deref(), Some("scripted"));
}

#[tokio::test]
async fn the_answer_decides_what_becomes_of_a_delivery() {
    use DeliveryState::{Delivered, Failed, Pending};
    let minute = Duration::from_secs(60);
    let table = [
        (Reply::Status(200), Delivered, 0..=0),
        (Reply::Status(204), Delivered, 0..=0),
        (Reply::Status(299), Delivered, 0..=0),
        (Reply::RetryAfter(200, minute), Delivered, 0..=0),
        (Reply::Status(199), Pending, 5..=6),
        (Reply::Status(300), Pending, 5..=6),
        (Reply::Status(302), Pending, 5..=6),
        (Reply::Status(404), Pending, 5..=6),
        (Reply::Status(410), Failed, 0..=0),
        (Reply::RetryAfter(410, minute), Failed, 0..=0),
        (Reply::RetryAfter(429, minute), Pending, 60..=60),
        (Reply::RetryAfter(503, minute), Pending, 60..=60),
        (Reply::RetryAfter(503, Duration::from_secs(1)), Pending, 5..=6),
        (Reply::RetryAfter(503, Duration::MAX), Pending, 86_400..=86_400),
        (Reply::Status(500), Pending, 5..=6),
        (Reply::Unreachable, Pending, 5..=6),
        (Reply::Refused, Failed, 0..=0),
        (Reply::Panic, Pending, 5..=6),
    ];
    for (reply, state, waits_s) in table {
        let (world, _) = with_deliveries().await;
        let answer = reply.clone();
        world.receivers.answer(move |_| answer.clone());
        let before = first_delivery(&world);
        let after = attempt(&world, &before).await;
        assert_eq!((after.state, after.attempts, after.revision), (state, 1, 2), "{reply:?}");
        assert_eq!(after.last_error.is_none(), state == Delivered, "{reply:?}: {:?}", after.last_error);
        let waits = after.next_at.since(world.clock.now()).as_secs();
        assert!(waits_s.contains(&waits), "{reply:?}: {waits} s");
        assert_eq!((after.body, after.headers, after.event), (before.body, before.headers, before.event), "{reply:?}");
    }
}

/// Otherwise it would be tried again at once, for ever, in the place of deliveries that can be sent.
#[tokio::test]
async fn what_cannot_be_signed_follows_the_schedule_too() {
    for (what, break_it) in [
        ("a secret of another row", (|secret| secret[0] ^= 1) as fn(&mut Vec<u8>)),
        ("no secret at all", |secret| {
            let prefix = secret.len() - 50;
            secret.truncate(prefix);
        }),
    ] {
        let (world, _) = with_deliveries().await;
        world.store.tamper(|tables| tables.merchants.values_mut().for_each(|m| break_it(&mut m.webhook_secret.0)));
        let delivery = attempt(&world, &first_delivery(&world)).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 1), "{what}");
        assert!(delivery.next_at > world.clock.now(), "{what}");
        assert!(world.receivers.got().is_empty(), "{what}");
        let error = delivery.last_error.expect("a reason");
        assert!(!error.contains("secret"), "{what}: {error}");
    }
    let (world, _) = with_deliveries().await;
    world.store.tamper(|tables| tables.merchants.clear());
    let delivery = attempt(&world, &first_delivery(&world)).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, 1));
}

#[tokio::test]
async fn a_result_that_is_not_recorded_at_once_is_recorded_later() {
    for fault in [Fault::NothingStored, Fault::Stored] {
        let (world, _) = with_deliveries().await;
        world.store.faults.next([Some(fault)]);
        let delivery = attempt(&world, &first_delivery(&world)).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1), "{fault:?}");
        assert_eq!(world.receivers.got().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn an_unrecorded_delivery_is_sent_again_under_the_same_id() {
    let (world, _) = with_deliveries().await;
    let before = first_delivery(&world);
    world.store.faults.when(|_| Some(Fault::NothingStored));
    let outcome = world.courier().attempt(&before).await;
    assert!(matches!(outcome, Err(DispatchError::Store(_))), "{outcome:?}");
    world.store.faults.clear();
    assert_eq!(first_delivery(&world), before, "it stays due");
    attempt(&world, &before).await;
    let got = world.receivers.got();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].body, got[1].body);
    assert_eq!(header(&got[0], "webhook-id"), header(&got[1], "webhook-id"));
}

#[tokio::test]
async fn nothing_is_sent_while_the_store_cannot_be_read() {
    let (world, _) = with_deliveries().await;
    let delivery = first_delivery(&world);
    world.store.faults.fail_reads(true);
    let outcome = world.courier().attempt(&delivery).await;
    assert!(outcome.is_err_and(|failure| failure.is_transient()));
    assert!(world.receivers.got().is_empty());
    world.store.faults.clear();
    assert_eq!(first_delivery(&world), delivery);
    assert!(delivery.next_at > Timestamp::EPOCH);
}
