//! Exact numbers for amounts. Owns parsing, printing, comparing and the few operations that rules need; knows
//! nothing of assets, and has no floats and no rounding that the caller did not name.
//!
//! A value is kept as a count of 10^-36, in 512 bits. That holds every number that the contract allows (78 digits
//! and 36 more in the fraction) with room for a product, so adding and comparing never shift digits.

use core::fmt;
use core::str::FromStr;
use std::string::String;

use ruint::Uint;

type Count = Uint<512, 8>;

/// Digits that the contract allows before the point.
pub const WHOLE_DIGITS_MAX: usize = 78;

/// Digits that the contract allows behind the point.
pub const FRACTION_DIGITS_MAX: usize = 36;

/// One whole, in basis points.
const BPS_PER_WHOLE: u64 = 10_000;

/// An exact, non-negative number in base 10: at most 78 digits and 36 more in the fraction.
///
/// Two values are equal when they are the same number: `1.50` and `1.5` are, and both print as `1.5`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal {
    count: Count,
}

/// Why a text is not a [`Decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// There is no digit, or none on one side of the point.
    DigitMissing,
    /// A character is neither a digit nor the one point: signs, exponents, spaces and grouping are refused.
    CharacterUnknown,
    /// There are more digits than the contract allows.
    TooLong,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DigitMissing => "a digit is missing: write `0.5`, not `.5`, and nothing but digits around the point",
            Self::CharacterUnknown => "only digits and one point may appear: no sign, exponent, space or grouping",
            Self::TooLong => "at most 78 digits, and 36 more in the fraction",
        })
    }
}

impl core::error::Error for DecimalError {}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self { count: Count::ZERO };

    /// Reads a decimal, as [`FromStr`] does.
    ///
    /// # Errors
    /// [`DecimalError`] tells what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(DecimalError::DigitMissing),
            Some(parts) => parts,
            None => (text, ""),
        };
        if whole.is_empty() {
            return Err(DecimalError::DigitMissing);
        }
        // Before the loop, so that a text of any length costs no more than the longest allowed one.
        if whole.len() > WHOLE_DIGITS_MAX || fraction.len() > FRACTION_DIGITS_MAX {
            return Err(DecimalError::TooLong);
        }
        let padding = core::iter::repeat_n(b'0', FRACTION_DIGITS_MAX - fraction.len());
        let mut count = Count::ZERO;
        for byte in whole.bytes().chain(fraction.bytes()).chain(padding) {
            if !byte.is_ascii_digit() {
                return Err(DecimalError::CharacterUnknown);
            }
            // Cannot overflow: 114 digits need 379 bits.
            count = count * Count::from(10_u64) + Count::from(byte - b'0');
        }
        Ok(Self { count })
    }

    /// Whether this is nothing.
    pub fn is_zero(self) -> bool {
        self.count.is_zero()
    }

    /// The sum; none when it has more digits than the contract allows.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::within_bounds(self.count.checked_add(other.count)?)
    }

    /// The difference; none when `other` is larger.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self { count: self.count.checked_sub(other.count)? })
    }

    /// The difference, and nothing when `other` is larger.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self { count: self.count.saturating_sub(other.count) }
    }

    /// That many times this; none when it has more digits than the contract allows.
    pub fn checked_mul(self, times: u64) -> Option<Self> {
        Self::within_bounds(self.count.checked_mul(Count::from(times))?)
    }

    /// The share of `bps` basis points (1/100 of a percent), rounded down at the 36th digit of the fraction.
    /// None when it has more digits than the contract allows.
    pub fn checked_mul_bps(self, bps: u32) -> Option<Self> {
        let product = self.count.checked_mul(Count::from(bps))?;
        Self::within_bounds(product / Count::from(BPS_PER_WHOLE))
    }

    fn within_bounds(count: Count) -> Option<Self> {
        let end = Count::from(10_u64).checked_pow(Count::from(WHOLE_DIGITS_MAX + FRACTION_DIGITS_MAX))?;
        (count < end).then_some(Self { count })
    }
}

impl From<u64> for Decimal {
    fn from(whole: u64) -> Self {
        // Cannot overflow: 20 digits and 36.
        Self { count: Count::from(whole) * Count::from(10_u64).pow(Count::from(FRACTION_DIGITS_MAX)) }
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Decimal {
    /// Prints the shortest text of the value: no leading zeros, no trailing zeros in the fraction, no point without
    /// a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [b'0'; WHOLE_DIGITS_MAX + FRACTION_DIGITS_MAX];
        let mut rest = self.count;
        for digit in digits.iter_mut().rev() {
            if rest.is_zero() {
                break;
            }
            let (next, last) = rest.div_rem(Count::from(10_u64));
            *digit += last.to::<u8>();
            rest = next;
        }
        let (whole, fraction) = digits.split_at(WHOLE_DIGITS_MAX);
        let whole: String = whole.iter().skip_while(|digit| **digit == b'0').copied().map(char::from).collect();
        let used = fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        let fraction: String = fraction.iter().take(used).copied().map(char::from).collect();
        let whole = if whole.is_empty() { "0" } else { &whole };
        if fraction.is_empty() { f.pad(whole) } else { f.pad(&std::format!("{whole}.{fraction}")) }
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
