//! The opaque mark of a place in a list.
//!
//! Opaque is a promise to ourselves, not a protection: a forged cursor names another place in the caller's own list. The
//! place is a position in the order, not a count, so entries that come and go do not shift the pages.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::FeedPosition;

/// Stands in front of what is encoded, so that a later form is not mistaken for this one.
const FORM: &str = "1";
/// The same in front of a place in the feed.
const FEED_FORM: &str = "f1";
/// The longest text that is decoded; ours have 73 characters or fewer.
const TEXT_LEN_MAX: usize = 128;

/// A place in a list that is ordered by time and id, newest first: right behind this entry. The prefix of the id tells one
/// list's cursor from another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place<Id> {
    pub(crate) at: Timestamp,
    pub(crate) id: Id,
}

/// A text that this host never gave out as a cursor.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("take next_cursor of the page before, unchanged")]
pub(crate) struct NotACursor;

impl<Id: Display> Place<Id> {
    /// The text for the caller.
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{FORM}.{}.{}", self.at, self.id))
    }
}

impl<Id: FromStr> FromStr for Place<Id> {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let decoded = decoded(text)?;
        let mut parts = decoded.split('.');
        let (Some(FORM), Some(millis), Some(id), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotACursor);
        };
        let at = Timestamp::from_millis(millis.parse().map_err(|_| NotACursor)?);
        Ok(Self { at, id: id.parse().map_err(|_| NotACursor)? })
    }
}

/// A place in the feed of events: right behind this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedCursor(pub(crate) FeedPosition);

impl FeedCursor {
    /// The text for the caller.
    pub(crate) fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{FEED_FORM}.{}", self.0.0))
    }
}

impl FromStr for FeedCursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let position = decoded(text)?.strip_prefix(FEED_FORM).and_then(|rest| rest.strip_prefix('.')?.parse().ok());
        let cursor = Self(FeedPosition(position.ok_or(NotACursor)?));
        // Numbers have more than one spelling; a cursor has one.
        if cursor.encode() == text { Ok(cursor) } else { Err(NotACursor) }
    }
}

fn decoded(text: &str) -> Result<String, NotACursor> {
    if text.len() > TEXT_LEN_MAX {
        return Err(NotACursor);
    }
    URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(NotACursor)
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::id::{DepositId, InvoiceId};

    use super::*;

    #[test]
    fn reads_its_own_text_and_nothing_else() {
        for millis in [0, 1_700_000_000_123, u64::MAX] {
            let cursor = Place { at: Timestamp::from_millis(millis), id: InvoiceId::from_random([7; 16]) };
            assert_eq!(cursor.encode().parse::<Place<DepositId>>(), Err(NotACursor), "of another list");
            assert_eq!(cursor.encode().parse(), Ok(cursor));
        }
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let id = InvoiceId::from_random([7; 16]);
        for text in [
            String::new(),
            "!".to_owned(),
            "A".repeat(10_000),
            encode(""),
            encode("1.5"),
            encode(&format!("2.5.{id}")),
            encode(&format!("1.-5.{id}")),
            encode(&format!("1.5.{id}.x")),
            encode(&format!("1.99999999999999999999999.{id}")),
            encode("1.5.inv_x"),
            URL_SAFE_NO_PAD.encode([0xff, 0xfe]),
        ] {
            assert_eq!(text.parse::<Place<InvoiceId>>(), Err(NotACursor), "{text}");
        }
    }

    #[test]
    fn a_place_in_the_feed_reads_back_and_is_no_place_elsewhere() {
        for position in [0, 1, u64::MAX] {
            let cursor = FeedCursor(FeedPosition(position));
            assert_eq!(cursor.encode().parse(), Ok(cursor));
            assert_eq!(cursor.encode().parse::<Place<InvoiceId>>(), Err(NotACursor));
        }
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let invoice = encode(&format!("1.5.{}", InvoiceId::from_random([7; 16])));
        for text in
            ["", "!", &encode("f1"), &encode("f1."), &encode("f1.+5"), &encode("f1.05"), &encode("f2.5"), &invoice]
        {
            assert_eq!(text.parse::<FeedCursor>(), Err(NotACursor), "{text}");
        }
    }
}
