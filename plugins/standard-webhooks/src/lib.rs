//! Webhook bodies as the Standard Webhooks specification has them:
//! `{"type":"invoice.paid","timestamp":"2026-01-31T12:00:00.000Z","data":{...}}`. The specification's headers and
//! signature are the host's work, for every format.

use xthonpay_sdk::{Call, Event, HookError, Message, WebhookFormat, text};

/// The format.
pub struct StandardWebhooks;

xthonpay_sdk::register!(webhook_format: StandardWebhooks);

impl WebhookFormat for StandardWebhooks {
    fn render(_call: &Call, event: &Event, _target: &str) -> Result<Option<Message>, HookError> {
        let kind = text::json_string(&event.kind);
        let timestamp = text::rfc3339(event.created);
        let data = event.data_object()?;
        Ok(Some(Message::json(format!("{{\"type\":{kind},\"timestamp\":\"{timestamp}\",\"data\":{data}}}"))))
    }
}
