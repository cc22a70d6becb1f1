//! What the desk says.

use desk_bot::DeskBot;
use xthonpay_sdk::testbench::{Bench, update};
use xthonpay_sdk::{Attrs, BotFlow as _, Command, Effect, Happening, Press};

fn said(bench: &Bench, what: Happening) -> String {
    let effects = bench.run(|call| DeskBot::handle(call, &update(what), None)).expect("an answer");
    match &effects[..] {
        [Effect::Say(reply)] => reply.text.clone(),
        [Effect::Edit(edit)] => edit.reply.text.clone(),
        [Effect::Run(action)] => format!("run {}", action.name),
        other => unreachable!("{other:?}"),
    }
}

fn command(name: &str, args: &[&str]) -> Happening {
    let args = args.iter().map(ToString::to_string).collect();
    Happening::Command(Command { name: name.to_owned(), args, attrs: Attrs::new() })
}

#[test]
fn it_answers_commands_and_buttons() {
    let bench = Bench::new().config("greeting", "Hello.").chain("bsc", 41, 0).rate("bsc:BNB", "EUR", "512.10");
    assert_eq!(said(&bench, Happening::Start(None)), "Hello.");
    assert_eq!(said(&bench, command("balance", &[])), "run balance.read");
    assert_eq!(said(&bench, command("rate", &["bsc:BNB", "EUR"])), "1 bsc:BNB = `512.1` EUR (bench)");
    assert_eq!(said(&bench, command("rate", &["bsc:BNB", "JPY"])), "I do not know that.");
    assert!(said(&bench, command("rate", &[])).starts_with("Write it like this"));
    assert_eq!(said(&bench, command("chain", &[])), "bsc is at block `41`, final up to `39`.");
    let press = Press { data: "chain".to_owned(), message_id: "7".to_owned(), attrs: Attrs::new() };
    assert!(said(&bench, Happening::Press(press)).contains("`41`"));
}
