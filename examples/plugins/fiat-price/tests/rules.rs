//! What the rules say about prices in a currency, with an upstream that answers, lies, and is down.

use fiat_price::FiatPrice;
use xthonpay_sdk::testbench::{Bench, draft};
use xthonpay_sdk::{Draft, DraftRuling, HookError, InvoiceRules as _};

const NOW: u64 = 1_800_000_000_000;

fn order(coins: &str, fiat: &str) -> Draft {
    Draft { metadata: vec![("fiat".to_owned(), fiat.to_owned())], ..draft("bsc:BNB", coins) }
}

fn bench() -> Bench {
    Bench::new().at(NOW).space("rates")
}

/// `accept`, or the code of the refusal.
fn ruling(bench: &Bench, draft: &Draft) -> Result<String, HookError> {
    Ok(match bench.run(|call| FiatPrice::on_draft(call, draft))? {
        DraftRuling::Accept(_) => "accept".to_owned(),
        DraftRuling::Refuse(refusal) => refusal.code,
    })
}

#[test]
fn the_price_is_held_against_the_rate() {
    for (fiat, expected) in [
        ("50.00 EUR", "accept"),
        ("49.10 EUR", "accept"),
        ("48.90 EUR", "price_off"),
        ("51.30 EUR", "price_off"),
        ("50,00 EUR", "bad_fiat"),
        ("50.00", "bad_fiat"),
        ("50.00 euro", "bad_fiat"),
    ] {
        let bench = bench().upstream("rates", 200, r#"{"price": "500.00"}"#);
        assert_eq!(ruling(&bench, &order("0.1", fiat)).as_deref(), Ok(expected), "{fiat}");
    }
    let plain = draft("bsc:BNB", "0.1");
    assert_eq!(ruling(&bench(), &plain).as_deref(), Ok("accept"), "no price in a currency, no question");
}

#[test]
fn a_fresh_rate_is_not_asked_for_again_and_an_old_one_is_fallen_back_on() {
    let stored = |age_s: u64| bench().stored("rates", "BNB/EUR", &format!("{} 500", NOW - age_s * 1_000));
    let fresh = stored(20);
    assert_eq!(ruling(&fresh, &order("0.1", "50.00 EUR")).as_deref(), Ok("accept"));
    assert_eq!(fresh.requests(), []);

    let old = stored(600).upstream_down("rates");
    assert_eq!(ruling(&old, &order("0.1", "50.00 EUR")).as_deref(), Ok("accept"));
    assert_eq!((old.requests().len(), old.logs().len()), (1, 1));

    let too_old = stored(901).upstream_down("rates");
    assert!(matches!(ruling(&too_old, &order("0.1", "50.00 EUR")), Err(HookError::RetryLater(_))));
}

#[test]
fn a_rate_is_kept_with_the_time_at_which_it_was_asked_for() {
    let bench = bench().upstream("rates", 200, r#"{"price": 612.5}"#);
    assert_eq!(ruling(&bench, &order("0.1", "61.25 USD")).as_deref(), Ok("accept"));
    assert_eq!(bench.value("rates", "BNB/USD"), Some(format!("{NOW} 612.5")));
    let (label, request) = bench.requests().remove(0);
    assert_eq!((label.as_str(), request.path.as_str()), ("rates", "price?base=BNB&counter=USD"));
}

#[test]
fn what_the_upstream_says_is_not_believed_blindly() {
    for (status, body) in [
        (500, "{}"),
        (200, "oops"),
        (200, "{}"),
        (200, r#"{"price": null}"#),
        (200, r#"{"price": "0"}"#),
        (200, r#"{"price": "-1"}"#),
        (200, r#"{"price": "1e9"}"#),
        (200, r#"{"price": {"eur": 1}}"#),
    ] {
        let bench = bench().upstream("rates", status, body);
        let error = ruling(&bench, &order("0.1", "50.00 EUR")).expect_err(body);
        assert!(error.is_transient(), "{body}");
    }
}

#[test]
fn bad_settings_are_told() {
    let bench = Bench::new().config("fallback_s", "10").config("max_off_bps", "10001");
    let problems = bench.run(|_| FiatPrice::check_config()).expect_err("two problems");
    assert_eq!(problems.len(), 2);
}
