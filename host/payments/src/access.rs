//! Who sends a request and whether it may: the one policy that every door passes.
//!
//! The checks run in a fixed order: key (with a dummy computation when it is unknown), signature in constant time, time
//! stamp, revocation, IP list, scope. Replay of mutating calls is refused by the store, in the transaction of the effect.

pub mod key_cache;
pub mod signature;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;
use thiserror::Error;
use xthonpay_domain::access::{KeyId, Scope, SignatureScheme};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::time::Timestamp;

use crate::port::clock::Clock;
use crate::port::store::{Key, StoreError, UsedSignature};
use crate::port::vault::VaultError;
use key_cache::{KeyCache, OpenKey};
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
}

/// A caller that passed every check.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The key that was used.
    pub key: Arc<Key>,
    /// To be stored with the effect of a mutating call; it makes the store refuse a second use.
    pub used_signature: Option<UsedSignature>,
}

impl Principal {
    /// The merchant on whose behalf the call runs.
    #[must_use]
    pub fn merchant(&self) -> &MerchantId {
        &self.key.merchant
    }
}

/// A request that is turned away.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AccessError {
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
            Self::Store(error) => error.is_transient(),
            Self::Unauthorized
            | Self::ClockSkew { .. }
            | Self::KeyRevoked
            | Self::IpNotAllowed { .. }
            | Self::ScopeRequired { .. }
            | Self::SchemeDisabled { .. }
            | Self::Vault(_) => false,
        }
    }
}

/// Checks requests.
#[derive(Clone)]
pub struct Access {
    /// Keys with their opened secrets.
    pub keys: Arc<KeyCache>,
    /// The host's clock.
    pub clock: Arc<dyn Clock>,
    /// Whether keys of the `timestamp` scheme are accepted at all.
    pub allow_timestamp_scheme: bool,
}

impl Access {
    /// Lets a request pass or says why not.
    ///
    /// # Errors
    /// [`AccessError`], of the first check that fails.
    pub async fn authenticate(&self, request: SignedRequest<'_>, policy: Policy) -> Result<Principal, AccessError> {
        let known = match request.key.parse::<KeyId>() {
            Ok(id) => self.keys.get(&id).await?,
            Err(_) => None,
        };
        // An unknown key costs the same computation as a known one.
        let dummy = OpenKey::dummy();
        let (open, is_known) = known.as_deref().map_or((&dummy, false), |open| (open, true));
        let expected = hex_signature(&open.secret, open.key.scheme, request.timestamp, &request.parts);
        let given = lower_hex(request.signature).unwrap_or([0; SIGNATURE_HEX_LEN]);
        let matches = bool::from(expected.ct_eq(&given));
        if !(is_known && matches) {
            return Err(AccessError::Unauthorized);
        }
        let stamp = self.check_timestamp(request.timestamp, open.key.scheme)?;
        let key = &open.key;
        if key.revoked_at.is_some() {
            return Err(AccessError::KeyRevoked);
        }
        if key.scheme == SignatureScheme::Timestamp && !self.allow_timestamp_scheme {
            return Err(AccessError::SchemeDisabled { scheme: key.scheme });
        }
        let peer = request.peer.to_canonical();
        if !key.ip_list.is_empty() && !key.ip_list.iter().any(|network| network.contains(&peer)) {
            return Err(AccessError::IpNotAllowed { peer });
        }
        if !key.scopes.contains(&policy.scope) {
            return Err(AccessError::ScopeRequired { needed: policy.scope });
        }
        // A `timestamp` signature is the same for every request of its second, so it cannot be used only once.
        let once = policy.mutates && key.scheme == SignatureScheme::Request;
        let used_signature = once.then(|| UsedSignature {
            key: key.id.clone(),
            signature: String::from_utf8_lossy(&given).into_owned(),
            // Twice the window: the stamp may lie a whole window ahead of the clock.
            expires_at: stamp.max(self.clock.now()).after(DRIFT_REQUEST_MAX.saturating_mul(2)),
        });
        Ok(Principal { key: Arc::clone(key), used_signature })
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
