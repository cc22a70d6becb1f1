//! The bodies, byte for byte: receivers verify a signature over them.

use standard_webhooks::StandardWebhooks;
use xthonpay_sdk::testbench::{Bench, event};
use xthonpay_sdk::{HookError, WebhookFormat as _};

#[test]
fn an_event_is_its_type_its_time_and_its_data() {
    let mut event = event("invoice.paid", r#"{"invoice_id":"inv_1","external_id":"order_12345"}"#);
    event.created = 1_774_958_400_250;
    let message = Bench::new().run(|call| StandardWebhooks::render(call, &event, "we_1"));
    let message = message.expect("it renders").expect("it is sent");
    assert_eq!(
        String::from_utf8(message.body).expect("it is text"),
        concat!(
            r#"{"type":"invoice.paid","timestamp":"2026-03-31T12:00:00.250Z","#,
            r#""data":{"invoice_id":"inv_1","external_id":"order_12345"}}"#
        )
    );
    assert_eq!(message.content_type, "application/json");
}

#[test]
fn data_that_is_no_object_is_bad_input() {
    let rendered = Bench::new().run(|call| StandardWebhooks::render(call, &event("invoice.paid", "[]"), "we_1"));
    assert!(matches!(rendered, Err(HookError::BadInput(_))));
}
