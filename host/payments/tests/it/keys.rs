//! The life of keys: which ones can be, how one takes the place of another, and on whose behalf test keys work.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::id::MerchantId;
use xthonpay_payments::access::AccessError;
use xthonpay_payments::access::key_cache::KeyCache;
use xthonpay_payments::keys::{
    ACTIVE_KEYS_MAX, IP_LIST_MAX, KeyChange, KeyError, KeyRequest, KeyRule, KeyState, Keys, LIFETIME_MAX,
    OVERLAP_DEFAULT, OVERLAP_MAX, REQUESTS_PER_MINUTE_MAX, Rotation, WITHDRAW_ADDRESSES_MAX, WITHDRAW_CAPS_MAX,
};
use xthonpay_payments::merchants::{MerchantError, twin_id};
use xthonpay_payments::port::clock::Clock as _;
use xthonpay_payments::port::store::{CommitError, Key, Store as _, StoreError};
use xthonpay_tests::memory_store::Fault;

use crate::doubles::PlainVault;
use crate::world::{World, bnb, usdt};

const DAY: Duration = Duration::from_secs(86_400);
const MOMENT: Duration = Duration::from_millis(1);

/// A deployment with one merchant.
struct Office {
    world: World,
    keys: Keys,
    merchant: MerchantId,
}

impl Office {
    async fn open() -> Self {
        let world = World::new(7);
        let merchant = world.merchant().await.merchant.id;
        Self { keys: world.keys(), world, merchant }
    }

    fn request(&self) -> KeyRequest {
        let label = "till".parse().expect("a label");
        KeyRequest::live(self.merchant.clone(), label, Vec::new(), SignatureScheme::Request)
    }

    fn test_request(&self) -> KeyRequest {
        KeyRequest { mode: Mode::Test, ..self.request() }
    }

    /// A key with every right and limit that there is.
    fn full_request(&self) -> KeyRequest {
        let mut request = self.request();
        request.scopes = vec![Scope::Withdraw, Scope::Write, Scope::Webhooks];
        request.terms.ip_list = vec![network("203.0.113.0/24")];
        request.terms.requests_per_minute = NonZeroU32::new(90);
        request.terms.expires_at = Some(self.world.clock.now().after(90 * DAY));
        request.terms.daily_withdraw_caps = vec![(usdt(), Amount::from_units(100))];
        request.terms.withdraw_addresses = vec![address(1)];
        request
    }

    async fn make(&self, request: KeyRequest) -> Key {
        self.keys.create(request).await.expect("allowed").key
    }

    async fn refused(&self, request: KeyRequest) -> Option<KeyError> {
        self.keys.create(request).await.err()
    }

    fn stored(&self, id: &KeyId) -> Key {
        self.world.store.tables().keys.get(id).cloned().expect("stored")
    }

    fn state(&self, id: &KeyId) -> KeyState {
        KeyState::of(&self.stored(id), self.world.clock.now())
    }
}

fn network(text: &str) -> ipnet::IpNet {
    text.parse().expect("a network")
}

fn networks(count: usize) -> Vec<ipnet::IpNet> {
    (0..count).map(|at| network(&format!("10.0.{at}.0/24"))).collect()
}

fn address(number: u16) -> Address {
    let [high, low] = number.to_be_bytes();
    let mut bytes = [0xa0; 20];
    bytes[18] = high;
    bytes[19] = low;
    Address::new(bytes)
}

fn addresses(count: usize) -> Vec<Address> {
    (0..count).map(|at| address(u16::try_from(at).expect("in range"))).collect()
}

#[tokio::test]
async fn a_new_key_reads_and_nothing_else_unless_more_is_asked_for() {
    let office = Office::open().await;
    let made = office.keys.create(office.request()).await.expect("allowed");
    assert_eq!(made.key.scopes, [Scope::Read]);
    assert_eq!(made.key.id.mode(), Mode::Live);
    assert!(made.secret.starts_with("xps_live_") && made.secret.len() == "xps_live_".len() + 64);
    assert_eq!(office.stored(&made.key.id), made.key);
    let more = office.make(KeyRequest { scopes: vec![Scope::Write, Scope::Write], ..office.request() }).await;
    assert_eq!(more.scopes, [Scope::Read, Scope::Write], "each once, and reading always");
    let other = office.keys.create(office.request()).await.expect("allowed");
    assert_ne!((&other.key.id, &other.secret), (&made.key.id, &made.secret));
}

