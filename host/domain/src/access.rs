//! What a key may do and how its requests are signed.
//!
//! Holds no secret and computes no signature: see `xthonpay-payments`, module `access`.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::text::{TextError, is_deceptive};

/// One permission of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read balances, invoices and events.
    Read,
    /// Create and change invoices.
    Write,
    /// Manage webhook endpoints and deliveries.
    Webhooks,
    /// Move money out.
    Withdraw,
}

/// How the requests of a key are signed. Fixed when the key is made: the host never guesses it from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// `hex(HMAC-SHA256(secret, "{timestamp}\n{METHOD}\n{path}\n" + body))`: the signature covers the request.
    Request,
    /// `hex(HMAC-SHA256(secret, timestamp))`: proves possession of the secret and nothing about the request.
    Timestamp,
}

/// Whether a key works on real money or on the simulated chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Real money.
    Live,
    /// Simulation.
    Test,
}

/// A word that is not one of the closed set.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("unknown {what}; expected one of: {expected}")]
pub struct UnknownWord {
    /// What kind of word was expected.
    pub what: &'static str,
    /// The words that exist.
    pub expected: &'static str,
}

impl UnknownWord {
    /// Always `false`: the same word fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl Scope {
    /// The scope's word in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Webhooks => "webhooks",
            Self::Withdraw => "withdraw",
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Read, Self::Write, Self::Webhooks, Self::Withdraw];
        let unknown = UnknownWord { what: "scope", expected: "read, write, webhooks, withdraw" };
        all.into_iter().find(|scope| scope.name() == text).ok_or(unknown)
    }
}

impl SignatureScheme {
    /// The scheme's word in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Timestamp => "timestamp",
        }
    }
}

impl FromStr for SignatureScheme {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = UnknownWord { what: "signature scheme", expected: "request, timestamp" };
        [Self::Request, Self::Timestamp].into_iter().find(|scheme| scheme.name() == text).ok_or(unknown)
    }
}

impl Mode {
    /// The word inside key ids and secrets.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

/// The public id of a key, such as `xpk_live_2f9c0d…`; sent in `X-API-Key`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// The longest id that is looked up; longer ones cannot exist.
    pub const LEN_MAX: usize = 64;

    /// A new id of 96 random bits. It is public, so it need not be unguessable, only unique.
    #[must_use]
    pub fn from_random(mode: Mode, bytes: [u8; 12]) -> Self {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("xpk_{}_{digits}", mode.name()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mode that the prefix states.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.0.starts_with("xpk_test_") { Mode::Test } else { Mode::Live }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::LEN_MAX {
            return Err(TextError::TooLong { max: Self::LEN_MAX });
        }
        let known = text.starts_with("xpk_live_") || text.starts_with("xpk_test_");
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !text.chars().any(is_deceptive);
        if known && plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(TextError::Character { allowed: "a key id looks like xpk_live_ or xpk_test_ and letters and digits" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for scope in [Scope::Read, Scope::Write, Scope::Webhooks, Scope::Withdraw] {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        assert!("admin".parse::<Scope>().is_err());
        for scheme in [SignatureScheme::Request, SignatureScheme::Timestamp] {
            assert_eq!(scheme.name().parse(), Ok(scheme));
        }
    }

    #[test]
    fn key_ids_say_their_mode() {
        let id = KeyId::from_random(Mode::Test, [1; 12]);
        assert_eq!(id.as_str(), "xpk_test_010101010101010101010101");
        assert_eq!(id.mode(), Mode::Test);
        assert_eq!(id.as_str().parse(), Ok(id));
        for text in ["", "xpk_", "xps_live_00", "xpk_live_a:b", "xpk_live_`", &format!("xpk_live_{}", "0".repeat(60))] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }
}
