//! Who may pass: every check of the one policy, in its order.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_payments::access::key_cache::{KEY_AGE_MAX, KeyCache};
use xthonpay_payments::access::signature::RequestParts;
use xthonpay_payments::access::{
    Access, AccessError, DRIFT_REQUEST_MAX, DRIFT_TIMESTAMP_MAX, Policy, Principal, SignedRequest,
};
use xthonpay_payments::merchants::{KeyRequest, MerchantError, NewKey};
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::StoreError;
use xthonpay_tests::signatures;

use crate::doubles::PlainVault;
use crate::world::World;

const PATH: &str = "/api/v1/invoices";
const BODY: &[u8] = br#"{"amount":"50.00"}"#;
const PEER: &str = "203.0.113.7";
const READS: Policy = Policy { scope: Scope::Read, mutates: false };
const WRITES: Policy = Policy { scope: Scope::Write, mutates: true };

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
    Access {
        keys: Arc::new(KeyCache::new(world.store.clone(), Arc::new(PlainVault))),
        clock: world.clock.clone(),
        allow_timestamp_scheme: true,
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
async fn only_signatures_over_the_request_are_used_up_and_only_by_changes() {
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
    let door = Door::of(SignatureScheme::Timestamp).await;
    assert_eq!(door.ask(&door.request(), WRITES).await.expect("passes").used_signature, None);
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

#[tokio::test]
async fn keys_that_this_version_cannot_keep_safe_are_not_made() {
    let (world, _) = World::started().await;
    let merchant = world.merchant().await.merchant.id;
    let request = KeyRequest {
        merchant: merchant.clone(),
        label: "till".parse().expect("a label"),
        scopes: Vec::new(),
        scheme: SignatureScheme::Request,
        mode: Mode::Live,
        ip_list: Vec::new(),
    };
    let made = world.merchants.create_key(request.clone()).await.expect("made");
    assert_eq!(made.key.scopes, [Scope::Read], "a key without scopes reads");
    assert!(made.secret.starts_with("xps_live_"));
    let networks = vec!["203.0.113.0/24".parse().expect("a network"); 65];
    for refused in [
        KeyRequest { scopes: vec![Scope::Withdraw], ..request.clone() },
        KeyRequest { mode: Mode::Test, ..request.clone() },
        KeyRequest { ip_list: networks, ..request.clone() },
    ] {
        let outcome = world.merchants.create_key(refused).await.err();
        assert!(matches!(outcome, Some(MerchantError::KeyNotAllowed(_))), "{outcome:?}");
    }
    let nobody = xthonpay_domain::id::MerchantId::from_random([9; 16]);
    let outcome = world.merchants.create_key(KeyRequest { merchant: nobody.clone(), ..request }).await.err();
    assert_eq!(outcome, Some(MerchantError::UnknownMerchant(nobody)));
    assert_eq!(world.store.tables().keys.len(), 2);
}
