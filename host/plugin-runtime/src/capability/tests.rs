//! The capabilities as a guest meets them: what it may open, what it is told, and what is left when it is done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use wasmtime::component::Resource;
use xthonpay_domain::text::ItemKey;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::Loans;
use xthonpay_payments::port::lending::attestation::{AttestError, Attestation, Attestor, Statement};
use xthonpay_payments::port::lending::rates::{Quote, RateError, Rates};
use xthonpay_payments::port::lending::storage::{Item, ItemExpectation, PluginStorage, Space};
use xthonpay_payments::port::lending::upstream::{Upstream, UpstreamAnswer, UpstreamError, UpstreamRequest};
use xthonpay_payments::port::store::StoreError;

use super::refusal::Refusal;
use super::storage::OpenSpace;
use crate::bindings::base::xthonpay::host::http::HostEndpoint as _;
use crate::bindings::base::xthonpay::host::rates::Host as _;
use crate::bindings::base::xthonpay::host::signing::HostSigner as _;
use crate::bindings::base::xthonpay::host::storage::HostSpace as _;
use crate::bindings::base::xthonpay::host::types::HostError;
use crate::bindings::base::xthonpay::host::{chain, http, signing, storage};
use crate::hook::Hook;
use crate::instance::{Call, CallState, Effects, Profile};
use crate::limits::Limits;
use crate::loan::Borrowed;
use crate::settings::Settings;

const NOW: Timestamp = Timestamp::from_secs(1_000);

/// Values in memory, of one space.
#[derive(Default)]
struct Shelf {
    items: Mutex<BTreeMap<String, Item>>,
    revisions: AtomicU64,
}

impl Shelf {
    fn hold(&self, key: &str, value: &str, expires_at: Option<Timestamp>) -> u64 {
        let revision = self.fresh_revision();
        let item = Item { value: value.as_bytes().to_vec(), revision, expires_at };
        self.items.lock().expect("not poisoned").insert(key.to_owned(), item);
        revision
    }
}

#[async_trait]
impl PluginStorage for Shelf {
    async fn item(&self, _: &Space, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        Ok(self.items.lock().expect("not poisoned").get(key.as_str()).cloned())
    }

    async fn items(
        &self,
        _: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        let items = self.items.lock().expect("not poisoned");
        let wanted = |key: &str| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let found = items.iter().filter(|(key, _)| wanted(key)).take(limit);
        Ok(found.map(|(key, item)| (key.parse().expect("a key"), item.clone())).collect())
    }

    async fn used_bytes(&self, _: &Space, _: Timestamp) -> Result<u64, StoreError> {
        let items = self.items.lock().expect("not poisoned");
        Ok(items.iter().map(|(key, item)| u64::try_from(key.len() + item.value.len()).expect("small")).sum())
    }

    fn note_growth(&self, _: &Space, _: i64) {}

