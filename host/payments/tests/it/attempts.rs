//! Single attempts of deliveries: what is sent, and what is recorded of them. What they make of endpoints stands in
//! `endpoint_standing`.

use std::time::Duration;

use xthonpay_domain::time::Timestamp;
use xthonpay_payments::delivery::dispatch::DispatchError;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{ATTEMPTS_LOGGED_MAX, Changeset, Delivery, DeliveryState, Store as _, Write};
use xthonpay_payments::port::vault::{Purpose, Vault as _};
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::signatures;

use crate::delivery::{attempt, first_delivery, header, told, with_deliveries};
use crate::doubles::{LATENCY, PlainVault, Reply};
use crate::world::World;

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
async fn the_log_tells_of_every_attempt_and_keeps_the_last_ones() {
    let (world, _) = with_deliveries().await;
    let answers = std::sync::atomic::AtomicU16::new(0);
    world.receivers.answer(move |_| {
        let number = answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if number == 20 { Reply::Says(200, "thanks".to_owned()) } else { Reply::Says(500, format!("no {number}")) }
    });
    let mut began = Vec::new();
    for made in 1..=21 {
        world.clock.advance(Duration::from_secs(1));
        began.push(world.clock.now());
        // Somebody asks for it again and again, or the schedule would end it.
        world.store.tamper(|tables| {
            tables.deliveries.values_mut().for_each(|delivery| {
                (delivery.state, delivery.attempts_on_schedule) = (DeliveryState::Pending, 0);
            });
        });
        let delivery = attempt(&world, &first_delivery(&world)).await;
        assert_eq!((delivery.attempts, delivery.attempts_on_schedule), (made, 1));
        assert_eq!(delivery.log.len(), usize::min(began.len(), ATTEMPTS_LOGGED_MAX));
    }
    let log = first_delivery(&world).log;
    let kept = began.len() - ATTEMPTS_LOGGED_MAX;
    for (attempt, (number, at)) in log.iter().zip((0..).zip(&began).skip(kept)) {
        let last = number == 20;
        assert_eq!((attempt.at, attempt.latency), (*at, LATENCY), "attempt {number}");
        assert_eq!(attempt.status, Some(if last { 200 } else { 500 }), "attempt {number}");
        assert_eq!(attempt.error.is_none(), last, "attempt {number}");
        let said = if last { "thanks".to_owned() } else { format!("no {number}") };
        assert_eq!(attempt.excerpt, said, "attempt {number}");
    }
}

#[tokio::test]
async fn an_answer_is_quoted_up_to_a_kibibyte() {
    for (said, kept) in
        [("x".repeat(5_000), 1_024), ("é".repeat(5_000), 1_024), (format!("x{}", "é".repeat(600)), 1_023)]
    {
        let (world, _) = with_deliveries().await;
        let answer = said.clone();
        world.receivers.answer(move |_| Reply::Says(500, answer.clone()));
        let delivery = attempt(&world, &first_delivery(&world)).await;
        assert_eq!(delivery.log[0].excerpt.len(), kept);
        assert!(said.starts_with(&delivery.log[0].excerpt));
    }
}

#[tokio::test]
async fn an_unanswered_attempt_is_logged_with_its_reason() {
    let (world, _) = with_deliveries().await;
    world.receivers.answer(|_| Reply::Unreachable);
    let delivery = attempt(&world, &first_delivery(&world)).await;
    let [logged] = &delivery.log[..] else { unreachable!("one attempt: {:?}", delivery.log) };
    assert_eq!((logged.status, logged.error.as_deref(), logged.excerpt.as_str()), (None, Some("scripted"), ""));
}

/// A delivery that is asked for again begins the schedule anew, while the number of its attempts goes on.
#[tokio::test]
async fn asking_again_begins_the_schedule_anew() {
    let (world, _) = with_deliveries().await;
    world.receivers.answer(|_| Reply::Status(500));
    for _ in 0..10 {
        let delivery = attempt(&world, &first_delivery(&world)).await;
        world.clock.set(delivery.next_at);
    }
    let failed = first_delivery(&world);
    assert_eq!((failed.state, failed.attempts), (DeliveryState::Failed, 10));
    let again = Delivery {
        state: DeliveryState::Pending,
        attempts_on_schedule: 0,
        next_at: world.clock.now(),
        revision: failed.revision + 1,
        ..failed
    };
    let changes = Changeset::new().with(Write::UpdateDelivery(Box::new(again.clone())));
    world.store.commit(changes).await.expect("the store takes it");
    let delivery = attempt(&world, &again).await;
    assert_eq!((delivery.state, delivery.attempts, delivery.attempts_on_schedule), (DeliveryState::Pending, 11, 1));
    let waits = delivery.next_at.since(world.clock.now()).as_secs();
    assert!((5..=6).contains(&waits), "{waits} s");
}

/// The merchant asks for a delivery while an attempt of it is under way: the attempt is not forgotten, and its failure does not
/// take back what was asked for.
#[tokio::test]
async fn what_is_asked_for_during_an_attempt_counts_beside_it() {
    for (status, state, on_schedule) in [(500, DeliveryState::Pending, 1), (200, DeliveryState::Delivered, 1)] {
        let (world, _) = with_deliveries().await;
        world
            .store
            .tamper(|tables| tables.deliveries.values_mut().for_each(|delivery| delivery.attempts_on_schedule = 9));
        let store = world.store.clone();
        world.receivers.answer(move |_| {
            store.tamper(|tables| {
                tables.deliveries.values_mut().for_each(|delivery| {
                    delivery.attempts_on_schedule = 0;
                    delivery.revision += 1;
                });
            });
            Reply::Status(status)
        });
        let delivery = attempt(&world, &first_delivery(&world)).await;
        assert_eq!((delivery.state, delivery.attempts, delivery.revision), (state, 1, 3), "{status}");
        assert_eq!((delivery.attempts_on_schedule, delivery.log.len()), (on_schedule, 1), "{status}");
    }
}

/// Two hosts on one store: the attempt that was recorded first counts, and nobody records a second one over it.
#[tokio::test]
async fn an_attempt_that_somebody_else_recorded_meanwhile_stands() {
    let (world, _) = with_deliveries().await;
    let before = first_delivery(&world);
    let store = world.store.clone();
    world.receivers.answer(move |_| {
        store.tamper(|tables| {
            tables.deliveries.values_mut().for_each(|delivery| {
                (delivery.state, delivery.attempts) = (DeliveryState::Delivered, 1);
                delivery.revision += 1;
            });
        });
        Reply::Status(500)
    });
    let delivery = attempt(&world, &before).await;
    assert_eq!((delivery.state, delivery.attempts, delivery.revision), (DeliveryState::Delivered, 1, 2));
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
    assert!(outcome.is_err_and(|failure: DispatchError| failure.is_transient()));
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
