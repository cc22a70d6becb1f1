//! A plugin that keeps failing is left alone: its hook uses the failure policy at once, and the operator sees it.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_payments::port::hooks::{Draft, HookFailure, InvoiceRules, OnFailure};
use xthonpay_plugin_runtime::{PluginHost, PluginState};

use crate::bench::{Bench, NAME, assert_failure, assert_words, plain, rules};
use crate::facts::{draft, review};
use xthonpay_tests::guest::Guest;

const LOOP: &str = "(loop $for_ever (br $for_ever)) unreachable";

/// Drafts that are different facts.
fn order(number: u32) -> Draft {
    Draft { external_id: Some(format!("order-{number}").parse().expect("allowed")), ..draft() }
}

async fn failure(rules: &dyn InvoiceRules, draft: &Draft) -> HookFailure {
    rules.on_draft(draft).await.expect_err("it always fails")
}

fn state(host: &PluginHost) -> PluginState {
    host.report().into_iter().find(|report| report.name == NAME).expect("is bound").state
}

#[tokio::test]
async fn its_hook_uses_the_policy_without_a_call_and_its_other_function_goes_on() {
    let table = "on_failure = { on-draft = 'closed' }";
    let bench = Bench::rules(&Guest::rules().function("on-draft", LOOP), table);
    let host = bench.host().await;
    let bound = rules(&host);
    for number in 0..5 {
        let failure = failure(bound.as_ref(), &order(number)).await;
        assert_failure(&failure, "on-draft", OnFailure::Closed, false, &["cpu_ms"]);
    }
    let begun = Instant::now();
    for number in 5..105 {
        let failure = failure(bound.as_ref(), &order(number)).await;
        // An operator who closed the door does not find it open: whoever crashes a rule must not choose what follows.
        assert_failure(&failure, "on-draft", OnFailure::Closed, true, &["not called", "failed too often"]);
    }
    assert!(begun.elapsed() < Duration::from_millis(900), "a hundred calls would take 5 s: {:?}", begun.elapsed());
    let PluginState::LeftAlone { reason, .. } = state(&host) else { unreachable!("{:?}", state(&host)) };
    assert_words(&reason, &["on-draft failed too often", "tried again in 1 s"]);
    assert!(host.is_degraded());
    assert_eq!(bound.on_payment(&review()).await.map(plain), Ok(Advice::Settle));
}

#[tokio::test]
async fn after_the_pause_it_is_called_again_and_a_version_that_is_loaded_anew_at_once() {
    let bench = Bench::rules(&Guest::rules().function("on-draft", "unreachable"), "");
    let host = bench.host().await;
    for number in 0..6 {
        failure(rules(&host).as_ref(), &order(number)).await;
    }
    sleep(Duration::from_millis(1_050)).await;
    let trial = failure(rules(&host).as_ref(), &order(6)).await;
    assert_failure(&trial, "on-draft", OnFailure::Builtin, false, &["trapped"]);
    let next = failure(rules(&host).as_ref(), &order(7)).await;
    assert_failure(&next, "on-draft", OnFailure::Builtin, true, &["tried again in 2 s"]);

    fs::write(bench.path("subject.wasm"), Guest::rules().component()).expect("writes");
    host.reload(NAME, &bench.config.plugins[NAME], false).await.expect("loads");
    assert!(rules(&host).on_draft(&order(8)).await.is_ok());
    assert!(!host.is_degraded());
}

#[tokio::test]
async fn one_request_that_is_repeated_does_not_stop_it_for_all() {
    let host = Bench::rules(&Guest::rules().function("on-draft", "unreachable"), "").host().await;
    for _ in 0..50 {
        let failure = failure(rules(&host).as_ref(), &order(1)).await;
        assert_failure(&failure, "on-draft", OnFailure::Builtin, false, &["trapped"]);
    }
    assert!(matches!(state(&host), PluginState::Active { .. }));
}
