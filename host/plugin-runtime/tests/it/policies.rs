//! The hook `withdrawal-policy`: what a policy is told, which answers count, and that every failure is closed.

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::id::{MerchantId, WithdrawalId};
use xthonpay_payments::port::hooks::{Hooks as _, OnFailure, Requester, WithdrawalRequest, WithdrawalRuling};
use xthonpay_payments::withdrawal_review::{POLICY_UNAVAILABLE, strictest};
use xthonpay_plugin_runtime::PluginHost;

use crate::bench::{Bench, NAME, assert_failure, assert_words, plain};
use crate::facts::NOW;
use xthonpay_tests::guest::Guest;

pub(crate) fn request() -> WithdrawalRequest {
    WithdrawalRequest {
        id: WithdrawalId::from_random([1; 16]),
        merchant: MerchantId::from_random([2; 16]),
        destination: Address::new([3; 20]),
        asset: "bsc:USDT".parse().expect("an asset"),
        decimals: Decimals::new(18).expect("in range"),
        amount: Amount::from_units(1_500_000_000_000_000_000),
        requested_by: Requester::Chat("user-7".to_owned()),
        requested_at: NOW,
        total_24h: vec![("bsc:BNB".parse().expect("an asset"), Decimals::new(18).expect("in range"), Amount::ZERO)],
        destination_uses: 4,
        at: NOW,
    }
}

async fn verdict(host: &PluginHost) -> (WithdrawalRuling, String, String) {
    let verdict = strictest(&host.withdrawal_policies(), &request()).await;
    let verdict = plain(verdict);
    (verdict.ruling, verdict.code, verdict.message)
}

/// A policy with this answer.
async fn answering(ruling: u32, code: &str, message: &str) -> PluginHost {
    let mut guest = Guest::policy();
    let body = guest.verdict(ruling, code, message);
    Bench::policy(&guest.function("review", &body), "").host().await
}

#[tokio::test]
async fn every_ruling_arrives_as_it_was_made() {
    let cases = [
        (0, "", "", WithdrawalRuling::Allow),
        (1, "code_first", "Give your code.", WithdrawalRuling::RequireTotp),
        (2, "too_large", "A second person has to approve.", WithdrawalRuling::RequireApproval),
        (3, "unknown_destination", "Not there.", WithdrawalRuling::Deny),
    ];
    for (case, code, message, ruling) in cases {
        let host = answering(case, code, message).await;
        assert_eq!(verdict(&host).await, (ruling, code.to_owned(), message.to_owned()));
    }
}

#[tokio::test]
async fn an_answer_that_is_none_denies() {
    let long = "x".repeat(513);
    let cases = [
        (0, "why", "", "`allow` has a code"),
        (0, "", "Why?", "`allow` has a code"),
        (1, "", "Give your code.", "code is not 1 to 64"),
        (3, "Not There", "No.", "code is not 1 to 64"),
        (3, "no", "", "message has 0 bytes"),
        (3, "no", &long, "message has 513 bytes"),
        (2, "no", "a\u{202e}b", "direction-changing"),
        (4, "no", "No.", ""),
    ];
    for (case, code, message, named) in cases {
        let host = answering(case, code, message).await;
        let failure = host.withdrawal_policies()[0].review(&request()).await.expect_err("no answer");
        assert_failure(&failure, "review", OnFailure::Closed, false, &[named]);
        let (ruling, code, _) = verdict(&host).await;
        assert_eq!((ruling, code.as_str()), (WithdrawalRuling::Deny, POLICY_UNAVAILABLE));
    }
}

