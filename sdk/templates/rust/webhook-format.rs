//! The form of webhooks: JSON, without the kinds of events that the operator leaves out.
//!
//! What each function is asked and may answer stands in xthonpay/wit/webhook-format.wit.

use xthonpay_sdk::text::json_string;
use xthonpay_sdk::{About, Call, ConfigProblem, Event, HookError, Message, WebhookFormat, config, log};

/// The plugin.
pub struct Format;

xthonpay_sdk::register!(webhook_format: Format);

impl WebhookFormat for Format {
    /// Name and version are those of Cargo.toml.
    fn describe(cargo: About) -> About {
        About { notes: String::from("The form of webhooks."), ..cargo }
    }

    /// Tells every problem of the settings at once. With any the plugin does not load, so that `render` need not look
    /// again.
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        let mut config = config::Reader::default();
        for kind in config::list("skip") {
            if !kind.chars().all(|letter| matches!(letter, 'a'..='z' | '_' | '.')) {
                config.problem("skip", format!("`{kind}` is no kind of event such as `invoice.paid`"));
            }
        }
        config.finish(())
    }

    fn render(_call: &Call, event: &Event, _target: &str) -> Result<Option<Message>, HookError> {
        if config::list("skip").contains(&event.kind) {
            log::info(&format!("skipped {}", event.kind));
            // Nothing is sent.
            return Ok(None);
        }
        let (id, kind) = (json_string(&event.id), json_string(&event.kind));
        // The data is JSON already. It goes in as it is, so that nothing in it is rounded or put in another order.
        let (created, data) = (event.created, &event.data_json);
        let body = format!(r#"{{"id":{id},"event":{kind},"created":{created},"data":{data}}}"#);
        Ok(Some(Message::json(body)))
    }
}
