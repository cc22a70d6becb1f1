//! The life of keys: made, changed, replaced, revoked.
//!
//! What a key may do is decided here, once, by the rules in `rules`; whether a request may pass is decided by
//! [`access`](crate::access) each time. A key is never removed: one that has ended stays to be seen.
//!
//! Test keys belong to the test twin of a merchant, see [`merchants`](crate::merchants); the first one makes the twin.

mod rules;
mod state;
mod terms;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::Label;
use xthonpay_domain::time::Timestamp;
use zeroize::Zeroizing;

use crate::catalog::Catalog;
use crate::merchants::{MerchantError, Merchants, NewMerchant, twin_id};
use crate::port::random::bytes;
use crate::port::store::{Changeset, CommitError, Key, READ_LIMIT_MAX, StoreError, Write};
use crate::port::vault::Purpose;

pub use rules::{
    ACTIVE_KEYS_MAX, IP_LIST_MAX, KeyRule, LIFETIME_MAX, OVERLAP_MAX, REQUESTS_PER_MINUTE_MAX, WITHDRAW_ADDRESSES_MAX,
    WITHDRAW_CAPS_MAX,
};
pub use state::KeyState;
pub use terms::{KeyChange, KeyTerms};

/// Bytes of a fresh secret: 256 bits, the strength of the HMAC-SHA256 that it keys.
const SECRET_BYTES: usize = 32;

/// How long a replaced key goes on beside the new one if nothing else is said: a day to deploy the new secret.
pub const OVERLAP_DEFAULT: Duration = Duration::from_secs(86_400);

/// How often a change is decided anew because somebody else changed the key in between. Keys are changed by people.
const ATTEMPTS_MAX: usize = 8;

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
}

fn refuse_ended(key: &Key, now: Timestamp) -> Result<(), KeyError> {
    let state = KeyState::of(key, now);
    if state.is_in_force() { Ok(()) } else { Err(KeyError::Ended { key: key.id.clone(), state }) }
}

/// The key at its next revision.
fn next(key: Key) -> Key {
    Key { revision: key.revision.saturating_add(1), ..key }
}