#[tokio::test]
async fn a_key_that_would_break_a_rule_is_not_made() {
    type Change = fn(&Office, &mut KeyRequest);
    let rules: [(&str, Change, KeyRule); 17] = [
        ("one network too many", |_, it| it.terms.ip_list = networks(IP_LIST_MAX + 1), KeyRule::IpListTooLong),
        (
            "one address too many",
            |_, it| it.terms.withdraw_addresses = addresses(WITHDRAW_ADDRESSES_MAX + 1),
            KeyRule::AddressBookTooLong,
        ),
        (
            "one cap too many",
            |_, it| it.terms.daily_withdraw_caps = vec![(usdt(), Amount::ZERO); WITHDRAW_CAPS_MAX + 1],
            KeyRule::TooManyCaps,
        ),
        (
            "two caps for one asset",
            |_, it| it.terms.daily_withdraw_caps = [1, 2].map(|cap| (usdt(), Amount::from_units(cap))).to_vec(),
            KeyRule::TwoCaps(usdt()),
        ),
        (
            "an asset that nobody knows",
            |_, it| it.terms.daily_withdraw_caps = vec![("bsc:DOGE".parse().expect("a name"), Amount::ZERO)],
            KeyRule::UnknownAsset("bsc:DOGE".parse().expect("a name")),
        ),
        ("the zero address", |_, it| it.terms.withdraw_addresses.push(Address::ZERO), KeyRule::ZeroAddress),
        (
            "a cap without the scope",
            |_, it| {
                it.scopes = vec![Scope::Write];
                it.terms.withdraw_addresses.clear();
            },
            KeyRule::WithdrawalTermsWithoutScope,
        ),
        (
            "an address without the scope",
            |_, it| {
                it.scopes = vec![Scope::Write];
                it.terms.daily_withdraw_caps.clear();
            },
            KeyRule::WithdrawalTermsWithoutScope,
        ),
        (
            "webhooks under signatures of the time",
            |_, it| it.scheme = SignatureScheme::Timestamp,
            KeyRule::TimestampManagesNothing,
        ),
        (
            "withdrawals without a cap under signatures of the time",
            |_, it| {
                it.scheme = SignatureScheme::Timestamp;
                it.scopes = vec![Scope::Withdraw];
                it.terms.daily_withdraw_caps.clear();
            },
            KeyRule::TimestampWithoutCap,
        ),
        (
            "withdrawals of nothing under signatures of the time",
            |_, it| {
                it.scheme = SignatureScheme::Timestamp;
                it.scopes = vec![Scope::Withdraw];
                it.terms.daily_withdraw_caps = vec![(usdt(), Amount::ZERO)];
            },
            KeyRule::TimestampWithoutCap,
        ),
        (
            "withdrawals from everywhere under signatures of the time",
            |_, it| {
                it.scheme = SignatureScheme::Timestamp;
                it.scopes = vec![Scope::Withdraw];
                it.terms.ip_list.clear();
            },
            KeyRule::TimestampWithoutIpList,
        ),
        (
            "too many requests",
            |_, it| it.terms.requests_per_minute = NonZeroU32::new(REQUESTS_PER_MINUTE_MAX + 1),
            KeyRule::TooManyRequests,
        ),
        ("an end that is now", |office, it| it.terms.expires_at = Some(office.world.clock.now()), KeyRule::ExpiryPast),
        (
            "an end that is far away",
            |office, it| it.terms.expires_at = Some(office.world.clock.now().after(LIFETIME_MAX + MOMENT)),
            KeyRule::ExpiryTooFar,
        ),
        (
            "a scheme that is switched off",
            |_, it| {
                it.scheme = SignatureScheme::Timestamp;
                it.scopes = vec![Scope::Write];
                it.terms.daily_withdraw_caps.clear();
                it.terms.withdraw_addresses.clear();
            },
            KeyRule::TimestampSwitchedOff,
        ),
        ("a test key without a simulated chain", |_, it| it.mode = Mode::Test, KeyRule::TestModeSwitchedOff),
    ];
    for (what, change, rule) in rules {
        let mut office = Office::open().await;
        office.keys.allow_timestamp_scheme = rule != KeyRule::TimestampSwitchedOff;
        office.keys.test_mode = false;
        let mut request = office.full_request();
        change(&office, &mut request);
        assert_eq!(office.refused(request).await, Some(KeyError::Rule(rule)), "{what}");
        assert!(office.world.store.tables().keys.is_empty(), "{what}");
        assert_eq!(office.world.store.tables().merchants.len(), 1, "{what}");
    }
}

