//! `POST /rescan`: what a merchant finds, and what it gets wrong.

use std::sync::Arc;

use serde_json::json;
use xthonpay_domain::access::Scope;
use xthonpay_domain::address::Address;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::transfer::Transfer;
use xthonpay_payments::port::store::{Changeset, Cursor, Store as _, Write};
use xthonpay_payments::scanning::changes::Books;
use xthonpay_payments::scanning::rescan::{Rescan, RescannedChain};
use xthonpay_payments::wake::Wakeups;
use xthonpay_tests::scripted_chain::{ScriptedChain, no_answer};

use crate::world::{Ask, START, TestKey, World};

const PATH: &str = "/api/v1/rescan";

fn chain_name() -> ChainName {
    "bsc".parse().expect("a name")
}

/// A world with a chain that was scanned up to a final block, beyond everything that is mined before.
struct Scene {
    world: World,
    chain: Arc<ScriptedChain>,
}

impl Scene {
    fn new() -> Self {
        let chain = Arc::new(ScriptedChain::new(chain_name(), START));
        let source = Arc::clone(&chain);
        let world = World::with(|api| {
            let books = Books {
                chain: chain_name(),
                store: Arc::clone(&api.store),
                catalog: Arc::clone(&api.catalog),
                watch: Arc::clone(&api.invoicing.watch),
                indices: Arc::clone(&api.invoicing.indices),
                listeners: Arc::clone(&api.invoicing.listeners),
                clock: Arc::clone(&api.clock),
            };
            api.rescan = Rescan::new([RescannedChain { source, books }], Wakeups::default());
        });
        Self { world, chain }
    }

    /// The scanner has passed everything up to this block and recorded nothing.
    async fn scanned(&self, tip: BlockRef) {
        let stored = self.world.store.cursor(&chain_name()).await.expect("the store answers");
        let revision = stored.map_or(1, |cursor| cursor.revision.saturating_add(1));
        let cursor = Cursor { chain: chain_name(), tip, finalized: tip, frozen: None, revision };
        self.world.store.commit(Changeset::new().with(Write::SetCursor(cursor))).await.expect("the store takes it");
    }

