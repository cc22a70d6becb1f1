//! A deployment in memory, and clients that sign as the documentation says, with an implementation of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::Value;
use sha2::Sha256;
use tower::ServiceExt as _;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::asset::{Asset, AssetKind};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::time::Timestamp;
use xthonpay_http_api::{Api, ApiConfig, router};
use xthonpay_payments::access::Access;
use xthonpay_payments::access::idempotency::Idempotency;
use xthonpay_payments::access::key_cache::KeyCache;
use xthonpay_payments::access::key_use::KeyUses;
use xthonpay_payments::access::rate_limit::RateLimits;
use xthonpay_payments::balances::Balances;
use xthonpay_payments::catalog::{Catalog, ChainTerms};
use xthonpay_payments::delivery::listeners::Listeners;
use xthonpay_payments::delivery::replay::Replay;
use xthonpay_payments::delivery::routing::Routing;
use xthonpay_payments::delivery::schedule::Schedule;
use xthonpay_payments::delivery::shaping::Shaper;
use xthonpay_payments::endpoints::Endpoints;
use xthonpay_payments::feed::Feed;
use xthonpay_payments::invoicing::Invoicing;
use xthonpay_payments::invoicing::address_indices::AddressIndices;
use xthonpay_payments::merchants::Merchants;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::random::bytes;
use xthonpay_payments::port::store::{Changeset, Key, Store as _, Write};
use xthonpay_payments::port::vault::{Purpose, Vault as _};
use xthonpay_payments::scanning::rescan::Rescan;
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_payments::wake::Wakeups;

use xthonpay_tests::manual_clock::ManualClock;
use xthonpay_tests::memory_store::MemoryStore;
use xthonpay_tests::seeded_random::SeededRandom;

use crate::doubles::{CountedAddresses, HttpsOnly, MoodyHooks, OpenVault};

/// When every world begins: half a second into a second, so that rounding shows.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_500);

/// A deployment in memory.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    pub(crate) hooks: MoodyHooks,
    random: Arc<SeededRandom>,
    merchants: Merchants,
    pub(crate) routing: Routing,
    pub(crate) router: Router,
}

/// Counts of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) invoices: usize,
    pub(crate) addresses: usize,
    pub(crate) events: usize,
    pub(crate) endpoints: usize,
    pub(crate) deliveries: usize,
    pub(crate) signatures: usize,
}

/// A key as its owner holds it.
#[derive(Clone)]
pub(crate) struct TestKey {
    pub(crate) id: KeyId,
    pub(crate) merchant: MerchantId,
    pub(crate) secret: String,
    pub(crate) scheme: SignatureScheme,
}

/// A request that can still be changed.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) peer: SocketAddr,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    pub(crate) body: Value,
}

impl World {
    /// One chain with USDT and BNB.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same, with changes.
    pub(crate) fn with(change: impl FnOnce(&mut Api)) -> Self {
        Self::on_chains(&["bsc"], change)
    }

