//! Webhooks that a test makes: genuine ones, and others.

use serde_json::{Value, json};
use xthonpay_tests::{BoxError, signatures};

/// A delivery that a test makes.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Delivery {
    /// An event of the feed as a webhook in the shipped format, signed with this secret at this moment.
    pub(super) fn of(event: &Value, id: &str, secret: &str, stamp: u64) -> Result<Self, BoxError> {
        let body = json!({"event": event["type"], "data": event["data"]}).to_string();
        let stamp = stamp.to_string();
        let headers = vec![
            ("webhook-signature", signatures::standard_webhook(secret, id, &stamp, body.as_bytes())?),
            ("x-xthon-signature", signatures::xthon_webhook(secret, body.as_bytes())),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", stamp),
        ];
        Ok(Self { headers, body })
    }

    /// The same with another value of a header.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same without a header.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }
}
