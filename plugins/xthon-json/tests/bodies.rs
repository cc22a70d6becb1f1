//! The bodies, byte for byte: receivers verify a signature over them.

use xthon_json::XthonJson;
use xthonpay_sdk::testbench::{Bench, event};
use xthonpay_sdk::{HookError, Message, WebhookFormat as _};

fn render(kind: &str, data_json: &str) -> Result<Option<Message>, HookError> {
    Bench::new().run(|call| XthonJson::render(call, &event(kind, data_json), "we_1"))
}

fn body(kind: &str, data_json: &str) -> String {
    let message = render(kind, data_json).expect("it renders").expect("it is sent");
    String::from_utf8(message.body).expect("it is text")
}

#[test]
fn an_event_is_its_kind_and_its_data() {
    let data = r#"{"invoice_id":"inv_1","external_id":"order_12345","amount":"50.00","status":"paid"}"#;
    assert_eq!(
        body("invoice.paid", data),
        r#"{"event":"invoice.paid","data":{"invoice_id":"inv_1","external_id":"order_12345","amount":"50.00","status":"paid"}}"#
    );
}

#[test]
fn the_order_of_fields_and_the_spelling_of_amounts_stay() {
    assert_eq!(
        body("x", r#"{"z":"1.50","a":{"y":[1,2],"b":null}}"#),
        r#"{"event":"x","data":{"z":"1.50","a":{"y":[1,2],"b":null}}}"#
    );
}

#[test]
fn it_is_sent_as_json_without_extra_headers() {
    let message = render("invoice.paid", "{}").expect("it renders").expect("it is sent");
    assert_eq!(message.content_type, "application/json");
    assert!(message.headers.is_empty());
}

#[test]
fn a_kind_cannot_break_out_of_its_string() {
    assert_eq!(body(r#"a","data":{},"x":""#, "{}"), r#"{"event":"a\",\"data\":{},\"x\":\"","data":{}}"#);
}

#[test]
fn data_that_is_no_object_is_bad_input() {
    for data in ["", "null", "[]", "\"text\"", "{"] {
        assert!(matches!(render("invoice.paid", data), Err(HookError::BadInput(_))), "{data:?}");
    }
}
