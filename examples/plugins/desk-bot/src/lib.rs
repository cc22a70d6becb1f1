//! Example flow: a small desk in a chat. It shows a menu, asks the host for balances, tells rates and where the chain stands.

use xthonpay_sdk::chain::Network;
use xthonpay_sdk::{
    BotFlow, Button, Call, Command, Effect, Happening, HookError, HostError, Outcome, Press, Reply, Update, config,
    rates,
};

/// The flow. See the README.
pub struct DeskBot;

xthonpay_sdk::register!(bot_flow: DeskBot);

/// How old a rate may be that is told, in seconds.
const RATE_AGE_S: u32 = 300;

const HELP: &str = "/balance: what you have\n/rate bsc:BNB EUR: what a coin costs\n/chain: the newest block";

fn menu(greeting: &str) -> Reply {
    let buttons = [Button::press("Balance", "balance"), Button::press("Chain", "chain"), Button::press("Help", "help")];
    Reply::text(greeting).row(buttons)
}

/// A refusal of the host in words for a chat.
fn excuse(error: &HostError) -> String {
    match error {
        HostError::NotFound(_) | HostError::Invalid(_) => String::from("I do not know that."),
        _ => String::from("I cannot find that out right now. Please try again in a minute."),
    }
}

fn balance() -> Effect {
    Effect::run("balance.read", &[], "balance")
}

fn rate(args: &[String]) -> String {
    let [base, counter] = args else { return String::from("Write it like this: /rate bsc:BNB EUR") };
    match rates::latest(base, counter, RATE_AGE_S) {
        Ok(quote) => format!("1 {base} = `{}` {counter} ({})", quote.rate, quote.provider),
        Err(error) => excuse(&error),
    }
}

fn chain() -> String {
    let name = config::get("chain").unwrap_or_else(|| String::from("bsc"));
    match Network::open(&name).and_then(|network| network.tip()) {
        Ok(tip) => format!("{name} is at block `{}`, final up to `{}`.", tip.height, tip.final_height.unwrap_or(0)),
        Err(error) => excuse(&error),
    }
}

fn command(command: &Command) -> Effect {
    match command.name.as_str() {
        "balance" => balance(),
        "rate" => Effect::say(rate(&command.args)),
        "chain" => Effect::say(chain()),
        _ => Effect::say(HELP),
    }
}

fn press(press: &Press) -> Effect {
    match press.data.as_str() {
        "balance" => balance(),
        "chain" => Effect::edit(press, menu(&chain())),
        _ => Effect::edit(press, menu(HELP)),
    }
}

fn outcome(outcome: &Outcome) -> Effect {
    match &outcome.answer {
        Ok(json) => Effect::say(format!("`{json}`")),
        Err(detail) => Effect::say(detail.message.clone()),
    }
}

impl BotFlow for DeskBot {
    fn handle(_call: &Call, update: &Update, _memory: Option<&[u8]>) -> Result<Vec<Effect>, HookError> {
        let greeting = config::get("greeting").unwrap_or_else(|| String::from("Welcome."));
        Ok(match &update.what {
            Happening::Start(_) => vec![Effect::Say(menu(&greeting))],
            Happening::Command(given) => vec![command(given)],
            Happening::Text(_) => vec![Effect::say(HELP)],
            Happening::Press(pressed) => vec![press(pressed)],
            Happening::Outcome(came) => vec![outcome(came)],
            Happening::Notice(notice) => vec![Effect::say(format!("News: {}", notice.kind))],
            Happening::SecretGiven(_) | Happening::Timer(_) | Happening::Other(_) => Vec::new(),
        })
    }
}
