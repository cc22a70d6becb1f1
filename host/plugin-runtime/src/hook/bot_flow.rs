//! The hook `bot-flow`: what a bot says and asks the host for.
//!
//! Effects are checked here for being ones that a chat can carry out; whether the person may do what a flow asks for is judged
//! where it is done.

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tracing::warn;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::text::is_deceptive;
use xthonpay_payments::port::bot::{
    ActionRefused, BotFlow, BotUpdate, Button, ButtonAction, Effect, Happening, Reply, SecretPurpose,
};
use xthonpay_payments::port::hooks::HookFailure;
use xthonpay_payments::port::lending::storage::Answered;

use super::{Asked, Bound, Hook, Served, answer_of, attrs_bytes, bad, call_id, call_info};
use crate::bindings::base::xthonpay::host::types as wit;
use crate::bindings::bot_flow::exports::xthonpay::hooks::bot_flow as wit_bot;
use crate::bindings::bot_flow::{self as bindings, BotFlowHookPre};
use crate::fault::CallFault;
use crate::instance::{Call, CallState};
use crate::plain_text::one_line;

const HANDLE: &str = "handle";

/// Effects of one call: a screenful of messages, and what belongs to them.
const EFFECTS_MAX: usize = 32;
/// Bytes of a message: chats take 4,096 characters, of up to four bytes each.
const TEXT_BYTES_MAX: usize = 16_384;
/// Characters of a message.
const TEXT_CHARACTERS_MAX: usize = 4_096;
/// Rows of buttons, and buttons of a row: what fits on a telephone.
const ROWS_MAX: usize = 20;
const BUTTONS_IN_ROW_MAX: usize = 8;
/// Bytes of a button's label, and of what comes back when it is pressed.
const LABEL_BYTES_MAX: usize = 128;
const DATA_BYTES_MAX: usize = 64;
/// Bytes of a page's address.
const URL_BYTES_MAX: usize = 2_048;
/// Bytes of a text that becomes a QR code which a telephone still reads.
const QR_BYTES_MAX: usize = 1_024;
/// Bytes of a conversation's memory.
const MEMORY_BYTES_MAX: usize = 16 * 1_024;
/// Bytes of a name, a tag or a slot.
const WORD_BYTES_MAX: usize = 64;
/// Arguments of an action, and bytes of each value.
const ARGS_MAX: usize = 32;
const ARG_BYTES_MAX: usize = 4_096;
/// How long a secret is waited for, and how far off a wake may be.
const WAIT_S_MAX: u32 = 3_600;
const WAKE_S_MAX: u32 = 30 * 86_400;

/// The hook.
pub(crate) struct BotFlowHook;

impl Served for BotFlowHook {
    const HOOK: Hook = Hook::BotFlow;
    const FUNCTIONS: &'static [&'static str] = &[HANDLE];
    type Pre = BotFlowHookPre<CallState>;

    fn find_exports(linked: InstancePre<CallState>) -> wasmtime::Result<Self::Pre> {
        BotFlowHookPre::new(linked)
    }

    fn linked(pre: &Self::Pre) -> &InstancePre<CallState> {
        pre.instance_pre()
    }

    fn judge(_: &str, answer: Value, _: Decimals) -> Result<(), CallFault> {
        effects_from_wit("", answer_of(answer)?).map(drop)
    }

    fn check_types(store: &mut Store<CallState>, instance: &Instance) -> wasmtime::Result<()> {
        bindings::BotFlowHook::new(store, instance).map(drop)
    }
}

#[async_trait]
impl BotFlow for Bound<BotFlowHook> {
    async fn handle(&self, update: &BotUpdate, memory: Option<&[u8]>) -> Result<Answered<Vec<Effect>>, HookFailure> {
        let id = call_id(HANDLE, &[&update.channel, &update.chat, &update.id]);
        let call = Call { function: HANDLE, id: id.clone(), at: update.at, merchant: update.merchant.clone() };
        self.guarded(HANDLE, &id, self.policies.handle, self.effects(update, memory, call)).await
    }
}

