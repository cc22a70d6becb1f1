//! The hook that leads conversations: its trait, and short ways to make effects.

use std::string::String;
use std::vec::Vec;

use crate::error::HookError;
use crate::plugin::{About, Attrs, Call, ConfigProblem};
use crate::raw::base::xthonpay::host::types;
use crate::raw::bot_flow::exports::xthonpay::hooks::bot_flow as raw;
pub use crate::raw::bot_flow::exports::xthonpay::hooks::bot_flow::{
    Action, AskSecret, Button, Command, Edit, Effect, Happening, Notice, OtherEffect, Outcome, Press, Reply, Update,
    Wake,
};

/// A flow of a bot. Implement `handle`, and register the type: `xthonpay_sdk::register!(bot_flow: MyFlow)`.
///
/// A flow never sees a secret and never moves money: it says what to say and what to ask the host for, and the host checks each
/// action as it checks a REST call.
pub trait BotFlow {
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

    /// Reacts to an update. `memory` is what the last [`Effect::Remember`] of this chat kept. By default it says nothing.
    ///
    /// # Errors
    /// When there is no answer; the host then sends a short fixed text.
    fn handle(_call: &Call, _update: &Update, _memory: Option<&[u8]>) -> Result<Vec<Effect>, HookError> {
        Ok(Vec::new())
    }
}

impl Reply {
    /// A message without buttons.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), buttons: Vec::new(), qr: None, attrs: Attrs::new() }
    }

    /// The message with one more row of buttons.
    #[must_use]
    pub fn row(mut self, buttons: impl IntoIterator<Item = Button>) -> Self {
        self.buttons.push(buttons.into_iter().collect());
        self
    }

    /// The message with a text as QR code above it.
    #[must_use]
    pub fn qr(mut self, text: impl Into<String>) -> Self {
        self.qr = Some(text.into());
        self
    }
}

impl Button {
    /// A button whose data comes back when it is pressed.
    pub fn press(label: impl Into<String>, data: impl Into<String>) -> Self {
        Self { label: label.into(), data: data.into(), url: None, attrs: Attrs::new() }
    }

    /// A button that opens an `https` page.
    pub fn open(label: impl Into<String>, url: impl Into<String>) -> Self {
        Self { label: label.into(), data: String::new(), url: Some(url.into()), attrs: Attrs::new() }
    }
}

impl Effect {
    /// Send a message.
    pub fn say(text: impl Into<String>) -> Self {
        Self::Say(Reply::text(text))
    }

    /// Change the message that a button belongs to.
    pub fn edit(press: &Press, reply: Reply) -> Self {
        Self::Edit(Edit { message_id: press.message_id.clone(), reply, attrs: Attrs::new() })
    }

    /// Carry out an action; its outcome comes back with the tag.
    pub fn run(name: impl Into<String>, args: &[(&str, &str)], tag: impl Into<String>) -> Self {
        let args = args.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect();
        Self::Run(Action { name: name.into(), args, tag: tag.into(), attrs: Attrs::new() })
    }

    /// Call again later.
    pub fn wake(in_s: u32, tag: impl Into<String>) -> Self {
        Self::Wake(Wake { in_s, tag: tag.into(), attrs: Attrs::new() })
    }
}

/// Carries a call from the bindings to the trait and back. Used by `register!`.
#[doc(hidden)]
pub fn call_handle<T: BotFlow>(
    call: types::CallInfo,
    update: raw::Update,
    memory: Option<Vec<u8>>,
) -> Result<Vec<Effect>, HookError> {
    T::handle(&call.into(), &update, memory.as_deref())
}
