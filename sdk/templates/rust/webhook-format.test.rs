//! What is sent, without wasm.

use xthonpay_sdk::testbench::{Bench, event};
use xthonpay_sdk::{Event, WebhookFormat as _};

use {{crate}}::Format;

fn body(bench: &Bench, event: &Event) -> Option<String> {
    let message = bench.run(|call| Format::render(call, event, "whe_1")).expect("an answer")?;
    Some(String::from_utf8(message.body).expect("JSON is UTF-8"))
}

#[test]
fn an_event_is_sent_as_json_with_its_data_as_it_is() {
    let data = r#"{"amount":"50.00","metadata":{"note":"Größe M"}}"#;
    let event = Event { created: 1_800_000_000_000, ..event("invoice.paid", data) };
    let expected = format!(r#"{{"id":"evt_1","event":"invoice.paid","created":1800000000000,"data":{data}}}"#);
    assert_eq!(body(&Bench::new(), &event), Some(expected));
}

#[test]
fn a_kind_of_the_setting_is_not_sent() {
    let bench = Bench::new().config("skip", "invoice.confirming, payment.detected");
    assert_eq!(body(&bench, &event("payment.detected", "{}")), None);
    assert_eq!(bench.logs()[0].text, "skipped payment.detected");
    assert!(body(&bench, &event("something.new", "{}")).is_some());
}

#[test]
fn what_is_no_kind_is_told() {
    let problems = Bench::new().config("skip", "invoice.paid,Invoice Paid").run(|_| Format::check_config());
    let problems = problems.expect_err("one is no kind");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "`Invoice Paid` is no kind of event such as `invoice.paid`");
}