impl Bound<BotFlowHook> {
    async fn effects(
        &self,
        update: &BotUpdate,
        memory: Option<&[u8]>,
        call: Call,
    ) -> Result<Answered<Vec<Effect>>, CallFault> {
        let attempt = update.attempt.saturating_add(1);
        let info = call_info(&call, attempt);
        let told = Arc::new((update_to_wit(update), memory.map(<[u8]>::to_vec)));
        let bytes = update_bytes(&told.0).saturating_add(told.1.as_ref().map_or(0, Vec::len));
        let shown = Arc::clone(&told);
        let input = Box::new(move || json!({"update": &shown.0, "memory": &shown.1}));
        let effects = self.call(
            Asked { call, attempt, bytes, input },
            move |store, linked| {
                Box::pin(async move {
                    let guest = linked.instantiate_async(&mut *store).await?;
                    store.data_mut().usage.instantiated();
                    guest.xthonpay_hooks_bot_flow().call_handle(store, &info, &told.0, told.1.as_deref()).await
                })
            },
            |effects: &Vec<wit_bot::Effect>| effects.iter().map(effect_bytes).sum(),
            |effects| effects_from_wit(&self.name, effects),
        );
        effects.await
    }
}

fn update_to_wit(update: &BotUpdate) -> wit_bot::Update {
    wit_bot::Update {
        id: update.id.clone(),
        channel: update.channel.clone(),
        chat: update.chat.clone(),
        user: update.user.clone(),
        language: update.language.clone(),
        scopes: update.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        what: happening_to_wit(&update.what),
        attrs: Vec::new(),
    }
}

fn happening_to_wit(what: &Happening) -> wit_bot::Happening {
    let attrs = Vec::new();
    match what {
        Happening::Start(payload) => wit_bot::Happening::Start(payload.clone()),
        Happening::Command { name, args } => {
            wit_bot::Happening::Command(wit_bot::Command { name: name.clone(), args: args.clone(), attrs })
        }
        Happening::Text(text) => wit_bot::Happening::Text(text.clone()),
        Happening::Press { data, message_id } => {
            wit_bot::Happening::Press(wit_bot::Press { data: data.clone(), message_id: message_id.clone(), attrs })
        }
        Happening::Outcome { tag, action, answer, slots } => wit_bot::Happening::Outcome(wit_bot::Outcome {
            tag: tag.clone(),
            action: action.clone(),
            answer: answer.clone().map_err(|ActionRefused { code, message }| wit::Detail {
                code,
                message,
                attrs: Vec::new(),
            }),
            slots: slots.clone(),
            attrs,
        }),
        Happening::SecretGiven(slot) => wit_bot::Happening::SecretGiven(slot.clone()),
        Happening::Notice(event) => wit_bot::Happening::Notice(wit_bot::Notice {
            event_id: event.id.to_string(),
            kind: event.kind.name().to_owned(),
            created: event.at.as_millis(),
            data_json: event.data_json.clone(),
            attrs,
        }),
        Happening::Timer(tag) => wit_bot::Happening::Timer(tag.clone()),
    }
}

fn update_bytes(update: &wit_bot::Update) -> usize {
    let texts = [&update.id, &update.channel, &update.chat, &update.user].map(String::len).into_iter().sum::<usize>();
    let what = match &update.what {
        wit_bot::Happening::Start(payload) => payload.as_ref().map_or(0, String::len),
        wit_bot::Happening::Command(command) => {
            command.args.iter().fold(command.name.len(), |sum, arg| sum + arg.len())
        }
        wit_bot::Happening::Text(text) | wit_bot::Happening::SecretGiven(text) | wit_bot::Happening::Timer(text) => {
            text.len()
        }
        wit_bot::Happening::Press(press) => press.data.len() + press.message_id.len(),
        wit_bot::Happening::Outcome(outcome) => {
            let answer = outcome.answer.as_ref().map_or_else(|detail| detail.message.len(), String::len);
            outcome.tag.len() + outcome.action.len() + answer
        }
        wit_bot::Happening::Notice(notice) => notice.data_json.len(),
        wit_bot::Happening::Other(detail) => detail.message.len(),
    };
    texts.saturating_add(what)
}

