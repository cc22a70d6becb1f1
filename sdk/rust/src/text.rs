//! The two texts that formats need and that are easy to get wrong: a quoted JSON string, and a time as RFC 3339.
//! No JSON parser and no calendar beyond that.

use core::fmt::Write as _;
use std::string::String;

use crate::plugin::Millis;

/// Days from 0000-03-01, where the calendar's cycle begins, to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;

/// Days in 400 years: the cycle of the calendar.
const DAYS_PER_CYCLE: u64 = 146_097;

/// Quotes a text as a JSON string, the marks included.
pub fn json_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A time as RFC 3339 in UTC, with milliseconds: `2026-01-31T23:59:59.250Z`.
pub fn rfc3339(at: Millis) -> String {
    let (seconds, millis) = (at / 1_000, at % 1_000);
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    std::format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01. The year begins in March here, so that the leap day is its
/// last; month lengths then follow the line (153 m + 2) / 5.
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + DAYS_BEFORE_1970;
    let (cycle, day_of_cycle) = (days / DAYS_PER_CYCLE, days % DAYS_PER_CYCLE);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}