#[tokio::test]
async fn a_policy_that_fails_or_is_missing_denies_and_cannot_be_configured_to_do_otherwise() {
    for body in ["unreachable", "(loop $for_ever (br $for_ever)) unreachable"] {
        let host = Bench::policy(&Guest::policy().function("review", body), "").host().await;
        assert_eq!(verdict(&host).await.0, WithdrawalRuling::Deny, "{body}");
    }
    let bench = Bench::policy(&Guest::policy(), "");
    std::fs::remove_file(bench.path("subject.wasm")).expect("removes");
    let host = bench.load().await.expect("the host starts without it");
    assert!(host.is_degraded());
    assert_eq!(verdict(&host).await.0, WithdrawalRuling::Deny);
    for policy in ["on-draft = 'builtin'", "render = 'builtin'"] {
        let refusal = Bench::policy(&Guest::policy(), &format!("on_failure = {{ {policy} }}")).refusal().await;
        assert_words(&refusal, &["plugins.subject.on_failure", "the plugin serves withdrawal-policy"]);
    }
    // A component of another world is no policy.
    let mut bench = Bench::rules(&Guest::rules(), "");
    bench.config.bindings.invoice_rules.clear();
    bench.config.bindings.withdrawal_policy.push(NAME.to_owned());
    assert_words(&bench.refusal().await, &["invoice-rules", "withdrawal-policy"]);
}

/// Where the pointer and length of a text stand among the arguments: behind the 40 bytes that tell of the call.
#[tokio::test]
async fn a_policy_is_told_what_is_asked_for() {
    let told = [
        (40, "wd_01010101010101010101010101010101"),
        (48, "bsc"),
        (56, "0x0303030303030303030303030303030303030303"),
        (64, "bsc:USDT"),
        (72, "1.5"),
        (88, "chat:user-7"),
        (8, "mer_02020202020202020202020202020202"),
    ];
    for (place, expected) in told {
        let mut guest = Guest::policy();
        let verdict = guest.verdict(3, "told", "");
        let body = format!(
            "(i32.store (i32.add {verdict} (i32.const 16)) (i32.load offset={place} (local.get $args)))
             (i32.store (i32.add {verdict} (i32.const 20)) (i32.load offset={} (local.get $args)))
             {verdict}",
            place + 4
        );
        let host = Bench::policy(&guest.function("review", &body), "").host().await;
        let answer = host.withdrawal_policies()[0].review(&request()).await.map(plain).expect("an answer");
        assert_eq!(answer.message.to_lowercase(), expected.to_lowercase(), "{place}");
    }
}

#[tokio::test]
async fn the_strictest_of_several_counts_and_each_can_be_exchanged() {
    let mut bench = Bench::policy(&Guest::policy(), "");
    let mut strict = Guest::policy();
    let approval = strict.verdict(2, "careful", "Somebody has to look.");
    let strict = strict.function("review", &approval);
    bench.add("strict", "withdrawal-policy", &strict.component(), "");
    bench.config.bindings.withdrawal_policy.push("strict".to_owned());
    let host = bench.host().await;
    assert_eq!(verdict(&host).await.0, WithdrawalRuling::RequireApproval);
    let mut milder = Guest::policy();
    let code = milder.verdict(1, "code_first", "Give your code.");
    bench.add("strict", "withdrawal-policy", &milder.function("review", &code).component(), "");
    host.reload("strict", &bench.config.plugins["strict"], false).await.expect("loads");
    assert_eq!(verdict(&host).await.0, WithdrawalRuling::RequireTotp);
}

#[tokio::test]
async fn every_call_is_counted_by_how_it_ended() {
    let host = Bench::policy(&Guest::policy(), "").host().await;
    verdict(&host).await;
    let mut bad = Guest::policy();
    let wrong = bad.verdict(3, "Not A Word", "No.");
    for (body, outcome) in [("unreachable", "trapped"), (wrong.as_str(), "bad_output")] {
        let bench = Bench::policy(&bad.clone().function("review", body), "");
        host.reload(NAME, &bench.config.plugins[NAME], false).await.expect("loads");
        verdict(&host).await;
        let all = host.tally().all();
        let [(plugin, function, tally)] = &all[..] else { unreachable!("one function of one plugin: {all:?}") };
        assert_eq!((plugin.as_str(), *function), (NAME, "review"));
        let counted = tally.counts().find(|(known, _)| known.name() == outcome).map(|(_, count)| count);
        assert_eq!(counted, Some(1), "{outcome}: {tally:?}");
        assert_eq!(tally.counts().next().map(|(_, count)| count), Some(1), "the good one, of the version before");
    }
}
