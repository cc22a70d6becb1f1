//! The life of keys: made, changed, replaced, revoked.
//!
//! What a key may do is decided here, once, by the rules in [`KeyRule`]; whether a request may pass is decided by
//! [`access`](crate::access) each time. A key is never removed: one that has ended stays to be seen.
//!
//! Test keys belong to the test twin of a merchant, see [`merchants`](crate::merchants); the first one makes the twin.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::Label;
use xthonpay_domain::time::Timestamp;
use zeroize::Zeroizing;

use crate::catalog::{Catalog, mode_of};
use crate::merchants::{MerchantError, Merchants, NewMerchant, twin_id};
use crate::port::random::bytes;
use crate::port::store::{Changeset, CommitError, Key, READ_LIMIT_MAX, StoreError, Write};
use crate::port::vault::Purpose;

/// Bytes of a fresh secret: 256 bits, the strength of the HMAC-SHA256 that it keys.
const SECRET_BYTES: usize = 32;

/// Active keys of one merchant: one for each program of a large shop. More are keys that somebody forgot. Keys that are being
/// replaced do not count, so that replacing one is always possible. Two commands at the same moment may go beyond it by one.
pub const ACTIVE_KEYS_MAX: usize = 100;
/// Networks that a key's IP list may have. Bounds the work per request.
pub const IP_LIST_MAX: usize = 64;
/// Addresses that a key's address book may have. Bounds the row, which is read with every request that misses the cache.
pub const WITHDRAW_ADDRESSES_MAX: usize = 256;
/// Assets for which a key may have a daily cap. Bounds the row, as above.
pub const WITHDRAW_CAPS_MAX: usize = 64;
/// The most requests a minute that a limit may admit: above what one host serves, so more would mean none.
pub const REQUESTS_PER_MINUTE_MAX: u32 = 1_000_000;
/// How far away a key's end may be; who wants more wants no end.
pub const LIFETIME_MAX: Duration = Duration::from_secs(3_650 * 86_400);
/// How long a replaced key goes on beside the new one if nothing else is said: a day to deploy the new secret.
pub const OVERLAP_DEFAULT: Duration = Duration::from_secs(86_400);
/// The longest such time. A rotation whose old secret lives longer is none.
pub const OVERLAP_MAX: Duration = Duration::from_secs(30 * 86_400);

/// How often a change is decided anew because somebody else changed the key in between. Keys are changed by people.
const ATTEMPTS_MAX: usize = 8;
/// Bits of an IPv6 address in front of an IPv4 address that is written as one (`::ffff:203.0.113.7`).
const MAPPED_PREFIX_BITS: u8 = 96;

/// Makes keys and changes them.
#[derive(Clone)]
pub struct Keys {
    /// The owners, and the ports.
    pub merchants: Merchants,
    /// The assets for which there can be caps.
    pub catalog: Arc<Catalog>,
    /// Whether the deployment has a simulated chain for test keys.
    pub test_mode: bool,
    /// Whether the deployment accepts the scheme `timestamp`.
    pub allow_timestamp_scheme: bool,
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// The owner. For a test key, the merchant whose twin it shall belong to, or the twin itself.
    pub merchant: MerchantId,
    /// Real money or simulation.
    pub mode: Mode,
    /// What it may do; reading is always part of it.
    pub scopes: Vec<Scope>,
    /// How its requests are signed.
    pub scheme: SignatureScheme,
    /// What may be changed later.
    pub terms: KeyTerms,
}

impl KeyRequest {
    /// A key for real money without any limit of its own.
    #[must_use]
    pub fn live(merchant: MerchantId, label: Label, scopes: Vec<Scope>, scheme: SignatureScheme) -> Self {
        Self { merchant, mode: Mode::Live, scopes, scheme, terms: KeyTerms::named(label) }
    }
}

