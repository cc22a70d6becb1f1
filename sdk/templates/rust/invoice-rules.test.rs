//! What the rules decide, without wasm.

use xthonpay_sdk::testbench::{Bench, draft, invoice};
use xthonpay_sdk::{Advice, Draft, DraftRuling, Invoice, InvoiceRules as _, Terms};

use {{crate}}::Rules;

fn order() -> Draft {
    Draft { external_id: Some("order-7".to_owned()), ..draft("bsc:USDT", "50.00") }
}

#[test]
fn an_invoice_waits_as_long_as_was_asked_else_as_the_setting_says() {
    let bench = Bench::new().config("expires_in_s", "600");
    for (asked, expires_in_s) in [(None, 600), (Some(90), 90)] {
        let draft = Draft { requested_expiry_s: asked, ..order() };
        let terms = Terms { expires_in_s, ..draft.proposed.clone() };
        assert_eq!(bench.run(|call| Rules::on_draft(call, &draft)), Ok(DraftRuling::Accept(terms)));
    }
}

#[test]
fn an_invoice_without_an_order_is_refused() {
    let bench = Bench::new();
    let draft = Draft { external_id: None, ..order() };
    let ruling = bench.run(|call| Rules::on_draft(call, &draft));
    assert!(matches!(ruling, Ok(DraftRuling::Refuse(refusal)) if refusal.code == "order_missing"));
    assert_eq!(bench.logs()[0].text, "refused an invoice without an order");
}

#[test]
fn late_money_is_looked_at_by_a_person() {
    let bench = Bench::new();
    for (late, advice) in [(false, Advice::Settle), (true, Advice::Review)] {
        let invoice = Invoice { late, ..invoice("bsc:USDT", "50.00", "50.00") };
        assert_eq!(bench.run(|call| Rules::on_payment(call, &invoice, &[])), Ok(advice));
    }
    assert_eq!(bench.logs()[0].text, "inv_1 was paid late: a person decides");
}

#[test]
fn a_setting_out_of_bounds_is_told() {
    let problems = Bench::new().config("expires_in_s", "59").run(|_| Rules::check_config());
    assert_eq!(problems.expect_err("59 is too short")[0].message, "59 is not between 60 and 2592000");
}
