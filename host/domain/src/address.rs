//! Twenty-byte EVM addresses with the mixed-case checksum of EIP-55.
//!
//! Does not know who owns an address or whether it has code.

use core::fmt;
use core::str::FromStr;

use sha3::{Digest, Keccak256};
use thiserror::Error;

use crate::hash::{HexError, decode_hex};

/// An account or contract on an EVM chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 20]);

/// A text that is not an address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// Not `0x` followed by 40 hexadecimal digits.
    #[error("not an address: write 0x and 40 hexadecimal digits")]
    NotAnAddress,
    /// Mixed case that does not carry the checksum of EIP-55: most likely a digit was mistyped.
    #[error("the address fails its EIP-55 checksum: check every digit, or write it all in lower case")]
    BadChecksum,
}

impl AddressError {
    /// Always `false`: the same text fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl From<HexError> for AddressError {
    fn from(_: HexError) -> Self {
        Self::NotAnAddress
    }
}

impl Address {
    /// The zero address, which nobody owns.
    pub const ZERO: Self = Self([0; 20]);

    /// An address from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// All 40 digits in lower case behind `0x`: the form in which addresses are stored and compared.
    #[must_use]
    pub fn to_lower_hex(&self) -> String {
        let mut text = String::with_capacity(42);
        text.push_str("0x");
        for byte in self.0 {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

/// Shows the checksummed form of EIP-55, the form for people.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lower = self.to_lower_hex();
        let digits = lower.trim_start_matches("0x");
        let hash = Keccak256::digest(digits.as_bytes());
        f.write_str("0x")?;
        let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
        for (digit, nibble) in digits.chars().zip(nibbles) {
            let shown = if nibble >= 8 { digit.to_ascii_uppercase() } else { digit };
            fmt::Write::write_char(f, shown)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads `0x` and 40 digits: all lower case, all upper case, or mixed case with a correct EIP-55 checksum.
impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = Self(decode_hex(text)?);
        let digits = text.get(2..).unwrap_or_default();
        let mixed = digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
        if mixed && address.to_string() != text {
            return Err(AddressError::BadChecksum);
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of EIP-55.
    const CHECKSUMMED: [&str; 4] = [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn writes_the_eip_55_examples() {
        for text in CHECKSUMMED {
            let address: Address = text.to_lowercase().parse().expect("lower case is accepted");
            assert_eq!(address.to_string(), text);
            assert_eq!(text.parse(), Ok(address));
        }
    }

    #[test]
    fn refuses_one_wrong_case() {
        let wrong = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed";
        assert_eq!(wrong.parse::<Address>(), Err(AddressError::BadChecksum));
    }

    #[test]
    fn refuses_what_is_not_an_address() {
        let refused = [
            "",
            "0x",
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0X5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed0",
            "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beae\u{200b}",
            "vitalik.eth",
            "0xg aeb6053f3e94c9b9a09f33669435e7ef1beaed",
        ];
        for text in refused {
            assert_eq!(text.parse::<Address>(), Err(AddressError::NotAnAddress), "{text:?}");
        }
    }
}
