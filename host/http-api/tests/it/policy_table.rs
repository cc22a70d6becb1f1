//! Every call of the table, walked: what is refused at each of them, whoever adds it.
//!
//! A new call is walked without being named here. A new kind of thing in a path, and a call that takes a body without which it
//! cannot succeed, must be added below, and the walk says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, Request};
use tower::ServiceExt as _;
use xthonpay_domain::access::{Scope, SignatureScheme};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::{DeliveryId, DepositId, EndpointId, EventId, InvoiceId};
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_http_api::{RoutePolicy, policies};
use xthonpay_payments::access::Policy;
use xthonpay_payments::port::store::{Changeset, Store as _, Write};

use crate::world::{Ask, Reply, START, TestKey, World};

const ALL: [Scope; 4] = [Scope::Read, Scope::Write, Scope::Webhooks, Scope::Withdraw];

/// Calls that cannot succeed in a world without a chain.
const NEED_A_CHAIN: [&str; 2] = ["/rescan", "/test/invoices/{id}/simulate"];

/// Calls that, made again, find things as they want them before any signature is used up, and what they answer then.
const SO_ALREADY: [(&str, (u16, &str, &str)); 2] = [
    ("DELETE /webhook-endpoints/{id}", (404, "NOT_FOUND", "")),
    ("POST /webhook-endpoints/{id}/rotate-secret", (409, "INVALID_STATE", "")),
];

/// What stands before an id in a path, and what ids of that kind begin with.
const KINDS: [(&str, &str); 5] = [
    ("invoices", InvoiceId::PREFIX),
    ("payments", DepositId::PREFIX),
    ("webhook-endpoints", EndpointId::PREFIX),
    ("deliveries", DeliveryId::PREFIX),
    ("events", EventId::PREFIX),
];

/// A merchant that has one of everything that a path can name.
struct Stage {
    world: World,
    owner: TestKey,
    things: BTreeMap<&'static str, String>,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new();
        let merchant = world.merchant().await;
        let owner = world.key_with(&merchant, &ALL, |_| {}).await;
        let invoice = world.post(&owner, "/v1/invoices", r#"{"amount":"5","external_id":"a"}"#).await;
        let endpoint = world.post(&owner, "/v1/webhook-endpoints", r#"{"url":"https://shop.example/hook"}"#).await;
        let endpoint_id = id(&endpoint, "endpoint_id");
        let delivery = world.post(&owner, &format!("/v1/webhook-endpoints/{endpoint_id}/test"), "").await;
        let events = world.get(&owner, "/v1/events").await;
        let event = events.body["data"][0]["id"].as_str().expect("an event").to_owned();
        let deposit = deposit(&world, invoice.data("deposit_address"), &owner);
        let payment = deposit.id.to_string();
        world.store.commit(Changeset::new().with(Write::CreateDeposit(deposit))).await.expect("the store takes it");
        let things = BTreeMap::from([
            ("invoices", id(&invoice, "invoice_id")),
            ("payments", payment),
            ("webhook-endpoints", endpoint_id),
            ("deliveries", id(&delivery, "delivery_id")),
            ("events", event),
        ]);
        Self { world, owner, things }
    }

    /// Another key of the owner.
    async fn key(&self, scopes: &[Scope], change: impl FnOnce(&mut xthonpay_payments::port::store::Key)) -> TestKey {
        self.world.key_with(&self.owner.merchant, scopes, change).await
    }

    /// A target of the call with the owner's thing.
    fn target(&self, path: &str) -> String {
        kind_in(path).map_or(path.to_owned(), |kind| path.replace("{id}", &self.things[kind]))
    }

    /// The call on the owner's thing, signed now.
    fn ask(&self, row: &RoutePolicy, key: &TestKey) -> Ask {
        self.world.signed(key, row.method.as_str(), &self.target(&row.path), body(row))
    }
}

fn id(reply: &Reply, field: &str) -> String {
    let id = reply.data(field).to_owned();
    assert!(!id.is_empty(), "{reply:?}");
    id
}

fn deposit(world: &World, address: &str, owner: &TestKey) -> Deposit {
    let (block, tx) = (BlockHash::new([1; 32]), TxHash::new([2; 32]));
    let invoice = world.store.tables().invoices.into_keys().next();
    let identity = TransferIdentity {
        asset: "bsc:USDT".parse().expect("an asset"),
        to: address.parse().expect("an address"),
        origin: Origin::Transaction { tx, nth: 0 },
    };
    let transfer = Transfer { identity, from: None, amount: xthonpay_domain::amount::Amount::from_units(1) };
    let block = BlockRef { number: BlockNumber(1), hash: block, parent: BlockHash::new([0; 32]), time: START };
    Deposit::seen(transfer, block, owner.merchant.clone(), invoice, 1)
}

/// Of which kind the thing in a path is.
fn kind_in(path: &str) -> Option<&'static str> {
    let (before, _) = path.split_once("/{id}")?;
    let kind = KINDS.iter().map(|(kind, _)| *kind).find(|kind| before.ends_with(kind));
    assert!(kind.is_some(), "add the kind of thing that {path} names to this walk");
    kind
}