/// What may be changed about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    /// The owner's name for it.
    pub label: Label,
    /// Networks from which it may be used; empty means any.
    pub ip_list: Vec<IpNet>,
    /// Requests a minute that it may make; `None` means as many as the deployment grants.
    pub requests_per_minute: Option<NonZeroU32>,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// How much it may withdraw a day, for each asset; nothing of an asset that is missing.
    pub daily_withdraw_caps: Vec<(AssetId, Amount)>,
    /// The only addresses to which it may withdraw.
    pub withdraw_addresses: Vec<Address>,
}

impl KeyTerms {
    /// No limit of its own.
    #[must_use]
    pub fn named(label: Label) -> Self {
        Self {
            label,
            ip_list: Vec::new(),
            requests_per_minute: None,
            expires_at: None,
            daily_withdraw_caps: Vec::new(),
            withdraw_addresses: Vec::new(),
        }
    }

    fn of(key: &Key) -> Self {
        Self {
            label: key.label.clone(),
            ip_list: key.ip_list.clone(),
            requests_per_minute: key.requests_per_minute,
            expires_at: key.expires_at,
            daily_withdraw_caps: key.daily_withdraw_caps.clone(),
            withdraw_addresses: key.withdraw_addresses.clone(),
        }
    }

    /// The same terms, written in one way: lists in order, nothing twice, IPv4 networks as such.
    fn in_order(mut self) -> Self {
        self.ip_list = self.ip_list.into_iter().map(plain_network).collect::<BTreeSet<_>>().into_iter().collect();
        self.daily_withdraw_caps.sort_unstable();
        self.withdraw_addresses.sort_unstable();
        self.withdraw_addresses.dedup();
        self
    }
}

/// A change to a key; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// See [`KeyTerms::label`].
    pub label: Option<Label>,
    /// See [`KeyTerms::ip_list`].
    pub ip_list: Option<Vec<IpNet>>,
    /// See [`KeyTerms::requests_per_minute`].
    pub requests_per_minute: Option<Option<NonZeroU32>>,
    /// See [`KeyTerms::expires_at`].
    pub expires_at: Option<Option<Timestamp>>,
    /// See [`KeyTerms::daily_withdraw_caps`].
    pub daily_withdraw_caps: Option<Vec<(AssetId, Amount)>>,
    /// See [`KeyTerms::withdraw_addresses`].
    pub withdraw_addresses: Option<Vec<Address>>,
}

impl KeyChange {
    fn applied_to(&self, key: &Key) -> KeyTerms {
        let KeyTerms { label, ip_list, requests_per_minute, expires_at, daily_withdraw_caps, withdraw_addresses } =
            KeyTerms::of(key);
        KeyTerms {
            label: self.label.clone().unwrap_or(label),
            ip_list: self.ip_list.clone().unwrap_or(ip_list),
            requests_per_minute: self.requests_per_minute.unwrap_or(requests_per_minute),
            expires_at: self.expires_at.unwrap_or(expires_at),
            daily_withdraw_caps: self.daily_withdraw_caps.clone().unwrap_or(daily_withdraw_caps),
            withdraw_addresses: self.withdraw_addresses.clone().unwrap_or(withdraw_addresses),
        }
    }
}

/// A key as it is shown once, with the plain secret.
pub struct NewKey {
    /// The record.
    pub key: Key,
    /// `xps_live_…` or `xps_test_…`: signs requests.
    pub secret: Zeroizing<String>,
    /// The test twin, if this key is the one that made it.
    pub twin: Option<NewMerchant>,
}

/// A key that takes the place of another one.
pub struct Rotation {
    /// The new key.
    pub new: NewKey,
    /// The old one, as it is now.
    pub old: Key,
}

/// Where a key stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It may be used.
    Active,
    /// It may still be used for a while, beside the key that takes its place.
    Retiring,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Revoked,
}

impl KeyState {
    /// Where `key` stands at `now`.
    #[must_use]
    pub fn of(key: &Key, now: Timestamp) -> Self {
        if key.revoked_at.is_some() {
            Self::Revoked
        } else if key.expires_at.is_some_and(|end| end <= now) {
            Self::Expired
        } else if key.replaced_by.is_some() {
            Self::Retiring
        } else {
            Self::Active
        }
    }

