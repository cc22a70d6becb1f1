//! Spans of time as people write them.

use std::time::Duration;

use jiff::SignedDuration;

/// Seconds of a day. A day of a config has no changes of the clock in it.
const DAY_SECONDS: u64 = 86_400;

/// A number and a unit, such as `250ms`, `5s`, `30m`, `2h` or `5d`; several may follow each other, such as `1h30m`, but days
/// stand alone.
///
/// # Errors
/// A sentence for people.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|number| number.parse::<u64>().ok());
    let parsed = match days {
        Some(days) => days.checked_mul(DAY_SECONDS).map(Duration::from_secs),
        None => text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok()),
    };
    parsed.ok_or_else(|| {
        format!("`{text}` is not a duration: write a number and a unit, such as 250ms, 5s, 30m, 2h or 5d")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_beside_the_units_of_clocks() {
        let table = [
            ("0s", Some(0)),
            ("90s", Some(90)),
            ("1h30m", Some(5_400)),
            ("5d", Some(432_000)),
            ("", None),
            ("d", None),
            ("-1d", None),
            ("-1s", None),
            ("1.5d", None),
            ("5", None),
            ("soon", None),
            ("18446744073709551615d", None),
        ];
        for (text, seconds) in table {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
