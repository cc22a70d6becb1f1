//! Laws of amounts, over the full range of 256 bits.

use proptest::prelude::*;
use ruint::aliases::U512;
use xthonpay_domain::amount::{Amount, AmountError, BPS_IN_WHOLE, Decimals};

use crate::seeded::holds;

/// Amounts of every magnitude: as many of ten digits as of seventy.
pub(crate) fn any_amount() -> impl Strategy<Value = Amount> {
    (any::<[u8; 32]>(), 0_usize..=32).prop_map(|(mut word, zeros)| {
        word.iter_mut().take(zeros).for_each(|byte| *byte = 0);
        Amount::from_be_bytes(word)
    })
}

fn any_decimals() -> impl Strategy<Value = Decimals> {
    (0..=Decimals::MAX).prop_map(|places| Decimals::new(places).expect("in range"))
}

fn wide(amount: Amount) -> U512 {
    U512::from_be_slice(&amount.to_be_bytes())
}

/// The amount of a wide number, or the overflow that a narrow computation must report.
fn narrow(number: U512) -> Result<Amount, AmountError> {
    let bytes = number.to_be_bytes::<64>();
    let (high, low) = bytes.split_at(32);
    let fits = high.iter().all(|byte| *byte == 0);
    let low = low.try_into().expect("half of 64 bytes");
    if fits { Ok(Amount::from_be_bytes(low)) } else { Err(AmountError::Overflow) }
}

#[test]
fn what_is_written_is_read_back() {
    holds("amounts round trip", (any_amount(), any_decimals()), |(amount, decimals)| {
        let text = amount.to_decimal(decimals);
        prop_assert_eq!(Amount::parse(&text, decimals), Ok(amount), "{}", text);
        prop_assert_eq!(Amount::parse_units(&amount.to_string()), Ok(amount));
        prop_assert_eq!(Amount::from_be_bytes(amount.to_be_bytes()), amount);
        Ok(())
    });
}

#[test]
fn there_is_one_way_to_write_an_amount() {
    holds("amounts are written canonically", (any_amount(), any_decimals()), |(amount, decimals)| {
        let text = amount.to_decimal(decimals);
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{}", text);
        prop_assert!(!text.contains('.') || !text.ends_with(['0', '.']), "{}", text);
        prop_assert!(text == "0" || text.starts_with("0.") || !text.starts_with(['0', '.']), "{}", text);
        Ok(())
    });
}

#[test]
fn any_text_is_an_amount_or_refused_but_never_another_amount() {
    let texts = prop_oneof!["[0-9]{1,5}(\\.[0-9]{1,3})?", "[0-9.eE+-]{0,8}", "\\PC{0,8}"];
    holds("texts", (texts, any_decimals()), |(text, decimals)| {
        if let Ok(amount) = Amount::parse(&text, decimals) {
            // Zeros behind the last digit are all that may differ from the canonical form.
            let trimmed = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            prop_assert_eq!(amount.to_decimal(decimals), trimmed);
        }
        Ok(())
    });
}

#[test]
fn reads_the_edges_that_break_other_systems() {
    let eighteen = Decimals::new(18).expect("in range");
    let six = Decimals::new(6).expect("in range");
    let max = "115792089237316195423570985008687907853269984665640564039457.584007913129639935";
    let table = [
        // text, decimals, base units or the reason of the refusal
        ("0", eighteen, Ok("0")),
        ("0.0", eighteen, Ok("0")),
        ("0.000000000000000001", eighteen, Ok("1")),
        ("1", six, Ok("1000000")),
        ("9223372036854.775807", six, Ok("9223372036854775807")), // 2^63 - 1
        ("9223372036854.775808", six, Ok("9223372036854775808")), // 2^63
        ("9223372036854.775809", six, Ok("9223372036854775809")), // 2^63 + 1
        ("18446744073709.551616", six, Ok("18446744073709551616")), // 2^64
        (max, eighteen, Ok("115792089237316195423570985008687907853269984665640564039457584007913129639935")),
        (&max.replace("935", "936"), eighteen, Err(AmountError::Overflow)),
        ("0.0000001", six, Err(AmountError::TooManyDecimals { allowed: 6 })),
        ("1.0000000", six, Err(AmountError::TooManyDecimals { allowed: 6 })),
        ("１", six, Err(AmountError::NotADecimal)),
        ("1．5", six, Err(AmountError::NotADecimal)),
        ("1e3", six, Err(AmountError::NotADecimal)),
        ("1E3", six, Err(AmountError::NotADecimal)),
        ("+1", six, Err(AmountError::NotADecimal)),
        ("-1", six, Err(AmountError::NotADecimal)),
        ("−1", six, Err(AmountError::NotADecimal)),
        ("1/2", six, Err(AmountError::NotADecimal)),
        ("1:", six, Err(AmountError::NotADecimal)),
    ];
    for (text, decimals, expected) in table {
        let read = Amount::parse(text, decimals).map(|amount| amount.to_string());
        assert_eq!(read, expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn a_share_equals_wide_arithmetic() {
    holds("shares", (any_amount(), 0..=BPS_IN_WHOLE.saturating_mul(3)), |(amount, bps)| {
        let exact = wide(amount) * U512::from(bps) / U512::from(BPS_IN_WHOLE);
        prop_assert_eq!(amount.share_bps(bps), narrow(exact));
        Ok(())
    });
}

#[test]
fn sums_and_differences_equal_wide_arithmetic() {
    holds("sums", (any_amount(), any_amount()), |(one, other)| {
        prop_assert_eq!(one.checked_add(other), narrow(wide(one) + wide(other)));
        let difference = if other > one { Err(AmountError::Underflow) } else { narrow(wide(one) - wide(other)) };
        prop_assert_eq!(one.checked_sub(other), difference);
        prop_assert_eq!(one.saturating_sub(other), difference.unwrap_or(Amount::ZERO));
        prop_assert_eq!(Amount::sum([one, other]), Amount::sum([other, one]));
        Ok(())
    });
}
