//! `Idempotency-Key`: one effect and one answer for one name.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use xthonpay_domain::access::Scope;
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::port::store::{Store as _, Write};
use xthonpay_tests::memory_store::Fault;

use crate::doubles::Mood;
use crate::world::{Ask, Reply, TestKey, World};

const ALL: [Scope; 3] = [Scope::Read, Scope::Write, Scope::Webhooks];
const PATH: &str = "/api/v1/invoices";
const INVOICE: &str = r#"{"amount":"50.00"}"#;
const NAME: &str = "Idempotency-Key";

/// A call under a name, signed at a second of its own, as clients that try again sign it.
fn under(world: &World, key: &TestKey, name: &str, target: &str, body: &str) -> Ask {
    world.advance_millis(1_000);
    world.signed(key, "POST", target, body).with("idempotency-key", name)
}

async fn make(world: &World, key: &TestKey, name: &str, body: &str) -> Reply {
    world.send(under(world, key, name, PATH, body)).await
}

fn is_replay_of(first: &Reply, again: &Reply) -> bool {
    let same = (again.status, &again.bytes, again.header("location"));
    same == (first.status, &first.bytes, first.header("location"))
        && again.header("idempotent-replayed") == "true"
        && first.header("idempotent-replayed").is_empty()
}

#[tokio::test]
async fn the_same_call_gets_the_same_answer_and_makes_nothing() {
    let world = World::new();
    let key = world.key(&ALL).await;
    let first = make(&world, &key, "order 1", INVOICE).await;
    assert_eq!(first.status, 201);
    assert!(first.header("location").contains("/api/v1/invoices/inv_"));
    let records = world.census();
    for _ in 0..100 {
        assert!(is_replay_of(&first, &make(&world, &key, "order 1", INVOICE).await));
    }
    let by_alias = world.send(under(&world, &key, "order 1", "/v1/invoices", INVOICE)).await;
    assert!(is_replay_of(&first, &by_alias), "both paths are one call");
    let colleague = world.key_with(&key.merchant, &ALL, |_| {}).await;
    assert!(is_replay_of(&first, &make(&world, &colleague, "order 1", INVOICE).await), "names are the merchant's");
    assert_eq!(world.census(), records);
}

