//! Failures have one shape, and ours explain themselves in the log only.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;
use xthonpay_domain::access::Scope;

use crate::doubles::{INNER_DETAIL, Mood};
use crate::world::{Ask, World};

const BOTH: [Scope; 2] = [Scope::Read, Scope::Write];

#[tokio::test]
async fn unknown_addresses_are_404_in_the_usual_shape() {
    let world = World::new();
    for target in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/balance",
        "/v1/balance/",
        "/v1//balance",
        "/v1/Balance",
        "/V1/balance",
        "/v1/bal%61nce",
        "/v1/balance%2F",
        "/v1/./balance",
        "/v1/x/../balance",
        "/v1/%2e%2e/v1/balance",
        "/v1/balance;a=b",
        "/v1/withdraw",
        "/v1/invoices/a/b",
        "/healthz/",
        "/metrics/",
        "/.env",
        "/v1/invoices/inv_00/nothing",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let reply = world.send(Ask::new(method, target, "")).await;
            assert_eq!(reply.outcome(), (404, "NOT_FOUND", ""), "{method} {target}");
        }
    }
}

#[tokio::test]
async fn unknown_methods_are_405_in_the_usual_shape() {
    let world = World::new();
    for (method, target, allow) in [
        ("DELETE", "/v1/invoices", "POST,GET,HEAD"),
        ("PUT", "/v1/invoices", "POST,GET,HEAD"),
        ("HEAD", "/v1/withdrawals", ""),
        ("POST", "/v1/balance", "GET,HEAD"),
        ("OPTIONS", "/v1/balance", "GET,HEAD"),
        ("TRACE", "/v1/balance", "GET,HEAD"),
        ("PROPFIND", "/v1/balance", "GET,HEAD"),
        ("PATCH", "/api/v1/invoices/inv_00", "GET,HEAD"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let reply = world.send(Ask::new(method, target, "").with("x-http-method-override", "GET")).await;
        if allow.is_empty() {
            assert_eq!(reply.status, 404, "{method} {target}");
        } else {
            assert_eq!(reply.outcome(), (405, "METHOD_NOT_ALLOWED", ""), "{method} {target}");
            assert_eq!(reply.header("allow"), allow, "{method} {target}");
        }
    }
}

#[tokio::test]
async fn request_ids_are_ours() {
    let world = World::new();
    let ask = Ask::new("GET", "/v1/time", "").with("x-request-id", "req_forged");
    let (one, other) = (world.send(ask.clone()).await, world.send(ask).await);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    assert_eq!(one.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn our_failures_do_not_explain_themselves() {
    let world = World::with(|api| api.config.request_time_max = Duration::from_millis(50));
    let key = world.key(&BOTH).await;
    for (name, mood, store_fails, status, code, retry) in [
        ("a panic", Mood::Panic, false, 500, "INTERNAL", ""),
        ("a hook that hangs", Mood::Hang, false, 503, "SERVICE_UNAVAILABLE", "1"),
        ("a store that is away", Mood::Absent, true, 503, "SERVICE_UNAVAILABLE", "1"),
    ] {
        // The key is in the cache by now, so that the failure strikes behind the door.
        assert_eq!(world.get(&key, "/v1/keys/me").await.status, 200);
        world.hooks.set(mood);
        world.store.faults.fail_reads(store_fails);
        let reply = world.post(&key, "/v1/invoices", r#"{"amount": "1", "external_id": "a"}"#).await;
        assert_eq!(reply.outcome(), (status, code, ""), "{name}");
        assert_eq!(reply.header("retry-after"), retry, "{name}");
        for inner in [INNER_DETAIL, "scripted", "store", "panic"] {
            assert!(!reply.body.to_string().contains(inner), "{name}: {reply:?}");
        }
        world.store.faults.clear();
        world.hooks.set(Mood::Absent);
    }
    assert_eq!(world.census().invoices, 0);
    assert_eq!(world.post(&key, "/v1/invoices", r#"{"amount": "2"}"#).await.status, 201, "and life goes on");
}

/// A log in memory.
#[derive(Clone, Default)]
struct MemoryLog(Arc<Mutex<Vec<u8>>>);

impl io::Write for MemoryLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for MemoryLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_holds_the_cause_and_the_request_id_and_no_secret() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    world.hooks.set(Mood::Panic);
    // Places that log decide at their first use whether anybody listens, and other tests may be at theirs: once past, they
    // are asked again by the subscriber itself.
    let body = r#"{"amount": "1", "customer": "Jane-Canary"}"#;
    world.post(&key, "/v1/invoices", body).await;
    let log = MemoryLog::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only test that listens");
    let ask = world.signed(&key, "POST", "/v1/invoices", body);
    let reply = world.send(ask.clone()).await;
    assert_eq!(reply.status, 500);
    world.get(&key, "/v1/invoices?external_id=order-canary").await;
    let text = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("a text");
    let wanted = [reply.header("x-request-id"), INNER_DETAIL, key.id.as_str(), "/v1/invoices", "status=500"];
    let line = text.lines().find(|line| wanted.iter().all(|word| line.contains(word)));
    assert!(line.is_some(), "{wanted:?} in one line of {text}");
    for secret in [ask.header("x-signature").as_str(), key.secret.as_str(), "Jane-Canary", "order-canary"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