    /// Whether requests of the key may pass.
    #[must_use]
    pub fn is_in_force(self) -> bool {
        matches!(self, Self::Active | Self::Retiring)
    }

    /// The state's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A rule that a key would break. Each says what would be right.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyRule {
    /// See [`ACTIVE_KEYS_MAX`].
    #[error("the merchant has {ACTIVE_KEYS_MAX} active keys; revoke one that is not used any more")]
    TooManyKeys,
    /// See [`IP_LIST_MAX`].
    #[error("the IP list is longer than {IP_LIST_MAX} networks")]
    IpListTooLong,
    /// See [`WITHDRAW_ADDRESSES_MAX`].
    #[error("the address book is longer than {WITHDRAW_ADDRESSES_MAX} addresses")]
    AddressBookTooLong,
    /// See [`WITHDRAW_CAPS_MAX`].
    #[error("there are daily caps for more than {WITHDRAW_CAPS_MAX} assets")]
    TooManyCaps,
    /// Two caps for one asset.
    #[error("there are two daily caps for {0}; give one")]
    TwoCaps(AssetId),
    /// A cap for an asset that does not exist for this kind of key.
    #[error("a daily cap names {0}, which this deployment does not accept for such a key")]
    UnknownAsset(AssetId),
    /// The zero address in the address book.
    #[error("the zero address belongs to nobody; remove it from the address book")]
    ZeroAddress,
    /// Caps or addresses without the scope that they are for.
    #[error("daily caps and withdrawal addresses are for keys with the scope withdraw; add it or leave them out")]
    WithdrawalTermsWithoutScope,
    /// The scheme `timestamp` with the scope `webhooks`.
    #[error(
        "a key of the scheme timestamp cannot have the scope webhooks: its signature does not cover the request; \
         use the scheme request"
    )]
    TimestampManagesNothing,
    /// The scheme `timestamp` with the scope `withdraw` and nothing that it may withdraw.
    #[error("a key of the scheme timestamp with the scope withdraw needs a daily cap above 0")]
    TimestampWithoutCap,
    /// The scheme `timestamp` with the scope `withdraw` from everywhere.
    #[error("a key of the scheme timestamp with the scope withdraw needs an IP list")]
    TimestampWithoutIpList,
    /// The deployment refuses the scheme.
    #[error("this deployment refuses the scheme timestamp: set auth.allow_timestamp_scheme = true, or use request")]
    TimestampSwitchedOff,
    /// The deployment has no simulated chain.
    #[error("this deployment has no simulated chain for test keys: set test_mode.enabled = true and restart the host")]
    TestModeSwitchedOff,
    /// See [`REQUESTS_PER_MINUTE_MAX`].
    #[error("at most {REQUESTS_PER_MINUTE_MAX} requests a minute")]
    TooManyRequests,
    /// An end that is over already.
    #[error("the key would have expired already; to end a key, revoke it")]
    ExpiryPast,
    /// See [`LIFETIME_MAX`].
    #[error("a key ends within {} days, or never", LIFETIME_MAX.as_secs() / 86_400)]
    ExpiryTooFar,
    /// See [`OVERLAP_MAX`].
    #[error("the old key may go on for at most {} days", OVERLAP_MAX.as_secs() / 86_400)]
    OverlapTooLong,
}

/// A key that was not made or changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// There is no such merchant.
    #[error("there is no merchant {0}")]
    UnknownMerchant(MerchantId),
    /// A live key for a test twin.
    #[error(
        "{0} is the test side of a merchant and has test keys alone; ask for a test key, or name the merchant itself"
    )]
    TestSide(MerchantId),
    /// There is no such key.
    #[error("there is no key {0}")]
    UnknownKey(KeyId),
    /// The key has ended.
    #[error("the key {key} is {state} and cannot be changed; make a new one")]
    Ended {
        /// The key.
        key: KeyId,
        /// How it ended.
        state: KeyState,
    },
    /// The key has a successor.
    #[error("the key {key} is replaced by {by} already; rotate that one, or revoke this one to end it at once")]
    Replaced {
        /// The key.
        key: KeyId,
        /// The one that takes its place.
        by: KeyId,
    },
    /// The key would break a rule.
    #[error(transparent)]
    Rule(#[from] KeyRule),
    /// The test twin was not made.
    #[error(transparent)]
    Twin(#[from] MerchantError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records were not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl KeyError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::UnknownMerchant(_)
            | Self::TestSide(_)
            | Self::UnknownKey(_)
            | Self::Ended { .. }
            | Self::Replaced { .. }
            | Self::Rule(_) => false,
            Self::Twin(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Commit(error) => error.is_transient(),
        }
    }
}

