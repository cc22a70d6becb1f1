//! Webhook bodies in the platform's own form: `{"event":"invoice.paid","data":{...}}`. The data goes out as the host
//! wrote it, byte for byte; nothing is added, dropped or reordered.

use xthonpay_sdk::{Call, Event, HookError, Message, WebhookFormat, text};

/// The format.
pub struct XthonJson;

xthonpay_sdk::register!(webhook_format: XthonJson);

impl WebhookFormat for XthonJson {
    fn render(_call: &Call, event: &Event, _target: &str) -> Result<Option<Message>, HookError> {
        let kind = text::json_string(&event.kind);
        let data = event.data_object()?;
        Ok(Some(Message::json(format!("{{\"event\":{kind},\"data\":{data}}}"))))
    }
}
