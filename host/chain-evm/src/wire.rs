//! The shape of blocks, transactions, receipts and logs in JSON.
//!
//! Only the members that a payment host needs are read; unknown members and unknown transaction types are passed over, which
//! alloy's complete types do not do (and they parse eleven times slower). What is read is read to the letter: quantities
//! without leading zeros, data with two digits a byte, hashes and addresses of their exact length. Whether the parts fit
//! together is not known here.

pub(crate) mod whole;

use core::fmt;
use core::marker::PhantomData;

use alloy_primitives::hex;
use serde::de::Visitor;
use thiserror::Error;

/// A text that is not hexadecimal as Ethereum's JSON-RPC writes it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum HexFault {
    /// No `0x` in front.
    #[error("hexadecimal text without 0x")]
    NoPrefix,
    /// Nothing behind `0x`.
    #[error("0x without digits")]
    NoDigits,
    /// A quantity such as `0x01`.
    #[error("a quantity with leading zeros")]
    LeadingZero,
    /// A character that is no digit, or an odd number of digits in data.
    #[error("not hexadecimal")]
    NotHex,
    /// More than the type holds.
    #[error("a quantity out of range")]
    OutOfRange,
    /// A hash or an address of another length.
    #[error("not exactly {0} bytes")]
    Length(usize),
}

impl HexFault {
    /// Always `false`: the same text fails the same way.
    #[cfg_attr(not(test), expect(dead_code, reason = "serde turns the fault into text"))]
    pub(crate) fn is_transient(self) -> bool {
        false
    }
}

/// Hexadecimal text with one meaning.
trait FromHex: Sized {
    fn from_hex(text: &str) -> Result<Self, HexFault>;
}

/// A number up to 2^64 - 1: heights, times, gas, indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantity(pub(crate) u64);

/// A number up to 2^256 - 1 as its 32 big-endian bytes: money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) [u8; 32]);

/// Exactly `N` bytes: hashes, topics and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fixed<const N: usize>(pub(crate) [u8; N]);

/// Any number of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data(pub(crate) Vec<u8>);

/// A header, from a block asked for without its transactions.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    pub(crate) number: Option<Quantity>,
    pub(crate) hash: Option<Fixed<32>>,
    pub(crate) parent_hash: Fixed<32>,
    pub(crate) timestamp: Quantity,
}

/// A block with its transactions.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Block {
    pub(crate) number: Option<Quantity>,
    pub(crate) hash: Option<Fixed<32>>,
    pub(crate) parent_hash: Fixed<32>,
    pub(crate) timestamp: Quantity,
    pub(crate) gas_used: Quantity,
    pub(crate) transactions: Vec<Transaction>,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Transaction {
    pub(crate) hash: Fixed<32>,
    pub(crate) block_hash: Option<Fixed<32>>,
    pub(crate) block_number: Option<Quantity>,
    pub(crate) transaction_index: Option<Quantity>,
    /// Absent when the transaction creates a contract.
    pub(crate) to: Option<Fixed<20>>,
    pub(crate) value: Word,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    pub(crate) transaction_hash: Fixed<32>,
    pub(crate) transaction_index: Quantity,
    pub(crate) block_hash: Fixed<32>,
    pub(crate) block_number: Quantity,
    /// Absent before the Byzantium fork of 2017, which is refused: money needs a status.
    pub(crate) status: Option<Quantity>,
    pub(crate) cumulative_gas_used: Quantity,
    pub(crate) logs: Vec<Log>,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Log {
    pub(crate) address: Fixed<20>,
    pub(crate) topics: Vec<Fixed<32>>,
    pub(crate) data: Data,
    pub(crate) block_hash: Option<Fixed<32>>,
    pub(crate) transaction_hash: Option<Fixed<32>>,
    pub(crate) log_index: Option<Quantity>,
    #[serde(default)]
    pub(crate) removed: bool,
}

impl FromHex for Quantity {
    fn from_hex(text: &str) -> Result<Self, HexFault> {
        u64::from_str_radix(quantity_digits(text)?, 16).map(Self).map_err(|_| HexFault::OutOfRange)
    }
}

impl FromHex for Word {
    fn from_hex(text: &str) -> Result<Self, HexFault> {
        let digits = quantity_digits(text)?.as_bytes();
        let mut padded = [b'0'; 64];
        let behind = padded.len().checked_sub(digits.len()).and_then(|start| padded.get_mut(start..));
        behind.ok_or(HexFault::OutOfRange)?.copy_from_slice(digits);
        bytes_of(&padded).map(Self)
    }
}

impl<const N: usize> FromHex for Fixed<N> {
    fn from_hex(text: &str) -> Result<Self, HexFault> {
        let digits = text.strip_prefix("0x").ok_or(HexFault::NoPrefix)?;
        if digits.len() != N.saturating_mul(2) {
            return Err(HexFault::Length(N));
        }
        bytes_of(digits.as_bytes()).map(Self)
    }
}

impl FromHex for Data {
    fn from_hex(text: &str) -> Result<Self, HexFault> {
        let digits = text.strip_prefix("0x").ok_or(HexFault::NoPrefix)?;
        // The decoder would pass over a second prefix.
        if digits.starts_with("0x") {
            return Err(HexFault::NotHex);
        }
        hex::decode(digits).map(Self).map_err(|_| HexFault::NotHex)
    }
}

/// Exactly `N` bytes of twice as many digits.
fn bytes_of<const N: usize>(digits: &[u8]) -> Result<[u8; N], HexFault> {
    // The decoder would pass over a prefix, which makes it see fewer digits than bytes.
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| HexFault::NotHex)?;
    Ok(bytes)
}