/// A body with which the call succeeds on the owner's thing.
fn body(row: &RoutePolicy) -> &'static str {
    let path = row.path.trim_start_matches("/api").trim_start_matches("/v1");
    match (row.method.as_str(), path) {
        ("GET" | "DELETE", _) => "",
        ("POST", "/invoices") => r#"{"amount":"50.00"}"#,
        ("POST", "/invoices/{id}/resolve") => r#"{"action":"accept"}"#,
        ("POST", "/webhook-endpoints") => r#"{"url":"https://shop.example/other"}"#,
        ("PATCH", "/webhook-endpoints/{id}") => r#"{"label":"till"}"#,
        ("POST", "/events/replay") => r#"{"from":"2023-01-01T00:00:00Z"}"#,
        ("POST", "/test/invoices/{id}/simulate") => r#"{"case":"paid"}"#,
        _ => "{}",
    }
}

/// The calls that need a signature.
fn signed() -> Vec<(RoutePolicy, Policy)> {
    policies().into_iter().filter_map(|row| row.policy.map(|policy| (row, policy))).collect()
}

fn name(row: &RoutePolicy) -> String {
    format!("{} {}", row.method, row.path)
}

#[tokio::test]
async fn every_call_refuses_whoever_may_not_make_it() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let records = world.census();
    let mut refusals = 0_usize;
    for (row, policy) in signed() {
        let name = name(&row);
        let mut expect = async |case: &str, ask: Ask, expected: (u16, &str, &str)| {
            let reply = world.send(ask).await;
            assert_eq!(reply.outcome(), expected, "{name}, {case}");
            refusals += 1;
            reply
        };
        let bare = Ask::new(row.method.as_str(), &stage.target(&row.path), body(&row));
        let reply = expect("no credentials", bare.clone(), (401, "UNAUTHORIZED", "X-API-Key")).await;
        assert!(reply.header("www-authenticate").starts_with("HMAC-SHA256"), "{name}");
        let forged = TestKey { secret: "xps_live_0".to_owned(), ..stage.owner.clone() };
        expect("another secret", stage.ask(&row, &forged), (401, "UNAUTHORIZED", "")).await;
        let others: Vec<Scope> = ALL.into_iter().filter(|scope| *scope != policy.scope).collect();
        let poor = stage.key(&others, |_| {}).await;
        expect("wrong scope", stage.ask(&row, &poor), (403, "SCOPE_REQUIRED", "")).await;
        let fenced = stage.key(&ALL, |key| key.ip_list = vec!["10.0.0.0/8".parse().expect("a network")]).await;
        expect("IP outside", stage.ask(&row, &fenced), (403, "IP_NOT_ALLOWED", "")).await;
        for secs in [-301, 301] {
            let stale = bare.clone().sign(&stage.owner, world.now_secs().saturating_add_signed(secs));
            expect("stale clock", stale, (401, "CLOCK_SKEW", "X-Timestamp")).await;
        }
        let over = stage.key(&ALL, |key| key.expires_at = Some(key.created_at)).await;
        expect("expired key", stage.ask(&row, &over), (401, "KEY_EXPIRED", "")).await;
        let revoked = stage.key(&ALL, |key| key.revoked_at = Some(key.created_at)).await;
        expect("revoked key", stage.ask(&row, &revoked), (401, "KEY_REVOKED", "")).await;
        if !policy.bare_timestamp {
            let weak = stage.key(&ALL, |key| key.scheme = SignatureScheme::Timestamp).await;
            expect("weak scheme", stage.ask(&row, &weak), (401, "KEY_REGENERATION_REQUIRED", "")).await;
        }
    }
    assert!(refusals >= signed().len() * 8, "{refusals}");
    assert_eq!(world.census(), records, "nothing was made");
}