    /// A payment that is mined to a new invoice of the key's merchant.
    async fn payment(&self, key: &TestKey) -> Transfer {
        let made = self.world.post(key, "/api/v1/invoices", r#"{"amount":"1"}"#).await;
        let to: Address = made.data("deposit_address").parse().expect("an address");
        let usdt: AssetId = "bsc:USDT".parse().expect("an asset");
        let payment = self.chain.payment(&usdt, to, 1_500_000_000_000_000_000);
        self.chain.mine(std::slice::from_ref(&payment));
        payment
    }
}

fn body(payment: &Transfer) -> String {
    json!({ "tx_hash": payment.identity.origin.tx().expect("in a transaction").to_string() }).to_string()
}

#[tokio::test]
async fn a_payment_that_was_passed_over_is_found_by_its_hash() {
    let scene = Scene::new();
    let key = scene.world.key(&[Scope::Read, Scope::Write]).await;
    let payment = scene.payment(&key).await;
    scene.scanned(scene.chain.finalise()).await;
    let reply = scene.world.post(&key, PATH, &body(&payment)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let data = &reply.body["data"];
    assert_eq!((&data["is_final"], &data["chain"], &data["block_number"]), (&json!(true), &json!("bsc"), &json!(1)));
    let found = &data["deposits"][0];
    assert_eq!((&found["outcome"], &found["amount"]), (&json!("recorded"), &json!("1.5")));
    assert_eq!(found["payment"]["status"], "seen");
    assert!(found["invoice_id"].as_str().is_some_and(|id| id.starts_with("inv_")), "{found}");
    scene.world.advance_millis(1_000);
    let again = scene.world.post(&key, PATH, &body(&payment)).await;
    assert_eq!(again.body["data"]["deposits"][0]["outcome"], "known", "{again:?}");
    assert_eq!(scene.world.store.tables().deposits.len(), 1);
}

/// A rescan stores no effect of its own kind; its answer is kept after it.
#[tokio::test]
async fn a_rescan_under_a_name_is_answered_again_without_looking() {
    let scene = Scene::new();
    let key = scene.world.key(&[Scope::Read, Scope::Write]).await;
    let payment = scene.payment(&key).await;
    let ask = || scene.world.signed(&key, "POST", PATH, &body(&payment)).with("idempotency-key", "look");
    scene.chain.fail_when(|_| Some(no_answer()));
    assert_eq!(scene.world.send(ask()).await.status, 503, "a failure is not kept");
    scene.chain.fail_when(|_| None);
    scene.world.advance_millis(1_000);
    scene.scanned(scene.chain.finalise()).await;
    let first = scene.world.send(ask()).await;
    assert_eq!(first.body["data"]["deposits"][0]["outcome"], "recorded", "{first:?}");
    scene.world.advance_millis(1_000);
    scene.chain.fail_when(|_| Some(no_answer()));
    let again = scene.world.send(ask()).await;
    assert_eq!((again.bytes, again.headers["idempotent-replayed"].as_bytes()), (first.bytes, b"true".as_slice()));
}

#[tokio::test]
async fn a_payment_that_is_not_final_is_awaited() {
    let scene = Scene::new();
    scene.scanned(scene.chain.tip()).await;
    let key = scene.world.key(&[Scope::Read, Scope::Write]).await;
    let payment = scene.payment(&key).await;
    let reply = scene.world.post(&key, PATH, &body(&payment)).await;
    let data = &reply.body["data"];
    assert_eq!((&data["is_final"], &data["deposits"][0]["outcome"]), (&json!(false), &json!("awaited")), "{reply:?}");
    assert_eq!(scene.world.store.tables().deposits.len(), 0);
}

#[tokio::test]
async fn other_merchants_learn_nothing() {
    let scene = Scene::new();
    let key = scene.world.key(&[Scope::Read, Scope::Write]).await;
    let stranger = scene.world.key(&[Scope::Read]).await;
    let payment = scene.payment(&key).await;
    scene.scanned(scene.chain.finalise()).await;
    let theirs = scene.world.post(&stranger, PATH, &body(&payment)).await;
    let unknown = json!({ "tx_hash": format!("0x{}", "e".repeat(64)) }).to_string();
    let nobodys = scene.world.post(&stranger, PATH, &unknown).await;
    assert_eq!(theirs.outcome(), (404, "NOT_FOUND", ""));
    assert_eq!(theirs.body_without_id(), nobodys.body_without_id());
}

#[tokio::test]
async fn bad_requests_are_told_where_they_are_wrong() {
    let scene = Scene::new();
    scene.scanned(scene.chain.tip()).await;
    let key = scene.world.key(&[Scope::Read]).await;
    let good = format!("0x{}", "a".repeat(64));
    let request = "INVALID_REQUEST";
    let nothing = scene.world.post(&key, PATH, "").await;
    assert_eq!(nothing.outcome(), (415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type"));
    for (body, param) in [
        ("[]".to_owned(), ""),
        ("{}".to_owned(), "tx_hash"),
        (r#"{"tx_hash":null}"#.to_owned(), "tx_hash"),
        (r#"{"tx_hash":1}"#.to_owned(), "tx_hash"),
        (r#"{"tx_hash":""}"#.to_owned(), "tx_hash"),
        (r#"{"tx_hash":"0x"}"#.to_owned(), "tx_hash"),
        (json!({ "tx_hash": good[2..] }).to_string(), "tx_hash"),
        (json!({ "tx_hash": format!("{good}a") }).to_string(), "tx_hash"),
        (json!({ "tx_hash": good[..65] }).to_string(), "tx_hash"),
        (json!({ "tx_hash": format!(" {good}") }).to_string(), "tx_hash"),
        (json!({ "tx_hash": good.replace("0x", "0X") }).to_string(), "tx_hash"),
        (json!({ "tx_hash": good.replace("aa", "ag") }).to_string(), "tx_hash"),
        (json!({ "tx_hash": [good] }).to_string(), "tx_hash"),
        (json!({ "tx_hash": good, "chain": "eth" }).to_string(), "chain"),
        (json!({ "tx_hash": good, "chain": "BSC!" }).to_string(), "chain"),
        (json!({ "tx_hash": good, "chain": 56 }).to_string(), "chain"),
        (json!({ "tx_hash": good, "from": 1 }).to_string(), "from"),
        (format!(r#"{{"tx_hash":"{good}","tx_hash":"{good}"}}"#), "tx_hash"),
    ] {
        let reply = scene.world.post(&key, PATH, &body).await;
        assert_eq!(reply.outcome(), (400, request, param), "{body}");
    }
    let query = scene.world.post(&key, &format!("{PATH}?tx_hash={good}"), "{}").await;
    assert_eq!(query.outcome(), (400, request, "tx_hash"));
    let writes_only = scene.world.key(&[Scope::Write]).await;
    let body = json!({ "tx_hash": good }).to_string();
    assert_eq!(scene.world.post(&writes_only, PATH, &body).await.outcome().1, "SCOPE_REQUIRED");
    assert_eq!(scene.world.get(&key, PATH).await.status, 405);
    assert_eq!(scene.world.send(Ask::new("POST", PATH, &body)).await.status, 401);
}

#[tokio::test]
async fn a_signature_serves_once_and_failures_of_nodes_are_ours() {
    let scene = Scene::new();
    let key = scene.world.key(&[Scope::Read, Scope::Write]).await;
    let payment = scene.payment(&key).await;
    scene.scanned(scene.chain.finalise()).await;
    let ask = scene.world.signed(&key, "POST", PATH, &body(&payment));
    assert_eq!(scene.world.send(ask.clone()).await.status, 200);
    assert_eq!(scene.world.send(ask).await.outcome(), (401, "SIGNATURE_REPLAYED", "X-Signature"));
    scene.world.advance_millis(1_000);
    scene.chain.fail_when(|_| Some(no_answer()));
    let failed = scene.world.post(&key, PATH, &body(&payment)).await;
    assert_eq!(failed.outcome(), (503, "SERVICE_UNAVAILABLE", ""));
    assert_eq!(failed.header("retry-after"), "1");
}
