//! What the policy makes of the chain.

use chain_watch::ChainWatch;
use xthonpay_sdk::testbench::{Bench, withdrawal};
use xthonpay_sdk::{Ruling, WithdrawalPolicy as _, WithdrawalRequest};

const NOW: u64 = 1_800_000_000_000;

fn bench(block_age_ms: u64) -> Bench {
    Bench::new().at(NOW).chain("bsc", 1_000, NOW - block_age_ms).fee("bsc", "bsc:BNB", "0.00000000005", "0.00000325")
}

fn ruling(bench: &Bench, request: &WithdrawalRequest) -> (Ruling, String) {
    let verdict = bench.run(|call| ChainWatch::review(call, request)).expect("an answer");
    (verdict.ruling, verdict.code)
}

#[test]
fn a_chain_that_stands_still_takes_a_second_person() {
    let request = withdrawal("bsc:USDT", "50");
    assert_eq!(ruling(&bench(120_000), &request), (Ruling::Allow, String::new()));
    assert_eq!(ruling(&bench(120_001), &request), (Ruling::RequireApproval, "chain_stale".to_owned()));
}

#[test]
fn what_is_not_worth_its_fee_does_not_leave() {
    assert_eq!(ruling(&bench(0), &withdrawal("bsc:BNB", "0.000065")).0, Ruling::Allow);
    assert_eq!(ruling(&bench(0), &withdrawal("bsc:BNB", "0.000064")), (Ruling::Deny, "below_fee".to_owned()));
}

#[test]
fn without_the_chain_there_is_no_answer() {
    let request = withdrawal("bsc:USDT", "50");
    assert!(Bench::new().run(|call| ChainWatch::review(call, &request)).is_err());
}
