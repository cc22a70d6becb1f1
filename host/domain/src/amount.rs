//! Amounts of money as 256-bit integers in an asset's base unit.
//!
//! An [`Amount`] does not know its asset: the number of decimals belongs to the asset and is only needed where a decimal
//! string is read or written. There is no floating point and no unchecked arithmetic; every operation that can leave the
//! range says so in its type.

use core::fmt;
use core::iter;

use ruint::aliases::U256;
use thiserror::Error;

/// Basis points in a whole: 10 000 bps are 100 %.
pub const BPS_IN_WHOLE: u32 = 10_000;

/// The longest decimal string that is looked at: 78 integer digits (2^256 has 78), a point, and 77 fractional digits.
const DECIMAL_TEXT_LEN_MAX: usize = 78 + 1 + 77;
const _: () = assert!(Decimals::MAX == 77, "the longest text follows from the most decimals");

/// A non-negative amount in base units (wei for BNB), from 0 to 2^256 - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(U256);

/// How many digits of an asset stand behind the decimal point, from 0 to 77.
///
/// 77 is the largest power of ten that fits in 256 bits; real tokens use 6 to 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimals(u8);

/// A text that is not an amount, or a result outside the range of 256 bits.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AmountError {
    /// The text is not a plain decimal number: ASCII digits with at most one point between digits.
    #[error("not a plain decimal number: use digits and at most one point, such as \"12.50\"")]
    NotADecimal,
    /// The text has more fractional digits than the asset has.
    #[error("more than {allowed} digits behind the decimal point")]
    TooManyDecimals {
        /// Decimals of the asset.
        allowed: u8,
    },
    /// The value does not fit in 256 bits.
    #[error("larger than 2^256 - 1 base units")]
    Overflow,
    /// The result of a subtraction would be below zero.
    #[error("the result would be below zero")]
    Underflow,
    /// The number of decimals is above [`Decimals::MAX`].
    #[error("{0} decimals; at most 77 fit in 256 bits")]
    DecimalsOutOfRange(u8),
}

impl AmountError {
    /// Always `false`: the same input fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl Decimals {
    /// The largest supported number of decimals.
    pub const MAX: u8 = 77;

    /// Decimals of an asset.
    ///
    /// # Errors
    /// [`AmountError::DecimalsOutOfRange`] above [`Decimals::MAX`].
    pub fn new(decimals: u8) -> Result<Self, AmountError> {
        if decimals > Self::MAX { Err(AmountError::DecimalsOutOfRange(decimals)) } else { Ok(Self(decimals)) }
    }

    /// The number of digits behind the point.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// The largest amount, 2^256 - 1 base units.
    pub const MAX: Self = Self(U256::MAX);
    /// The largest payment that is taken for money, 2^192 - 1 base units: no asset that is worth anything has as many, and
    /// 2^64 payments, more than any chain will ever carry, stay within 256 bits. A contract that lets anybody mint can show
    /// larger ones, and no sum may stop at them.
    pub const PAYMENT_MAX: Self = Self(U256::from_limbs([u64::MAX, u64::MAX, u64::MAX, 0]));

