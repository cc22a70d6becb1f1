//! What the policy says, without wasm.

use xthonpay_sdk::testbench::{Bench, withdrawal};
use xthonpay_sdk::{Ruling, Verdict, WithdrawalPolicy as _, WithdrawalRequest};

use {{crate}}::Policy;

fn verdict(bench: &Bench, request: &WithdrawalRequest) -> Verdict {
    bench.run(|call| Policy::review(call, request)).expect("an answer")
}

#[test]
fn more_than_the_setting_allows_is_denied_by_the_least_bit() {
    let bench = Bench::new().config("largest", "100");
    let request = withdrawal("bsc:USDT", "100.000000000000000001");
    let message = "At most 100 USDT may be withdrawn at once.";
    assert_eq!(verdict(&bench, &request), Verdict::tighten(Ruling::Deny, "amount_too_large", message));
    assert_eq!(bench.logs()[0].text, "wd_1: amount_too_large");
}

#[test]
fn only_the_first_withdrawal_to_an_address_needs_a_code() {
    let bench = Bench::new();
    let first = withdrawal("bsc:USDT", "1000");
    assert_eq!(verdict(&bench, &first).ruling, Ruling::RequireTotp);
    let next = WithdrawalRequest { destination_uses: 1, ..first };
    assert_eq!(verdict(&bench, &next), Verdict::allow());
    assert_eq!(bench.logs().len(), 1);
}

#[test]
fn a_limit_of_nothing_is_told() {
    let problems = Bench::new().config("largest", "0.00").run(|_| Policy::check_config());
    assert_eq!(problems.expect_err("it would deny everything")[0].key, "largest");
}
