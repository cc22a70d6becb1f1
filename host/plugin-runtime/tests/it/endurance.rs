//! Failures leave nothing behind.

use std::fs;

use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_payments::port::hooks::InvoiceRules;

use crate::bench::{Bench, rules};
use crate::facts::{draft, review};
use crate::guest::Guest;

/// Failing calls of a round.
const CALLS: u32 = 1_000;

/// Memory that a round may leave behind: a hundredth of what the guests had.
const GROWTH_MAX: u64 = 16 * 1_024 * 1_024;

/// Memory of this process that is in use, in bytes.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: u64 = pages.split(' ').nth(1).expect("is the second number").parse().expect("is a number");
    pages * 4_096
}

async fn fail(bound: &dyn InvoiceRules, times: u32) {
    let question = draft();
    for _ in 0..times {
        assert!(bound.on_draft(&question).await.is_err());
    }
}

#[tokio::test]
async fn a_thousand_trapping_calls_leave_memory_flat() {
    // Touches 2 MiB before it traps.
    let body = "(drop (memory.grow (i32.const 32))) (memory.fill (i32.const 65536) (i32.const 7) (i32.const 2097152)) unreachable";
    let host = Bench::rules(&Guest::rules().function("on-draft", body), "").host().await;
    let bound = rules(&host);
    fail(bound.as_ref(), 50).await;
    // Other tests of this process use memory too, for a while. What leaks, leaks in every round.
    let mut least = u64::MAX;
    for _ in 0..4 {
        let before = resident();
        fail(bound.as_ref(), CALLS).await;
        least = least.min(resident().saturating_sub(before));
        if least < GROWTH_MAX {
            break;
        }
    }
    assert!(least < GROWTH_MAX, "{least} bytes more after {CALLS} failing calls");
    assert_eq!(bound.on_payment(&review()).await, Ok(Advice::Settle));
}
