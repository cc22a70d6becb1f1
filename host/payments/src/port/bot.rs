//! Conversations with merchants, as plugins lead them.
//!
//! A flow decides what to say and what to ask the host for. Its effects are proposals: the host owns the chat, checks each
//! action by the policy of its REST interface, and fills secrets in by itself.

use std::time::Duration;

use async_trait::async_trait;
use xthonpay_domain::access::Scope;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::time::Timestamp;

use crate::port::hooks::HookFailure;
use crate::port::lending::storage::Answered;

/// Why an action has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRefused {
    /// A stable word for machines.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// What happened in a chat.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The person opened the bot, with the payload of the link that led there, if any.
    Start(Option<String>),
    /// A command with what followed it, split at spaces.
    Command {
        /// The word after `/`, in lower case, without the bot's name.
        name: String,
        /// The rest.
        args: Vec<String>,
    },
    /// Text that is no command.
    Text(String),
    /// A pressed button.
    Press {
        /// The button's data.
        data: String,
        /// The message that it belongs to.
        message_id: String,
    },
    /// An action of the flow was carried out, or refused.
    Outcome {
        /// The action's tag.
        tag: String,
        /// The action's name.
        action: String,
        /// One JSON object without secrets, or why there is none.
        answer: Result<String, ActionRefused>,
        /// Names of secrets that a reply of this call may show.
        slots: Vec<String>,
    },
    /// The person gave a secret that the flow had asked for: the slot's name.
    SecretGiven(String),
    /// An event of the chat's merchant.
    Notice(Box<Event>),
    /// The time of a wake has come: its tag.
    Timer(String),
}

/// Something that happened, and where.
#[derive(Clone, Debug)]
pub struct BotUpdate {
    /// Names the update; a repeated call has the same.
    pub id: String,
    /// Which transport it came by: `telegram`.
    pub channel: String,
    /// The chat, stable for the flow.
    pub chat: String,
    /// The person, stable for the flow; empty for notices and timers.
    pub user: String,
    /// The language that the person's client states.
    pub language: Option<String>,
    /// The merchant of the chat, once it has one.
    pub merchant: Option<MerchantId>,
    /// What the person may do.
    pub scopes: Vec<Scope>,
    /// What happened.
    pub what: Happening,
    /// Now, by the host's clock.
    pub at: Timestamp,
    /// How often the flow was called about this update before.
    pub attempt: u32,
}

/// What a button does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ButtonAction {
    /// Comes back to the flow.
    Press(String),
    /// Opens a page; `https` only.
    Open(String),
}

/// A button below a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// What it says.
    pub label: String,
    /// What it does.
    pub action: ButtonAction,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Text with simple markup; may hold slots.
    pub text: String,
    /// Rows of buttons.
    pub buttons: Vec<Vec<Button>>,
    /// Text to show as a QR code.
    pub qr: Option<String>,
}

/// A secret that a flow asks for and never sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPurpose {
    /// A one-time code.
    Totp,
    /// A password.
    Password,
}

/// What the host shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message.
    Say(Reply),
    /// Change a message.
    Edit {
        /// Which.
        message_id: String,
        /// What it shall be.
        reply: Reply,
    },
    /// Carry out an action for the chat's merchant.
    Run {
        /// Which, an open set.
        name: String,
        /// Its arguments.
        args: Vec<(String, String)>,
        /// Comes back in the outcome.
        tag: String,
    },
    /// Ask the person for a secret.
    AskSecret {
        /// The question.
        prompt: String,
        /// The slot's name.
        slot: String,
        /// What it is.
        purpose: SecretPurpose,
        /// How long to wait.
        wait: Duration,
    },
    /// Keep this as the conversation's memory; empty forgets.
    Remember(Vec<u8>),
    /// Call the flow later. A new one replaces an earlier one of the same tag.
    Wake {
        /// When, from now.
        after: Duration,
        /// Comes back.
        tag: String,
    },
}

/// Leads conversations.
#[async_trait]
pub trait BotFlow: Send + Sync {
    /// Reacts to an update. Calls about one chat never overlap.
    ///
    /// # Errors
    /// [`HookFailure`] with the policy to apply: the fixed reply, or silence.
    async fn handle(&self, update: &BotUpdate, memory: Option<&[u8]>) -> Result<Answered<Vec<Effect>>, HookFailure>;
}
