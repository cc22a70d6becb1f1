//! Hostile guests: each runs into its limit, the failure says so, and everything else goes on.

use std::time::Duration;

use tokio::time::Instant;
use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_payments::port::hooks::{DraftRuling, Hooks as _, OnFailure};

use crate::bench::{Bench, NAME, assert_failure, assert_words, format, plain, rules};
use crate::facts::{draft, event, review};
use xthonpay_tests::guest::Guest;

const LOOP: &str = "(loop $for_ever (br $for_ever)) unreachable";

/// Much longer than any budget here, much shorter than a hang. Shared machines are slow at times.
const SOON: Duration = Duration::from_secs(2);

/// The failure of `on-draft` with this body.
async fn draft_failure(guest: Guest, table: &str, transient: bool, words: &[&str]) {
    let host = Bench::rules(&guest, table).host().await;
    let failure = rules(&host).on_draft(&draft()).await.expect_err("runs into its limit");
    assert_failure(&failure, "on-draft", OnFailure::Builtin, transient, words);
    // The next call has an instance of its own and knows nothing of the failure.
    assert_eq!(rules(&host).on_payment(&review()).await.map(plain), Ok(Advice::Settle));
}

#[tokio::test]
async fn a_loop_ends_with_its_processor_time() {
    let begun = Instant::now();
    let guest = Guest::rules().function("on-draft", LOOP);
    let words = ["processor time (55 ms)", "limit of 50 ms", "raise plugins.subject.limits.cpu_ms (at most 2000)"];
    draft_failure(guest, "", false, &words).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_loop_in_the_start_of_a_module_ends_too() {
    let guest = Guest::rules().with("(func $spin (loop $for_ever (br $for_ever))) (start $spin)");
    let refusal = Bench::rules(&guest, "").refusal().await;
    assert_words(&refusal, &["describe failed", "limits.cpu_ms"]);
}

/// On one thread, so that the other call only gets on if the loops let it.
#[tokio::test(flavor = "current_thread")]
async fn others_are_served_while_guests_loop() {
    let table = "limits = { cpu_ms = 200 }";
    let mut bench = Bench::rules(&Guest::rules().function("on-draft", LOOP), table);
    bench.add("good", "invoice-rules", &Guest::rules().component(), "");
    bench.config.bindings.invoice_rules.push("good".to_owned());
    let host = bench.host().await;
    let [looping, good] = &host.invoice_rules()[..] else { unreachable!("two are bound") };
    let (one, other, question) = (draft(), draft(), draft());
    let hostile = async {
        let (one, other) = tokio::join!(looping.on_draft(&one), looping.on_draft(&other));
        assert!(one.is_err() && other.is_err());
        Instant::now()
    };
    let served = async {
        assert!(matches!(good.on_draft(&question).await.map(plain), Ok(DraftRuling::Accept(_))));
        Instant::now()
    };
    let (ended, answered) = tokio::join!(hostile, served);
    assert!(ended.duration_since(answered) > Duration::from_millis(100), "the good call waited for the loops");
}

#[tokio::test]
async fn a_call_ends_with_its_wall_time() {
    let begun = Instant::now();
    let mut guest = Guest::rules().capability("log");
    let text = guest.text("before");
    let write = format!(
        "(call $log (i32.const 2) (i32.const {}) (i32.const {}) (i32.const 0) (i32.const 0))",
        text[0], text[1]
    );
    let guest = guest.function("on-draft", &format!("{write} {LOOP}"));
    let host = Bench::rules(&guest, "limits = { cpu_ms = 2000, wall_ms = 30 }").host().await;
    let failure = rules(&host).on_draft(&draft()).await.expect_err("out of time");
    let words = ["time of the call is over the limit of 30 ms", "plugins.subject.limits.wall_ms"];
    assert_failure(&failure, "on-draft", OnFailure::Builtin, true, &words);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let failures = host.failures(NAME).expect("is bound");
    let [capture] = failures.as_slice() else { unreachable!("one failure: {failures:?}") };
    let lines: Vec<_> = capture.lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines, ["before"], "what it did by then is kept");
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_guest_behind() {
    let guest = Guest::rules().function("on-draft", LOOP);
    let table = "limits = { cpu_ms = 100, concurrent_calls = 1, queued_calls = 0 }";
    let host = Bench::rules(&guest, table).host().await;
    let question = draft();
    let bound = rules(&host);
    let given_up = tokio::time::timeout(Duration::from_millis(20), bound.on_draft(&question)).await;
    assert!(given_up.is_err(), "the guest loops for 100 ms");
    let begun = Instant::now();
    while rules(&host).on_payment(&review()).await.is_err() {
        assert!(begun.elapsed() < SOON, "the place is still taken");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let eat = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let words = ["linear memory (33 MiB)", "limit of 32 MiB", "plugins.subject.limits.memory_mib"];
    draft_failure(Guest::rules().function("on-draft", eat), "", false, &words).await;
}

#[tokio::test]
async fn a_guest_may_live_with_less_memory() {
    let mut guest = Guest::rules();
    let accept = guest.accept(60, 0, "0", 0);
    let body = format!("(if (i32.ne (memory.grow (i32.const 60000)) (i32.const -1)) (then unreachable)) {accept}");
    let host = Bench::rules(&guest.function("on-draft", &body), "").host().await;
    assert!(matches!(rules(&host).on_draft(&draft()).await.map(plain), Ok(DraftRuling::Accept(_))));
}

#[tokio::test]
async fn a_guest_that_begins_too_large_is_not_loaded() {
    let guest = Guest::rules().pages(600);
    let refusal = Bench::rules(&guest, "").refusal().await;
    assert_words(&refusal, &["linear memory (38 MiB)", "plugins.subject.limits.memory_mib"]);
    Bench::rules(&guest, "limits = { memory_mib = 64 }").host().await;
    let guest = Guest::rules().with("(memory $second 1)");
    let refusal = Bench::rules(&guest, "limits = { memories = 1 }").refusal().await;
    assert_words(&refusal, &["plugins.subject.limits.memories (1)"]);
    let guest = Guest::rules().capability("log");
    let refusal = Bench::rules(&guest, "limits = { instances = 1 }").refusal().await;
    assert_words(&refusal, &["plugins.subject.limits.instances (1)"]);
}

#[tokio::test]
async fn tables_end_at_their_limit() {
    let grow = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 100000)) (i32.const -1)) (then unreachable)) unreachable";
    let guest = Guest::rules().with("(table $t 1 funcref)").function("on-draft", grow);
    draft_failure(guest, "", false, &["elements of tables (10000", "plugins.subject.limits.table_elements"]).await;
}