    /// The same assets on several chains.
    pub(crate) fn on_chains(chains: &[&str], change: impl FnOnce(&mut Api)) -> Self {
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(ManualClock::starting_at(START));
        let random = Arc::new(SeededRandom::new(1));
        let hooks = MoodyHooks::default();
        let catalog = Arc::new(catalog(chains));
        let watch = Arc::new(WatchSet::default());
        let merchants = Merchants {
            store: store.clone(),
            vault: Arc::new(OpenVault),
            addresses: Arc::new(CountedAddresses),
            watch: watch.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let listeners = Arc::new(Listeners::default());
        let shaper = Shaper { hooks: Arc::new(hooks.clone()), schedule: Schedule::standard(), clock: clock.clone() };
        let mut api = Api {
            access: Access {
                keys: Arc::new(KeyCache::new(store.clone(), Arc::new(OpenVault))),
                limits: rates(u32::MAX, u32::MAX),
                uses: Arc::new(KeyUses::new(store.clone())),
                idempotency: Arc::new(Idempotency::new(store.clone(), Arc::new(OpenVault))),
                clock: clock.clone(),
                allow_timestamp_scheme: true,
                test_mode: true,
            },
            invoicing: Invoicing {
                contended: Arc::default(),
                store: store.clone(),
                catalog: catalog.clone(),
                hooks: Arc::new(hooks.clone()),
                transport: Arc::new(HttpsOnly),
                indices: Arc::new(AddressIndices::new(store.clone(), Arc::new(CountedAddresses), watch.clone())),
                watch,
                listeners: listeners.clone(),
                clock: clock.clone(),
                random: random.clone(),
                wakeups: Wakeups::default(),
            },
            balances: Balances { store: store.clone(), catalog: catalog.clone() },
            rescan: Rescan::new([], Wakeups::default()),
            tally: Arc::default(),
            hook_tally: Arc::default(),
            plugins: Arc::new(Vec::new),
            simulation: None,
            endpoints: Endpoints {
                store: store.clone(),
                vault: Arc::new(OpenVault),
                transport: Arc::new(HttpsOnly),
                shaper: shaper.clone(),
                listeners: listeners.clone(),
                clock: clock.clone(),
                random: random.clone(),
                wakeups: Wakeups::default(),
                making: Arc::default(),
            },
            feed: Feed { store: store.clone() },
            replay: Replay {
                store: store.clone(),
                shaper: shaper.clone(),
                clock: clock.clone(),
                wakeups: Wakeups::default(),
            },
            store: store.clone(),
            catalog,
            chains: Vec::new(),
            components: Arc::new(Vec::new),
            clock: clock.clone(),
            random: random.clone(),
            config: ApiConfig::new("https://pay.example/".parse().expect("a URL")),
        };
        change(&mut api);
        let routing = Routing { store: store.clone(), shaper, wakeups: Wakeups::default() };
        Self { store, clock, hooks, random, merchants, routing, router: router(api) }
    }

    /// How many records there are that a request could have left behind.
    pub(crate) fn census(&self) -> Census {
        let tables = self.store.tables();
        Census {
            invoices: tables.invoices.len(),
            addresses: tables.addresses.len(),
            events: tables.events.len(),
            endpoints: tables.endpoints.len(),
            deliveries: tables.deliveries.len(),
            signatures: tables.signatures.len(),
        }
    }

    pub(crate) fn advance_millis(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn now_secs(&self) -> u64 {
        self.now().as_secs()
    }

    pub(crate) async fn merchant(&self) -> MerchantId {
        let made = self.merchants.create("shop".parse().expect("a label")).await;
        made.expect("the store takes it").merchant.id
    }

    /// A new merchant's key with these scopes.
    pub(crate) async fn key(&self, scopes: &[Scope]) -> TestKey {
        let merchant = self.merchant().await;
        self.key_with(&merchant, scopes, |_| {}).await
    }

    /// A key of a merchant, with changes to its record.
    pub(crate) async fn key_with(
        &self,
        merchant: &MerchantId,
        scopes: &[Scope],
        change: impl FnOnce(&mut Key),
    ) -> TestKey {
        self.key_of(Mode::Live, merchant, scopes, change).await
    }

    /// A key for this kind of money.
    pub(crate) async fn key_of(
        &self,
        mode: Mode,
        merchant: &MerchantId,
        scopes: &[Scope],
        change: impl FnOnce(&mut Key),
    ) -> TestKey {
        let id = KeyId::from_random(mode, bytes(self.random.as_ref()));
        let secret = format!("xps_live_{}", hex::encode(bytes::<32>(self.random.as_ref())));
        let mut key = Key {
            id: id.clone(),
            merchant: merchant.clone(),
            label: "till".parse().expect("a label"),
            scopes: scopes.to_vec(),
            scheme: SignatureScheme::Request,
            ip_list: Vec::new(),
            secret: OpenVault.seal(Purpose::ApiSecret, id.as_str(), secret.as_bytes()),
            requests_per_minute: None,
            daily_withdraw_caps: Vec::new(),
            withdraw_addresses: Vec::new(),
            created_at: self.clock.now(),
            expires_at: None,
            revoked_at: None,
            replaced_by: None,
            revision: 1,
        };
        change(&mut key);
        let scheme = key.scheme;
        self.store.commit(Changeset::new().with(Write::CreateKey(Box::new(key)))).await.expect("the store takes it");
        TestKey { id, merchant: merchant.clone(), secret, scheme }
    }

    /// A request that is signed now.
    pub(crate) fn signed(&self, key: &TestKey, method: &str, target: &str, body: &str) -> Ask {
        Ask::new(method, target, body).sign(key, self.now_secs())
    }

    pub(crate) async fn get(&self, key: &TestKey, target: &str) -> Reply {
        self.send(self.signed(key, "GET", target, "")).await
    }

    pub(crate) async fn post(&self, key: &TestKey, target: &str, body: &str) -> Reply {
        self.send(self.signed(key, "POST", target, body)).await
    }

    /// The answer to a request. Every answer is checked for what all of them must have.
    pub(crate) async fn send(&self, ask: Ask) -> Reply {
        let mut request = Request::builder().method(ask.method.as_str()).uri(ask.target.as_str());
        let headers = request.headers_mut().expect("a method and a target");
        for (name, value) in &ask.headers {
            let value = HeaderValue::from_bytes(value).expect("a header value");
            headers.append(HeaderName::from_static(name), value);
        }
        let request = request.extension(ConnectInfo(ask.peer)).body(Body::from(ask.body)).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("routers do not fail");
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body in memory");
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let reply = Reply { status: head.status.as_u16(), headers: head.headers, bytes, body };
        reply.check_what_all_have(ask.method == "HEAD");
        crate::openapi::check(&ask.method, &ask.target, &reply).await;
        reply
    }
}

/// Requests a minute of a key, and failures a minute of an address.
pub(crate) fn rates(requests: u32, failures: u32) -> Arc<RateLimits> {
    let rate = |figure| NonZeroU32::new(figure).expect("not zero");
    Arc::new(RateLimits::new(rate(requests), rate(failures)))
}

fn catalog(chains: &[&str]) -> Catalog {
    let eighteen = Decimals::new(18).expect("in range");
    let assets = chains.iter().flat_map(|chain| {
        let named = |symbol: &str| format!("{chain}:{symbol}").parse().expect("an asset");
        let usdt = AssetKind::Token { contract: Address::new([0x55; 20]) };
        [
            Asset { id: named("BNB"), kind: AssetKind::Native, decimals: eighteen },
            Asset { id: named("USDT"), kind: usdt, decimals: eighteen },
        ]
    });
    let terms = chains.iter().map(|chain| (chain.parse().expect("a name"), ChainTerms { min_confirmations: 1 }));
    Catalog::new(terms.collect::<BTreeMap<_, _>>(), assets.collect())
}

impl Ask {
    /// A request without credentials from an address that nobody trusts. A body is called JSON.
    pub(crate) fn new(method: &str, target: &str, body: &str) -> Self {
        let media_type = ("content-type", b"application/json".to_vec());
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: if body.is_empty() { Vec::new() } else { vec![media_type] },
            body: body.as_bytes().to_vec(),
            peer: "198.51.100.7:50000".parse().expect("an address"),
        }
    }

    /// Signs what the request is now.
    pub(crate) fn sign(self, key: &TestKey, timestamp: u64) -> Self {
        self.sign_text(key, &timestamp.to_string())
    }

    /// The same with a time stamp of any form.
    pub(crate) fn sign_text(self, key: &TestKey, timestamp: &str) -> Self {
        let path = self.target.split('?').next().unwrap_or_default();
        let mut mac = Hmac::<Sha256>::new_from_slice(key.secret.as_bytes()).expect("keys of any length");
        mac.update(timestamp.as_bytes());
        if key.scheme == SignatureScheme::Request {
            mac.update(format!("\n{}\n{path}\n", self.method).as_bytes());
            mac.update(&self.body);
        }
        let signature = hex::encode(mac.finalize().into_bytes());
        self.with("x-api-key", key.id.as_str()).with("x-timestamp", timestamp).with("x-signature", &signature)
    }

    /// The request with one more header.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.as_bytes().to_vec()));
        self
    }

