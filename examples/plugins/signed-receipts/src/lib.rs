//! Example format: the event as it is, with a receipt that the host has signed.
//!
//! The secret of an endpoint proves a delivery to its receiver alone. A receipt proves the event to anybody who has the host's
//! public key: an accountant, a court, the customer.

use xthonpay_sdk::signing::{Signer, hex};
use xthonpay_sdk::{Attrs, Call, Event, HookError, Message, WebhookFormat};

/// The format. See the README.
pub struct SignedReceipts;

xthonpay_sdk::register!(webhook_format: SignedReceipts);

/// The label of the signer, and the purpose that its grant lists.
const SIGNER: &str = "receipts";
const PURPOSE: &str = "receipt";

/// What is signed: id, kind and facts of the event, one on each line. None of the first two can hold a line break.
fn statement(event: &Event) -> String {
    format!("{}\n{}\n{}", event.id, event.kind, event.data_json)
}

impl WebhookFormat for SignedReceipts {
    fn render(call: &Call, event: &Event, _target: &str) -> Result<Option<Message>, HookError> {
        let signer = Signer::open(SIGNER)?;
        let signature = signer.attest(PURPOSE, statement(event).as_bytes())?;
        let public_key = signer.public_key().map(|key| hex(&key)).unwrap_or_default();
        // Ids, kinds, schemes and hex digits need no escaping, and the data is JSON already.
        let body = format!(
            r#"{{"id":"{}","event":"{}","created":{},"sequence":{},"data":{},"receipt":{{"scheme":"{}","key_id":"{}","public_key":"{public_key}","plugin":"signed-receipts","merchant":"{}","purpose":"{PURPOSE}","signature":"{}"}}}}"#,
            event.id,
            event.kind,
            event.created,
            event.sequence,
            event.data_json,
            signature.scheme,
            signature.key_id,
            call.merchant_id,
            hex(&signature.value),
        );
        let content_type = String::from("application/json");
        Ok(Some(Message { content_type, headers: Attrs::new(), body: body.into_bytes(), attrs: Attrs::new() }))
    }
}
