//! Who sends a request and whether it may: the one policy that every door passes.
//!
//! The checks run in a fixed order: failures from the same address, key (with a dummy computation when it is unknown),
//! signature in constant time, time stamp, revocation and expiry, scheme, IP list, scope, rate limit. Replay of mutating calls
//! is refused by the store, in the transaction of the effect.
//!
//! # The scheme `timestamp`
//! It is what the integration guide of the product shows, and it signs nothing but the time: whoever sees one signature can
//! put any request under it for [`DRIFT_TIMESTAMP_MAX`]. So
//! - it opens only what a [`Policy`] says it may: reading and making invoices. Everything else asks for a key whose signature
//!   covers the request. It may withdraw only when the key has a cap and an IP list;
//! - the very same request (method, path, body) under the same signature works once. Another request under the same signature
//!   passes, because the guide's clients make two invoices within one second with one signature. Two invoices that are the
//!   same in everything need a second between them, or an `external_id`, which tells them apart;
//! - a key has one scheme, and a signature that fails under it is not tried under the other;
//! - every use is counted, and the key's last use is stored for its owner to see;
//! - the operator can switch it off.

pub mod idempotency;
pub mod key_cache;
pub mod key_use;
pub mod rate_limit;
pub mod signature;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;
use thiserror::Error;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::time::Timestamp;

use crate::budgets::Standing;
use crate::port::clock::Clock;
use crate::port::store::{AnswerBytes, Changeset, Key, StoreError, UsedSignature, Write};
use crate::port::vault::VaultError;
use idempotency::{Claim, Idempotency};
use key_cache::{KeyCache, OpenKey};
use key_use::KeyUses;
use rate_limit::RateLimits;
use signature::{RequestParts, SIGNATURE_HEX_LEN, hex_signature};

/// How far the time stamp of a `request` signature may be from the host's clock, in either direction. The figure of the
/// product's API; the same as Stripe's default tolerance.
pub const DRIFT_REQUEST_MAX: Duration = Duration::from_secs(300);
/// The same for the `timestamp` scheme, which is a bearer token for as long as it lives.
pub const DRIFT_TIMESTAMP_MAX: Duration = Duration::from_secs(60);

/// A request as it came in, before anything about it is believed.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// `X-API-Key`.
    pub key: &'a str,
    /// `X-Timestamp`.
    pub timestamp: &'a str,
    /// `X-Signature`.
    pub signature: &'a str,
    /// What was asked for.
    pub parts: RequestParts<'a>,
    /// Who connected, after the operator's rules about proxies.
    pub peer: IpAddr,
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The scope that the key must have.
    pub scope: Scope,
    /// Whether the call changes something, so that its signature must not work twice.
    pub mutates: bool,
    /// Whether a signature over the time stamp alone is enough: whoever sees one may make this call for a minute.
    pub bare_timestamp: bool,
}

/// Makes the answer of a call from what it made, before that is stored: the answer is stored with it.
pub type Answering<'a, T> = &'a (dyn Fn(&T) -> AnswerBytes + Send + Sync);

/// A caller that passed every check.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The key that was used.
    pub key: Arc<Key>,
    /// To be stored with the effect of a mutating call; it makes the store refuse a second use.
    pub used_signature: Option<UsedSignature>,
    /// Under which name the caller wants the effect once, if it gave one.
    pub claim: Option<Claim>,
}

impl Principal {
    /// The merchant on whose behalf the call runs.
    #[must_use]
    pub fn merchant(&self) -> &MerchantId {
        &self.key.merchant
    }

    /// Whether the call is about real money or about the simulation.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.key.id.mode()
    }

    /// Adds to the changes of a mutating call what makes it happen once: its signature is used up, and the answer is kept for
    /// the name that the caller gave. The answer is made only if it is kept.
    pub fn once(&self, changes: &mut Changeset, now: Timestamp, answer: impl FnOnce() -> AnswerBytes) {
        changes.writes.extend(self.used_signature.clone().map(Write::UseSignature));
        let keep = |claim: &Claim| Write::KeepAnswer(Box::new(claim.keep(answer(), now)));
        changes.writes.extend(self.claim.as_ref().map(keep));
    }
}

