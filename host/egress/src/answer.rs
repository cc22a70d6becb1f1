//! Reading an answer without letting it cost more than agreed.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::Response;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use xthonpay_domain::text::is_deceptive;

/// How much of an answer's body is kept, in bytes: enough for a stack trace's first lines in the delivery log.
const EXCERPT_BYTES_MAX: usize = 1_024;

/// The longest wait that a receiver can ask for. Beyond a day it asks to be forgotten, and the schedule knows better.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The beginning of the body as text. Reads at most `bytes_max` and gives up the connection if there is more.
pub(crate) async fn excerpt(mut response: Response, bytes_max: usize) -> reqwest::Result<String> {
    let mut kept = Vec::new();
    let mut read = 0_usize;
    while let Some(chunk) = response.chunk().await? {
        let room = EXCERPT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend(chunk.iter().take(room));
        read = read.saturating_add(chunk.len());
        if read > bytes_max {
            break;
        }
    }
    Ok(printable(&kept))
}

/// Bytes that a receiver chose, as a text that harms no log and no page.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        let harmless = matches!(character, '\n' | '\t') || !is_deceptive(character);
        let shown = if harmless { character } else { char::REPLACEMENT_CHARACTER };
        // A replacement is longer than the byte that it stands for.
        if text.len().saturating_add(shown.len_utf8()) > EXCERPT_BYTES_MAX {
            break;
        }
        text.push(shown);
    }
    text
}

/// How long the receiver asks to wait, at most [`RETRY_AFTER_MAX`]; `None` when it does not ask or cannot be understood.
///
/// A date counts from the `Date` of the same answer, so that the receiver's clock need not agree with ours. A date without
/// one, or in one of the two forms that HTTP calls obsolete, is not understood.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = single(headers, &RETRY_AFTER)?;
    let asked = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit ask for longer than anybody waits.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let parser = DateTimeParser::new();
        let until = parser.parse_timestamp(text).ok()?;
        let now = parser.parse_timestamp(single(headers, &DATE)?).ok()?;
        // A date that has passed asks for nothing.
        Duration::from_secs(until.as_second().saturating_sub(now.as_second()).try_into().unwrap_or(0))
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// The value of a header that is there exactly once, as text; `None` when it is empty.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let text = values.next()?.to_str().ok()?.trim();
    (values.next().is_none() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn asked(retry_after_text: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after_text.parse().expect("a header value"));
        if let Some(date) = date {
            headers.insert(DATE, date.parse().expect("a header value"));
        }
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn reads_both_forms_of_retry_after_and_bounds_them() {
        const DAY: u64 = 86_400;
        for (text, date, expected) in [
            ("0", None, Some(0)),
            ("120", None, Some(120)),
            (" 7 ", None, Some(7)),
            ("86401", None, Some(DAY)),
            ("1000000000", None, Some(DAY)),
            ("99999999999999999999999999", None, Some(DAY)),
            ("-1", None, None),
            ("1.5", None, None),
            ("+5", None, None),
            ("", None, None),
            ("soon", Some(NOW), None),
            ("120s", Some(NOW), None),
            ("１２", None, None),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(NOW), Some(120)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", None, None),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some("yesterday"), None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(NOW), Some(0)),
            ("Mon, 06 Nov 2094 08:49:37 GMT", Some(NOW), None), // a Saturday
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(NOW), Some(DAY)),
            ("Sunday, 06-Nov-94 08:51:37 GMT", Some(NOW), None),
            ("Sun Nov  6 08:51:37 1994", Some(NOW), None),
        ] {
            assert_eq!(asked(text, date), expected, "{text:?} at {date:?}");
        }
    }

    #[test]
    fn two_wishes_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(RETRY_AFTER, "1".parse().expect("a header value"));
        headers.append(RETRY_AFTER, "2".parse().expect("a header value"));
        assert_eq!(retry_after(&headers), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn excerpts_are_short_and_harmless() {
        assert_eq!(printable(b"ok\r\n\tdone"), "ok\u{fffd}\n\tdone");
        assert_eq!(printable("a\u{202e}b\u{1b}[31m".as_bytes()), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(printable(&[b'x'; 5_000]).len(), EXCERPT_BYTES_MAX);
        assert!(printable(&[0xff; EXCERPT_BYTES_MAX]).len() <= EXCERPT_BYTES_MAX);
        assert!(printable("é".repeat(5_000).as_bytes()).len() <= EXCERPT_BYTES_MAX);
    }
}