fn reply_bytes(reply: &wit_bot::Reply) -> usize {
    let button = |button: &wit_bot::Button| {
        button.label.len() + button.data.len() + button.url.as_ref().map_or(0, String::len) + attrs_bytes(&button.attrs)
    };
    let buttons: usize = reply.buttons.iter().flatten().map(button).sum();
    reply.text.len() + buttons + reply.qr.as_ref().map_or(0, String::len) + attrs_bytes(&reply.attrs)
}

fn effect_bytes(effect: &wit_bot::Effect) -> usize {
    match effect {
        wit_bot::Effect::Say(reply) => reply_bytes(reply),
        wit_bot::Effect::Edit(edit) => edit.message_id.len() + reply_bytes(&edit.reply),
        wit_bot::Effect::Run(action) => action.name.len() + action.tag.len() + attrs_bytes(&action.args),
        wit_bot::Effect::AskSecret(ask) => ask.prompt.len() + ask.slot.len() + ask.purpose.len(),
        wit_bot::Effect::Remember(bytes) => bytes.len(),
        wit_bot::Effect::Wake(wake) => wake.tag.len(),
        wit_bot::Effect::Other(other) => other.name.len() + attrs_bytes(&other.args),
    }
}

fn effects_from_wit(plugin: &str, effects: Vec<wit_bot::Effect>) -> Result<Vec<Effect>, CallFault> {
    if effects.len() > EFFECTS_MAX {
        return Err(bad(format!("{} effects, more than {EFFECTS_MAX}", effects.len())));
    }
    let mut checked = Vec::new();
    for effect in effects {
        if let wit_bot::Effect::Other(other) = &effect {
            let name = one_line(&other.name, WORD_BYTES_MAX);
            warn!(target: "plugin", plugin, effect = name, "an effect that this host does not know was dropped");
            continue;
        }
        checked.extend(effect_from_wit(effect)?);
    }
    Ok(checked)
}

fn effect_from_wit(effect: wit_bot::Effect) -> Result<Option<Effect>, CallFault> {
    Ok(Some(match effect {
        wit_bot::Effect::Say(reply) => Effect::Say(reply_from_wit(reply)?),
        wit_bot::Effect::Edit(edit) => {
            Effect::Edit { message_id: word("edit.message-id", edit.message_id)?, reply: reply_from_wit(edit.reply)? }
        }
        wit_bot::Effect::Run(action) => {
            if action.args.len() > ARGS_MAX {
                return Err(bad(format!("{} arguments of an action, more than {ARGS_MAX}", action.args.len())));
            }
            for (key, value) in &action.args {
                word("action.args", key.clone())?;
                plain("action.args", value, ARG_BYTES_MAX)?;
            }
            let tag = if action.tag.is_empty() { action.tag } else { word("action.tag", action.tag)? };
            Effect::Run { name: word("action.name", action.name)?, args: action.args, tag }
        }
        wit_bot::Effect::AskSecret(ask) => Effect::AskSecret {
            prompt: text("ask-secret.prompt", ask.prompt)?,
            slot: word("ask-secret.slot", ask.slot)?,
            purpose: match ask.purpose.as_str() {
                "totp" => SecretPurpose::Totp,
                "password" => SecretPurpose::Password,
                _ => return Err(bad("ask-secret.purpose is none of totp, password")),
            },
            wait: seconds("ask-secret.wait-s", ask.wait_s, WAIT_S_MAX)?,
        },
        wit_bot::Effect::Remember(bytes) => {
            if bytes.len() > MEMORY_BYTES_MAX {
                return Err(bad(format!("{} bytes to remember, more than {MEMORY_BYTES_MAX}", bytes.len())));
            }
            Effect::Remember(bytes)
        }
        wit_bot::Effect::Wake(wake) => {
            Effect::Wake { after: seconds("wake.in-s", wake.in_s, WAKE_S_MAX)?, tag: word("wake.tag", wake.tag)? }
        }
        wit_bot::Effect::Other(_) => return Ok(None),
    }))
}