/// A request that is turned away.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AccessError {
    /// Too many requests from the same address were refused.
    #[error("too many requests from your address were refused; wait {} s", whole_secs(*.wait))]
    TooManyFailures {
        /// For how long nothing from there is looked at.
        wait: Duration,
    },
    /// Unknown key or wrong signature; which of the two is not told.
    #[error("unknown key or wrong signature")]
    Unauthorized,
    /// The time stamp is malformed or too far from the host's clock.
    #[error("X-Timestamp must be Unix seconds within {} s of this server's clock", .allowed.as_secs())]
    ClockSkew {
        /// The allowed distance.
        allowed: Duration,
    },
    /// The key was revoked.
    #[error("this key was revoked")]
    KeyRevoked,
    /// A key for play money, and the operator switched test mode off.
    #[error(
        "this deployment has no test mode, so it accepts no test keys: set test_mode.enabled = true, or use a live key"
    )]
    TestModeOff,
    /// The key's time is over.
    #[error("this key expired{}", successor(.replaced_by.as_ref()))]
    KeyExpired {
        /// The key that takes its place.
        replaced_by: Option<KeyId>,
    },
    /// The peer is not in the key's IP list.
    #[error("this key may not be used from {peer}")]
    IpNotAllowed {
        /// Who connected.
        peer: IpAddr,
    },
    /// The key lacks a scope.
    #[error("this call needs the scope {}", .needed.name())]
    ScopeRequired {
        /// The scope.
        needed: Scope,
    },
    /// The operator switched the scheme off.
    #[error("this deployment does not accept the signature scheme {}", .scheme.name())]
    SchemeDisabled {
        /// The scheme.
        scheme: SignatureScheme,
    },
    /// The signature proves too little for the call.
    #[error(
        "this call needs a key of the signature scheme request: a signature over the timestamp alone does not cover it"
    )]
    SchemeTooWeak,
    /// The key has spent its requests.
    #[error("this key may make {limit} requests a minute; wait {} s", whole_secs(*.wait))]
    RateLimited {
        /// Requests a minute.
        limit: u32,
        /// Until the next one.
        wait: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key's secret does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl AccessError {
    /// Whether the same request may pass later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TooManyFailures { .. } | Self::RateLimited { .. } => true,
            Self::Store(error) => error.is_transient(),
            Self::Unauthorized
            | Self::ClockSkew { .. }
            | Self::KeyRevoked
            | Self::TestModeOff
            | Self::KeyExpired { .. }
            | Self::IpNotAllowed { .. }
            | Self::ScopeRequired { .. }
            | Self::SchemeDisabled { .. }
            | Self::SchemeTooWeak
            | Self::Vault(_) => false,
        }
    }

    /// Whether its address is held to account: nobody showed that the request comes from the holder of a key. A key that may not
    /// do what it asks for is known, and does not shut out the others behind the same address.
    fn is_by_a_stranger(&self) -> bool {
        matches!(self, Self::Unauthorized)
    }
}

/// A wait in the seconds that a caller is told: never fewer than it has to wait, and at least one.
#[must_use]
pub fn whole_secs(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn successor(key: Option<&KeyId>) -> String {
    key.map(|key| format!("; use {key}, which replaced it")).unwrap_or_default()
}

/// Checks requests.
#[derive(Clone)]
pub struct Access {
    /// Keys with their opened secrets.
    pub keys: Arc<KeyCache>,
    /// How often a key may ask, and an address fail.
    pub limits: Arc<RateLimits>,
    /// When keys were last used.
    pub uses: Arc<KeyUses>,
    /// Calls that callers want to happen once.
    pub idempotency: Arc<Idempotency>,
    /// The host's clock.
    pub clock: Arc<dyn Clock>,
    /// Whether keys of the `timestamp` scheme are accepted at all.
    pub allow_timestamp_scheme: bool,
    /// Whether keys for play money are accepted at all.
    pub test_mode: bool,
}

/// A request that is signed by the key which it names. Whether it may pass is not said yet.
pub struct Identified<'a> {
    request: SignedRequest<'a>,
    open: Arc<OpenKey>,
    signature: [u8; SIGNATURE_HEX_LEN],
}

impl Identified<'_> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.open.key
    }
}

impl Access {
    /// Lets a request pass or says why not.
    ///
    /// # Errors
    /// [`AccessError`], of the first check that fails.
    pub async fn authenticate(&self, request: SignedRequest<'_>, policy: Policy) -> Result<Principal, AccessError> {
        self.admit(&self.identify(request).await?, policy)
    }

