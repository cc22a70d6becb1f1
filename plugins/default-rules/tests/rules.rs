//! What the default rules decide, setting by setting.

use default_rules::DefaultRules;
use xthonpay_sdk::testbench::{Bench, amount, draft, invoice};
use xthonpay_sdk::{Advice, DraftRuling, InvoiceRules as _, Terms};

fn terms(bench: &Bench, requested_expiry_s: Option<u32>) -> Terms {
    let mut draft = draft("bsc:USDT", "50.00");
    draft.requested_expiry_s = requested_expiry_s;
    match bench.run(|call| DefaultRules::on_draft(call, &draft)) {
        Ok(DraftRuling::Accept(terms)) => terms,
        other => unreachable!("the default rules accept every draft, got {other:?}"),
    }
}

fn advice(bench: &Bench, late: bool) -> Advice {
    let mut invoice = invoice("bsc:USDT", "50.00", "50.00");
    invoice.late = late;
    bench.run(|call| DefaultRules::on_payment(call, &invoice, &[])).expect("the settings are fine")
}

#[test]
fn without_settings_an_invoice_waits_an_hour_and_tolerates_nothing() {
    let terms = terms(&Bench::new(), None);
    assert_eq!(terms.expires_in_s, 3_600);
    assert_eq!((terms.tolerance_bps, terms.tolerance_amount), (0, amount("0")));
    assert_eq!(terms.confirmations, 0);
}

#[test]
fn settings_become_terms() {
    let bench = Bench::new()
        .config("expires_in_s", "900")
        .config("tolerance_bps", "50")
        .config("tolerance_amount", "0.25")
        .config("confirmations", "12");
    let terms = terms(&bench, None);
    assert_eq!(terms.expires_in_s, 900);
    assert_eq!((terms.tolerance_bps, terms.tolerance_amount), (50, amount("0.25")));
    assert_eq!(terms.confirmations, 12);
}

#[test]
fn a_requested_lifetime_is_honoured_within_bounds() {
    let bench = Bench::new().config("max_expires_in_s", "7200");
    for (requested, granted) in [(0, 60), (59, 60), (60, 60), (1_800, 1_800), (7_200, 7_200), (u32::MAX, 7_200)] {
        assert_eq!(terms(&bench, Some(requested)).expires_in_s, granted, "asked for {requested}");
    }
    assert_eq!(terms(&Bench::new(), Some(u32::MAX)).expires_in_s, 2_592_000);
}

#[test]
fn a_payment_in_time_settles() {
    assert_eq!(advice(&Bench::new(), false), Advice::Settle);
}

#[test]
fn a_late_payment_goes_to_review_unless_accepted() {
    assert_eq!(advice(&Bench::new(), true), Advice::Review);
    assert_eq!(advice(&Bench::new().config("late", "review"), true), Advice::Review);
    assert_eq!(advice(&Bench::new().config("late", "accept"), true), Advice::Settle);
}

#[test]
fn every_bad_setting_is_told_at_once() {
    let bench = Bench::new()
        .config("expires_in_s", "soon")
        .config("max_expires_in_s", "30")
        .config("tolerance_bps", "10001")
        .config("tolerance_amount", "-1")
        .config("confirmations", "1.5")
        .config("late", "maybe");
    let problems = bench.run(|_| DefaultRules::check_config()).expect_err("every setting is bad");
    let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.dedup();
    for key in ["expires_in_s", "max_expires_in_s", "tolerance_bps", "tolerance_amount", "confirmations", "late"] {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
}

#[test]
fn a_lifetime_over_its_own_maximum_is_a_problem() {
    let bench = Bench::new().config("expires_in_s", "7200").config("max_expires_in_s", "3600");
    let problems = bench.run(|_| DefaultRules::check_config()).expect_err("they contradict each other");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].key, "expires_in_s");
}

#[test]
fn the_manifest_defaults_are_the_defaults_of_the_code() {
    let manifest = include_str!("../plugin.toml");
    for (key, default) in [
        ("expires_in_s", "3600"),
        ("max_expires_in_s", "2592000"),
        ("tolerance_bps", "0"),
        ("tolerance_amount", "0"),
        ("confirmations", "0"),
        ("late", "review"),
    ] {
        let section = manifest.split(&format!("[config.{key}]")).nth(1).expect(key);
        let section = section.split("\n[").next().unwrap_or(section);
        assert!(section.contains(&format!("default = \"{default}\"")), "{key} in plugin.toml");
    }
}
