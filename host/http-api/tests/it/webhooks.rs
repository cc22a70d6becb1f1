//! Endpoints, deliveries and the feed through the API: what is shown, what is taken, and what is refused.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use xthonpay_domain::access::Scope;

use crate::world::{Reply, TestKey, World};

const ALL: [Scope; 3] = [Scope::Read, Scope::Write, Scope::Webhooks];
const ENDPOINTS: &str = "/v1/webhook-endpoints";
const URL_ONLY: &str = r#"{"url":"https://shop.example/hook"}"#;

async fn staged() -> (World, TestKey) {
    let world = World::new();
    let key = world.key(&ALL).await;
    (world, key)
}

async fn call(world: &World, key: &TestKey, method: &str, target: &str, body: &str) -> Reply {
    world.send(world.signed(key, method, target, body)).await
}

/// A new endpoint's path.
async fn endpoint(world: &World, key: &TestKey) -> String {
    let made = world.post(key, ENDPOINTS, URL_ONLY).await;
    assert_eq!(made.status, 201, "{made:?}");
    format!("{ENDPOINTS}/{}", made.data("endpoint_id"))
}

fn list(reply: &Reply) -> &Vec<Value> {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.body["data"].as_array().expect("a list")
}

#[tokio::test]
async fn an_endpoint_is_shown_with_its_secret_once() {
    let (world, key) = staged().await;
    let body = r#"{"url":"https://shop.example/hook","events":["invoice.paid","invoice.expired"],"label":"till"}"#;
    let made = world.post(&key, ENDPOINTS, body).await;
    assert_eq!(made.status, 201);
    let id = made.data("endpoint_id");
    assert_eq!(made.header("location"), format!("https://pay.example/api/v1/webhook-endpoints/{id}"));
    let secret = made.data("secret").strip_prefix("whsec_").expect("the form of Standard Webhooks");
    assert_eq!(STANDARD.decode(secret).expect("base64").len(), 32);
    let mut expected = made.body["data"].clone();
    expected.as_object_mut().expect("an object").remove("secret");
    assert_eq!(expected["events"], json!(["invoice.paid", "invoice.expired"]));
    assert_eq!(
        (&expected["status"], &expected["label"], &expected["format"]),
        (&json!("enabled"), &json!("till"), &Value::Null)
    );
    let path = format!("{ENDPOINTS}/{id}");
    assert_eq!(world.get(&key, &path).await.body["data"], expected);
    assert_eq!(list(&world.get(&key, ENDPOINTS).await), &vec![expected.clone()]);
    // All kinds are null, in both directions.
    let changed = call(&world, &key, "PATCH", &path, r#"{"events":null,"label":null,"enabled":false}"#).await;
    let data = &changed.body["data"];
    assert_eq!((&data["events"], &data["label"], &data["status"]), (&Value::Null, &Value::Null, &json!("paused")));
    assert_eq!(world.post(&key, &format!("{path}/test"), "").await.outcome(), (409, "INVALID_STATE", ""));
    call(&world, &key, "PATCH", &path, r#"{"enabled":true}"#).await;
    let rotated = world.post(&key, &format!("{path}/rotate-secret"), r#"{"overlap_s":60}"#).await;
    assert_ne!(rotated.data("secret"), made.data("secret"));
    assert_eq!(rotated.data("previous_secret_until"), "2023-11-14T22:14:20.5Z");
    let again = world.post(&key, &format!("{path}/rotate-secret"), "").await;
    assert_eq!(again.outcome(), (409, "INVALID_STATE", ""));
    let removed = call(&world, &key, "DELETE", &path, "").await;
    assert_eq!((removed.status, removed.data("status")), (200, "removed"));
    assert_eq!(world.get(&key, &path).await.outcome(), (404, "NOT_FOUND", ""));
    assert!(list(&world.get(&key, ENDPOINTS).await).is_empty());
}

#[tokio::test]
async fn a_lost_answer_with_a_secret_is_given_again_and_lies_in_the_store_sealed() {
    let (world, key) = staged().await;
    let ask = || world.signed(&key, "POST", ENDPOINTS, URL_ONLY).with("idempotency-key", "first");
    let made = world.send(ask()).await;
    world.advance_millis(1_000);
    let again = world.send(ask()).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, "true"));
    assert_eq!(again.bytes, made.bytes);
    assert_eq!(list(&world.get(&key, ENDPOINTS).await).len(), 1);
    let kept = world.store.tables().answers.into_values().next().expect("kept");
    assert_ne!(kept.answer.body, made.bytes.to_vec());
}

#[tokio::test]
async fn bodies_that_say_something_else_are_refused_by_field() {
    let (world, key) = staged().await;
    let path = endpoint(&world, &key).await;
    let (rotate, test) = (format!("{path}/rotate-secret"), format!("{path}/test"));
    let hook = |rest: &str| format!(r#"{{"url":"https://shop.example/",{rest}}}"#);
    let table = [
        ("POST", ENDPOINTS, "{}".to_owned(), "url"),
        ("POST", ENDPOINTS, r#"{"url":7}"#.to_owned(), "url"),
        ("POST", ENDPOINTS, r#"{"url":"ftp://shop.example/"}"#.to_owned(), "url"),
        ("POST", ENDPOINTS, r#"{"url":"http://shop.example/"}"#.to_owned(), "url"),
        ("POST", ENDPOINTS, hook(r#""events":[]"#), "events"),
        ("POST", ENDPOINTS, hook(r#""events":"invoice.paid""#), "events"),
        ("POST", ENDPOINTS, hook(r#""events":["invoice.payed"]"#), "events"),
        ("POST", ENDPOINTS, hook(r#""events":[1]"#), "events"),
        ("POST", ENDPOINTS, hook(r#""events":["ping"]"#), "events"),
        ("POST", ENDPOINTS, hook(r#""events":[["invoice.paid"]]"#), "events"),
        ("POST", ENDPOINTS, hook(r#""format":"unknown""#), "format"),
        ("POST", ENDPOINTS, hook(r#""format":"Not A Name""#), "format"),
        ("POST", ENDPOINTS, hook(r#""label":"a\u202eb""#), "label"),
        ("POST", ENDPOINTS, hook(r#""secret":"mine""#), "secret"),
        ("PATCH", &path, r#"{"enabled":"yes"}"#.to_owned(), "enabled"),
        ("PATCH", &path, r#"{"enabled":1}"#.to_owned(), "enabled"),
        ("PATCH", &path, r#"{"label":false}"#.to_owned(), "label"),
        ("PATCH", &path, r#"{"status":"enabled"}"#.to_owned(), "status"),
        ("PATCH", &path, r#"{"url":"https://a/","url":"https://b/"}"#.to_owned(), "url"),
        ("POST", &rotate, r#"{"overlap_s":-1}"#.to_owned(), "overlap_s"),
        ("POST", &rotate, r#"{"overlap_s":604801}"#.to_owned(), "overlap_s"),
        ("POST", &rotate, r#"{"overlap":5}"#.to_owned(), "overlap"),
        ("POST", &test, r#"{"x":1}"#.to_owned(), "x"),
        ("DELETE", &path, r#"{"x":1}"#.to_owned(), "x"),
        ("POST", "/v1/events/replay", "{}".to_owned(), "from"),
        ("POST", "/v1/events/replay", r#"{"from":"yesterday"}"#.to_owned(), "from"),
        ("POST", "/v1/events/replay", r#"{"from":"2026-01-01T00:00:00Z","to":"x"}"#.to_owned(), "to"),
        ("POST", "/v1/events/replay", r#"{"from":"2026-01-01T00:00:00Z","types":["x"]}"#.to_owned(), "types"),
        ("POST", "/v1/events/replay", r#"{"from":"2026-01-01T00:00:00Z","endpoint_id":"x"}"#.to_owned(), "endpoint_id"),
    ];
    let before = world.store.tables();
    for (method, target, body, param) in table {
        let reply = call(&world, &key, method, target, &body).await;
        assert_eq!(reply.outcome(), (400, "INVALID_REQUEST", param), "{method} {target} {body}: {reply:?}");
    }
    for (query, param) in [
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?cursor=x", "cursor"),
        ("/v1/events?type=invoice.payed", "type"),
        ("/v1/events?kind=ping", "kind"),
        ("/v1/deliveries?status=lost", "status"),
        ("/v1/deliveries?event_id=x", "event_id"),
        ("/v1/deliveries?endpoint_id=x", "endpoint_id"),
        ("/v1/deliveries?cursor=ZjEuNQ", "cursor"),
        ("/v1/deliveries?status=failed&endpoint_id=whe_00000000000000000000000000000000", ""),
        ("/v1/webhook-endpoints?limit=5", "limit"),
    ] {
        assert_eq!(world.get(&key, query).await.outcome(), (400, "INVALID_REQUEST", param), "{query}");
    }
    let after = world.store.tables();
    assert_eq!((after.endpoints, after.deliveries), (before.endpoints, before.deliveries));
    for path in ["/v1/webhook-endpoints/x", "/v1/deliveries/x", "/v1/events/x", "/v1/webhook-endpoints/inv_0"] {
        assert_eq!(world.get(&key, path).await.outcome(), (404, "NOT_FOUND", ""), "{path}");
    }
}

#[tokio::test]
async fn a_delivery_shows_what_was_sent_and_can_be_asked_for_again() {
    let (world, key) = staged().await;
    let path = endpoint(&world, &key).await;
    world.post(&key, "/v1/invoices", r#"{"amount":"5","external_id":"order-1"}"#).await;
    world.routing.route_all().await.expect("the store answers");
    let ping = world.post(&key, &format!("{path}/test"), "").await;
    assert_eq!(ping.status, 201);
    assert_eq!(ping.header("location"), format!("https://pay.example/api/v1/deliveries/{}", ping.data("delivery_id")));
    let id = path.rsplit('/').next().expect("an id");
    let all = world.get(&key, "/v1/deliveries").await;
    assert_eq!(list(&all).len(), 2);
    for query in [format!("endpoint_id={id}"), "status=pending".to_owned()] {
        assert_eq!(list(&world.get(&key, &format!("/v1/deliveries?{query}")).await).len(), 2, "{query}");
    }
    let event = ping.data("event_id");
    assert_eq!(list(&world.get(&key, &format!("/v1/deliveries?event_id={event}")).await).len(), 1);
    assert!(list(&world.get(&key, "/v1/deliveries?status=failed").await).is_empty());
    let first = world.get(&key, "/v1/deliveries?limit=1").await;
    let next = first.body["next_cursor"].as_str().expect("another page");
    let second = world.get(&key, &format!("/v1/deliveries?limit=1&cursor={next}")).await;
    let seen: BTreeSet<_> = [&first, &second].map(|page| list(page)[0]["delivery_id"].to_string()).into();
    assert_eq!((seen.len(), &second.body["has_more"]), (2, &json!(false)));
    let whole = world.get(&key, &format!("/v1/deliveries/{}", ping.data("delivery_id"))).await;
    let data = &whole.body["data"];
    assert_eq!((&data["event_type"], &data["request"]["body_encoding"]), (&json!("ping"), &json!("text")));
    assert_eq!(data["request"]["headers"], json!({"content-type": "application/json", "webhook-id": event}));
    let sent: Value = serde_json::from_str(data["request"]["body"].as_str().expect("text")).expect("JSON");
    assert_eq!((&sent["event"], &sent["data"]["endpoint"]["endpoint_id"]), (&json!("ping"), &json!(id)));
    assert_eq!(data["log"], json!([]));
    let again = format!("/v1/deliveries/{}/redeliver", ping.data("delivery_id"));
    assert_eq!(world.post(&key, &again, "").await.data("status"), "pending");
    call(&world, &key, "DELETE", &path, "").await;
    world.advance_millis(1_000);
    assert_eq!(world.post(&key, &again, "").await.outcome(), (409, "INVALID_STATE", ""));
}

#[tokio::test]
async fn a_client_follows_the_feed_and_has_it_told_again() {
    let (world, key) = staged().await;
    let empty = world.get(&key, "/v1/events").await;
    assert!(list(&empty).is_empty());
    assert_eq!(empty.body["has_more"], false);
    let start = empty.body["next_cursor"].as_str().expect("always there").to_owned();
    for number in 0..5 {
        world.post(&key, "/v1/invoices", &format!(r#"{{"amount":"5","external_id":"{number}"}}"#)).await;
    }
    let (mut cursor, mut seen) = (start.clone(), Vec::new());
    loop {
        let page = world.get(&key, &format!("/v1/events?limit=2&cursor={cursor}")).await;
        seen.extend(list(&page).iter().map(|event| event["data"]["external_id"].as_str().expect("a text").to_owned()));
        cursor = page.body["next_cursor"].as_str().expect("always there").to_owned();
        if page.body["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
    let end = world.get(&key, &format!("/v1/events?cursor={cursor}")).await;
    assert_eq!((list(&end).len(), end.body["next_cursor"].as_str()), (0, Some(cursor.as_str())));
    assert!(list(&world.get(&key, "/v1/events?type=invoice.paid,ping").await).is_empty());
    let created = world.get(&key, "/v1/events?type=invoice.created&limit=1").await;
    let event = &list(&created)[0];
    let fields: BTreeSet<&str> = event.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = ["created_at", "data", "id", "invoice_id", "payment_id", "sequence", "type"];
    assert_eq!(fields, expected.into());
    let one = world.get(&key, &format!("/v1/events/{}", event["id"].as_str().expect("an id"))).await;
    assert_eq!(&one.body["data"], event);
    // An endpoint that comes later is told of all of it.
    let path = endpoint(&world, &key).await;
    let id = path.rsplit('/').next().expect("an id");
    let body = format!(r#"{{"from":"{start}","endpoint_id":"{id}","types":["invoice.created"]}}"#);
    let done = world.post(&key, "/v1/events/replay", &body).await;
    let told = json!({"events": 5, "deliveries": 5, "next_cursor": cursor, "has_more": false});
    assert_eq!(done.body["data"], told);
    let by_time = r#"{"from":"2023-11-14T22:13:20Z","to":"2023-11-14T22:13:21Z"}"#;
    assert_eq!(world.post(&key, "/v1/events/replay", by_time).await.body["data"], told);
    assert_eq!(list(&world.get(&key, "/v1/deliveries?limit=100").await).len(), 5);
    let unknown = r#"{"from":"2023-11-14T22:13:20Z","endpoint_id":"whe_00000000000000000000000000000000"}"#;
    assert_eq!(world.post(&key, "/v1/events/replay", unknown).await.outcome(), (404, "NOT_FOUND", ""));
}

/// The URL of an endpoint can be a secret in itself: a key that may not read endpoints does not see it in the feed either.
#[tokio::test]
async fn events_that_show_an_endpoint_are_for_keys_that_may_read_it() {
    let (world, key) = staged().await;
    let path = endpoint(&world, &key).await;
    let ping = world.post(&key, &format!("{path}/test"), "").await;
    let event = format!("/v1/events/{}", ping.data("event_id"));
    let reader = world.key_with(&key.merchant, &[Scope::Read], |_| {}).await;
    assert_eq!(world.get(&key, &event).await.status, 200);
    assert_eq!(list(&world.get(&key, "/v1/events?type=ping").await).len(), 1);
    assert_eq!(world.get(&reader, &event).await.status, 404);
    for query in ["", "?type=ping", "?type=ping,endpoint.disabled"] {
        assert!(list(&world.get(&reader, &format!("/v1/events{query}")).await).is_empty(), "{query}");
    }
}
