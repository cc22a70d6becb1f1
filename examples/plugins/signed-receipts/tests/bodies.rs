//! The receipt in the body.

use signed_receipts::SignedReceipts;
use xthonpay_sdk::WebhookFormat as _;
use xthonpay_sdk::testbench::{Bench, event};

#[test]
fn the_receipt_is_about_id_kind_and_facts() {
    let bench = Bench::new().signer("receipts", &["receipt"]);
    let event = event("invoice.paid", r#"{"amount":"50.00"}"#);
    let message =
        bench.run(|call| SignedReceipts::render(call, &event, "callback")).expect("an answer").expect("a body");
    let body: serde_json::Value = serde_json::from_slice(&message.body).expect("JSON");
    assert_eq!(body["data"]["amount"], "50.00");
    // A bench signs by repeating purpose and message.
    let signed = format!("receipt|{}\ninvoice.paid\n{}", event.id, event.data_json);
    let digits: String = signed.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(body["receipt"]["signature"], digits);
    assert_eq!(body["receipt"]["merchant"], "merchant-1");
}

#[test]
fn without_its_signer_there_is_no_body() {
    let event = event("invoice.paid", "{}");
    let error = Bench::new().run(|call| SignedReceipts::render(call, &event, "callback")).expect_err("not granted");
    assert_eq!(error.detail().code, "not_granted");
}