impl Keys {
    /// Makes a key. The first test key of a merchant makes its test twin, in the same transaction.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn create(&self, request: KeyRequest) -> Result<NewKey, KeyError> {
        let KeyRequest { merchant, mode, scopes, scheme, terms } = request;
        let ports = &self.merchants;
        let owner = ports.store.merchant(&merchant).await?.ok_or(KeyError::UnknownMerchant(merchant))?;
        if mode == Mode::Test && !self.test_mode {
            return Err(KeyRule::TestModeSwitchedOff.into());
        }
        let (owner_id, twin_of) = match (owner.mode, mode) {
            (Mode::Live, Mode::Live) | (Mode::Test, Mode::Test) => (owner.id.clone(), None),
            (Mode::Live, Mode::Test) => (twin_id(&owner.id), Some(&owner)),
            (Mode::Test, Mode::Live) => return Err(KeyError::TestSide(owner.id)),
        };
        let scopes: BTreeSet<Scope> = scopes.into_iter().chain([Scope::Read]).collect();
        let now = ports.clock.now();
        self.room_for_one(&owner_id, now).await?;
        let (id, secret, sealed) = self.draw(mode);
        let key = Key {
            id,
            merchant: owner_id,
            label: terms.label.clone(),
            scopes: scopes.into_iter().collect(),
            scheme,
            ip_list: Vec::new(),
            secret: sealed,
            requests_per_minute: None,
            daily_withdraw_caps: Vec::new(),
            withdraw_addresses: Vec::new(),
            created_at: now,
            expires_at: None,
            revoked_at: None,
            replaced_by: None,
            revision: 1,
        };
        let key = self.under(key, terms, now)?;
        if let Some(live) = twin_of {
            match ports.create_twin(live, &key).await {
                Ok(twin) => return Ok(NewKey { key, secret, twin: Some(twin) }),
                // It is there, for a long time or since this moment.
                Err(MerchantError::Exists(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ports.store.commit(Changeset::new().with(Write::CreateKey(Box::new(key.clone())))).await?;
        Ok(NewKey { key, secret, twin: None })
    }

    /// A key, whatever its state.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn key(&self, id: &KeyId) -> Result<Key, KeyError> {
        self.merchants.store.key(id).await?.ok_or_else(|| KeyError::UnknownKey(id.clone()))
    }

    /// Every key of a merchant, whatever its state, in ascending order of the id. Those of its test twin are not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_merchant(&self, merchant: &MerchantId) -> Result<Vec<Key>, StoreError> {
        let mut keys: Vec<Key> = Vec::new();
        loop {
            let after = keys.last().map(|key| key.id.clone());
            let page = self.merchants.store.keys(merchant, after.as_ref(), READ_LIMIT_MAX).await?;
            let is_last = page.len() < READ_LIMIT_MAX;
            keys.extend(page);
            if is_last {
                return Ok(keys);
            }
        }
    }

    /// Changes a key that is in force.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn update(&self, id: &KeyId, change: &KeyChange) -> Result<Key, KeyError> {
        self.change(id, |key, now| {
            refuse_ended(&key, now)?;
            if let (Some(by), true) = (&key.replaced_by, change.expires_at.is_some()) {
                // Its end is what the rotation promised.
                return Err(KeyError::Replaced { key: key.id.clone(), by: by.clone() });
            }
            let terms = change.applied_to(&key);
            let key = next(self.under(key, terms, now)?);
            Ok((Changeset::new().with(Write::UpdateKey(Box::new(key.clone()))), key))
        })
        .await
    }

