//! What the shop's rules decide.

use loyal_shop::LoyalShop;
use xthonpay_sdk::testbench::{Bench, draft, invoice};
use xthonpay_sdk::{Advice, Draft, DraftRuling, InvoiceRules as _, Terms};

fn terms(bench: &Bench, draft: &Draft) -> Terms {
    match bench.run(|call| LoyalShop::on_draft(call, draft)) {
        Ok(DraftRuling::Accept(terms)) => terms,
        other => unreachable!("the shop accepts every draft, got {other:?}"),
    }
}

fn draft_of(customer: Option<&str>) -> Draft {
    Draft { customer: customer.map(String::from), ..draft("bsc:USDT", "50.00") }
}

#[test]
fn one_percent_may_be_missing() {
    assert_eq!(terms(&Bench::new(), &draft_of(None)).tolerance_bps, 100);
    assert_eq!(terms(&Bench::new().config("tolerance_bps", "25"), &draft_of(None)).tolerance_bps, 25);
}

#[test]
fn only_known_customers_get_a_day() {
    let bench = Bench::new().config("known_customers", "alice, bob");
    for (customer, expires_in_s) in
        [(Some("alice"), 86_400), (Some("bob"), 86_400), (Some("eve"), 3_600), (None, 3_600)]
    {
        assert_eq!(terms(&bench, &draft_of(customer)).expires_in_s, expires_in_s, "{customer:?}");
    }
    assert_eq!(bench.logs().len(), 2);
}

#[test]
fn the_shop_can_vouch_for_a_customer_in_the_metadata() {
    let mut draft = draft_of(Some("eve"));
    draft.metadata.push((String::from("loyal"), String::from("true")));
    assert_eq!(terms(&Bench::new(), &draft).expires_in_s, 86_400);
}

#[test]
fn a_longer_proposal_is_kept() {
    let mut draft = draft_of(Some("alice"));
    draft.proposed.expires_in_s = 100_000;
    let bench = Bench::new().config("known_customers", "alice");
    assert_eq!(terms(&bench, &draft).expires_in_s, 100_000);
}

#[test]
fn late_money_is_welcome() {
    let mut invoice = invoice("bsc:USDT", "50.00", "49.50");
    invoice.late = true;
    assert_eq!(Bench::new().run(|call| LoyalShop::on_payment(call, &invoice, &[])), Ok(Advice::Settle));
}

#[test]
fn a_bad_tolerance_is_told() {
    let problems = Bench::new().config("tolerance_bps", "1%").run(|_| LoyalShop::check_config());
    assert_eq!(problems.expect_err("it is no number")[0].key, "tolerance_bps");
}
