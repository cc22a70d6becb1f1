//! Who may pass: every check of the one policy, in its order.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_payments::access::idempotency::{Begun, Idempotency, IdempotencyError, Wish};
use xthonpay_payments::access::key_cache::{KEY_AGE_MAX, KeyCache};
use xthonpay_payments::access::key_use::KeyUses;
use xthonpay_payments::access::rate_limit::RateLimits;
use xthonpay_payments::access::signature::RequestParts;
use xthonpay_payments::access::{
    Access, AccessError, DRIFT_REQUEST_MAX, DRIFT_TIMESTAMP_MAX, Policy, Principal, SignedRequest,
};
use xthonpay_payments::budgets::Standing;
use xthonpay_payments::keys::NewKey;
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{AnswerBytes, Changeset, KeptAnswer, Store as _, StoreError, Write};
use xthonpay_payments::port::vault::VaultError;
use xthonpay_tests::memory_store::Fault;
use xthonpay_tests::signatures;

use crate::doubles::PlainVault;
use crate::world::World;

const PATH: &str = "/api/v1/invoices";
const BODY: &[u8] = br#"{"amount":"50.00"}"#;
const PEER: &str = "203.0.113.7";
const READS: Policy = Policy { scope: Scope::Read, mutates: false, bare_timestamp: true };
const WRITES: Policy = Policy { scope: Scope::Write, mutates: true, bare_timestamp: true };
const PROVEN: Policy = Policy { bare_timestamp: false, ..WRITES };

/// A deployment with one key, and a request that passes until a test changes something about it.
struct Door {
    world: World,
    key: NewKey,
    access: Access,
}

#[derive(Clone)]
struct Asked {
    key: String,
    timestamp: String,
    signature: String,
    method: &'static str,
    path: &'static str,
    body: &'static [u8],
    peer: IpAddr,
}

impl Door {
    async fn of(scheme: SignatureScheme) -> Self {
        let (world, _) = World::started().await;
        let merchant = world.merchant().await.merchant.id;
        let key = world.key(&merchant, scheme).await;
        let mut door = Self { access: access(&world), world, key };
        door.fresh_cache();
        door
    }

    fn fresh_cache(&mut self) {
        self.access = access(&self.world);
    }

    /// A good request at the time `secs` after the clock's.
    fn request_at(&self, secs: i64) -> Asked {
        let now = i64::try_from(self.world.clock.now().as_secs()).expect("in range");
        self.request_with((now + secs).to_string())
    }

    fn request(&self) -> Asked {
        self.request_at(0)
    }

    fn request_with(&self, timestamp: String) -> Asked {
        let secret = self.key.secret.as_str();
        let signature = match self.key.key.scheme {
            SignatureScheme::Request => signatures::request_scheme(secret, &timestamp, "POST", PATH, BODY),
            SignatureScheme::Timestamp => signatures::timestamp_scheme(secret, &timestamp),
        };
        let key = self.key.key.id.to_string();
        Asked { key, timestamp, signature, method: "POST", path: PATH, body: BODY, peer: ip(PEER) }
    }

    async fn ask(&self, asked: &Asked, policy: Policy) -> Result<Principal, AccessError> {
        let parts = RequestParts { method: asked.method, path: asked.path, body: asked.body };
        let request = SignedRequest {
            key: &asked.key,
            timestamp: &asked.timestamp,
            signature: &asked.signature,
            parts,
            peer: asked.peer,
        };
        self.access.authenticate(request, policy).await
    }

    fn stored_key(&self) -> xthonpay_payments::port::store::Key {
        self.world.store.tables().keys[&self.key.key.id].clone()
    }

    async fn refusal(&self, asked: &Asked) -> Option<AccessError> {
        self.ask(asked, READS).await.err()
    }

    /// Changes the key behind the cache's back.
    fn change_key(&mut self, change: impl FnOnce(&mut xthonpay_payments::port::store::Key)) {
        let id = self.key.key.id.clone();
        self.world.store.tamper(|tables| change(tables.keys.get_mut(&id).expect("it was made")));
        self.fresh_cache();
    }
}