fn quantity_digits(text: &str) -> Result<&str, HexFault> {
    let digits = text.strip_prefix("0x").ok_or(HexFault::NoPrefix)?;
    if digits.is_empty() {
        Err(HexFault::NoDigits)
    } else if digits.len() > 1 && digits.starts_with('0') {
        Err(HexFault::LeadingZero)
    } else if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        Err(HexFault::NotHex)
    } else {
        Ok(digits)
    }
}

struct HexVisitor<T>(PhantomData<T>);

impl<T: FromHex> Visitor<'_> for HexVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hexadecimal text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::from_hex(text).map_err(E::custom)
    }
}

macro_rules! deserialize_from_hex {
    ($(($($generics:tt)*) $name:ty;)*) => {$(
        impl<'de, $($generics)*> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let read = deserializer.deserialize_str($crate::wire::HexVisitor(core::marker::PhantomData));
                read.map_err(<D::Error as serde::de::Error>::custom)
            }
        }
    )*};
}
use deserialize_from_hex;

deserialize_from_hex! {
    () Quantity;
    () Word;
    () Data;
    (const N: usize) Fixed<N>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault<T: FromHex + fmt::Debug>(text: &str) -> HexFault {
        let fault = T::from_hex(text).expect_err(text);
        assert!(!fault.is_transient());
        fault
    }

    #[test]
    fn reads_quantities_to_the_letter() {
        assert_eq!(Quantity::from_hex("0x0"), Ok(Quantity(0)));
        assert_eq!(Quantity::from_hex("0xffffffffffffffff"), Ok(Quantity(u64::MAX)));
        assert_eq!(Quantity::from_hex("0x10000000000000000"), Err(HexFault::OutOfRange));
        let table = [
            ("", HexFault::NoPrefix),
            ("10", HexFault::NoPrefix),
            ("0X10", HexFault::NoPrefix),
            (" 0x1", HexFault::NoPrefix),
            ("-0x1", HexFault::NoPrefix),
            ("0x", HexFault::NoDigits),
            ("0x00", HexFault::LeadingZero),
            ("0x01", HexFault::LeadingZero),
            ("0x+1", HexFault::NotHex),
            ("0x-1", HexFault::NotHex),
            ("0x1 ", HexFault::NotHex),
            ("0x1_0", HexFault::NotHex),
            ("0xg", HexFault::NotHex),
            ("0x１", HexFault::NotHex),
        ];
        for (text, expected) in table {
            assert_eq!(fault::<Quantity>(text), expected, "{text:?}");
            assert_eq!(fault::<Word>(text), expected, "{text:?}");
        }
    }

    #[test]
    fn words_hold_two_to_the_256_minus_one_and_no_more() {
        assert_eq!(Word::from_hex(&format!("0x{}", "f".repeat(64))), Ok(Word([0xff; 32])));
        assert_eq!(fault::<Word>(&format!("0x1{}", "0".repeat(64))), HexFault::OutOfRange);
        assert_eq!(Word::from_hex("0x102").expect("fits").0.last_chunk(), Some(&[1, 2]));
    }

    #[test]
    fn fixed_bytes_have_their_exact_length() {
        for digits in [0, 40, 62, 63, 65, 66] {
            assert_eq!(fault::<Fixed<32>>(&format!("0x{}", "a".repeat(digits))), HexFault::Length(32), "{digits}");
        }
        assert_eq!(fault::<Fixed<32>>(&"a".repeat(64)), HexFault::NoPrefix);
        assert_eq!(fault::<Fixed<2>>("0xabcg"), HexFault::NotHex);
        assert_eq!(Fixed::from_hex("0xaBcd"), Ok(Fixed([0xab, 0xcd])));
    }

    #[test]
    fn data_has_two_digits_a_byte() {
        assert_eq!(Data::from_hex("0x"), Ok(Data(Vec::new())));
        assert_eq!(fault::<Data>("0xabc"), HexFault::NotHex);
        assert_eq!(fault::<Data>("0x0xab"), HexFault::NotHex);
        assert_eq!(fault::<Fixed<2>>("0x0xab"), HexFault::NotHex);
        assert_eq!(fault::<Data>("abcd"), HexFault::NoPrefix);
    }

    #[test]
    fn refuses_numbers_and_repeated_members() {
        assert!(serde_json::from_str::<Quantity>("16").is_err());
        assert!(serde_json::from_str::<Quantity>("null").is_err());
        assert!(serde_json::from_str::<Quantity>("\"0x10\"").is_ok());
        assert!(serde_json::from_str::<Quantity>("\"\\u0030x10\"").is_ok(), "an escaped text is the same text");
        let zero = format!("0x{}", "0".repeat(64));
        let header = format!(r#"{{"parentHash":"{zero}","timestamp":"0x1","timestamp":"0x2"}}"#);
        assert!(serde_json::from_str::<Header>(&header).is_err());
    }
}
