//! A conversation: a button that counts how often it was pressed.
//!
//! What each function is asked and may answer stands in xthonpay/wit/bot-flow.wit.

use xthonpay_sdk::{
    About, BotFlow, Button, Call, ConfigProblem, Effect, Happening, HookError, Reply, Update, config, log,
};

/// The plugin.
pub struct Flow;

xthonpay_sdk::register!(bot_flow: Flow);

impl BotFlow for Flow {
    /// Name and version are those of Cargo.toml.
    fn describe(cargo: About) -> About {
        About { notes: String::from("A conversation."), ..cargo }
    }

    /// Tells every problem of the settings at once. With any the plugin does not load, so that `handle` need not look
    /// again.
    fn check_config() -> Result<(), Vec<ConfigProblem>> {
        let mut config = config::Reader::default();
        if greeting().trim().is_empty() {
            config.problem("greeting", "is empty: the bot has to say something");
        }
        config.finish(())
    }

    /// `memory` is all that is left of the calls before.
    fn handle(_call: &Call, update: &Update, memory: Option<&[u8]>) -> Result<Vec<Effect>, HookError> {
        let pressed = read_count(memory);
        Ok(match &update.what {
            Happening::Start(_) => vec![welcome(pressed)],
            Happening::Command(command) if command.name == "start" => vec![welcome(pressed)],
            Happening::Press(press) => {
                let now = pressed + 1;
                log::info(&format!("pressed {now} times"));
                let edit = Effect::edit(press, with_button(told(now)));
                vec![edit, Effect::Remember(now.to_string().into_bytes())]
            }
            Happening::Text(_) | Happening::Command(_) => vec![Effect::say("Send /start to begin.")],
            // Outcomes, notices, timers and what later versions add.
            _ => Vec::new(),
        })
    }
}

fn greeting() -> String {
    config::get("greeting").unwrap_or_default()
}

fn welcome(pressed: u32) -> Effect {
    Effect::Say(with_button(format!("{} {}", greeting(), told(pressed))))
}

fn told(pressed: u32) -> String {
    format!("The button was pressed {pressed} times.")
}

fn with_button(text: String) -> Reply {
    Reply::text(text).row([Button::press("Press", "press")])
}

/// Another version of the plugin may have remembered something else: what is no number counts as none.
fn read_count(memory: Option<&[u8]>) -> u32 {
    match memory {
        // Nine digits leave room for one more press.
        Some(digits) if digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().fold(0, |count, digit| count * 10 + u32::from(digit - b'0'))
        }
        _ => 0,
    }
}
