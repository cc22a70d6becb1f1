//! Thirty-two-byte hashes: one type for blocks and one for transactions, so that they cannot be confused.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

/// A text that is not `0x` followed by the right number of hexadecimal digits.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not 0x and {digits} hexadecimal digits")]
pub struct HexError {
    /// How many digits were expected behind `0x`.
    pub digits: usize,
}

impl HexError {
    /// Always `false`: the same text fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// Reads exactly `N` bytes written as `0x` and `2 N` hexadecimal digits of any case.
///
/// # Errors
/// [`HexError`] on any other text.
pub fn decode_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let error = HexError { digits: N.saturating_mul(2) };
    let digits = text.strip_prefix("0x").ok_or(error)?.as_bytes();
    if digits.len() != error.digits {
        return Err(error);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return Err(error) };
        *byte = nibble(*high).zip(nibble(*low)).map(|(high, low)| (high << 4) | low).ok_or(error)?;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// A hash from its bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        /// Shows `0x` and 64 digits in lower case.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                decode_hex(text).map(Self)
            }
        }
    };
}

hash_type! {
    /// The hash of a block's header.
    BlockHash
}
hash_type! {
    /// The hash of a signed transaction.
    TxHash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_other_lengths() {
        let text = format!("0x{}", "aB".repeat(32));
        let hash: BlockHash = text.parse().expect("64 digits");
        assert_eq!(hash.to_string(), text.to_lowercase());
        for digits in [0, 62, 63, 65, 66] {
            assert!(format!("0x{}", "a".repeat(digits)).parse::<TxHash>().is_err(), "{digits} digits");
        }
        assert!("ab".repeat(32).parse::<TxHash>().is_err(), "no prefix");
        assert!(format!("0x{}", "ag".repeat(32)).parse::<TxHash>().is_err(), "not hexadecimal");
    }
}