    /// An amount of `units` base units.
    #[must_use]
    pub const fn from_units(units: u128) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15] = units.to_le_bytes();
        let low = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        let high = u64::from_le_bytes([b8, b9, b10, b11, b12, b13, b14, b15]);
        Self(U256::from_limbs([low, high, 0, 0]))
    }

    /// An amount from its 32 big-endian bytes, as an EVM word carries it.
    #[must_use]
    pub const fn from_be_bytes(word: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(word))
    }

    /// The 32 big-endian bytes of the amount.
    #[must_use]
    pub const fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// Reads a decimal string such as `"12.50"` in units of the asset.
    ///
    /// Accepted: ASCII digits, without leading zeros, with at most one point that has digits on both sides. Nothing else:
    /// no sign, exponent, grouping, white space or non-ASCII digit.
    ///
    /// # Errors
    /// [`AmountError::NotADecimal`], [`AmountError::TooManyDecimals`] or [`AmountError::Overflow`].
    pub fn parse(text: &str, decimals: Decimals) -> Result<Self, AmountError> {
        if text.len() > DECIMAL_TEXT_LEN_MAX {
            return Err(AmountError::NotADecimal);
        }
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(AmountError::NotADecimal),
            Some(parts) => parts,
            None => (text, ""),
        };
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || leading_zero || !all_digits {
            return Err(AmountError::NotADecimal);
        }
        let missing = usize::from(decimals.0)
            .checked_sub(fraction.len())
            .ok_or(AmountError::TooManyDecimals { allowed: decimals.0 })?;
        Self::from_digits(whole.bytes().chain(fraction.bytes()).chain(iter::repeat_n(b'0', missing)))
    }

    /// Reads a whole number of base units, as it is stored.
    ///
    /// # Errors
    /// [`AmountError::NotADecimal`] or [`AmountError::Overflow`].
    pub fn parse_units(text: &str) -> Result<Self, AmountError> {
        Self::parse(text, Decimals(0))
    }

    fn from_digits(digits: impl Iterator<Item = u8>) -> Result<Self, AmountError> {
        let ten = U256::from(10u8);
        digits
            .map(|byte| U256::from(byte.wrapping_sub(b'0')))
            .try_fold(U256::ZERO, |sum, digit| sum.checked_mul(ten)?.checked_add(digit))
            .map(Self)
            .ok_or(AmountError::Overflow)
    }

    /// The amount as a decimal string without superfluous zeros: `"12.5"`, `"0"`, `"100"`.
    #[must_use]
    pub fn to_decimal(self, decimals: Decimals) -> String {
        let digits = self.0.to_string();
        let places = usize::from(decimals.0);
        let padded = format!("{digits:0>width$}", width = places.saturating_add(1));
        let (whole, fraction) = padded.split_at(padded.len().saturating_sub(places));
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }

    /// Whether the amount is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The sum.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] above 2^256 - 1.
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_add(other.0).map(Self).ok_or(AmountError::Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`AmountError::Underflow`] when `other` is larger.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_sub(other.0).map(Self).ok_or(AmountError::Underflow)
    }

    /// The difference, or zero when `other` is larger.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The amount `times` times.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] above 2^256 - 1.
    pub fn times(self, times: u64) -> Result<Self, AmountError> {
        self.0.checked_mul(U256::from(times)).map(Self).ok_or(AmountError::Overflow)
    }

    /// `bps` hundredths of a percent of the amount, rounded down. Exact over the whole range.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] when `bps` is above 10 000 and the result leaves 256 bits.
    pub fn share_bps(self, bps: u32) -> Result<Self, AmountError> {
        let whole = U256::from(BPS_IN_WHOLE);
        let (quotient, remainder) = self.0.div_rem(whole);
        let bps = U256::from(bps);
        // amount * bps / 10 000 = quotient * bps + remainder * bps / 10 000, which overflows only if the result does.
        let small = remainder.checked_mul(bps).and_then(|product| product.checked_div(whole));
        quotient
            .checked_mul(bps)
            .zip(small)
            .and_then(|(large, small)| large.checked_add(small))
            .map(Self)
            .ok_or(AmountError::Overflow)
    }

    /// The sum of all amounts.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] above 2^256 - 1.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, AmountError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