#[tokio::test]
async fn what_is_just_within_the_rules_is_made() {
    type Change = fn(&Office, &mut KeyRequest);
    let allowed: [(&str, Change); 5] = [
        ("as many networks as there may be", |_, it| it.terms.ip_list = networks(IP_LIST_MAX)),
        ("as many addresses as there may be", |_, it| it.terms.withdraw_addresses = addresses(WITHDRAW_ADDRESSES_MAX)),
        ("as many requests as there may be", |_, it| {
            it.terms.requests_per_minute = NonZeroU32::new(REQUESTS_PER_MINUTE_MAX);
        }),
        ("the latest end", |office, it| {
            it.terms.expires_at = Some(office.world.clock.now().after(LIFETIME_MAX));
        }),
        ("withdrawals under signatures of the time, bounded", |_, it| {
            it.scheme = SignatureScheme::Timestamp;
            it.scopes = vec![Scope::Withdraw];
            it.terms.daily_withdraw_caps.push((bnb(), Amount::ZERO));
        }),
    ];
    for (what, change) in allowed {
        let office = Office::open().await;
        let mut request = office.full_request();
        change(&office, &mut request);
        assert_eq!(office.keys.create(request).await.err(), None, "{what}");
    }
}

#[tokio::test]
async fn only_merchants_that_exist_get_keys() {
    let office = Office::open().await;
    let nobody = MerchantId::from_random([9; 16]);
    let refused = office.refused(KeyRequest { merchant: nobody.clone(), ..office.request() }).await;
    assert_eq!(refused, Some(KeyError::UnknownMerchant(nobody)));
    let unknown = KeyId::from_random(Mode::Live, [3; 12]);
    let outcomes = [
        office.keys.update(&unknown, &KeyChange::default()).await.err(),
        office.keys.rotate(&unknown, DAY).await.err(),
        office.keys.revoke(&unknown).await.err(),
    ];
    for outcome in outcomes {
        assert_eq!(outcome, Some(KeyError::UnknownKey(unknown.clone())));
    }
}

