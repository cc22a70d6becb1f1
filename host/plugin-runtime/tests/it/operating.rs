//! What an operator does with a plugin that serves: its switch, its failures, an upgrade that asks for more, a candidate beside it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use xthonpay_payments::port::hooks::{DraftRuling, OnFailure};
use xthonpay_plugin_runtime::workbench::{Ending, Fixture, Workbench};
use xthonpay_plugin_runtime::{Exchanged, PluginHost, PluginState, ReloadError, ShadowReport};
use xthonpay_tests::guest::Guest;

use crate::bench::{Bench, NAME, assert_failure, assert_words, plain, rules};
use crate::facts::draft;

/// Rules that open invoices for so many seconds.
fn for_seconds(seconds: u32) -> Guest {
    let mut guest = Guest::rules();
    let accept = guest.accept(seconds, 0, "0", 0);
    guest.function("on-draft", &accept)
}

#[tokio::test]
async fn a_plugin_that_is_switched_off_is_not_asked() {
    let mut bench = Bench::rules(&for_seconds(60), "");
    let host = bench.host().await;
    let state = |host: &PluginHost| host.inspect(NAME).expect("is bound").report.state;
    host.switch(NAME, false).expect("is bound");
    let failure = rules(&host).on_draft(&draft()).await.expect_err("is off");
    assert_failure(&failure, "on-draft", OnFailure::Builtin, true, &["switched off", "plugins enable"]);
    assert!(matches!(state(&host), PluginState::SwitchedOff { digest: Some(_) }));
    assert!(host.is_degraded());
    host.reload(NAME, &bench.config.plugins[NAME], false).await.expect("loads");
    assert!(rules(&host).on_draft(&draft()).await.is_err(), "an exchange does not switch it on");
    host.switch(NAME, true).expect("is bound");
    assert!(rules(&host).on_draft(&draft()).await.is_ok());
    assert!(matches!(state(&host), PluginState::Active { .. }));
    for refused in [host.switch("nobody", false), host.failures("nobody").map(drop), host.inspect("nobody").map(drop)] {
        assert!(matches!(refused, Err(ReloadError::NotBound { .. })));
    }
    bench.config.switched_off = BTreeSet::from([NAME.to_owned()]);
    assert!(rules(&bench.host().await).on_draft(&draft()).await.is_err(), "off from the start");
}

#[tokio::test]
async fn a_failed_call_can_be_made_again_on_the_workbench() {
    let trap = Guest::rules().with("(func $boom unreachable)").function("on-draft", "(call $boom) (i32.const 0)");
    let bench = Bench::rules(&trap, "");
    let host = bench.host().await;
    rules(&host).on_draft(&draft()).await.expect_err("traps");
    let failures = host.failures(NAME).expect("is bound");
    let [capture] = failures.as_slice() else { unreachable!("one failure: {failures:?}") };
    assert_eq!((capture.function, capture.kind), ("on-draft", "trapped"));
    assert_words(&capture.failure, &["unreachable", "in boom"]);
    let fixture = Fixture::parse(&capture.fixture).expect("a file of the workbench");
    assert_eq!(fixture.expect.failure.as_deref(), Some("trapped"));

    let workbench = Workbench::new(None).expect("sets up");
    let replayed = |file: &'static str| {
        let (workbench, fixture, path) = (&workbench, fixture.clone(), bench.path(file));
        async move { workbench.open(&path, fixture).await.expect("loads").call().await.expect("fits").ending }
    };
    let ending = replayed("subject.wasm").await;
    assert!(matches!(&ending, Ending::Failure { kind: "trapped", .. }), "{ending:?}");
    fs::write(bench.path("subject.wasm"), for_seconds(60).component()).expect("writes");
    let ending = replayed("subject.wasm").await;
    assert!(matches!(&ending, Ending::Answer(_)), "the mended plugin answers: {ending:?}");
}

#[tokio::test]
async fn what_declines_is_no_failure_to_keep() {
    let mut guest = Guest::rules();
    let declines = guest.error(1, "busy", "later");
    let host = Bench::rules(&guest.function("on-draft", &declines), "").host().await;
    rules(&host).on_draft(&draft()).await.expect_err("declines");
    assert_eq!(host.failures(NAME).expect("is bound"), []);
}

