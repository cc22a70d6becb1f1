//! Public identifiers: a prefix that says what the thing is, then 128 random bits or a digest, in lower-case hexadecimal.
//!
//! Ids are opaque to merchants. Random ones come from 16 bytes that the caller draws from the random port; those that must
//! be the same whenever the same fact is seen again (deposits, postings) come from a digest of that fact.

use core::fmt;
use core::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

/// Bytes of an id behind its prefix: 128 bits, so that guessing or colliding is out of reach.
pub const ID_BYTES: usize = 16;

/// A text that is not an id of the expected kind.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not an id of the form {prefix}<32 hexadecimal digits>")]
pub struct IdError {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

impl IdError {
    /// Always `false`: the same text fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

fn parse_suffix(text: &str, prefix: &'static str) -> Result<String, IdError> {
    let error = IdError { prefix };
    let digits = text.strip_prefix(prefix).ok_or(error)?;
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() == ID_BYTES * 2 && digits.bytes().all(lower_hex) { Ok(text.to_owned()) } else { Err(error) }
}

fn write_id(prefix: &str, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(prefix.len().saturating_add(ID_BYTES * 2));
    text.push_str(prefix);
    for byte in bytes.iter().take(ID_BYTES) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// An id from 16 random bytes.
            #[must_use]
            pub fn from_random(bytes: [u8; ID_BYTES]) -> Self {
                Self(write_id(Self::PREFIX, &bytes))
            }

            /// The id of a fact: equal parts give equal ids, different parts different ones (SHA-256, cut to 128 bits).
            #[must_use]
            pub fn from_fact(parts: &[&str]) -> Self {
                let mut hasher = Sha256::new();
                hasher.update(Self::PREFIX);
                for part in parts {
                    // The length in front keeps ("ab", "c") and ("a", "bc") apart.
                    hasher.update(part.len().to_be_bytes());
                    hasher.update(part);
                }
                Self(write_id(Self::PREFIX, &hasher.finalize()))
            }

            /// The whole id with its prefix.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_suffix(text, Self::PREFIX).map(Self)
            }
        }
    };
}

id_type! {
    /// A merchant, the owner of invoices, keys and a balance.
    MerchantId, "mer_"
}
id_type! {
    /// An invoice.
    InvoiceId, "inv_"
}
id_type! {
    /// A deposit; made from the identity of its transfer, see [`crate::transfer::TransferIdentity`].
    DepositId, "dep_"
}
id_type! {
    /// A posting in the ledger; made from its cause.
    PostingId, "pst_"
}
id_type! {
    /// An event; equal to the `webhook-id` of its deliveries.
    EventId, "evt_"
}
id_type! {
    /// One event going to one endpoint.
    DeliveryId, "dlv_"
}
id_type! {
    /// A webhook endpoint of a merchant.
    EndpointId, "whe_"
}
id_type! {
    /// A withdrawal that was asked for.
    WithdrawalId, "wd_"
}
id_type! {
    /// A request, echoed as `X-Request-Id`.
    RequestId, "req_"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_its_own_kind() {
        let id = InvoiceId::from_random([0xab; ID_BYTES]);
        assert_eq!(id.as_str(), format!("inv_{}", "ab".repeat(16)));
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert!(id.as_str().parse::<MerchantId>().is_err());
        for text in ["inv_", "inv_zz", "INV_abab", "inv_a:b", "inv_`", &format!("inv_{}", "AB".repeat(16))] {
            assert!(text.parse::<InvoiceId>().is_err(), "{text}");
        }
    }

    #[test]
    fn facts_give_stable_and_separate_ids() {
        assert_eq!(DepositId::from_fact(&["a", "b"]), DepositId::from_fact(&["a", "b"]));
        assert_ne!(DepositId::from_fact(&["ab", "c"]), DepositId::from_fact(&["a", "bc"]));
        assert_ne!(DepositId::from_fact(&["a"]).as_str()[4..], PostingId::from_fact(&["a"]).as_str()[4..]);
    }
}
