//! What the policy says about withdrawals.

use careful_payouts::CarefulPayouts;
use xthonpay_sdk::testbench::{Bench, amount, withdrawal};
use xthonpay_sdk::{Money, Ruling, WithdrawalPolicy as _, WithdrawalRequest};

fn known(moved: &str) -> WithdrawalRequest {
    WithdrawalRequest { destination_uses: 1, ..withdrawal("bsc:USDT", moved) }
}

fn ruling(bench: &Bench, request: &WithdrawalRequest) -> (Ruling, String) {
    let verdict = bench.run(|call| CarefulPayouts::review(call, request)).expect("an answer");
    (verdict.ruling, verdict.code)
}

#[test]
fn larger_amounts_take_more_people() {
    for (moved, expected, code) in [
        ("100", Ruling::Allow, ""),
        ("100.000000000000000001", Ruling::RequireTotp, "large_amount"),
        ("1000", Ruling::RequireTotp, "large_amount"),
        ("1000.5", Ruling::RequireApproval, "large_amount"),
        ("5000", Ruling::RequireApproval, "large_amount"),
        ("5000.01", Ruling::Deny, "daily_maximum"),
    ] {
        assert_eq!(ruling(&Bench::new(), &known(moved)), (expected, code.to_owned()), "{moved}");
    }
}

#[test]
fn the_day_counts_the_same_asset_only() {
    let mut request = known("50");
    request.total_24h = vec![Money::new("bsc:USDT", amount("4950")), Money::new("bsc:BNB", amount("9000"))];
    assert_eq!(ruling(&Bench::new(), &request).0, Ruling::Allow);
    request.total_24h[0] = Money::new("bsc:USDT", amount("4950.1"));
    assert_eq!(ruling(&Bench::new(), &request), (Ruling::Deny, "daily_maximum".to_owned()));
}

#[test]
fn a_new_destination_takes_what_the_operator_says() {
    let request = withdrawal("bsc:USDT", "1");
    for (word, expected) in [
        ("allow", Ruling::Allow),
        ("code", Ruling::RequireTotp),
        ("approval", Ruling::RequireApproval),
        ("deny", Ruling::Deny),
    ] {
        assert_eq!(ruling(&Bench::new().config("new_destination", word), &request).0, expected, "{word}");
    }
    let bench = Bench::new();
    assert_eq!(ruling(&bench, &withdrawal("bsc:USDT", "2000")).0, Ruling::RequireApproval, "the strictest counts");
    assert_eq!(bench.logs().len(), 1);
}

#[test]
fn bad_settings_are_told_all_at_once() {
    let bench = Bench::new().config("new_destination", "maybe").config("code_above", "2000");
    let problems = bench.run(|_| CarefulPayouts::check_config()).expect_err("two problems");
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["new_destination", "approval_above"]);
}
