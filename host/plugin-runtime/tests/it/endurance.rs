//! Failures leave nothing behind.

use std::fs;

use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_payments::port::hooks::{Hooks as _, InvoiceRules};

use crate::bench::{Bench, plain, rules};
use crate::facts::{draft, review};
use xthonpay_tests::guest::Guest;

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

/// Rounds of guests that leave marks and of one that looks for them.
const ROUNDS: usize = 20;

/// What both have: a table, a global that they change, and one to count with.
const MARKABLE: &str = "(table $t 8 30000 funcref) (elem declare func $alloc)
    (global $mark (mut i32) (i32.const 0)) (global $at (mut i32) (i32.const 0))";

/// Leaves marks in the memory from `first` on, in the table and in a global, and ends with `rest`.
fn mark(first: u32, rest: &str) -> String {
    format!(
        "(drop (memory.grow (i32.const 300)))
         (memory.fill (i32.const {first}) (i32.const 0xa5) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const {first})))
         (drop (table.grow $t (ref.func $alloc) (i32.const 20000)))
         (table.fill $t (i32.const 0) (ref.func $alloc) (table.size $t))
         (global.set $mark (i32.const 1))
         {rest}"
    )
}

/// Traps when there is a mark anywhere, and ends with `rest` otherwise.
fn find(rest: &str) -> String {
    format!(
        "(drop (memory.grow (i32.const 300)))
         (drop (table.grow $t (ref.null func) (i32.const 20000)))
         (if (global.get $mark) (then unreachable))
         (loop $words
             (if (i32.eq (i32.load (global.get $at)) (i32.const 0xa5a5a5a5)) (then unreachable))
             (global.set $at (i32.add (global.get $at) (i32.const 4)))
             (br_if $words (i32.lt_u (global.get $at) (i32.shl (memory.size) (i32.const 16)))))
         (global.set $at (i32.const 0))
         (loop $elements
             (if (i32.eqz (ref.is_null (table.get $t (global.get $at)))) (then unreachable))
             (global.set $at (i32.add (global.get $at) (i32.const 1)))
             (br_if $elements (i32.lt_u (global.get $at) (table.size $t))))
         {rest}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_finds_nothing_of_those_before_it() {
    const TABLE: &str = "limits = { cpu_ms = 2000, concurrent_calls = 4 }";
    let mut guest = Guest::rules().with(MARKABLE);
    let accept = guest.accept(900, 0, "0", 1);
    let mut bench = Bench::new();
    // One overwrites its own constants too and traps, one ends well, and a call of the third must not see either.
    for (name, body) in
        [("trapping", mark(0, "unreachable")), ("ending", mark(131_072, &accept)), ("finding", find(&accept))]
    {
        bench.add(name, "invoice-rules", &guest.clone().function("on-draft", &body).component(), TABLE);
        bench.config.bindings.invoice_rules.push(name.to_owned());
    }
    let host = bench.host().await;
    let [trapping, ending, finding] = &host.invoice_rules()[..] else { unreachable!("three are bound") };
    let question = draft();
    for round in 0..ROUNDS {
        let (trapped, ended) = tokio::join!(trapping.on_draft(&question), ending.on_draft(&question));
        assert!(trapped.is_err() && ended.is_ok(), "{ended:?}");
        let (one, other) = tokio::join!(finding.on_draft(&question), finding.on_draft(&question));
        assert_eq!((one.is_ok(), other.is_ok()), (true, true), "round {round}: {one:?} {other:?}");
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
    assert_eq!(bound.on_payment(&review()).await.map(plain), Ok(Advice::Settle));
}