#[tokio::test]
async fn an_upgrade_that_asks_for_more_has_to_be_accepted() {
    let bench = Bench::rules(&for_seconds(60), "");
    let asks = |capabilities: &str| {
        let head = format!("id = '{NAME}'\nversion = '1.2.3'\ncontract = '0.1.0'\nworld = 'invoice-rules'\n");
        bench.manifest(NAME, &format!("{head}wants.capabilities = [{capabilities}]\n"));
    };
    asks("'log'");
    let host = bench.host().await;
    let config = &bench.config.plugins[NAME];
    asks("'log', 'clock'");
    let error = host.reload(NAME, config, false).await.expect_err("asks for more");
    assert!(matches!(&error, ReloadError::WantsMore { added, .. } if *added == ["clock"]), "{error}");
    assert_words(&error.to_string(), &["clock", "--accept", "the old one"]);
    assert_eq!(host.inspect(NAME).expect("is bound").wants, ["log"]);
    let exchanged = host.reload(NAME, config, true).await.expect("is accepted");
    assert_eq!(exchanged, Exchanged { wants_added: vec!["clock".to_owned()], wants_removed: Vec::new() });
    asks("'clock'");
    let exchanged = host.reload(NAME, config, false).await.expect("asks for less");
    assert_eq!(exchanged, Exchanged { wants_added: Vec::new(), wants_removed: vec!["log".to_owned()] });
}

/// A host whose plugin answers 60 seconds, with `candidate` beside it.
async fn beside(candidate: Option<&Guest>) -> PluginHost {
    let mut bench = Bench::rules(&for_seconds(60), "");
    if let Some(candidate) = candidate {
        bench.add("candidate", "invoice-rules", &candidate.component(), "");
        fs::copy(bench.path("subject.toml"), bench.path("candidate.toml")).expect("copies");
        bench.config.plugins.remove("candidate");
    }
    let shadow = format!("shadow = {{ file = '{}' }}", bench.path("candidate.wasm").display());
    let table = bench.table(NAME, &shadow);
    bench.config.plugins.insert(NAME.to_owned(), table);
    bench.host().await
}

/// Asks the plugin that serves a number of times, and waits until the candidate is done.
async fn asked(host: &PluginHost, times: u64) -> ShadowReport {
    let report = || host.inspect(NAME).expect("is bound").shadow.expect("has a candidate");
    for made in 1..=times {
        let ruling = rules(host).on_draft(&draft()).await.map(plain);
        assert!(matches!(ruling, Ok(DraftRuling::Accept(terms)) if terms.expires_in.as_secs() == 60));
        for _ in 0..1_000 {
            if report().same + report().differs >= made {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    report()
}

#[tokio::test]
async fn a_candidate_is_compared_and_never_used() {
    let same = asked(&beside(Some(&for_seconds(60))).await, 3).await;
    assert_eq!((same.same, same.differs, same.differences.len()), (3, 0, 0));

    let differs = asked(&beside(Some(&for_seconds(90))).await, 25).await;
    assert_eq!((differs.same, differs.differs, differs.differences.len()), (0, 25, 20));
    assert_words(&differs.differences[0].serving, &["60"]);
    assert_words(&differs.differences[0].candidate, &["90"]);

    let trap = asked(&beside(Some(&Guest::rules().function("on-draft", "unreachable"))).await, 1).await;
    assert_eq!((trap.differs, trap.differences[0].candidate.as_str()), (1, "failure: trapped"));
}

#[tokio::test]
async fn a_candidate_that_does_not_load_disturbs_nobody() {
    let host = beside(None).await;
    let report = host.inspect(NAME).expect("is bound").shadow.expect("is named");
    assert_eq!(report.digest, None);
    assert_words(report.problem.as_deref().unwrap_or_default(), &["candidate.wasm", "missing"]);
    assert!(rules(&host).on_draft(&draft()).await.is_ok());
    assert!(!host.is_degraded());
}
