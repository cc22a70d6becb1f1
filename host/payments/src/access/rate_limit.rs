//! How often a key may ask, and how often somebody may fail to show one.
//!
//! Nothing here is stored: a restart forgives everybody a minute's requests.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use xthonpay_domain::access::KeyId;
use xthonpay_domain::time::Timestamp;

use crate::budgets::{Budgets, Standing};

/// The budgets of keys, and of addresses for failures.
#[derive(Debug)]
pub struct RateLimits {
    requests_per_minute: NonZeroU32,
    failures_per_minute: NonZeroU32,
    keys: Budgets<KeyId>,
    origins: Budgets<IpAddr>,
}

impl RateLimits {
    /// Whole budgets: `requests_per_minute` for each key that has no figure of its own, `failures_per_minute` for each address
    /// from which requests are refused.
    #[must_use]
    pub fn new(requests_per_minute: NonZeroU32, failures_per_minute: NonZeroU32) -> Self {
        let (keys, origins) = (Budgets::new(), Budgets::new());
        Self { requests_per_minute, failures_per_minute, keys, origins }
    }

    /// Where a key stands; `own` is its own figure, if it has one.
    #[must_use]
    pub fn standing(&self, key: &KeyId, own: Option<NonZeroU32>, now: Timestamp) -> Standing {
        self.keys.standing(key, own.unwrap_or(self.requests_per_minute), now)
    }

    /// Counts a request of a key.
    ///
    /// # Errors
    /// How long to wait, when the key has spent its budget.
    pub fn spend(&self, key: &KeyId, own: Option<NonZeroU32>, now: Timestamp) -> Result<(), Duration> {
        self.keys.spend(key, own.unwrap_or(self.requests_per_minute), now)
    }

    /// Whether requests from an address are looked at.
    ///
    /// # Errors
    /// How long to wait, when too many from there were refused.
    pub fn check_origin(&self, peer: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let standing = self.origins.standing(&origin(peer), self.failures_per_minute, now);
        if standing.remaining == 0 { Err(standing.next_in) } else { Ok(()) }
    }

    /// Counts a request from an address that was refused.
    pub fn count_failure(&self, peer: IpAddr, now: Timestamp) {
        // An address that has spent everything is no longer looked at; requests that were under way by then change nothing.
        let _ = self.origins.spend(&origin(peer), self.failures_per_minute, now);
    }
}

/// Whom an address stands for: itself, or its /64, because a subscriber of IPv6 has a whole one.
fn origin(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_of_ipv6_is_one_origin() {
        for (one, other, same) in [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("::ffff:203.0.113.7", "203.0.113.7", true),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            let parse = |text: &str| origin(text.parse().expect("an address"));
            assert_eq!(parse(one) == parse(other), same, "{one} {other}");
        }
    }
}