    /// Makes a key with the same rights, the same end and a secret of its own. The old key ends after `overlap`, or earlier if
    /// it would have ended earlier.
    ///
    /// # Errors
    /// [`KeyError`]; a key is replaced once.
    pub async fn rotate(&self, id: &KeyId, overlap: Duration) -> Result<Rotation, KeyError> {
        if overlap > OVERLAP_MAX {
            return Err(KeyRule::OverlapTooLong.into());
        }
        self.change(id, |old, now| {
            refuse_ended(&old, now)?;
            if let Some(by) = &old.replaced_by {
                return Err(KeyError::Replaced { key: old.id.clone(), by: by.clone() });
            }
            let (new_id, secret, sealed) = self.draw(old.id.mode());
            let key = Key { id: new_id, secret: sealed, created_at: now, revision: 1, ..old.clone() };
            let end = now.after(overlap);
            let expires_at = Some(old.expires_at.map_or(end, |planned| planned.min(end)));
            let old = next(Key { expires_at, replaced_by: Some(key.id.clone()), ..old });
            let changes = Changeset::new()
                .with(Write::CreateKey(Box::new(key.clone())))
                .with(Write::UpdateKey(Box::new(old.clone())));
            Ok((changes, Rotation { new: NewKey { key, secret, twin: None }, old }))
        })
        .await
    }

