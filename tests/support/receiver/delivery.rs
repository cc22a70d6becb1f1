//! One webhook as it arrived, and whether its signatures hold.

use axum::http::HeaderMap;
use serde_json::Value;
use tokio::time::Instant;

use crate::{BoxError, signatures};

/// How far a delivery's time stamp may be from the receiver's clock, in seconds: the tolerance of Standard Webhooks.
const DRIFT_S_MAX: u64 = 300;

/// A request that the receiver got.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When its body had arrived.
    pub at: Instant,
    /// The path it came to.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
}

impl Delivery {
    /// The one value of a header; empty when it is missing or came more than once.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().unwrap_or_default(),
            _ => "",
        }
    }

    /// The id that all attempts of one event share.
    #[must_use]
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The body as JSON; `null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The event's kind, in either shipped format; empty when the body has none.
    #[must_use]
    pub fn kind(&self) -> String {
        let body = self.json();
        let kind = body["event"].as_str().or_else(|| body["type"].as_str());
        kind.unwrap_or_default().to_owned()
    }

    /// The facts of the event.
    #[must_use]
    pub fn data(&self) -> Value {
        self.json()["data"].take()
    }

    /// Checks both signatures and the time stamp against the webhook secret, as a careful merchant does.
    ///
    /// # Errors
    /// Names what does not hold.
    pub fn verify(&self, secret: &str, now_s: u64) -> Result<(), BoxError> {
        if self.header("x-xthon-signature") != signatures::xthon_webhook(secret, &self.body) {
            return Err("X-Xthon-Signature does not hold".into());
        }
        let stamp = self.header("webhook-timestamp");
        let sent_s: u64 = stamp.parse().map_err(|error| format!("webhook-timestamp {stamp:?}: {error}"))?;
        if sent_s.abs_diff(now_s) > DRIFT_S_MAX {
            return Err(format!("webhook-timestamp {stamp} is far from {now_s}").into());
        }
        let expected = signatures::standard_webhook(secret, self.id(), stamp, &self.body)?;
        // While a secret is exchanged there is one signature for each.
        if self.header("webhook-signature").split(' ').any(|signature| signature == expected) {
            Ok(())
        } else {
            Err("webhook-signature does not hold".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const SENT_S: u64 = 1_700_000_000;

    fn signed(body: &str) -> Delivery {
        let mut headers = HeaderMap::new();
        let mut set = |name, value: String| headers.insert(name, value.parse().expect("a header"));
        let standard = signatures::standard_webhook(SECRET, "evt_1", &SENT_S.to_string(), body.as_bytes());
        set("webhook-id", "evt_1".to_owned());
        set("webhook-timestamp", SENT_S.to_string());
        set("webhook-signature", format!("v1,b2xkIGtleQ== {}", standard.expect("a sound secret")));
        set("x-xthon-signature", signatures::xthon_webhook(SECRET, body.as_bytes()));
        Delivery { at: Instant::now(), path: "/".to_owned(), headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn accepts_what_is_signed_and_nothing_else() {
        let sound = signed(r#"{"event":"invoice.paid","data":{}}"#);
        assert!(sound.verify(SECRET, SENT_S).is_ok());
        assert_eq!(sound.kind(), "invoice.paid");

        let mut forged = sound.clone();
        forged.body.push(b' ');
        assert!(forged.verify(SECRET, SENT_S).is_err(), "another body");
        let mut renamed = sound.clone();
        renamed.headers.insert("webhook-id", "evt_2".parse().expect("a header"));
        assert!(renamed.verify(SECRET, SENT_S).is_err(), "another id");
        assert!(sound.verify(SECRET, SENT_S + 301).is_err(), "long ago");
        let mut twice = sound.clone();
        twice.headers.append("x-xthon-signature", "00".parse().expect("a header"));
        assert!(twice.verify(SECRET, SENT_S).is_err(), "two signatures");
    }
}