#[tokio::test]
async fn networks_are_kept_as_callers_addresses_are_compared() {
    let table = [
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("::ffff:203.0.113.7/128", "203.0.113.7/32"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:db8::1/64", "2001:db8::/64"),
    ];
    let office = Office::open().await;
    for (written, kept) in table {
        let mut request = office.request();
        request.terms.ip_list = vec![network(written), network(kept)];
        assert_eq!(office.make(request).await.ip_list, [network(kept)], "{written}");
    }
}

#[tokio::test]
async fn a_change_leaves_alone_what_it_does_not_name() {
    let office = Office::open().await;
    let key = office.make(office.full_request()).await;
    let same = office.keys.update(&key.id, &KeyChange::default()).await.expect("nothing to refuse");
    assert_eq!(same, Key { revision: 2, ..key.clone() });
    let change = KeyChange {
        ip_list: Some(Vec::new()),
        requests_per_minute: Some(None),
        expires_at: Some(None),
        label: Some("kiosk".parse().expect("a label")),
        ..KeyChange::default()
    };
    let changed = office.keys.update(&key.id, &change).await.expect("allowed");
    let expected = Key {
        revision: 3,
        ip_list: Vec::new(),
        requests_per_minute: None,
        expires_at: None,
        label: "kiosk".parse().expect("a label"),
        ..key
    };
    assert_eq!(changed, expected);
    assert_eq!(office.stored(&expected.id), expected);
}

#[tokio::test]
async fn a_change_keeps_the_rules_of_the_whole_key() {
    let office = Office::open().await;
    let mut request = office.full_request();
    request.scheme = SignatureScheme::Timestamp;
    request.scopes = vec![Scope::Withdraw];
    let key = office.make(request).await;
    let changes = [
        (KeyChange { ip_list: Some(Vec::new()), ..KeyChange::default() }, KeyRule::TimestampWithoutIpList),
        (KeyChange { daily_withdraw_caps: Some(Vec::new()), ..KeyChange::default() }, KeyRule::TimestampWithoutCap),
        (KeyChange { ip_list: Some(networks(IP_LIST_MAX + 1)), ..KeyChange::default() }, KeyRule::IpListTooLong),
        (KeyChange { expires_at: Some(Some(office.world.clock.now())), ..KeyChange::default() }, KeyRule::ExpiryPast),
    ];
    for (change, rule) in changes {
        assert_eq!(office.keys.update(&key.id, &change).await.err(), Some(KeyError::Rule(rule)));
    }
    let reader = office.make(office.request()).await;
    let change = KeyChange { withdraw_addresses: Some(vec![address(1)]), ..KeyChange::default() };
    let refused = office.keys.update(&reader.id, &change).await.err();
    assert_eq!(refused, Some(KeyError::Rule(KeyRule::WithdrawalTermsWithoutScope)));
    assert_eq!((office.stored(&key.id), office.stored(&reader.id)), (key, reader));
}

#[tokio::test]
async fn a_rotation_makes_a_key_with_the_same_rights_and_ends_the_old_one_later() {
    let table = [
        ("at once", Duration::ZERO, None, Duration::ZERO),
        ("after a day", OVERLAP_DEFAULT, None, DAY),
        ("as late as can be", OVERLAP_MAX, None, 30 * DAY),
        ("as it was planned before", 2 * DAY, Some(DAY), DAY),
        ("before it was planned", DAY, Some(2 * DAY), DAY),
    ];
    for (what, overlap, planned, ends_after) in table {
        let office = Office::open().await;
        let now = office.world.clock.now();
        let mut request = office.full_request();
        request.terms.expires_at = planned.map(|planned| now.after(planned));
        let old = office.keys.create(request).await.expect("allowed");
        let Rotation { new, old: told } = office.keys.rotate(&old.key.id, overlap).await.expect("in force");
        assert_ne!((&new.key.id, &new.secret), (&old.key.id, &old.secret), "{what}");
        let (old_id, new_id) = (old.key.id.clone(), new.key.id.clone());
        let expected = Key { id: new_id.clone(), secret: new.key.secret.clone(), ..old.key.clone() };
        assert_eq!(new.key, expected, "{what}: the same rights and the same end");
        assert_eq!(office.stored(&new_id), expected, "{what}");
        let ended = now.after(ends_after);
        let replaced = Key { expires_at: Some(ended), replaced_by: Some(new_id.clone()), revision: 2, ..old.key };
        assert_eq!((&office.stored(&old_id), &told), (&replaced, &replaced), "{what}");

        if ends_after > Duration::ZERO {
            office.world.clock.advance(ends_after.saturating_sub(MOMENT));
            assert_eq!(office.state(&old_id), KeyState::Retiring, "{what}");
            office.world.clock.advance(MOMENT);
        }
        assert_eq!(office.state(&old_id), KeyState::Expired, "{what}");
    }
}

#[tokio::test]
async fn a_key_is_replaced_once_and_only_while_it_is_in_force() {
    let office = Office::open().await;
    let old = office.make(office.request()).await;
    let too_long = office.keys.rotate(&old.id, OVERLAP_MAX + MOMENT).await.err();
    assert_eq!(too_long, Some(KeyError::Rule(KeyRule::OverlapTooLong)));
    let new = office.keys.rotate(&old.id, DAY).await.expect("in force").new.key;
    let replaced = Some(KeyError::Replaced { key: old.id.clone(), by: new.id.clone() });
    assert_eq!(office.keys.rotate(&old.id, DAY).await.err(), replaced);
    let later = KeyChange { expires_at: Some(None), ..KeyChange::default() };
    assert_eq!(office.keys.update(&old.id, &later).await.err(), replaced, "its end is promised");

    office.world.clock.advance(DAY);
    let ended = |key: &Key, state| Some(KeyError::Ended { key: key.id.clone(), state });
    assert_eq!(office.keys.rotate(&old.id, DAY).await.err(), ended(&old, KeyState::Expired));
    assert_eq!(office.keys.update(&old.id, &KeyChange::default()).await.err(), ended(&old, KeyState::Expired));
    office.keys.revoke(&new.id).await.expect("it is there");
    assert_eq!(office.keys.rotate(&new.id, DAY).await.err(), ended(&new, KeyState::Revoked));
    assert_eq!(office.keys.update(&new.id, &KeyChange::default()).await.err(), ended(&new, KeyState::Revoked));
}

#[tokio::test]
async fn a_revocation_is_at_once_and_for_ever() {
    let office = Office::open().await;
    let key = office.make(office.request()).await;
    let revoked = office.keys.revoke(&key.id).await.expect("it is there");
    let now = office.world.clock.now();
    assert_eq!(revoked, Key { revoked_at: Some(now), revision: 2, ..key.clone() });
    assert_eq!(office.state(&key.id), KeyState::Revoked);
    office.world.clock.advance(DAY);
    assert_eq!(office.keys.revoke(&key.id).await, Ok(revoked.clone()), "the first time counts");
    assert_eq!(office.stored(&key.id), revoked);

    let replaced = office.make(office.request()).await;
    office.keys.rotate(&replaced.id, DAY).await.expect("in force");
    office.keys.revoke(&replaced.id).await.expect("also while it is being replaced");
    assert_eq!(office.state(&replaced.id), KeyState::Revoked);
}

#[tokio::test]
async fn a_rotation_that_fails_changes_nothing_and_one_that_meets_another_change_is_decided_anew() {
    let office = Office::open().await;
    let key = office.make(office.request()).await;
    office.world.store.faults.next([Some(Fault::NothingStored)]);
    let failed = office.keys.rotate(&key.id, DAY).await.err();
    assert!(matches!(failed, Some(KeyError::Commit(CommitError::Store(StoreError::Unavailable { .. })))), "{failed:?}");
    assert_eq!(office.stored(&key.id), key);
    assert_eq!(office.world.store.tables().keys.len(), 1);

    office.world.store.faults.next([Some(Fault::Refused), Some(Fault::Refused), None]);
    let new = office.keys.rotate(&key.id, DAY).await.expect("at the third time").new.key;
    assert_eq!(office.world.store.tables().keys.len(), 2);
    assert_eq!(office.stored(&key.id).replaced_by, Some(new.id));

    let other = office.make(office.request()).await;
    office.world.store.faults.next(std::iter::repeat_n(Some(Fault::Refused), 100));
    assert_eq!(office.keys.revoke(&other.id).await.err(), Some(KeyError::Commit(CommitError::Refused)), "not for ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_rotations_at_once_one_wins() {
    let office = Office::open().await;
    let key = office.make(office.request()).await;
    let rotation = |_| {
        let (keys, id) = (office.keys.clone(), key.id.clone());
        tokio::spawn(async move { keys.rotate(&id, DAY).await.map(|rotated| rotated.new.key.id) })
    };
    let outcomes = futures::future::join_all((0..16).map(rotation)).await;
    let made: Vec<KeyId> = outcomes.into_iter().filter_map(|outcome| outcome.expect("nobody panics").ok()).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(office.stored(&key.id).replaced_by.as_ref(), made.first());
    assert_eq!(office.world.store.tables().keys.len(), 2);
}

#[tokio::test]
async fn active_keys_are_bounded_and_can_be_replaced_at_the_bound() {
    let office = Office::open().await;
    let mut first = None;
    for _ in 0..ACTIVE_KEYS_MAX {
        first = Some(office.make(office.request()).await.id);
    }
    let first = first.expect("there are some");
    assert_eq!(office.refused(office.request()).await, Some(KeyError::Rule(KeyRule::TooManyKeys)));
    let new = office.keys.rotate(&first, OVERLAP_MAX).await.expect("a leaked secret must go at any time").new.key.id;
    assert_eq!(office.refused(office.request()).await, Some(KeyError::Rule(KeyRule::TooManyKeys)));
    office.keys.revoke(&new).await.expect("it is there");
    office.make(office.request()).await;
    // Those of the twin are counted for themselves.
    office.make(office.test_request()).await;
}

#[tokio::test]
async fn the_first_test_key_makes_the_twin_and_the_others_find_it() {
    let office = Office::open().await;
    let first = office.keys.create(office.test_request()).await.expect("allowed");
    let twin = first.twin.expect("made with the key");
    assert_eq!(twin.merchant.id, twin_id(&office.merchant));
    assert_eq!((twin.merchant.mode, twin.merchant.name.as_str()), (Mode::Test, "shop (test)"));
    assert!(twin.webhook_secret.starts_with("whsec_"));
    assert_eq!(twin.deposit_address.merchant, twin.merchant.id);
    assert!(first.key.id.as_str().starts_with("xpk_test_") && first.secret.starts_with("xps_test_"));
    assert_eq!(first.key.merchant, twin.merchant.id);
    let tables = office.world.store.tables();
    let live = &tables.merchants[&office.merchant];
    assert_ne!((live.account, &live.webhook_secret), (twin.merchant.account, &twin.merchant.webhook_secret));
    assert!(office.world.watch.contains(&twin.deposit_address.address));

    for request in [office.test_request(), KeyRequest { merchant: twin.merchant.id.clone(), ..office.test_request() }] {
        let more = office.keys.create(request).await.expect("allowed");
        assert!(more.twin.is_none());
        assert_eq!(more.key.merchant, twin.merchant.id);
    }
    assert_eq!(office.world.store.tables().merchants.len(), 2);
    assert_eq!(office.keys.of_merchant(&office.merchant).await.expect("answers"), []);
    assert_eq!(office.keys.of_merchant(&twin.merchant.id).await.expect("answers").len(), 3);
    let rotated = office.keys.rotate(&first.key.id, DAY).await.expect("in force").new;
    assert!(rotated.key.id.as_str().starts_with("xpk_test_") && rotated.secret.starts_with("xps_test_"));
}

#[tokio::test]
async fn a_live_key_never_belongs_to_a_twin() {
    let office = Office::open().await;
    office.make(office.test_request()).await;
    let twin = twin_id(&office.merchant);
    let refused = office.refused(KeyRequest { merchant: twin.clone(), ..office.request() }).await;
    assert_eq!(refused, Some(KeyError::TestSide(twin)));
    for key in office.world.store.tables().keys.values() {
        let owner = office.world.store.merchant(&key.merchant).await.expect("answers").expect("stored");
        assert_eq!(owner.mode, key.id.mode(), "{}", key.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_first_test_keys_at_once_one_makes_the_twin_and_all_work() {
    let office = Office::open().await;
    let creation = |_| {
        let (keys, request) = (office.keys.clone(), office.test_request());
        tokio::spawn(async move { keys.create(request).await.map(|new| new.twin.is_some()) })
    };
    let outcomes = futures::future::join_all((0..16).map(creation)).await;
    let made = outcomes.into_iter().map(|outcome| outcome.expect("nobody panics").expect("allowed"));
    assert_eq!(made.filter(|is_first| *is_first).count(), 1);
    let tables = office.world.store.tables();
    assert_eq!((tables.merchants.len(), tables.keys.len()), (2, 16));
    assert_eq!(tables.addresses.values().filter(|own| own.merchant == twin_id(&office.merchant)).count(), 1);
}

#[tokio::test]
async fn a_twin_is_there_with_its_first_key_or_not_at_all() {
    let office = Office::open().await;
    office.world.store.faults.next([Some(Fault::NothingStored)]);
    let failed = office.refused(office.test_request()).await;
    assert!(matches!(failed, Some(KeyError::Twin(MerchantError::Commit(_)))), "{failed:?}");
    let tables = office.world.store.tables();
    assert_eq!((tables.merchants.len(), tables.keys.len()), (1, 0));
    // Somebody has the account that was drawn: another one is.
    office.world.store.faults.next([Some(Fault::Refused), None]);
    assert!(office.keys.create(office.test_request()).await.expect("allowed").twin.is_some());
}

#[tokio::test]
async fn a_secret_that_was_moved_to_another_key_does_not_open() {
    let office = Office::open().await;
    let (one, other) = (office.make(office.request()).await, office.make(office.request()).await);
    office.world.store.tamper(|tables| {
        let stolen = tables.keys[&one.id].secret.clone();
        tables.keys.get_mut(&other.id).expect("it was made").secret = stolen;
    });
    let cache = KeyCache::new(office.world.store.clone(), Arc::new(PlainVault));
    assert!(cache.get(&one.id).await.expect("opens").is_some());
    let refused = cache.get(&other.id).await.err();
    assert!(matches!(refused, Some(AccessError::Vault(_))), "{refused:?}");
}