#[tokio::test]
async fn what_is_another_merchants_looks_like_nothing_at_every_call() {
    let stage = Stage::new().await;
    let stranger = stage.world.key(&ALL).await;
    let mut walked = 0_usize;
    for (row, _) in signed().into_iter().filter(|(row, _)| row.path.contains("{id}")) {
        let name = name(&row);
        let kind = kind_in(&row.path).expect("an id");
        let prefix = KINDS.iter().find(|(known, _)| *known == kind).map(|(_, prefix)| prefix);
        let nothing = prefix.map(|prefix| row.path.replace("{id}", &format!("{prefix}{}", "0".repeat(32))));
        let foreign = stage.world.send(stage.ask(&row, &stranger)).await;
        let nothing = nothing.expect("a kind");
        let missing = stage.world.send(stage.world.signed(&stranger, row.method.as_str(), &nothing, body(&row))).await;
        assert_eq!(foreign.outcome(), (404, "NOT_FOUND", ""), "{name}: {foreign:?}");
        assert_eq!(foreign.body_without_id(), missing.body_without_id(), "{name}");
        let no_id = row.path.replace("{id}", "a:b");
        let no_id = stage.world.send(stage.world.signed(&stranger, row.method.as_str(), &no_id, body(&row))).await;
        assert_eq!(no_id.body_without_id(), missing.body_without_id(), "{name}, what is no id");
        walked += 1;
    }
    assert!(walked >= 4, "{walked}");
}

/// The owner makes every call, and whoever saw it sends it again a hundred times.
#[tokio::test]
async fn every_change_happens_once_for_one_signature() {
    let mut unproven = Vec::new();
    for (row, policy) in signed() {
        let stage = Stage::new().await;
        let ask = stage.ask(&row, &stage.owner);
        stage.world.advance_millis(1_000);
        let first = stage.world.send(ask.clone()).await;
        if first.status >= 300 {
            unproven.push((name(&row), first));
            continue;
        }
        let records = stage.world.census();
        for _ in 0..100 {
            let again = stage.world.send(ask.clone()).await;
            let so_already = SO_ALREADY.iter().find(|(call, _)| {
                let (method, path) = call.split_once(' ').expect("a method and a path");
                row.method == method && row.path.ends_with(path)
            });
            let expected = match so_already {
                Some((_, outcome)) => *outcome,
                None if policy.mutates => (401, "SIGNATURE_REPLAYED", "X-Signature"),
                None => (200, "", ""),
            };
            assert_eq!(again.outcome(), expected, "{}", name(&row));
        }
        assert_eq!(stage.world.census(), records, "{}", name(&row));
    }
    let unexpected: Vec<_> =
        unproven.iter().filter(|(name, _)| !NEED_A_CHAIN.iter().any(|path| name.ends_with(path))).collect();
    assert!(unexpected.iter().all(|(name, _)| name.ends_with("/resolve")), "{unexpected:?}");
}

/// The same under an `Idempotency-Key` and a fresh signature each time: one effect, one answer.
#[tokio::test]
async fn every_change_happens_once_for_one_idempotency_key() {
    for (row, _) in signed().into_iter().filter(|(_, policy)| policy.mutates) {
        let stage = Stage::new().await;
        let once = async || {
            stage.world.advance_millis(1_000);
            stage.world.send(stage.ask(&row, &stage.owner).with("idempotency-key", "order 1")).await
        };
        let first = once().await;
        if first.status >= 300 {
            assert_eq!(first.header("idempotent-replayed"), "", "{}: a failure is not kept", name(&row));
            continue;
        }
        let records = stage.world.census();
        for _ in 0..3 {
            let again = once().await;
            assert_eq!((again.status, &again.bytes), (first.status, &first.bytes), "{}", name(&row));
            assert_eq!(again.header("location"), first.header("location"), "{}", name(&row));
            assert_eq!(again.header("idempotent-replayed"), "true", "{}", name(&row));
        }
        assert_eq!(stage.world.census(), records, "{}", name(&row));
    }
}

#[tokio::test]
async fn open_calls_are_open_and_the_operators_are_hidden() {
    let world = World::new();
    let rows: Vec<_> = policies().into_iter().filter(|row| row.policy.is_none()).collect();
    for row in &rows {
        assert_eq!(row.method, Method::GET, "{}", row.path);
        let stranger = ConnectInfo::<SocketAddr>("198.51.100.7:50000".parse().expect("an address"));
        let request = Request::get(row.path.as_str()).extension(stranger).body(Body::empty()).expect("a request");
        let bare = world.router.clone().oneshot(request).await.expect("routers do not fail");
        // To strangers, what is the operator's does not exist.
        assert_eq!(bare.status().as_u16(), if row.operator_only { 404 } else { 200 }, "{}", row.path);
        assert!(!bare.headers().contains_key("ratelimit-limit"), "nobody's budget");
    }
    assert!(rows.len() >= 5);
}