/// What was done under the name `order 1`, what is asked for next, and what comes of it.
#[tokio::test]
async fn a_name_stands_for_one_request_of_one_merchant_to_one_call() {
    let world = World::new();
    let (key, stranger) = (world.key(&ALL).await, world.key(&ALL).await);
    let first = make(&world, &key, "order 1", INVOICE).await;
    for body in [r#"{"amount":"50.01"}"#, r#"{"amount": "50.00"}"#, "{}", ""] {
        let other = make(&world, &key, "order 1", body).await;
        assert_eq!(other.outcome(), (422, "IDEMPOTENCY_MISMATCH", NAME), "{body}");
    }
    assert_eq!(world.census().invoices, 1);
    for (case, who, name, invoices) in [
        ("another name", &key, "order 2", 2),
        ("capitals", &key, "Order 1", 3),
        ("another merchant", &stranger, "order 1", 4),
    ] {
        let made = make(&world, who, name, INVOICE).await;
        assert_eq!((made.status, made.header("idempotent-replayed")), (201, ""), "{case}");
        assert_eq!(world.census().invoices, invoices, "{case}");
    }
    // The same name at another call is another name.
    let endpoint = r#"{"url":"https://shop.example/hook"}"#;
    let other = world.send(under(&world, &key, "order 1", "/v1/webhook-endpoints", endpoint)).await;
    assert_eq!((other.status, world.census().endpoints), (201, 1));
    // And to read under a name means nothing.
    let read = world.send(world.signed(&key, "GET", PATH, "").with("idempotency-key", "order 1")).await;
    assert_eq!((read.status, read.header("idempotent-replayed")), (200, ""));
    assert_eq!(first.status, 201);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let world = World::new();
    let key = world.key(&ALL).await;
    assert_eq!(make(&world, &key, "order 1", "{}").await.status, 400);
    world.hooks.set(Mood::Refuse);
    assert_eq!(make(&world, &key, "order 1", INVOICE).await.status, 422);
    world.hooks.set(Mood::Panic);
    assert_eq!(make(&world, &key, "order 1", INVOICE).await.status, 500);
    world.hooks.set(Mood::Absent);
    world.store.faults.next([Some(Fault::NothingStored)]);
    assert_eq!(make(&world, &key, "order 1", INVOICE).await.status, 503);
    assert_eq!(world.store.tables().answers.len(), 0);
    let made = make(&world, &key, "order 1", INVOICE).await;
    assert_eq!((made.status, made.header("idempotent-replayed")), (201, ""));
    // Nor is what is not under the name: it does not stand in the way.
    assert_eq!(make(&world, &key, "order 2", r#"{"amount":"50.00","external_id":"a"}"#).await.status, 201);
    let conflict = make(&world, &key, "order 3", r#"{"amount":"51.00","external_id":"a"}"#).await;
    assert_eq!(conflict.outcome(), (409, "EXTERNAL_ID_CONFLICT", "external_id"));
}

#[tokio::test]
async fn a_call_under_way_is_told_apart_and_gone_when_it_is_given_up() {
    let world = Arc::new(World::new());
    let key = world.key(&ALL).await;
    world.hooks.set(Mood::Hang);
    let ask = under(&world, &key, "order 1", PATH, INVOICE);
    let hanging = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.send(ask).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    for body in [INVOICE, "{}"] {
        let busy = make(&world, &key, "order 1", body).await;
        assert_eq!(busy.outcome(), (409, "IDEMPOTENCY_IN_PROGRESS", NAME));
        assert_eq!(busy.header("retry-after"), "1");
    }
    world.hooks.set(Mood::Absent);
    assert_eq!(make(&world, &key, "order 2", INVOICE).await.status, 201, "other names are free");
    hanging.abort();
    assert!(hanging.await.is_err());
    assert_eq!(make(&world, &key, "order 1", INVOICE).await.status, 201, "the client went away");
}

/// The deadline of a call passes while its transaction is being stored: whether it was stored is found out later.
#[tokio::test]
async fn a_call_that_was_given_up_and_stored_has_its_answer() {
    let world = World::with(|api| api.config.request_time_max = Duration::from_millis(200));
    let key = world.key(&ALL).await;
    world.store.faults.next([Some(Fault::StoredAndSilent)]);
    let late = make(&world, &key, "order 1", INVOICE).await;
    assert_eq!(late.outcome(), (503, "SERVICE_UNAVAILABLE", ""));
    let again = make(&world, &key, "order 1", INVOICE).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"));
    assert_eq!(world.census().invoices, 1);
    let read = world.get(&key, &format!("{PATH}/{}", again.data("invoice_id"))).await;
    assert_eq!(read.body["data"]["deposit_address"], again.body["data"]["deposit_address"]);
}

/// The transaction of a call that was given up is stored after the next call looked for it, and before that one stores its own.
#[tokio::test]
async fn the_loser_of_a_race_gets_the_winners_answer() {
    for other_body in [false, true] {
        let world = World::new();
        let key = world.key(&ALL).await;
        let store = Arc::clone(&world.store);
        world.store.faults.when(move |changes| {
            let kept = changes.writes.iter().find_map(|write| match write {
                Write::KeepAnswer(kept) => Some(kept.as_ref().clone()),
                _ => None,
            });
            if let Some(mut kept) = kept {
                let mut body: Value = serde_json::from_slice(&kept.answer.body).expect("JSON");
                body["data"]["external_id"] = "the winner's".into();
                kept.answer.body = body.to_string().into_bytes();
                kept.fingerprint[0] ^= u8::from(other_body);
                let place = (kept.merchant.clone(), kept.call.clone(), kept.key.to_string());
                store.tamper(|tables| {
                    tables.answers.entry(place).or_insert(kept);
                });
            }
            None
        });
        let lost = make(&world, &key, "order 1", INVOICE).await;
        if other_body {
            assert_eq!(lost.outcome(), (422, "IDEMPOTENCY_MISMATCH", NAME));
        } else {
            assert_eq!((lost.status, lost.data("external_id")), (201, "the winner's"));
            assert_eq!(lost.header("idempotent-replayed"), "true");
        }
        assert_eq!(world.census().invoices, 0, "nothing of the loser is stored");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_once_under_one_name_make_one_invoice() {
    for round in 0..20_u32 {
        let world = Arc::new(World::new());
        let key = world.key(&ALL).await;
        let asks: Vec<Ask> = (0..32).map(|_| under(&world, &key, "order 1", PATH, INVOICE)).collect();
        let mut racers = JoinSet::new();
        for ask in asks {
            let world = Arc::clone(&world);
            racers.spawn(async move { world.send(ask).await });
        }
        let replies = racers.join_all().await;
        let fresh: Vec<&Reply> = replies
            .iter()
            .filter(|reply| reply.status == 201 && reply.header("idempotent-replayed").is_empty())
            .collect();
        assert_eq!((fresh.len(), world.census().invoices), (1, 1), "round {round}");
        for reply in replies.iter().filter(|reply| !std::ptr::eq(*reply, fresh[0])) {
            let is_busy = reply.outcome() == (409, "IDEMPOTENCY_IN_PROGRESS", NAME);
            assert!(is_busy || is_replay_of(fresh[0], reply), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn a_repeated_signature_gets_the_kept_answer_and_nothing_else() {
    let world = World::new();
    let key = world.key(&ALL).await;
    let ask = under(&world, &key, "order 1", PATH, INVOICE);
    let first = world.send(ask.clone()).await;
    assert!(is_replay_of(&first, &world.send(ask.clone()).await));
    for other in
        [ask.clone().without("idempotency-key"), ask.clone().without("idempotency-key").with("idempotency-key", "b")]
    {
        assert_eq!(world.send(other).await.outcome(), (401, "SIGNATURE_REPLAYED", "X-Signature"));
    }
    assert_eq!(world.census().invoices, 1);
}

#[tokio::test]
async fn an_answer_is_kept_for_a_week() {
    let world = World::new();
    let key = world.key(&ALL).await;
    let first = make(&world, &key, "order 1", INVOICE).await;
    let forget = async || {
        let chain = "bsc".parse().expect("a name");
        while world.store.forget(world.now(), &chain, BlockNumber(0)).await.expect("the store answers") > 0 {}
    };
    let day = 24 * 3_600 * 1_000;
    world.advance_millis(7 * day - 10_000);
    forget().await;
    assert!(is_replay_of(&first, &make(&world, &key, "order 1", INVOICE).await));
    world.advance_millis(20_000);
    assert!(is_replay_of(&first, &make(&world, &key, "order 1", INVOICE).await), "it is there still");
    forget().await;
    let second = make(&world, &key, "order 1", INVOICE).await;
    assert_eq!((second.status, second.header("idempotent-replayed")), (201, ""));
    assert_ne!(second.data("invoice_id"), first.data("invoice_id"));
}

#[tokio::test]
async fn a_name_has_a_form() {
    let world = World::new();
    let key = world.key(&ALL).await;
    let long = "x".repeat(255);
    for name in ["a", "order 1", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "a:b`;'", long.as_str()] {
        let made = make(&world, &key, name, INVOICE).await;
        assert_eq!(made.status, 201, "{name}");
        assert!(is_replay_of(&made, &make(&world, &key, name, INVOICE).await), "{name}");
    }
    let invoices = world.census().invoices;
    let sound = || under(&world, &key, "order 9", PATH, INVOICE);
    let mut foreign = sound().without("idempotency-key");
    foreign.headers.push(("idempotency-key", "ключ".as_bytes().to_vec()));
    let with = |name: &str| sound().without("idempotency-key").with("idempotency-key", name);
    for ask in [with(""), with(&"x".repeat(256)), sound().with("idempotency-key", "order 9"), foreign] {
        assert_eq!(world.send(ask).await.outcome(), (400, "INVALID_REQUEST", NAME));
    }
    assert_eq!(world.census().invoices, invoices);
}

/// The secret of an endpoint is shown again to who asks again, and is nowhere in the store.
#[tokio::test]
async fn kept_answers_with_secrets_are_sealed() {
    let world = World::new();
    let key = world.key(&ALL).await;
    let ask = || under(&world, &key, "my endpoint", "/v1/webhook-endpoints", r#"{"url":"https://shop.example/hook"}"#);
    let first = world.send(ask()).await;
    let secret = first.data("secret").to_owned();
    assert!(secret.starts_with("whsec_"), "{first:?}");
    assert!(is_replay_of(&first, &world.send(ask()).await));
    let kept: Vec<_> = world.store.tables().answers.into_values().collect();
    assert_eq!(kept.len(), 1);
    // The vault of these tests encrypts nothing, but says for what and where it sealed.
    assert!(kept[0].answer.body.starts_with(b"kept-answer|mer_"), "{:?}", kept[0].answer.body);
    assert!(serde_json::from_slice::<Value>(&kept[0].answer.body).is_err());
    world.store.tamper(|tables| tables.answers.values_mut().for_each(|kept| kept.answer.body[0] ^= 1));
    assert_eq!(world.send(ask()).await.outcome(), (500, "INTERNAL", ""));
}