fn reply_from_wit(reply: wit_bot::Reply) -> Result<Reply, CallFault> {
    let too_many = reply.buttons.len() > ROWS_MAX
        || reply.buttons.iter().any(|row| row.is_empty() || row.len() > BUTTONS_IN_ROW_MAX);
    if too_many {
        return Err(bad(format!("buttons: at most {ROWS_MAX} rows of 1 to {BUTTONS_IN_ROW_MAX}")));
    }
    if let Some(qr) = &reply.qr {
        plain("reply.qr", qr, QR_BYTES_MAX)?;
    }
    let row = |row: Vec<wit_bot::Button>| row.into_iter().map(button_from_wit).collect::<Result<Vec<_>, _>>();
    Ok(Reply {
        text: text("reply.text", reply.text)?,
        buttons: reply.buttons.into_iter().map(row).collect::<Result<_, _>>()?,
        qr: reply.qr,
    })
}

fn button_from_wit(button: wit_bot::Button) -> Result<Button, CallFault> {
    plain("button.label", &button.label, LABEL_BYTES_MAX)?;
    let action = match button.url {
        Some(url) => {
            plain("button.url", &url, URL_BYTES_MAX)?;
            let sound = url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.contains([' ', '@']));
            if !sound {
                return Err(bad("button.url is not an https page"));
            }
            ButtonAction::Open(url)
        }
        None if button.data.is_empty() || button.data.len() > DATA_BYTES_MAX => {
            return Err(bad(format!("button.data has {} bytes, not 1 to {DATA_BYTES_MAX}", button.data.len())));
        }
        None => ButtonAction::Press(button.data),
    };
    Ok(Button { label: button.label, action })
}

/// A message: lines are fine, other control characters are not.
fn text(field: &str, text: String) -> Result<String, CallFault> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().count() > TEXT_CHARACTERS_MAX {
        return Err(bad(format!("{field} has not 1 to {TEXT_CHARACTERS_MAX} characters")));
    }
    // Emoji are joined by invisible characters.
    let harmless = |character: char| matches!(character, '\n' | '\u{200d}') || !is_deceptive(character);
    if !text.chars().all(harmless) {
        return Err(bad(format!("{field} holds control, invisible or direction-changing characters")));
    }
    Ok(text)
}

/// A single line.
fn plain(field: &str, text: &str, bytes_max: usize) -> Result<(), CallFault> {
    if text.is_empty() || text.len() > bytes_max {
        return Err(bad(format!("{field} has {} bytes, not 1 to {bytes_max}", text.len())));
    }
    if text.chars().any(|character| character != '\u{200d}' && is_deceptive(character)) {
        return Err(bad(format!("{field} holds control, invisible or direction-changing characters")));
    }
    Ok(())
}

/// A name.
fn word(field: &str, text: String) -> Result<String, CallFault> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}');
    if text.is_empty() || text.len() > WORD_BYTES_MAX || !text.bytes().all(allowed) {
        return Err(bad(format!("{field} is not 1 to {WORD_BYTES_MAX} printable characters without `{{` and `}}`")));
    }
    Ok(text)
}

fn seconds(field: &str, secs: u32, most: u32) -> Result<Duration, CallFault> {
    if (1..=most).contains(&secs) {
        Ok(Duration::from_secs(secs.into()))
    } else {
        Err(bad(format!("{field} is {secs}, not 1 to {most}")))
    }
}