    fn fresh_revision(&self) -> u64 {
        self.revisions.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Answers with the request.
struct Echo;

#[async_trait]
impl Upstream for Echo {
    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamAnswer, UpstreamError> {
        if request.path == "down" {
            return Err(UpstreamError::Unavailable { reason: "no connection could be made".to_owned() });
        }
        let names: Vec<String> = request.headers.into_iter().map(|(name, _)| name).collect();
        let headers = vec![("set-cookie".to_owned(), "a=b".to_owned()), ("x-names".to_owned(), names.join(","))];
        Ok(UpstreamAnswer { status: 404, headers, body: request.path.into_bytes() })
    }
}

/// Signs by showing the statement.
struct Open;

#[async_trait]
impl Attestor for Open {
    fn public_key(&self) -> Vec<u8> {
        vec![1; 32]
    }

    async fn attest(&self, statement: Statement) -> Result<Attestation, AttestError> {
        let signature = format!("{} {} {:02x}", statement.plugin, statement.purpose, statement.digest[0]);
        Ok(Attestation { scheme: "ed25519", key_id: "k".to_owned(), signature: signature.into_bytes() })
    }
}

/// A rate that rises with every question.
#[derive(Default)]
struct Rising(AtomicU64);

#[async_trait]
impl Rates for Rising {
    async fn latest(&self, _: &str, _: &str, _: Duration, now: Timestamp) -> Result<Quote, RateError> {
        let rate = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Quote { rate: rate.to_string(), taken: now, provider: "test".to_owned() })
    }
}

/// A call of a plugin with every grant, and what it is lent.
fn call(shelf: &Arc<Shelf>, limits: &str) -> CallState {
    call_with_quota(shelf, limits, 1)
}

fn call_with_quota(shelf: &Arc<Shelf>, limits: &str, quota_kib: u32) -> CallState {
    let label = |text: &str| text.parse().expect("a label");
    let loans = Loans {
        storage: Some(Arc::clone(shelf) as _),
        upstreams: BTreeMap::from([(label("shop"), Arc::new(Echo) as _)]),
        attestors: BTreeMap::from([(label("keys"), Arc::new(Open) as _)]),
        rates: Some(Arc::new(Rising::default())),
        ..Loans::default()
    };
    let grants = format!(
        "
        storage.notes = {{ quota_kib = {quota_kib} }}
        http.shop = {{ methods = ['GET', 'POST'], paths = ['v1/', 'down'], per_minute = 3 }}
        signing.keys = {{ purposes = ['receipt'], per_minute = 2 }}
        rates = true
    "
    );
    let mut problems = Vec::new();
    let borrowed = Borrowed::resolve("mine", &toml::from_str(&grants).expect("well formed"), &loans, &mut problems);
    let limits = Limits::resolve("mine", Hook::BotFlow, &toml::from_str(limits).expect("known keys"), &mut problems);
    assert_eq!(problems, []);
    let profile =
        Profile { name: "mine".to_owned(), settings: Settings::default(), limits, borrowed, effects: Effects::Granted };
    CallState::new(Arc::new(profile), Call { function: "handle", id: "handle:1".to_owned(), at: NOW, merchant: None })
}

/// The case and code of a refusal that the guest is told.
fn told<T>(answer: Result<T, Refusal>) -> (&'static str, String) {
    match answer.err().expect("a refusal") {
        Refusal::Told(error) => match error {
            HostError::Denied(detail) => ("denied", detail.code),
            HostError::Invalid(detail) => ("invalid", detail.code),
            HostError::NotFound(detail) => ("not-found", detail.code),
            HostError::OverLimit(detail) => ("over-limit", detail.code),
            HostError::Unavailable(detail) => ("unavailable", detail.code),
            HostError::Other(detail) => ("other", detail.code),
        },
        Refusal::Trap(error) => ("trap", format!("{error:#}")),
    }
}

async fn open_notes(call: &mut CallState) -> Resource<OpenSpace> {
    storage::HostSpace::open(call, "notes".to_owned()).await.expect("granted")
}

/// A second handle of what the first one names, as a guest has when it lends its own.
fn again<T: 'static>(handle: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(handle.rep())
}

#[tokio::test]
async fn a_call_sees_its_own_writes_and_the_store_sees_none_of_them() {
    let shelf = Arc::new(Shelf::default());
    let before = shelf.hold("old", "1", None);
    shelf.hold("gone", "x", Some(NOW));
    let mut call = call(&shelf, "");
    let space = open_notes(&mut call).await;
    assert!(call.get(again(&space), "gone".to_owned()).await.expect("an answer").is_none(), "it has run out");

    call.put(again(&space), "new".to_owned(), b"a".to_vec(), Some(60)).await.expect("room");
    let item = call.get(again(&space), "new".to_owned()).await.expect("an answer").expect("its own write");
    assert_eq!(item.value, b"a");
    assert!(call.swap(again(&space), "new".to_owned(), Some(item.revision), b"b".to_vec()).await.expect("an answer"));
    assert!(!call.swap(again(&space), "new".to_owned(), Some(item.revision), b"c".to_vec()).await.expect("an answer"));
    assert!(!call.swap(again(&space), "old".to_owned(), None, b"c".to_vec()).await.expect("an answer"));
    assert!(call.swap(again(&space), "old".to_owned(), Some(before), b"2".to_vec()).await.expect("an answer"));
    assert!(call.swap(again(&space), "gone".to_owned(), None, b"y".to_vec()).await.expect("an answer"));
    call.remove(again(&space), "never".to_owned()).await.expect("harmless");
    assert_eq!(shelf.items.lock().expect("not poisoned").len(), 2, "nothing is written yet");

    let (writes, growth) = call.staging.take();
    let told: Vec<_> = writes
        .iter()
        .map(|write| (write.key.as_str(), write.expected, write.becomes.as_ref().map(|item| item.value.as_slice())))
        .collect();
    let expected: [(&str, ItemExpectation, Option<&[u8]>); 4] = [
        ("gone", ItemExpectation::Revision(2), Some(b"y")),
        ("never", ItemExpectation::Anything, None),
        ("new", ItemExpectation::Anything, Some(b"b")),
        ("old", ItemExpectation::Revision(before), Some(b"2")),
    ];
    assert_eq!(told, expected);
    assert_eq!(growth.len(), 1);
    assert_eq!(growth[0].1, 4, "`new` and its value are more than before");
}