#[tokio::test]
async fn recursion_ends_with_the_stack_of_the_guest() {
    let deep = "(func $deep (param i32) (result i32)
        (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    let guest = Guest::rules().with(deep).function("on-draft", "(call $deep (i32.const 0))");
    draft_failure(guest, "", false, &["trapped", "call stack exhausted", "deep"]).await;
}

#[tokio::test]
async fn a_trap_names_what_happened_and_where() {
    let guest = Guest::rules().with("(func $boom unreachable)").function("on-draft", "(call $boom) (i32.const 0)");
    draft_failure(guest, "", false, &["trapped", "unreachable", "in boom", "report it to its author"]).await;
}

#[tokio::test]
async fn answers_end_at_their_size() {
    let mut guest = Guest::format();
    let message = guest.message("text/plain", &[], &[b'x'; 3_000]);
    let host = Bench::format(&guest.function("render", &message), "limits = { output_kib = 2 }").host().await;
    let failure = format(&host).render(&event(), "end_1").await.expect_err("too large");
    let words = ["size of the answer (3 KiB)", "limit of 2 KiB", "plugins.subject.limits.output_kib"];
    assert_failure(&failure, "render", OnFailure::Builtin, false, &words);
}

#[tokio::test]
async fn what_crosses_at_once_ends_at_its_size() {
    const MIB: u32 = 1_024 * 1_024;
    // A body of 20 MiB, and a million headers that all lie at the same place.
    let (mut large, mut many) = (Guest::format(), Guest::format());
    let media_type = large.text("text/plain");
    let body = large.words(&[vec![0, 1], media_type, vec![0, 0, 0, 20 * MIB, 0, 0]].concat());
    let media_type = many.text("text/plain");
    let headers = many.words(&[vec![0, 1], media_type, vec![0, 1_000_000, 0, 0, 0, 0]].concat());
    for guest in [large.function("render", &body), many.function("render", &headers)] {
        let host = Bench::format(&guest.pages(400), "").host().await;
        let failure = format(&host).render(&event(), "end_1").await.expect_err("too large");
        assert_failure(&failure, "render", OnFailure::Builtin, false, &["plugins.subject.limits.crossing_kib (1024)"]);
    }
}

#[tokio::test]
async fn questions_end_at_their_size() {
    let host = Bench::format(&Guest::format(), "").host().await;
    let mut long = event();
    long.data_json = format!("{{\"text\":\"{}\"}}", "x".repeat(300 * 1_024));
    let failure = format(&host).render(&long, "end_1").await.expect_err("too large");
    let words = ["size of the input (301 KiB)", "limit of 256 KiB", "plugins.subject.limits.input_kib"];
    assert_failure(&failure, "render", OnFailure::Builtin, false, &words);
}

#[tokio::test]
async fn calls_of_capabilities_are_counted() {
    let flood = "(loop $more (drop (call $now)) (br $more)) unreachable";
    let guest = Guest::rules().capability("clock").function("on-draft", flood);
    let words = ["number of capability calls (65)", "limit of 64", "plugins.subject.limits.host_calls"];
    draft_failure(guest, "", false, &words).await;
}

#[tokio::test]
async fn calls_wait_in_a_queue_that_ends() {
    let guest = Guest::rules().function("on-draft", LOOP);
    let limits = "cpu_ms = 200, concurrent_calls = 1, queued_calls = 1, queue_wait_ms = 20";
    let host = Bench::rules(&guest, &format!("limits = {{ {limits} }}")).host().await;
    let bound = rules(&host);
    let question = draft();
    let answers = tokio::join!(bound.on_draft(&question), bound.on_draft(&question), bound.on_draft(&question));
    let failures = [answers.0, answers.1, answers.2].map(|answer| answer.expect_err("none is answered"));
    let [ran, waited, turned_away] = failures;
    assert_failure(&ran, "on-draft", OnFailure::Builtin, false, &["cpu_ms"]);
    let words = ["time in the queue", "plugins.subject.limits.queue_wait_ms"];
    assert_failure(&waited, "on-draft", OnFailure::Builtin, true, &words);
    let words = ["number of waiting calls", "plugins.subject.limits.queued_calls"];
    assert_failure(&turned_away, "on-draft", OnFailure::Builtin, true, &words);
}