    /// The request without a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    pub(crate) fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }

    pub(crate) fn at_peer(self, ip: &str) -> Self {
        Self { peer: SocketAddr::new(ip.parse().expect("an address"), 50_000), ..self }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A string of `data`.
    pub(crate) fn data(&self, field: &str) -> &str {
        self.body["data"][field].as_str().unwrap_or_default()
    }

    /// Status, code and param of an error; a success has no code.
    pub(crate) fn outcome(&self) -> (u16, &str, &str) {
        let error = &self.body["error"];
        (self.status, error["code"].as_str().unwrap_or_default(), error["param"].as_str().unwrap_or_default())
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    /// The body with the request id taken out, to compare answers.
    pub(crate) fn body_without_id(&self) -> Value {
        let mut body = self.body.clone();
        body["error"]["request_id"] = Value::Null;
        body
    }

    fn check_what_all_have(&self, is_head: bool) {
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{self:?}");
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        assert!(self.header("x-request-id").starts_with("req_"), "{self:?}");
        if is_head {
            return;
        }
        if self.status < 400 {
            assert_eq!(self.body["status"], "success", "{self:?}");
        } else {
            assert_eq!(self.body["status"], "error", "{self:?}");
            assert_eq!(self.body["error"]["request_id"], self.header("x-request-id"), "{self:?}");
            assert!(!self.message().is_empty() && !self.outcome().1.is_empty(), "{self:?}");
        }
    }
}
