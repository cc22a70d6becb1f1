//! What may be changed about a key, and how it is written.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::{IpNet, Ipv4Net};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::text::Label;
use xthonpay_domain::time::Timestamp;

use crate::port::store::Key;

/// Bits of an IPv6 address in front of an IPv4 address that is written as one (`::ffff:203.0.113.7`).
const MAPPED_PREFIX_BITS: u8 = 96;

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

    pub(super) fn of(key: &Key) -> Self {
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
    pub(super) fn in_order(mut self) -> Self {
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
    pub(super) fn applied_to(&self, key: &Key) -> KeyTerms {
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
