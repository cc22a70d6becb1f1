//! Who becomes a regular, and what that changes.

use regulars::Regulars;
use xthonpay_sdk::testbench::{Bench, draft, invoice};
use xthonpay_sdk::{Advice, Draft, DraftRuling, Invoice, InvoiceRules as _};

fn by(customer: &str) -> Draft {
    Draft { customer: Some(customer.to_owned()), ..draft("bsc:USDT", "50.00") }
}

fn expiry(bench: &Bench, draft: &Draft) -> u32 {
    match bench.run(|call| Regulars::on_draft(call, draft)) {
        Ok(DraftRuling::Accept(terms)) => terms.expires_in_s,
        other => unreachable!("{other:?}"),
    }
}

fn pay(bench: &Bench, id: &str, customer: &str) -> Advice {
    let paid =
        Invoice { id: id.to_owned(), customer: Some(customer.to_owned()), ..invoice("bsc:USDT", "50.00", "50.00") };
    bench.run(|call| Regulars::on_payment(call, &paid, &[])).expect("an answer")
}

#[test]
fn the_fourth_order_of_a_customer_who_paid_three_times_gets_a_day() {
    let bench = Bench::new().space("customers");
    for order in ["inv_1", "inv_2", "inv_3"] {
        assert_eq!(expiry(&bench, &by("anna")), 3_600, "{order}");
        assert_eq!(pay(&bench, order, "anna"), Advice::Settle);
    }
    assert_eq!(expiry(&bench, &by("anna")), 86_400);
    assert_eq!(expiry(&bench, &by("ben")), 3_600);
    assert_eq!(expiry(&bench, &draft("bsc:USDT", "50.00")), 3_600, "nobody in particular");
    assert_eq!(bench.value("customers", "visits/anna").as_deref(), Some("3"));
}

#[test]
fn a_payment_that_is_judged_again_counts_once() {
    let bench = Bench::new().space("customers");
    for _ in 0..5 {
        pay(&bench, "inv_1", "anna");
    }
    assert_eq!(bench.value("customers", "visits/anna").as_deref(), Some("1"));
}

#[test]
fn late_money_is_for_a_person_to_judge() {
    let bench = Bench::new().space("customers");
    let late = Invoice { late: true, ..invoice("bsc:USDT", "50.00", "50.00") };
    assert_eq!(bench.run(|call| Regulars::on_payment(call, &late, &[])), Ok(Advice::Review));
}

#[test]
fn without_its_space_it_says_so() {
    let error = Bench::new().run(|call| Regulars::on_draft(call, &by("anna"))).expect_err("not granted");
    assert_eq!(error.detail().code, "not_granted");
}
