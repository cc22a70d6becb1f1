//! The hook that shapes webhooks: its trait and its values.

use std::string::String;
use std::vec::Vec;

use crate::error::HookError;
use crate::plugin::{About, Call, ConfigProblem};
use crate::raw::base::xthonpay::host::types;
pub use crate::raw::webhook_format::exports::xthonpay::hooks::webhook_format::{Event, Message};

/// A format of webhooks. Implement `render`, and register the type:
/// `xthonpay_sdk::register!(webhook_format: MyFormat)`.
///
/// A call runs in an instance of its own: nothing that a format keeps in memory is there in the next call.
pub trait WebhookFormat {
    /// Tells who the plugin is; by default what its `Cargo.toml` says.
    fn describe(cargo: About) -> About {
        cargo
    }

    /// Tells every setting that the plugin cannot work with; by default there is none.
    ///
    /// # Errors
    /// All problems at once. The plugin does not load with any.
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        Ok(())
    }

    /// Shapes an event for the endpoint with the id `target`, which is `callback` for an invoice's own URL; none skips the
    /// delivery for good. By default the body is the event's data as it is.
    ///
    /// # Errors
    /// When there is no answer; the host then sends its own format.
    fn render(_call: &Call, event: &Event, _target: &str) -> Result<Option<Message>, HookError> {
        Ok(Some(Message::json(event.data_json.as_str())))
    }
}

impl Message {
    /// A body of JSON, without extra headers.
    pub fn json(body: impl Into<String>) -> Self {
        Self {
            content_type: String::from("application/json"),
            headers: Vec::new(),
            body: body.into().into_bytes(),
            attrs: Vec::new(),
        }
    }
}

impl Event {
    /// The data, if it looks like the JSON object that the contract promises.
    ///
    /// It guards a format that copies the data into its own body against writing something that is no JSON. It is
    /// not a parser: the host owns the data's form.
    ///
    /// # Errors
    /// [`HookError::BadInput`] when the text is not enclosed in braces.
    pub fn data_object(&self) -> Result<&str, HookError> {
        let data = self.data_json.trim();
        if data.starts_with('{') && data.ends_with('}') {
            Ok(data)
        } else {
            Err(HookError::bad_input("data_not_an_object", "the event's data is not a JSON object"))
        }
    }
}

/// Carries a call from the bindings to the trait and back. Used by `register!`.
#[doc(hidden)]
pub fn call_render<T: WebhookFormat>(
    call: types::CallInfo,
    event: Event,
    target: String,
) -> Result<Option<Message>, HookError> {
    T::render(&call.into(), &event, &target)
}