/// Shows base units as a whole number, the form in which amounts are stored.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHTEEN: Decimals = Decimals(18);
    const MAX_UNITS: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

    fn wei(text: &str) -> Amount {
        Amount::parse(text, EIGHTEEN).expect("a valid amount")
    }

    #[test]
    fn reads_and_writes_the_same_value_at_every_edge() {
        let table = [
            ("0", "0", "0"),
            ("0.000000000000000001", "1", "0.000000000000000001"),
            ("50.00", "50000000000000000000", "50"),
            ("0.50", "500000000000000000", "0.5"),
            ("9.223372036854775808", "9223372036854775808", "9.223372036854775808"), // 2^63
            ("18.446744073709551616", "18446744073709551616", "18.446744073709551616"), // 2^64
        ];
        for (text, units, canonical) in table {
            assert_eq!(wei(text).to_string(), units, "{text}");
            assert_eq!(wei(text).to_decimal(EIGHTEEN), canonical, "{text}");
            assert_eq!(wei(canonical), wei(text), "{text}");
        }
    }

    #[test]
    fn holds_two_to_the_256_minus_one_and_no_more() {
        let max = Amount::parse_units(MAX_UNITS).expect("fits");
        assert_eq!(max, Amount::MAX);
        assert_eq!(max.to_string(), MAX_UNITS);
        assert_eq!(Amount::parse(&max.to_decimal(EIGHTEEN), EIGHTEEN), Ok(max));
        let above = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        assert_eq!(Amount::parse_units(above), Err(AmountError::Overflow));
        assert_eq!(Amount::parse(MAX_UNITS, EIGHTEEN), Err(AmountError::Overflow));
    }

    #[test]
    fn refuses_everything_that_is_not_a_plain_decimal() {
        let refused = [
            "",
            " ",
            ".",
            ".5",
            "5.",
            "+5",
            "-5",
            "-0",
            "1e18",
            "1E2",
            "0x10",
            "1_000",
            "1,5",
            "1 ",
            " 1",
            "1.2.3",
            "NaN",
            "inf",
            "１",
            "５.0",
            "٣",
            "1\0",
            "1\u{200b}",
            "00",
            "01.5",
            "1.-5",
        ];
        for text in refused {
            assert_eq!(Amount::parse(text, EIGHTEEN), Err(AmountError::NotADecimal), "{text:?}");
        }
        assert_eq!(Amount::parse(&"9".repeat(10_000), EIGHTEEN), Err(AmountError::NotADecimal));
    }

    #[test]
    fn refuses_more_decimals_than_the_asset_has() {
        let six = Decimals::new(6).expect("in range");
        assert_eq!(Amount::parse("1.0000001", six), Err(AmountError::TooManyDecimals { allowed: 6 }));
        assert_eq!(Amount::parse("0.0000000000000000001", EIGHTEEN), Err(AmountError::TooManyDecimals { allowed: 18 }));
        assert_eq!(Amount::parse("1.5", Decimals(0)), Err(AmountError::TooManyDecimals { allowed: 0 }));
        assert_eq!(Decimals::new(78), Err(AmountError::DecimalsOutOfRange(78)));
    }

    #[test]
    fn arithmetic_never_wraps() {
        let one = Amount::from_units(1);
        assert_eq!(Amount::MAX.checked_add(one), Err(AmountError::Overflow));
        assert_eq!(Amount::ZERO.checked_sub(one), Err(AmountError::Underflow));
        assert_eq!(Amount::ZERO.saturating_sub(one), Amount::ZERO);
        assert_eq!(Amount::sum([Amount::MAX, one]), Err(AmountError::Overflow));
        assert_eq!(Amount::from_units(u128::MAX).to_string(), u128::MAX.to_string());
    }

    #[test]
    fn takes_a_share_without_losing_precision() {
        assert_eq!(wei("100").share_bps(100), Ok(wei("1")));
        assert_eq!(Amount::from_units(9_999).share_bps(1), Ok(Amount::ZERO));
        assert_eq!(Amount::from_units(19_999).share_bps(5_000), Ok(Amount::from_units(9_999)));
        assert_eq!(Amount::MAX.share_bps(BPS_IN_WHOLE), Ok(Amount::MAX));
        assert_eq!(Amount::MAX.share_bps(BPS_IN_WHOLE + 1), Err(AmountError::Overflow));
    }

    #[test]
    fn survives_the_evm_word_form() {
        for amount in [Amount::ZERO, Amount::from_units(1), wei("12.5"), Amount::MAX] {
            assert_eq!(Amount::from_be_bytes(amount.to_be_bytes()), amount);
        }
    }
}
