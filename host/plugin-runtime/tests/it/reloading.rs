//! An exchange of a plugin: at once, without losing a call, and only for a version that passes its checks.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use xthonpay_payments::port::hooks::DraftRuling;
use xthonpay_plugin_runtime::{PluginHost, ReloadError};

use crate::bench::{Bench, NAME, assert_words, plain, rules};
use crate::facts::draft;
use xthonpay_tests::guest::Guest;

/// Rules that open invoices for so many seconds.
fn for_seconds(seconds: u32) -> Guest {
    let mut guest = Guest::rules();
    let accept = guest.accept(seconds, 0, "0", 0);
    guest.function("on-draft", &accept)
}

async fn seconds(host: &PluginHost) -> u64 {
    match rules(host).on_draft(&draft()).await.map(plain) {
        Ok(DraftRuling::Accept(proposal)) => proposal.expires_in.as_secs(),
        other => unreachable!("not accepted: {other:?}"),
    }
}

#[tokio::test]
async fn a_new_version_serves_at_once_and_a_bad_one_never() {
    let bench = Bench::rules(&for_seconds(60), "");
    let host = bench.host().await;
    let config = bench.config.plugins[NAME].clone();
    assert_eq!(seconds(&host).await, 60);

    fs::write(bench.path("subject.wasm"), for_seconds(90).component()).expect("writes");
    assert_eq!(seconds(&host).await, 60, "a changed file alone changes nothing");
    host.reload(NAME, &config, false).await.expect("loads");
    assert_eq!(seconds(&host).await, 90);

    let bad = for_seconds(120).function("check-config", "unreachable");
    fs::write(bench.path("subject.wasm"), bad.component()).expect("writes");
    let error = host.reload(NAME, &config, false).await.expect_err("does not load");
    assert!(matches!(error, ReloadError::Refused { .. }), "{error}");
    assert_words(&error.to_string(), &["plugin subject, hook invoice-rules", "the old one serves on", "check-config"]);
    assert_eq!(seconds(&host).await, 90);
    assert!(!host.is_degraded());
}

#[tokio::test]
async fn a_call_ends_with_the_version_that_it_began_with() {
    // Long enough to be exchanged while it runs, short enough for its time.
    let mut slow = Guest::rules();
    let accept = slow.accept(60, 0, "0", 0);
    let body = format!(
        "(local $n i64)
         (loop $more
            (local.set $n (i64.add (local.get $n) (i64.const 1)))
            (br_if $more (i64.lt_u (local.get $n) (i64.const 100000000))))
         {accept}"
    );
    let bench = Bench::rules(&slow.function("on-draft", &body), "limits = { cpu_ms = 2000 }");
    let host = bench.host().await;
    let config = bench.config.plugins[NAME].clone();
    fs::write(bench.path("subject.wasm"), for_seconds(90).component()).expect("writes");
    let question = draft();
    let old = rules(&host);
    let exchange = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        host.reload(NAME, &config, false).await.expect("loads");
        seconds(&host).await
    };
    let (answer, after) = tokio::join!(old.on_draft(&question), exchange);
    let answer = answer.map(plain);
    assert!(matches!(answer, Ok(DraftRuling::Accept(proposal)) if proposal.expires_in.as_secs() == 60), "{answer:?}");
    assert_eq!(after, 90);
}

#[tokio::test]
async fn only_bound_plugins_are_exchanged() {
    let bench = Bench::rules(&for_seconds(60), "");
    let host = bench.host().await;
    let error = host.reload("nobody", &bench.config.plugins[NAME], false).await.expect_err("is not bound");
    assert!(matches!(error, ReloadError::NotBound { .. }), "{error}");
}

/// Calls that are made at least while the plugin is exchanged, and exchanges.
const CALLS_UNDER_LOAD: usize = 10_000;
const EXCHANGES: usize = 100;
/// Callers at once: below the plugin's own limit.
const CALLERS: usize = 8;

/// Every answer is one of a version that was served, whole: its numbers belong together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_dropped_or_mixed_while_a_plugin_is_exchanged_a_hundred_times() {
    let version = |seconds: u32| {
        let mut guest = Guest::rules();
        let accept = guest.accept(seconds, seconds, "0", seconds);
        guest.function("on-draft", &accept).component()
    };
    let versions = [version(1_000), version(2_000)];
    let mut bench = Bench::rules(&Guest::rules(), "");
    bench.add(NAME, "invoice-rules", &versions[0], "");
    let host = Arc::new(bench.host().await);
    let (made, exchanged) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (host, made, exchanged) = (Arc::clone(&host), Arc::clone(&made), Arc::clone(&exchanged));
        callers.spawn(async move {
            let question = draft();
            let mut answers = [0_usize; 2];
            while made.fetch_add(1, Ordering::Relaxed) < CALLS_UNDER_LOAD
                || exchanged.load(Ordering::Relaxed) < EXCHANGES
            {
                let ruling = rules(&host).on_draft(&question).await.map(plain).expect("no call is dropped");
                let DraftRuling::Accept(terms) = ruling else { unreachable!("both accept") };
                let seconds = terms.expires_in.as_secs();
                assert_eq!((u64::from(terms.tolerance.bps), terms.confirmations), (seconds, seconds), "mixed");
                answers[usize::from(seconds == 2_000)] += 1;
            }
            answers
        });
    }
    for number in 1..=EXCHANGES {
        bench.add(NAME, "invoice-rules", &versions[number % 2], "");
        host.reload(NAME, &bench.config.plugins[NAME], false).await.expect("loads");
        exchanged.store(number, Ordering::Relaxed);
    }
    let answers = callers.join_all().await;
    let [first, second] = [0, 1].map(|which| answers.iter().map(|of_one| of_one[which]).sum::<usize>());
    assert!(first + second >= CALLS_UNDER_LOAD, "{first} and {second}");
    assert!(first > CALLS_UNDER_LOAD / 10 && second > CALLS_UNDER_LOAD / 10, "{first} and {second}");
}