    /// The first half of [`Access::authenticate`]: whose request it is.
    ///
    /// # Errors
    /// [`AccessError::TooManyFailures`], [`AccessError::Unauthorized`], or the host's own.
    pub async fn identify<'a>(&self, request: SignedRequest<'a>) -> Result<Identified<'a>, AccessError> {
        self.check_origin(request.peer)?;
        let identified = self.check_signature(request).await;
        self.hold_to_account(request.peer, identified)
    }

    /// Whether anything from an address is looked at now. To be asked before anything is read or looked up, so that guessing
    /// costs nothing but this.
    ///
    /// # Errors
    /// [`AccessError::TooManyFailures`].
    pub fn check_origin(&self, peer: IpAddr) -> Result<(), AccessError> {
        let checked = self.limits.check_origin(peer, self.clock.now());
        checked.map_err(|wait| AccessError::TooManyFailures { wait })
    }

    /// The second half: whether its key may make it. Counts it among the requests of the key if it passes.
    ///
    /// # Errors
    /// [`AccessError`], of the first check that fails.
    pub fn admit(&self, identified: &Identified<'_>, policy: Policy) -> Result<Principal, AccessError> {
        self.check_key(identified, policy)
    }

    /// Where a key stands with its requests, for the caller to see.
    #[must_use]
    pub fn standing(&self, key: &Key) -> Standing {
        self.limits.standing(&key.id, key.requests_per_minute, self.clock.now())
    }

    fn hold_to_account<T>(&self, peer: IpAddr, outcome: Result<T, AccessError>) -> Result<T, AccessError> {
        if outcome.as_ref().is_err_and(AccessError::is_by_a_stranger) {
            self.limits.count_failure(peer, self.clock.now());
        }
        outcome
    }

    async fn check_signature<'a>(&self, request: SignedRequest<'a>) -> Result<Identified<'a>, AccessError> {
        let known = match request.key.parse::<KeyId>() {
            Ok(id) => self.keys.get(&id).await?,
            Err(_) => None,
        };
        // An unknown key costs the same computation as a known one.
        let is_known = known.is_some();
        let open = known.unwrap_or_else(|| Arc::new(OpenKey::dummy()));
        let expected = hex_signature(&open.secret, open.key.scheme, request.timestamp, &request.parts);
        let given = lower_hex(request.signature).unwrap_or([0; SIGNATURE_HEX_LEN]);
        let matches = bool::from(expected.ct_eq(&given));
        if is_known && matches {
            Ok(Identified { request, open, signature: given })
        } else {
            Err(AccessError::Unauthorized)
        }
    }

    fn check_key(&self, identified: &Identified<'_>, policy: Policy) -> Result<Principal, AccessError> {
        let Identified { request, open, signature } = identified;
        let (key, now) = (&open.key, self.clock.now());
        let stamp = self.check_timestamp(request.timestamp, key.scheme)?;
        if key.revoked_at.is_some() {
            return Err(AccessError::KeyRevoked);
        }
        if key.id.mode() == Mode::Test && !self.test_mode {
            return Err(AccessError::TestModeOff);
        }
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err(AccessError::KeyExpired { replaced_by: key.replaced_by.clone() });
        }
        if key.scheme == SignatureScheme::Timestamp {
            self.check_bare_timestamp(key, policy)?;
        }
        let peer = request.peer.to_canonical();
        if !key.ip_list.is_empty() && !key.ip_list.iter().any(|network| network.contains(&peer)) {
            return Err(AccessError::IpNotAllowed { peer });
        }
        if !key.scopes.contains(&policy.scope) {
            return Err(AccessError::ScopeRequired { needed: policy.scope });
        }
        let spent = self.limits.spend(&key.id, key.requests_per_minute, now);
        spent.map_err(|wait| AccessError::RateLimited { limit: self.standing(key).limit, wait })?;
        self.uses.note(&key.id, now);
        let mut signature = String::from_utf8_lossy(signature).into_owned();
        if key.scheme == SignatureScheme::Timestamp {
            // See the module: such a signature is used up together with the request that it came with.
            signature.push_str(&hex::encode(request.parts.digest()));
        }
        let used_signature = policy.mutates.then(|| UsedSignature {
            key: key.id.clone(),
            signature,
            // Twice the window: the stamp may lie a whole window ahead of the clock.
            expires_at: stamp.max(now).after(DRIFT_REQUEST_MAX.saturating_mul(2)),
        });
        Ok(Principal { key: Arc::clone(key), used_signature, claim: None })
    }

    /// What a signature over the time stamp alone opens.
    fn check_bare_timestamp(&self, key: &Key, policy: Policy) -> Result<(), AccessError> {
        if !self.allow_timestamp_scheme {
            return Err(AccessError::SchemeDisabled { scheme: key.scheme });
        }
        let is_fenced = !key.ip_list.is_empty() && !key.daily_withdraw_caps.is_empty();
        let is_enough = policy.bare_timestamp || (policy.scope == Scope::Withdraw && is_fenced);
        if is_enough { Ok(()) } else { Err(AccessError::SchemeTooWeak) }
    }

    fn check_timestamp(&self, text: &str, scheme: SignatureScheme) -> Result<Timestamp, AccessError> {
        let allowed = match scheme {
            SignatureScheme::Request => DRIFT_REQUEST_MAX,
            SignatureScheme::Timestamp => DRIFT_TIMESTAMP_MAX,
        };
        let error = AccessError::ClockSkew { allowed };
        let stamp = parse_timestamp(text).ok_or_else(|| error.clone())?;
        // Whole seconds on both sides: a stamp of the allowed distance passes whatever the milliseconds of our clock say.
        let now = Timestamp::from_secs(self.clock.now().as_secs());
        if now.since(stamp) > allowed || stamp.since(now) > allowed { Err(error) } else { Ok(stamp) }
    }
}

/// Unix seconds in their one canonical form: digits without sign, fraction or leading zero.
fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let canonical = !text.starts_with('0') && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    canonical.then(|| text.parse().ok().map(Timestamp::from_secs)).flatten()
}

/// A signature of the right length in lower case; some clients write upper case.
fn lower_hex(text: &str) -> Option<[u8; SIGNATURE_HEX_LEN]> {
    let mut digits: [u8; SIGNATURE_HEX_LEN] = text.as_bytes().try_into().ok()?;
    digits.make_ascii_lowercase();
    digits.iter().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)
}