#[tokio::test]
async fn keys_are_listed_in_order_in_pages_with_the_calls_own() {
    let shelf = Arc::new(Shelf::default());
    for number in 0..250 {
        let expires_at = (number % 5 == 0).then_some(NOW);
        shelf.hold(&format!("k/{number:03}"), "v", expires_at);
    }
    shelf.hold("other", "v", None);
    let mut call = call_with_quota(&shelf, "host_calls = 1000", 64);
    let space = open_notes(&mut call).await;
    call.remove(again(&space), "k/001".to_owned()).await.expect("harmless");
    call.put(again(&space), "k/0005".to_owned(), b"v".to_vec(), None).await.expect("room");
    call.put(again(&space), "k/999".to_owned(), b"v".to_vec(), None).await.expect("room");
    let (mut keys, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = call.scan(again(&space), "k/".to_owned(), after, 70).await.expect("an answer");
        assert!(page.keys.len() <= 70);
        keys.extend(page.keys);
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(keys.is_sorted(), "{keys:?}");
    assert_eq!(keys.len(), 200 - 1 + 2, "without those that have run out and the removed one");
    assert_eq!((keys[0].as_str(), keys.last().map(String::as_str)), ("k/0005", Some("k/999")));
    assert!(pages >= 3, "{pages}");
    assert_eq!(told(call.scan(again(&space), "a\n".to_owned(), None, 1).await), ("invalid", "bad_key".to_owned()));
}

#[tokio::test]
async fn what_a_call_may_keep_is_bounded() {
    let shelf = Arc::new(Shelf::default());
    shelf.hold("there", &"x".repeat(500), None);
    let mut call = call(&shelf, "storage_writes = 3");
    let space = open_notes(&mut call).await;
    let mut put = async |key: &str, bytes: usize| call.put(again(&space), key.to_owned(), vec![7; bytes], None).await;
    assert_eq!(told(put("", 1).await), ("invalid", "bad_key".to_owned()));
    assert_eq!(told(put(&"k".repeat(257), 1).await), ("invalid", "bad_key".to_owned()));
    assert_eq!(told(put("k", 65_537).await), ("over-limit", "value_size".to_owned()));
    assert_eq!(told(put("k", 600).await), ("over-limit", "quota".to_owned()), "1 KiB holds 500 bytes already");
    put("there", 900).await.expect("in the place of the old value");
    put("k", 100).await.expect("room");
    assert_eq!(told(put("k2", 100).await), ("over-limit", "quota".to_owned()), "with what this call has put");
    put("there", 10).await.expect("a smaller value");
    assert_eq!(told(put("k3", 1).await), ("over-limit", "writes".to_owned()));
    let (writes, _) = call.staging.take();
    assert_eq!(writes.len(), 2, "what was refused is not there");
}

#[tokio::test]
async fn nothing_opens_without_its_grant_and_handles_are_bounded() {
    let shelf = Arc::new(Shelf::default());
    let mut call = call(&shelf, "handles = 2");
    let denied = || ("denied", "not_granted".to_owned());
    assert_eq!(told(storage::HostSpace::open(&mut call, "other".to_owned()).await), denied());
    assert_eq!(told(http::HostEndpoint::open(&mut call, "notes".to_owned()).await), denied());
    assert_eq!(told(signing::HostSigner::open(&mut call, "shop".to_owned()).await), denied());
    assert_eq!(told(chain::HostNetwork::open(&mut call, "bsc".to_owned()).await), denied());
    for _ in 0..2 {
        assert!(http::HostEndpoint::open(&mut call, "shop".to_owned()).await.is_ok());
    }
    let (case, text) = told(http::HostEndpoint::open(&mut call, "shop".to_owned()).await);
    assert!(case == "trap" && text.contains("handles"), "{case} {text}");
}

#[tokio::test]
async fn requests_keep_to_what_is_granted() {
    let shelf = Arc::new(Shelf::default());
    let mut call = call(&shelf, "");
    let endpoint = http::HostEndpoint::open(&mut call, "shop".to_owned()).await.expect("granted");
    let request = |method: &str, path: &str| http::Request {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: vec![("accept".to_owned(), "a/b".to_owned()), ("authorization".to_owned(), "mine".to_owned())],
        body: Vec::new(),
        timeout_ms: None,
        attrs: Vec::new(),
    };
    let mut send = async |method: &str, path: &str| call.send(again(&endpoint), request(method, path)).await;
    assert_eq!(told(send("TRACE", "v1/a").await), ("invalid", "method".to_owned()));
    assert_eq!(told(send("DELETE", "v1/a").await), ("denied", "method".to_owned()));
    assert_eq!(told(send("GET", "v2/a").await), ("denied", "path".to_owned()));
    assert_eq!(told(send("GET", "v1/../../admin").await), ("invalid", "path".to_owned()));
    let answer = send("GET", "v1/a?b=c").await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (404, b"v1/a?b=c".as_slice()));
    assert_eq!(answer.headers, [("x-names".to_owned(), "accept,traceparent".to_owned())], "no credentials, no cookie");
    assert_eq!(told(send("GET", "down").await), ("unavailable", "upstream".to_owned()));
    assert!(send("GET", "v1/b").await.is_ok());
    assert_eq!(told(send("GET", "v1/c").await), ("over-limit", "rate".to_owned()), "three a minute");
}

