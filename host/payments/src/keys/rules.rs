//! The rules that every key keeps, when it is made and when it is changed.

use std::collections::BTreeSet;
use std::time::Duration;

use thiserror::Error;
use xthonpay_domain::access::{Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::time::Timestamp;

use super::{KeyTerms, Keys};
use crate::catalog::mode_of;
use crate::port::store::Key;

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
/// The longest time that a replaced key goes on beside the new one. A rotation whose old secret lives longer is none.
pub const OVERLAP_MAX: Duration = Duration::from_secs(30 * 86_400);

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

impl Keys {
    /// The key under these terms, if together they keep every rule.
    pub(super) fn under(&self, key: Key, terms: KeyTerms, now: Timestamp) -> Result<Key, KeyRule> {
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
