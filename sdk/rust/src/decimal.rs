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

/// Digits that are read and printed at once: as many as always fit into 64 bits. In a guest an operation on 512 bits costs
/// hundreds of instructions, and one for each digit was most of what a call of a plugin took.
const WORD_DIGITS: usize = 19;

/// The values of so many digits.
const WORD: u64 = 10_u64.pow(19);

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
        let (mut word, mut values) = (0_u64, 1_u64);
        for byte in whole.bytes().chain(fraction.bytes()).chain(padding) {
            if !byte.is_ascii_digit() {
                return Err(DecimalError::CharacterUnknown);
            }
            if values == WORD {
                count = appended(count, values, word);
                (word, values) = (0, 1);
            }
            word = word * 10 + u64::from(byte - b'0');
            values *= 10;
        }
        count = appended(count, values, word);
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

    /// The product, rounded down at the 36th digit of the fraction: an amount at a rate. None when it has more digits than the
    /// contract allows.
    pub fn checked_mul_rate(self, rate: Self) -> Option<Self> {
        // Both have 379 bits at most, so the product fits; one of the two scales is taken out again.
        let wide = |count: Count| Uint::<1024, 16>::from(count);
        let scale = Uint::<1024, 16>::from(10_u64).pow(Uint::from(FRACTION_DIGITS_MAX));
        let product = wide(self.count).checked_mul(wide(rate.count))? / scale;
        Self::within_bounds(Count::checked_from_limbs_slice(product.as_limbs())?)
    }

    fn within_bounds(count: Count) -> Option<Self> {
        let end = Count::from(10_u64).checked_pow(Count::from(WHOLE_DIGITS_MAX + FRACTION_DIGITS_MAX))?;
        (count < end).then_some(Self { count })
    }
}

/// The count with further digits behind it, which are one of so many values. Cannot overflow: 114 digits need 379 bits.
fn appended(count: Count, values: u64, word: u64) -> Count {
    // Most leading digits are zeros.
    if count.is_zero() { Count::from(word) } else { count * Count::from(values) + Count::from(word) }
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
        for part in digits.rchunks_mut(WORD_DIGITS) {
            if rest.is_zero() {
                break;
            }
            let (next, last) = rest.div_rem(Count::from(WORD));
            let mut word = last.to::<u64>();
            for digit in part.iter_mut().rev() {
                *digit += u8::try_from(word % 10).unwrap_or_default();
                word /= 10;
            }
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

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    fn printed(text: &str) -> String {
        text.parse::<Decimal>().expect("a decimal").to_string()
    }

    #[test]
    fn prints_what_it_reads_at_every_length() {
        for whole in 1..=WHOLE_DIGITS_MAX {
            for fraction in 0..=FRACTION_DIGITS_MAX {
                // Every digit has its turn at every place, with zeros in between.
                let digits =
                    |count: usize| (0..count).map(|at| char::from(b"9102030405060708"[(at + whole + fraction) % 16]));
                let whole_text: String = ['7'].into_iter().chain(digits(whole - 1)).collect();
                let fraction_text: String = digits(fraction).collect();
                let trimmed = fraction_text.trim_end_matches('0');
                let expected =
                    if trimmed.is_empty() { whole_text.clone() } else { std::format!("{whole_text}.{trimmed}") };
                let text = if fraction == 0 { whole_text } else { std::format!("{whole_text}.{fraction_text}") };
                assert_eq!(printed(&text), expected);
            }
        }
    }

    #[test]
    fn reads_the_ends_of_its_range() {
        let largest = std::format!("{}.{}", "9".repeat(WHOLE_DIGITS_MAX), "9".repeat(FRACTION_DIGITS_MAX));
        let smallest = std::format!("0.{}1", "0".repeat(FRACTION_DIGITS_MAX - 1));
        for text in
            ["0", "1", &largest, &smallest, "18446744073709551616", "10000000000000000000", "0.0000000000000000001"]
        {
            assert_eq!(printed(text), text);
        }
        for (text, short) in [("0.0", "0"), ("007.50", "7.5"), ("1.000", "1")] {
            assert_eq!(printed(text), short);
        }
        assert_eq!(Decimal::parse(&largest).ok().and_then(|all| all.checked_add(Decimal::from(1))), None);
        assert_eq!(Decimal::from(u64::MAX), "18446744073709551615".parse().expect("a decimal"));
    }

    #[test]
    fn refuses_what_is_no_decimal_wherever_it_stands() {
        use DecimalError::{CharacterUnknown, DigitMissing, TooLong};
        let (long, fine) =
            ("1".repeat(WHOLE_DIGITS_MAX + 1), std::format!("0.{}", "1".repeat(FRACTION_DIGITS_MAX + 1)));
        for (text, error) in [
            ("", DigitMissing),
            (".", DigitMissing),
            (".5", DigitMissing),
            ("5.", DigitMissing),
            ("-1", CharacterUnknown),
            ("1e3", CharacterUnknown),
            (" 1", CharacterUnknown),
            ("1.2.3", CharacterUnknown),
            ("１", CharacterUnknown),
            ("1111111111111111111x", CharacterUnknown),
            (&long, TooLong),
            (&fine, TooLong),
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(error), "{text:?}");
        }
    }
}