#[tokio::test]
async fn requests_of_one_call_are_counted() {
    let mut call = call(&Arc::new(Shelf::default()), "http_requests = 1");
    let endpoint = http::HostEndpoint::open(&mut call, "shop".to_owned()).await.expect("granted");
    let (method, path) = ("GET".to_owned(), "v1/".to_owned());
    let request =
        http::Request { method, path, headers: Vec::new(), body: Vec::new(), timeout_ms: None, attrs: Vec::new() };
    assert!(call.send(again(&endpoint), request.clone()).await.is_ok());
    assert_eq!(told(call.send(again(&endpoint), request).await), ("over-limit", "requests".to_owned()));
}

#[tokio::test]
async fn signatures_are_for_granted_purposes_and_counted() {
    let mut call = call(&Arc::new(Shelf::default()), "");
    let signer = signing::HostSigner::open(&mut call, "keys".to_owned()).await;
    let signer = signer.expect("granted");
    let mut attest = async |purpose: &str| call.attest(again(&signer), purpose.to_owned(), b"abc".to_vec()).await;
    assert_eq!(told(attest("transfer").await), ("denied", "purpose".to_owned()));
    let signature = attest("receipt").await.expect("granted");
    assert_eq!(signature.value, b"mine receipt ba", "the digest of `abc` begins with ba");
    assert!(attest("receipt").await.is_ok());
    assert_eq!(told(attest("receipt").await), ("over-limit", "rate".to_owned()));
}

#[tokio::test]
async fn a_rate_does_not_change_while_the_call_runs() {
    let mut call = call(&Arc::new(Shelf::default()), "");
    let mut rate = async |base: &str, counter: &str| call.latest(base.to_owned(), counter.to_owned(), 60).await;
    for (base, counter, expected) in [("bsc:BNB", "EUR", "1"), ("bsc:BNB", "USD", "2"), ("bsc:BNB", "EUR", "1")] {
        assert_eq!(rate(base, counter).await.expect("a rate").rate, expected);
    }
    for (base, counter) in [("bnb", "EUR"), ("bsc:BNB", "eur"), ("bsc:BNB", ""), ("../x", "EUR")] {
        assert_eq!(told(rate(base, counter).await), ("invalid", "bad_name".to_owned()), "{base} {counter}");
    }
}

#[test]
fn what_is_printed_goes_to_the_log_by_lines() {
    let mut call = call(&Arc::default(), "log_line_bytes = 64");
    for part in ["a li", "ne\nand ", "another"] {
        call.print(super::wasi::Stream::Out, part.as_bytes()).expect("within its calls");
    }
    call.print(super::wasi::Stream::Err, &[b'x'; 100]).expect("within its calls");
    call.print(super::wasi::Stream::Err, b"\nlast").expect("within its calls");
    call.flush_output();
    let lines: Vec<_> = call.notes.take().lines.into_iter().map(|line| (line.level, line.text, line.fields)).collect();
    let line = |level, text: &str, stream: &str| (level, text.to_owned(), format!("stream={stream}"));
    assert_eq!(lines[0], line("info", "a line", "stdout"));
    assert_eq!((lines[1].0, lines[1].1.len() <= 64 + "…".len()), ("warn", true));
    assert_eq!(lines[2], line("info", "and another", "stdout"));
    assert_eq!(lines[3], line("warn", "last", "stderr"));
    assert_eq!(lines.len(), 4);
}

#[test]
fn random_numbers_follow_from_the_call() {
    let drawn = || {
        let mut call = call(&Arc::default(), "");
        [call.draw().expect("first"), call.draw().expect("second")]
    };
    let [first, second] = drawn();
    assert_ne!(first, second);
    assert_eq!(drawn(), [first, second]);
}
