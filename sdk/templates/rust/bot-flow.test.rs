//! What the bot says, without wasm.

use xthonpay_sdk::testbench::{Bench, update};
use xthonpay_sdk::{Attrs, BotFlow as _, Button, Command, Effect, Happening, Press, Reply};

use {{crate}}::Flow;

fn answer(bench: &Bench, what: Happening, memory: Option<&[u8]>) -> Vec<Effect> {
    bench.run(|call| Flow::handle(call, &update(what), memory)).expect("an answer")
}

fn with_button(text: &str) -> Reply {
    Reply::text(text).row([Button::press("Press", "press")])
}

#[test]
fn it_starts_with_the_greeting_and_a_button() {
    let bench = Bench::new().config("greeting", "Welcome to the shop.");
    let command = Command { name: "start".to_owned(), args: Vec::new(), attrs: Attrs::new() };
    for what in [Happening::Start(None), Happening::Command(command)] {
        let reply = with_button("Welcome to the shop. The button was pressed 0 times.");
        assert_eq!(answer(&bench, what, None), [Effect::Say(reply)]);
    }
}

#[test]
fn a_press_is_counted_and_changes_the_message() {
    let bench = Bench::new();
    let press = Press { data: "press".to_owned(), message_id: "msg_1".to_owned(), attrs: Attrs::new() };
    for (memory, now) in [(Some(&b"2"[..]), "3"), (None, "1"), (Some(b"no number"), "1")] {
        let edit = Effect::edit(&press, with_button(&format!("The button was pressed {now} times.")));
        let remember = Effect::Remember(now.as_bytes().to_vec());
        assert_eq!(answer(&bench, Happening::Press(press.clone()), memory), [edit, remember]);
    }
    assert_eq!(bench.logs()[0].text, "pressed 3 times");
}

#[test]
fn any_other_text_gets_a_short_help_and_the_rest_nothing() {
    let text = Happening::Text("where is my money?".to_owned());
    assert_eq!(answer(&Bench::new(), text, Some(b"2")), [Effect::say("Send /start to begin.")]);
    assert_eq!(answer(&Bench::new(), Happening::Timer("later".to_owned()), None), []);
}

#[test]
fn an_empty_greeting_is_told() {
    let problems = Bench::new().config("greeting", " ").run(|_| Flow::check_config());
    assert_eq!(problems.expect_err("it is empty")[0].key, "greeting");
}