    /// Ends a key at once: its requests are refused within [`KEY_AGE_MAX`](crate::access::key_cache::KEY_AGE_MAX). A key that
    /// is revoked already stays as it is.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn revoke(&self, id: &KeyId) -> Result<Key, KeyError> {
        self.change(id, |key, now| {
            if key.revoked_at.is_some() {
                return Ok((Changeset::new(), key));
            }
            let key = next(Key { revoked_at: Some(now), ..key });
            Ok((Changeset::new().with(Write::UpdateKey(Box::new(key.clone()))), key))
        })
        .await
    }

    /// Reads a key, decides about it and stores the decision; once more when somebody else was faster. Nothing is stored where
    /// there is nothing to change.
    async fn change<T>(
        &self,
        id: &KeyId,
        decide: impl Fn(Key, Timestamp) -> Result<(Changeset, T), KeyError>,
    ) -> Result<T, KeyError> {
        for _ in 0..ATTEMPTS_MAX {
            let (changes, outcome) = decide(self.key(id).await?, self.merchants.clock.now())?;
            if changes.writes.is_empty() {
                return Ok(outcome);
            }
            match self.merchants.store.commit(changes).await {
                Ok(()) => return Ok(outcome),
                Err(CommitError::Refused) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Refused.into())
    }

    /// A fresh id and secret, and the secret sealed for the row of that id.
    fn draw(&self, mode: Mode) -> (KeyId, Zeroizing<String>, crate::port::vault::Sealed) {
        let ports = &self.merchants;
        let id = KeyId::from_random(mode, bytes(ports.random.as_ref()));
        let digits = Zeroizing::new(hex::encode(Zeroizing::new(bytes::<SECRET_BYTES>(ports.random.as_ref()))));
        let secret = Zeroizing::new(format!("xps_{}_{}", mode.name(), digits.as_str()));
        let sealed = ports.vault.seal(Purpose::ApiSecret, id.as_str(), secret.as_bytes());
        (id, secret, sealed)
    }

    async fn room_for_one(&self, merchant: &MerchantId, now: Timestamp) -> Result<(), KeyError> {
        let keys = self.of_merchant(merchant).await?;
        let active = keys.iter().filter(|key| KeyState::of(key, now) == KeyState::Active).count();
        if active < ACTIVE_KEYS_MAX { Ok(()) } else { Err(KeyRule::TooManyKeys.into()) }
    }

    /// The key under these terms, if together they keep every rule.
    fn under(&self, key: Key, terms: KeyTerms, now: Timestamp) -> Result<Key, KeyRule> {
        let terms = terms.in_order();
        if terms.expires_at != key.expires_at {
            check_expiry(terms.expires_at, now)?;
        }
        self.check_withdrawals(&key, &terms)?;
        self.check_scheme(&key, &terms)?;
        if terms.ip_list.len() > IP_LIST_MAX {
            return Err(KeyRule::IpListTooLong);
        }
        if terms.requests_per_minute.is_some_and(|limit| limit.get() > REQUESTS_PER_MINUTE_MAX) {
            return Err(KeyRule::TooManyRequests);
        }
        let KeyTerms { label, ip_list, requests_per_minute, expires_at, daily_withdraw_caps, withdraw_addresses } =
            terms;
        Ok(Key { label, ip_list, requests_per_minute, expires_at, daily_withdraw_caps, withdraw_addresses, ..key })
    }

    fn check_withdrawals(&self, key: &Key, terms: &KeyTerms) -> Result<(), KeyRule> {
        let KeyTerms { daily_withdraw_caps: caps, withdraw_addresses: addresses, .. } = terms;
        let says_nothing = caps.is_empty() && addresses.is_empty();
        if !says_nothing && !key.scopes.contains(&Scope::Withdraw) {
            return Err(KeyRule::WithdrawalTermsWithoutScope);
        }
        if caps.len() > WITHDRAW_CAPS_MAX {
            return Err(KeyRule::TooManyCaps);
        }
        if addresses.len() > WITHDRAW_ADDRESSES_MAX {
            return Err(KeyRule::AddressBookTooLong);
        }
        if addresses.contains(&Address::ZERO) {
            return Err(KeyRule::ZeroAddress);
        }
        let mut named: BTreeSet<&AssetId> = BTreeSet::new();
        for (asset, _) in caps {
            if self.catalog.asset(asset).is_none() || mode_of(&asset.chain) != key.id.mode() {
                return Err(KeyRule::UnknownAsset(asset.clone()));
            }
            if !named.insert(asset) {
                return Err(KeyRule::TwoCaps(asset.clone()));
            }
        }
        Ok(())
    }

    fn check_scheme(&self, key: &Key, terms: &KeyTerms) -> Result<(), KeyRule> {
        if key.scheme != SignatureScheme::Timestamp {
            return Ok(());
        }
        if !self.allow_timestamp_scheme {
            return Err(KeyRule::TimestampSwitchedOff);
        }
        if key.scopes.contains(&Scope::Webhooks) {
            return Err(KeyRule::TimestampManagesNothing);
        }
        if key.scopes.contains(&Scope::Withdraw) {
            if terms.daily_withdraw_caps.iter().all(|(_, cap)| cap.is_zero()) {
                return Err(KeyRule::TimestampWithoutCap);
            }
            if terms.ip_list.is_empty() {
                return Err(KeyRule::TimestampWithoutIpList);
            }
        }
        Ok(())
    }
}

fn check_expiry(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), KeyRule> {
    match expires_at {
        Some(end) if end <= now => Err(KeyRule::ExpiryPast),
        Some(end) if end.since(now) > LIFETIME_MAX => Err(KeyRule::ExpiryTooFar),
        _ => Ok(()),
    }
}

fn refuse_ended(key: &Key, now: Timestamp) -> Result<(), KeyError> {
    let state = KeyState::of(key, now);
    if state.is_in_force() { Ok(()) } else { Err(KeyError::Ended { key: key.id.clone(), state }) }
}

/// The key at its next revision.
fn next(key: Key) -> Key {
    Key { revision: key.revision.saturating_add(1), ..key }
}

/// A network without bits below its prefix. One of IPv4 addresses that are written as IPv6 becomes what it means: callers'
/// addresses are compared in that form.
fn plain_network(network: IpNet) -> IpNet {
    let mapped = match network.addr() {
        IpAddr::V6(address) => address.to_ipv4_mapped().zip(network.prefix_len().checked_sub(MAPPED_PREFIX_BITS)),
        IpAddr::V4(_) => None,
    };
    let plain = mapped.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok()).map_or(network, IpNet::V4);
    plain.trunc()
}
