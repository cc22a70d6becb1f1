//! The opaque mark of a place in a list.
//!
//! Opaque is a promise to ourselves, not a protection: a forged cursor names another place in the caller's own list. The
//! place is a position in the order, not a count, so entries that come and go do not shift the pages.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::time::Timestamp;

/// Stands in front of what is encoded, so that a later form is not mistaken for this one.
const FORM: &str = "1";
/// The longest text that is decoded; ours have 73 characters or fewer.
const TEXT_LEN_MAX: usize = 128;

/// A place in a list of invoices: right behind this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvoiceCursor {
    pub(crate) created_at: Timestamp,
    pub(crate) id: InvoiceId,
}

/// A text that this host never gave out as a cursor.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("take next_cursor of the page before, unchanged")]
pub(crate) struct NotACursor;

impl InvoiceCursor {
    /// The text for the caller.
    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{FORM}.{}.{}", self.created_at, self.id))
    }
}

impl FromStr for InvoiceCursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        if text.len() > TEXT_LEN_MAX {
            return Err(NotACursor);
        }
        let decoded =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(NotACursor)?;
        let mut parts = decoded.split('.');
        let (Some(FORM), Some(millis), Some(id), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotACursor);
        };
        let created_at = Timestamp::from_millis(millis.parse().map_err(|_| NotACursor)?);
        Ok(Self { created_at, id: id.parse().map_err(|_| NotACursor)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_text_and_nothing_else() {
        for millis in [0, 1_700_000_000_123, u64::MAX] {
            let cursor =
                InvoiceCursor { created_at: Timestamp::from_millis(millis), id: InvoiceId::from_random([7; 16]) };
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
            assert_eq!(text.parse::<InvoiceCursor>(), Err(NotACursor), "{text}");
        }
    }
}
