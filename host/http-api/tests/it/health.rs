//! Liveness and readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use xthonpay_http_api::ComponentHealth;
use xthonpay_payments::scanning::status::SharedStatus;

use crate::doubles::INNER_DETAIL;
use crate::world::{Ask, Reply, World};

async fn probe(world: &World, path: &str) -> Reply {
    world.send(Ask::new("GET", path, "")).await
}

fn check(reply: &Reply, name: &str) -> Value {
    let checks = reply.body["data"]["checks"].as_array().expect("a list of checks");
    checks.iter().find(|check| check["name"] == name).cloned().expect("a check of that name")
}

fn component(name: &str, required: bool, problem: Option<&str>) -> ComponentHealth {
    ComponentHealth { name: name.to_owned(), required, problem: problem.map(str::to_owned) }
}

#[tokio::test]
async fn a_whole_deployment_is_ready() {
    let world = World::new();
    assert_eq!(probe(&world, "/healthz").await.body["data"], json!({"alive": true}));
    let ready = probe(&world, "/readyz").await;
    assert_eq!((ready.status, &ready.body["data"]["ready"]), (200, &json!(true)));
    assert_eq!(check(&ready, "store"), json!({"name": "store", "ok": true, "required": true}));
    let head = world.send(Ask::new("HEAD", "/healthz", "")).await;
    assert_eq!((head.status, &head.body), (200, &Value::Null), "monitors often ask with HEAD");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_why_is_not() {
    let world = World::new();
    world.store.faults.fail_reads(true);
    let reply = probe(&world, "/readyz").await;
    assert_eq!(reply.outcome(), (503, "NOT_READY", ""));
    assert_eq!(check(&reply, "store")["reason"], "does not take writes");
    assert!(!reply.body.to_string().contains(INNER_DETAIL));
    assert_eq!(probe(&world, "/healthz").await.status, 200, "the process itself is well");
}

#[tokio::test]
async fn a_scanner_that_has_not_started_is_not_ready() {
    let status = SharedStatus::new("bsc".parse().expect("a name"));
    let world = World::with(|api| api.chains.push(status));
    let reply = probe(&world, "/readyz").await;
    assert_eq!(reply.outcome(), (503, "NOT_READY", ""));
    assert_eq!(check(&reply, "scanner:bsc")["reason"], "has not read its first block yet");
}

#[tokio::test]
async fn only_required_components_matter() {
    for (required, status) in [(false, 200), (true, 503)] {
        let world = World::with(|api| {
            api.components = Arc::new(move || {
                vec![component("plugin:rules", required, Some(INNER_DETAIL)), component("plugin:format", true, None)]
            });
        });
        let reply = probe(&world, "/readyz").await;
        assert_eq!(reply.status, status);
        assert_eq!(check(&reply, "plugin:rules")["ok"], false);
        assert_eq!(check(&reply, "plugin:format")["ok"], true);
        assert!(!reply.body.to_string().contains(INNER_DETAIL));
    }
}

#[tokio::test]
async fn a_flood_of_probes_is_one_look_a_second() {
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let world = World::with(|api| {
        api.components = Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Vec::new()
        });
    });
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(probe(&world, "/readyz").await.status, 200);
    }
    let seconds = usize::try_from(started.elapsed().as_secs()).expect("not so long");
    assert!((1..=seconds + 1).contains(&looks.load(Ordering::SeqCst)), "{looks:?} in {seconds} s");
    world.store.faults.fail_reads(true);
    let noticed = async {
        while probe(&world, "/readyz").await.status != 503 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noticed).await.expect("a report does not live for ever");
    // A refusal is looked at anew much sooner, and is no look a probe either.
    let before = looks.load(Ordering::SeqCst);
    let started = Instant::now();
    for _ in 0..50 {
        assert_eq!(probe(&world, "/readyz").await.status, 503);
    }
    let tenths = usize::try_from(started.elapsed().as_millis() / 100).expect("not so long");
    assert!(looks.load(Ordering::SeqCst) <= before + tenths + 1, "{looks:?} after {before} in {tenths} tenths");
    world.store.faults.fail_reads(false);
    let noticed = async {
        while probe(&world, "/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noticed).await.expect("a refusal does not live for ever");
}
