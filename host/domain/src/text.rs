//! Short names and free texts from outside, bounded and free of control characters.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// A text that is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TextError {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// More bytes than allowed.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The limit in bytes of UTF-8.
        max: usize,
    },
    /// A character that the kind of text does not admit.
    #[error("{allowed}")]
    Character {
        /// What is allowed, as a sentence for people.
        allowed: &'static str,
    },
}

impl TextError {
    /// Always `false`: the same text fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// Whether a character could change how the surrounding text is displayed or read: control characters, and the invisible
/// and direction-changing ones of Unicode.
#[must_use]
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, max $max:literal, $allowed:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The longest allowed text, in bytes of UTF-8.
            pub const LEN_MAX: usize = $max;

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let allowed: fn(char) -> bool = $check;
                if text.is_empty() {
                    Err(TextError::Empty)
                } else if text.len() > Self::LEN_MAX {
                    Err(TextError::TooLong { max: Self::LEN_MAX })
                } else if !text.chars().all(allowed) {
                    Err(TextError::Character { allowed: $allowed })
                } else {
                    Ok(Self(text.to_owned()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// The operator's name of a chain, such as `bsc`.
    ChainName, max 32, "use lower-case letters, digits and dashes only",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}
text_type! {
    /// The symbol of an asset, such as `USDT`. A label for people: tokens are recognised by their contract, never by symbol.
    Symbol, max 16, "use upper-case letters and digits only",
    |c| c.is_ascii_uppercase() || c.is_ascii_digit()
}
text_type! {
    /// The merchant's own name of an order; unique among the invoices of a merchant.
    ExternalId, max 128, "must not hold control, invisible or direction-changing characters",
    |c| !is_deceptive(c)
}
text_type! {
    /// The merchant's own name of a customer.
    CustomerRef, max 128, "must not hold control, invisible or direction-changing characters",
    |c| !is_deceptive(c)
}
text_type! {
    /// A name that a person gave to a merchant or key.
    Label, max 64, "must not hold control, invisible or direction-changing characters",
    |c| !is_deceptive(c)
}
text_type! {
    /// The key of a metadata entry.
    MetadataKey, max 40, "use letters, digits, dots, dashes and underscores only",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}
text_type! {
    /// The value of a metadata entry.
    MetadataValue, max 256, "must not hold control, invisible or direction-changing characters",
    |c| !is_deceptive(c)
}

text_type! {
    /// A plugin's name in the operator's config.
    PluginName, max 64, "use lower-case letters, digits and dashes only",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}
text_type! {
    /// The operator's name of something that is lent to plugins: a space of storage, an upstream, a signer, a source of rates.
    LoanLabel, max 32, "use lower-case letters, digits and dashes only",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}
text_type! {
    /// The key under which a plugin keeps a value.
    ItemKey, max 256, "must not hold control, invisible or direction-changing characters",
    |c| !is_deceptive(c)
}
text_type! {
    /// What a caller sends as `Idempotency-Key`: a name of its own for one effect that it wants once.
    IdempotencyKey, max 255, "use printable ASCII only",
    |c| c.is_ascii_graphic() || c == ' '
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_deceive_a_reader() {
        for text in ["a\0b", "a\nb", "a\u{202e}b", "a\u{200b}", "\u{feff}a"] {
            assert!(matches!(text.parse::<ExternalId>(), Err(TextError::Character { .. })), "{text:?}");
        }
        assert_eq!("".parse::<ExternalId>(), Err(TextError::Empty));
        assert_eq!("x".repeat(129).parse::<ExternalId>(), Err(TextError::TooLong { max: 128 }));
        let harmless = "order `1`; DROP 'x' a:b Ünï 🧾";
        assert_eq!(harmless.parse::<ExternalId>().expect("allowed").as_str(), harmless);
    }

    #[test]
    fn names_keep_to_their_alphabets() {
        assert!("bsc-testnet2".parse::<ChainName>().is_ok());
        assert!("BSC".parse::<ChainName>().is_err());
        assert!("USDT".parse::<Symbol>().is_ok());
        assert!("usdt".parse::<Symbol>().is_err());
        assert!("ＵＳＤＴ".parse::<Symbol>().is_err());
    }
}