fn access(world: &World) -> Access {
    limited(world, u32::MAX, u32::MAX)
}

/// A door with these rates for each key and for the failures of each address.
fn limited(world: &World, requests: u32, failures: u32) -> Access {
    let rate = |figure| NonZeroU32::new(figure).expect("not zero");
    Access {
        keys: Arc::new(KeyCache::new(world.store.clone(), Arc::new(PlainVault))),
        limits: Arc::new(RateLimits::new(rate(requests), rate(failures))),
        uses: Arc::new(KeyUses::new(world.store.clone())),
        idempotency: Arc::new(Idempotency::new(world.store.clone(), Arc::new(PlainVault))),
        clock: world.clock.clone(),
        allow_timestamp_scheme: true,
        test_mode: true,
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn skew(allowed: Duration) -> Option<AccessError> {
    Some(AccessError::ClockSkew { allowed })
}

#[tokio::test]
async fn a_good_request_passes_in_both_schemes() {
    for scheme in [SignatureScheme::Request, SignatureScheme::Timestamp] {
        let door = Door::of(scheme).await;
        let principal = door.ask(&door.request(), WRITES).await.expect("passes");
        assert_eq!(principal.merchant(), &door.key.key.merchant);
        // Some clients write hexadecimal in upper case.
        let upper = Asked { signature: door.request().signature.to_uppercase(), ..door.request() };
        assert!(door.ask(&upper, READS).await.is_ok());
    }
}

#[tokio::test]
async fn the_request_scheme_covers_the_request_and_the_other_does_not() {
    for scheme in [SignatureScheme::Request, SignatureScheme::Timestamp] {
        let door = Door::of(scheme).await;
        let good = door.request();
        for changed in [
            Asked { method: "GET", ..good.clone() },
            Asked { path: "/api/v1/invoices/", ..good.clone() },
            Asked { path: "/v1/invoices", ..good.clone() },
            Asked { body: b"{}", ..good.clone() },
            Asked { body: b"", ..good.clone() },
        ] {
            let refused = door.refusal(&changed).await == Some(AccessError::Unauthorized);
            assert_eq!(refused, scheme == SignatureScheme::Request, "{} {}", changed.method, changed.path);
        }
        let later = door.request_at(1);
        let moved = Asked { signature: good.signature.clone(), ..later };
        assert_eq!(door.refusal(&moved).await, Some(AccessError::Unauthorized));
    }
}

#[tokio::test]
async fn every_changed_digit_of_a_signature_is_refused() {
    let door = Door::of(SignatureScheme::Request).await;
    let good = door.request();
    for at in 0..good.signature.len() {
        let mut digits: Vec<char> = good.signature.chars().collect();
        digits[at] = if digits[at] == '0' { '1' } else { '0' };
        let forged = Asked { signature: digits.into_iter().collect(), ..good.clone() };
        assert_eq!(door.refusal(&forged).await, Some(AccessError::Unauthorized), "digit {at}");
    }
}

#[tokio::test]
async fn unknown_keys_and_wrong_signatures_are_answered_alike() {
    for scheme in [SignatureScheme::Request, SignatureScheme::Timestamp] {
        let door = Door::of(scheme).await;
        let good = door.request();
        let unknown = KeyId::from_random(Mode::Live, [9; 12]).to_string();
        let wrong: Vec<Asked> = [unknown.as_str(), "", "xpk_live_", "xpk_live_a:b", "xps_live_0", &"k".repeat(10_000)]
            .into_iter()
            .map(|key| Asked { key: key.to_owned(), ..good.clone() })
            .chain(
                [
                    "",
                    "0",
                    "zz",
                    &"g".repeat(64),
                    &good.signature[1..],
                    &format!("{}0", good.signature),
                    &"0".repeat(64),
                ]
                .into_iter()
                .map(|signature| Asked { signature: signature.to_owned(), ..good.clone() }),
            )
            // Not even a wrong time stamp tells whether the key exists.
            .flat_map(|asked| {
                let stale = Asked { timestamp: "1".to_owned(), ..asked.clone() };
                let malformed = Asked { timestamp: "soon".to_owned(), ..asked.clone() };
                [asked, stale, malformed]
            })
            .collect();
        for asked in wrong {
            let refusal = door.refusal(&asked).await;
            assert_eq!(refusal, Some(AccessError::Unauthorized), "{} {}", asked.key, asked.signature);
        }
    }
}

#[tokio::test]
async fn a_time_stamp_may_be_as_far_off_as_its_scheme_allows_and_no_second_more() {
    let table =
        [(SignatureScheme::Request, 300, DRIFT_REQUEST_MAX), (SignatureScheme::Timestamp, 60, DRIFT_TIMESTAMP_MAX)];
    for (scheme, most, allowed) in table {
        let mut door = Door::of(scheme).await;
        for millis in [0, 1, 999] {
            door.world.clock.set(xthonpay_domain::time::Timestamp::from_millis(1_700_000_000_000 + millis));
            door.fresh_cache();
            for secs in [-most, 1 - most, -1, 0, 1, most - 1, most] {
                assert_eq!(door.refusal(&door.request_at(secs)).await, None, "{secs} s, {millis} ms");
            }
            for secs in [-most - 1, most + 1, -86_400, 86_400] {
                assert_eq!(door.refusal(&door.request_at(secs)).await, skew(allowed), "{secs} s, {millis} ms");
            }
        }
    }
}

#[tokio::test]
async fn a_time_stamp_has_one_form() {
    let door = Door::of(SignatureScheme::Request).await;
    let now = door.world.clock.now().as_secs();
    let texts = [
        String::new(),
        "0".to_owned(),
        format!("0{now}"),
        format!("+{now}"),
        format!("-{now}"),
        format!(" {now}"),
        format!("{now} "),
        format!("{now}\n"),
        format!("{now}.0"),
        format!("{now}e0"),
        format!("0x{now:x}"),
        format!("{now}000"),
        "１７０００００００".to_owned(),
        "253402300800".to_owned(),
        "9".repeat(30),
        u64::MAX.to_string(),
        "now".to_owned(),
    ];
    for text in texts {
        let asked = door.request_with(text.clone());
        assert_eq!(door.refusal(&asked).await, skew(DRIFT_REQUEST_MAX), "{text:?}, correctly signed");
    }
}

#[tokio::test]
async fn a_key_works_from_its_networks_only() {
    let table = [
        (vec![], PEER, true),
        (vec!["203.0.113.7/32"], PEER, true),
        (vec!["203.0.113.0/24"], PEER, true),
        (vec!["203.0.113.0/24"], "203.0.114.1", false),
        (vec!["198.51.100.0/24", "203.0.113.7/32"], PEER, true),
        (vec!["198.51.100.0/24"], PEER, false),
        // An IPv4 peer on a socket that speaks both.
        (vec!["203.0.113.0/24"], "::ffff:203.0.113.7", true),
        (vec!["198.51.100.0/24"], "::ffff:203.0.113.7", false),
        (vec!["2001:db8::/32"], "2001:db8::1", true),
        (vec!["2001:db8::/32"], "2001:db9::1", false),
        (vec!["0.0.0.0/0"], "2001:db8::1", false),
        (vec!["::/0"], PEER, false),
    ];
    for (networks, peer, passes) in table {
        let mut door = Door::of(SignatureScheme::Request).await;
        door.change_key(|key| key.ip_list = networks.iter().map(|text| text.parse().expect("a network")).collect());
        let outcome = door.refusal(&Asked { peer: ip(peer), ..door.request() }).await;
        let expected = (!passes).then(|| AccessError::IpNotAllowed { peer: ip(peer).to_canonical() });
        assert_eq!(outcome, expected, "{networks:?} {peer}");
    }
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say() {
    let mut door = Door::of(SignatureScheme::Request).await;
    door.change_key(|key| key.scopes = vec![Scope::Read]);
    assert!(door.ask(&door.request(), READS).await.is_ok());
    let refusal = door.ask(&door.request(), WRITES).await.err();
    assert_eq!(refusal, Some(AccessError::ScopeRequired { needed: Scope::Write }));
}

/// A request that fails every check, repaired one check at a time: each refusal names the first one that still fails.
#[tokio::test]
async fn the_checks_run_in_their_order() {
    let mut door = Door::of(SignatureScheme::Timestamp).await;
    door.change_key(|key| {
        key.revoked_at = Some(key.created_at);
        key.ip_list = vec!["198.51.100.0/24".parse().expect("a network")];
        key.scopes = Vec::new();
    });
    door.access.allow_timestamp_scheme = false;
    let mut asked = door.request_at(3_600);
    let good_key = std::mem::replace(&mut asked.key, "xpk_live_unknown".to_owned());
    let good_signature = std::mem::replace(&mut asked.signature, "0".repeat(64));
    assert_eq!(door.refusal(&asked).await, Some(AccessError::Unauthorized), "unknown key");
    asked.key = good_key;
    assert_eq!(door.refusal(&asked).await, Some(AccessError::Unauthorized), "wrong signature");
    asked.signature = good_signature;
    assert_eq!(door.refusal(&asked).await, skew(DRIFT_TIMESTAMP_MAX));
    asked = door.request();
    assert_eq!(door.refusal(&asked).await, Some(AccessError::KeyRevoked));
    door.change_key(|key| key.revoked_at = None);
    door.access.allow_timestamp_scheme = false;
    let disabled = AccessError::SchemeDisabled { scheme: SignatureScheme::Timestamp };
    assert_eq!(door.refusal(&asked).await, Some(disabled));
    door.access.allow_timestamp_scheme = true;
    assert_eq!(door.refusal(&asked).await, Some(AccessError::IpNotAllowed { peer: ip(PEER) }));
    door.change_key(|key| key.ip_list.clear());
    assert_eq!(door.refusal(&asked).await, Some(AccessError::ScopeRequired { needed: Scope::Read }));
    door.change_key(|key| key.scopes = vec![Scope::Read]);
    assert_eq!(door.refusal(&asked).await, None);
}

#[tokio::test]
async fn changes_use_their_signature_up() {
    let door = Door::of(SignatureScheme::Request).await;
    let asked = door.request();
    assert_eq!(door.ask(&asked, READS).await.expect("passes").used_signature, None);
    let used = door.ask(&asked, WRITES).await.expect("passes").used_signature.expect("is used up");
    assert_eq!((used.key, used.signature), (door.key.key.id.clone(), asked.signature.clone()));
    // Upper case is the same signature.
    let upper = Asked { signature: asked.signature.to_uppercase(), ..asked.clone() };
    let again = door.ask(&upper, WRITES).await.expect("passes").used_signature.expect("is used up");
    assert_eq!(again.signature, asked.signature);
    // It is remembered for as long as its time stamp can be accepted by a clock that is a window behind.
    for secs in [-300, 0, 300] {
        let used = door.ask(&door.request_at(secs), WRITES).await.expect("passes").used_signature.expect("used");
        let stamp = door.world.clock.now().as_secs().saturating_add_signed(secs);
        assert!(used.expires_at.as_secs() > stamp.saturating_add(300), "{secs}");
    }
}

/// A signature over the time stamp is the same for every request of its second: it is used up together with its request.
#[tokio::test]
async fn a_bare_time_stamp_is_used_up_with_its_request() {
    let door = Door::of(SignatureScheme::Timestamp).await;
    let asked = door.request();
    assert_eq!(door.ask(&asked, READS).await.expect("passes").used_signature, None);
    let used = async |asked: &Asked| {
        let principal = door.ask(asked, WRITES).await.expect("passes");
        principal.used_signature.expect("is used up").signature
    };
    let first = used(&asked).await;
    assert!(first.starts_with(&asked.signature));
    assert_eq!(used(&asked).await, first, "the same request");
    for other in [
        Asked { body: b"{}", ..asked.clone() },
        Asked { path: "/api/v1/rescan", ..asked.clone() },
        Asked { method: "PATCH", ..asked.clone() },
        door.request_at(1),
    ] {
        assert_ne!(used(&other).await, first, "another request");
    }
}

#[tokio::test]
async fn a_bare_time_stamp_opens_only_what_a_policy_says() {
    let mut door = Door::of(SignatureScheme::Timestamp).await;
    let all = [Scope::Read, Scope::Write, Scope::Webhooks, Scope::Withdraw];
    door.change_key(|key| key.scopes = all.to_vec());
    let asked = door.request();
    for scope in all {
        let open = Policy { scope, ..WRITES };
        assert_eq!(door.ask(&asked, open).await.err(), None, "{scope:?}");
        let closed = door.ask(&asked, Policy { scope, ..PROVEN }).await.err();
        assert_eq!(closed, Some(AccessError::SchemeTooWeak), "{scope:?}");
    }
    // Withdrawing asks for a cap and for networks instead.
    let cap = ("bsc:USDT".parse().expect("an asset"), xthonpay_domain::amount::Amount::from_units(1));
    for (cap, network, passes) in [
        (None, None, false),
        (Some(cap.clone()), None, false),
        (None, Some(PEER), false),
        (Some(cap), Some(PEER), true),
    ] {
        door.change_key(|key| {
            key.daily_withdraw_caps = cap.into_iter().collect();
            key.ip_list = network.map(|ip: &str| format!("{ip}/32").parse().expect("a network")).into_iter().collect();
        });
        let refusal = door.ask(&asked, Policy { scope: Scope::Withdraw, ..PROVEN }).await.err();
        assert_eq!(refusal, (!passes).then_some(AccessError::SchemeTooWeak));
    }
    let proven = Door::of(SignatureScheme::Request).await;
    assert!(proven.ask(&proven.request(), PROVEN).await.is_ok());
}

#[tokio::test]
async fn a_key_ends_when_its_time_is_over_and_names_its_successor() {
    let mut door = Door::of(SignatureScheme::Request).await;
    let now = door.world.clock.now();
    let next = KeyId::from_random(Mode::Live, [7; 12]);
    for (millis, is_over) in [(0, true), (1, false), (60_000, false)] {
        for replaced_by in [None, Some(next.clone())] {
            door.change_key(|key| {
                key.expires_at = Some(now.after(Duration::from_millis(millis)));
                key.replaced_by = replaced_by.clone();
            });
            let refusal = door.refusal(&door.request()).await;
            assert_eq!(refusal, is_over.then_some(AccessError::KeyExpired { replaced_by: replaced_by.clone() }));
            let told = refusal.map(|refusal| refusal.to_string()).unwrap_or_default();
            assert_eq!(told.contains(next.as_str()), is_over && replaced_by.is_some(), "{told}");
        }
    }
}

#[tokio::test]
async fn a_key_may_ask_as_often_as_the_deployment_or_its_record_says() {
    let mut door = Door::of(SignatureScheme::Request).await;
    for own in [None, NonZeroU32::new(5)] {
        door.change_key(|key| key.requests_per_minute = own);
        door.access = limited(&door.world, 3, 1_000);
        let most = own.map_or(3, NonZeroU32::get);
        for spent in 1..=most {
            assert_eq!(door.refusal(&door.request()).await, None, "request {spent} of {most}");
            let Standing { limit, remaining, .. } = door.access.standing(&door.stored_key());
            assert_eq!((limit, remaining), (most, most - spent));
        }
        let share = Duration::from_secs(60) / most;
        let spent = Some(AccessError::RateLimited { limit: most, wait: share });
        assert_eq!(door.refusal(&door.request()).await, spent);
        // What is refused for another reason says so, and costs nothing.
        let refusal = door.ask(&door.request(), Policy { scope: Scope::Webhooks, ..READS }).await.err();
        assert_eq!(refusal, Some(AccessError::ScopeRequired { needed: Scope::Webhooks }));
        door.world.clock.advance(share);
        assert_eq!(door.refusal(&door.request()).await, None);
        assert_eq!(door.refusal(&door.request()).await, spent);
    }
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_not_looked_at_for_a_while() {
    let mut door = Door::of(SignatureScheme::Request).await;
    door.access = limited(&door.world, 1_000, 3);
    let good = door.request();
    let forged = Asked { signature: "0".repeat(64), ..good.clone() };
    let stale = door.request_at(-301);
    for _ in 0..3 {
        // The holder of a key shuts out nobody with what it may not do.
        assert_eq!(door.refusal(&stale).await, skew(DRIFT_REQUEST_MAX));
        let refusal = door.ask(&good, Policy { scope: Scope::Webhooks, ..READS }).await.err();
        assert_eq!(refusal, Some(AccessError::ScopeRequired { needed: Scope::Webhooks }));
        assert_eq!(door.refusal(&forged).await, Some(AccessError::Unauthorized));
    }
    // The store would fail now; it is not asked.
    door.world.store.faults.fail_reads(true);
    door.access.keys = access(&door.world).keys;
    let wait = Duration::from_secs(20);
    assert_eq!(door.refusal(&good).await, Some(AccessError::TooManyFailures { wait }));
    let elsewhere = Asked { peer: ip("203.0.113.8"), ..good.clone() };
    assert!(matches!(door.refusal(&elsewhere).await, Some(AccessError::Store(_))), "others are looked at");
    door.world.store.faults.clear();
    door.world.clock.advance(wait);
    assert_eq!(door.refusal(&good).await, None, "one more try");
    assert_eq!(door.refusal(&good).await, None, "what passes does not count");
    assert_eq!(door.refusal(&forged).await, Some(AccessError::Unauthorized));
    assert!(matches!(door.refusal(&good).await, Some(AccessError::TooManyFailures { .. })));
    // A subscriber of IPv6 has 2^64 addresses.
    for host in 1..=3 {
        let guess = Asked { peer: ip(&format!("2001:db8::{host}")), ..forged.clone() };
        assert_eq!(door.refusal(&guess).await, Some(AccessError::Unauthorized));
    }
    let guess = Asked { peer: ip("2001:db8::4"), ..forged };
    assert!(matches!(door.refusal(&guess).await, Some(AccessError::TooManyFailures { .. })));
}

#[tokio::test]
async fn the_last_use_of_a_key_is_stored_off_the_way_of_the_request() {
    let door = Door::of(SignatureScheme::Timestamp).await;
    let used_at = async || door.world.store.key_used_at(&door.key.key.id).await.expect("the store answers");
    let (first, commits) = (door.world.clock.now(), door.world.store.faults.commits());
    for _ in 0..100 {
        assert_eq!(door.refusal(&door.request()).await, None);
    }
    assert_eq!((used_at().await, door.world.store.faults.commits()), (None, commits), "no request waits for it");
    door.access.uses.flush().await;
    door.access.uses.flush().await;
    assert_eq!((used_at().await, door.world.store.faults.commits()), (Some(first), commits + 1));
    // What cannot be stored is kept for the next time, and a later use wins.
    door.world.clock.advance(Duration::from_secs(30));
    assert_eq!(door.refusal(&door.request()).await, None);
    door.world.store.faults.next([Some(Fault::NothingStored)]);
    door.access.uses.flush().await;
    assert_eq!(used_at().await, Some(first));
    door.access.uses.flush().await;
    assert_eq!(used_at().await, Some(first.after(Duration::from_secs(30))));
    // What is refused is no use.
    door.world.clock.advance(Duration::from_secs(30));
    let refused = Asked { signature: "0".repeat(64), ..door.request() };
    assert!(door.refusal(&refused).await.is_some());
    door.access.uses.flush().await;
    assert_eq!(used_at().await, Some(first.after(Duration::from_secs(30))));
    let stop = CancellationToken::new();
    stop.cancel();
    Arc::clone(&door.access.uses).run(stop).await;
}

/// The process ends before it has said a word of what it stored; another one finds the answer.
#[tokio::test]
async fn a_kept_answer_outlives_the_process_and_opens_only_where_it_was_sealed() {
    let door = Door::of(SignatureScheme::Request).await;
    let (store, now) = (&door.world.store, door.world.clock.now());
    let process = || Idempotency::new(store.clone(), Arc::new(PlainVault));
    let answer = AnswerBytes { status: 201, location: Some("/thing".to_owned()), body: b"whsec_secret".to_vec() };
    for (call, is_secret) in [("POST /open", false), ("POST /secret", true)] {
        let wish = |name: &str| Wish {
            merchant: door.key.key.merchant.clone(),
            call: call.to_owned(),
            key: name.parse().expect("a name"),
            fingerprint: [7; 32],
            is_secret,
        };
        let killed = process();
        let Ok(Begun::Turn(turn)) = killed.begin(wish("a")).await else { unreachable!("nothing was made yet") };
        assert_eq!(killed.begin(wish("a")).await.err(), Some(IdempotencyError::InProgress));
        assert_eq!(process().answer_of(&turn).await, Ok(None), "nothing is stored before the effect");
        let kept = turn.claim().keep(answer.clone(), now);
        assert_eq!(kept.answer.body == answer.body, !is_secret);
        store
            .commit(Changeset::new().with(Write::KeepAnswer(Box::new(kept.clone()))))
            .await
            .expect("the store takes it");
        let found = process().begin(wish("a")).await.expect("is read");
        assert!(matches!(found, Begun::Before(found) if found == answer));
        let other = Wish { fingerprint: [8; 32], ..wish("a") };
        assert_eq!(process().begin(other).await.err(), Some(IdempotencyError::Mismatch));
        // Whoever can write to the store cannot move a secret to where another caller reads it.
        let moved = KeptAnswer { key: "b".parse().expect("a name"), ..kept };
        store.commit(Changeset::new().with(Write::KeepAnswer(Box::new(moved)))).await.expect("the store takes it");
        let outcome = process().begin(wish("b")).await.err();
        assert_eq!(outcome, is_secret.then_some(IdempotencyError::Vault(VaultError)));
    }
}

#[tokio::test]
async fn a_revocation_is_obeyed_within_a_second() {
    let door = Door::of(SignatureScheme::Request).await;
    assert_eq!(door.refusal(&door.request()).await, None);
    let id = door.key.key.id.clone();
    door.world.store.tamper(|tables| {
        let key = tables.keys.get_mut(&id).expect("it was made");
        key.revoked_at = Some(key.created_at);
    });
    tokio::time::sleep(KEY_AGE_MAX.saturating_add(Duration::from_millis(20))).await;
    assert_eq!(door.refusal(&door.request()).await, Some(AccessError::KeyRevoked));
}

#[tokio::test]
async fn a_store_or_vault_that_fails_lets_nobody_pass() {
    let mut door = Door::of(SignatureScheme::Request).await;
    door.world.store.faults.fail_reads(true);
    let refusal = door.refusal(&door.request()).await;
    assert!(matches!(refusal, Some(AccessError::Store(StoreError::Unavailable { .. }))), "{refusal:?}");
    door.world.store.faults.clear();
    door.change_key(|key| key.secret.0[0] ^= 1);
    let refusal = door.refusal(&door.request()).await;
    assert!(matches!(refusal, Some(AccessError::Vault(_))), "{refusal:?}");
}
