//! What crosses the boundary: questions arrive whole, and answers are values or failures.

use std::time::Duration;

use xthonpay_domain::invoice::assessment::Advice;
use xthonpay_domain::invoice::{Proposal, Tolerance};
use xthonpay_payments::port::hooks::{DraftRuling, OnFailure, Rendered};

use crate::bench::{Bench, assert_failure, format, plain, rules};
use crate::facts::{amount, draft, event, review};
use xthonpay_tests::guest::Guest;

/// Where texts stand in the arguments of a call: every hook begins with the call's id and merchant.
const CALL_ID: u32 = 0;
const MERCHANT: u32 = 8;
/// The draft stands behind the 40 bytes about the call.
const DRAFT_ASSET: u32 = 40;
const DRAFT_AMOUNT: u32 = 48;
const DRAFT_EXTERNAL_ID: u32 = 68;
const DRAFT_CUSTOMER: u32 = 80;
const DRAFT_TOLERANCE: u32 = 104;

#[tokio::test]
async fn accepted_terms_arrive() {
    let mut guest = Guest::rules();
    let accept = guest.accept(120, 25, "0.500", 7);
    let host = Bench::rules(&guest.function("on-draft", &accept), "").host().await;
    let proposal = Proposal {
        expires_in: Duration::from_secs(120),
        tolerance: Tolerance { bps: 25, amount: amount("0.5") },
        confirmations: 7,
    };
    assert_eq!(rules(&host).on_draft(&draft()).await.map(plain), Ok(DraftRuling::Accept(proposal)));
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_no_failure() {
    let mut guest = Guest::rules();
    let refuse = guest.refuse("too_small", "At least 20 USDT, please.");
    let host = Bench::rules(&guest.function("on-draft", &refuse), "").host().await;
    let ruling = DraftRuling::Refuse { code: "too_small".to_owned(), message: "At least 20 USDT, please.".to_owned() };
    assert_eq!(rules(&host).on_draft(&draft()).await.map(plain), Ok(ruling));
}

#[tokio::test]
async fn every_advice_arrives() {
    for (case, advice) in [(0, Advice::Settle), (1, Advice::Wait), (2, Advice::Review)] {
        let mut guest = Guest::rules();
        let answer = guest.advice(case);
        let host = Bench::rules(&guest.function("on-payment", &answer), "").host().await;
        assert_eq!(rules(&host).on_payment(&review()).await.map(plain), Ok(advice));
    }
}

#[tokio::test]
async fn a_message_arrives_byte_for_byte_and_none_skips() {
    let mut guest = Guest::format();
    let message = guest.message("text/plain", &[("x-shop", "7")], b"\x00\xff raw");
    let host = Bench::format(&guest.function("render", &message), "").host().await;
    let rendered = Rendered {
        content_type: "text/plain".to_owned(),
        headers: vec![("x-shop".to_owned(), "7".to_owned())],
        body: b"\x00\xff raw".to_vec(),
    };
    assert_eq!(format(&host).render(&event(), "end_1").await, Ok(Some(rendered)));

    let mut guest = Guest::format();
    let skip = guest.words(&[0, 0]);
    let host = Bench::format(&guest.function("render", &skip), "").host().await;
    assert_eq!(format(&host).render(&event(), "end_1").await, Ok(None));
}

#[tokio::test]
async fn the_plugins_own_failures_say_whether_to_ask_again() {
    for (case, kind, transient) in [(0, "bad-input", false), (1, "retry-later", true), (2, "other", false)] {
        let mut guest = Guest::rules();
        let error = guest.error(case, "rates\nlost", "the upstream is down");
        let host = Bench::rules(&guest.function("on-draft", &error), "").host().await;
        let failure = rules(&host).on_draft(&draft()).await.expect_err("fails");
        let words = [kind, "rates lost", "the upstream is down"];
        assert_failure(&failure, "on-draft", OnFailure::Builtin, transient, &words);
    }
}

/// Puts an answer into a guest and gives the body that returns it.
type MakeAnswer = fn(&mut Guest) -> String;

#[tokio::test]
async fn values_that_the_contract_forbids_are_failures() {
    let answers: [(MakeAnswer, &str); 7] = [
        (|guest| guest.accept(3_600, 0, "abc", 0), "tolerance-amount"),
        (|guest| guest.accept(3_600, 0, "-1", 0), "tolerance-amount"),
        (|guest| guest.accept(3_600, 0, "0.0000000000000000001", 0), "more than 18 digits"),
        (|guest| guest.accept(0, 0, "0", 0), "expires-in-s"),
        (|guest| guest.accept(3_600, 10_001, "0", 0), "tolerance-bps"),
        (|guest| guest.refuse("Not A Word", "m"), "refusal.code"),
        (|guest| guest.refuse("word", "a\r\nX-Forged: 1"), "refusal.message"),
    ];
    for (answer, named) in answers {
        let mut guest = Guest::rules();
        let body = answer(&mut guest);
        let host = Bench::rules(&guest.function("on-draft", &body), "").host().await;
        let failure = rules(&host).on_draft(&draft()).await.expect_err(named);
        assert_failure(
            &failure,
            "on-draft",
            OnFailure::Builtin,
            false,
            &["bad output", named, "report it to its author"],
        );
    }
    for (content_type, header, named) in [
        ("text/plain\r\nx: y", ("x-a", "b"), "content-type"),
        ("text/plain", ("x-xthon-signature", "00"), "x-xthon-signature"),
        ("text/plain", ("authorization", "b"), "header"),
        ("text/plain", ("x-a", "b\r\nc: d"), "x-a"),
    ] {
        let mut guest = Guest::format();
        let message = guest.message(content_type, &[header], b"{}");
        let host = Bench::format(&guest.function("render", &message), "").host().await;
        let failure = format(&host).render(&event(), "end_1").await.expect_err(named);
        assert_failure(&failure, "render", OnFailure::Builtin, false, &["bad output", named]);
    }
}

#[tokio::test]
async fn values_that_are_none_at_all_are_failures() {
    let mut guest = Guest::rules();
    let no_text = guest.bytes(&[0xff, 0xfe]);
    let bodies = [
        ("a result that is neither", guest.words(&[2, 0])),
        ("a ruling that is neither", guest.words(&[0, 9])),
        ("a pointer outside the memory", "(i32.const -4)".to_owned()),
        ("a pointer between words", "(i32.const 1025)".to_owned()),
        ("a text outside the memory", guest.words(&[0, 0, 60, 0, 1_024, 0x7fff_ffff, 0, 0, 0])),
        ("a text that is no UTF-8", guest.words(&[0, 0, 60, 0, no_text, 2, 0, 0, 0])),
    ];
    for (case, body) in bodies {
        let host = Bench::rules(&guest.clone().function("on-draft", &body), "").host().await;
        let failure = rules(&host).on_draft(&draft()).await.expect_err(case);
        assert_failure(&failure, "on-draft", OnFailure::Builtin, false, &["boundary"]);
    }
}

/// What a rules plugin finds at a place of its arguments.
async fn told(place: u32) -> String {
    let mut guest = Guest::rules();
    let echo = guest.echo(&format!("(i32.add (local.get $args) (i32.const {place}))"));
    let host = Bench::rules(&guest.function("on-draft", &echo), "").host().await;
    match rules(&host).on_draft(&draft()).await.map(plain) {
        Ok(DraftRuling::Refuse { message, .. }) => message,
        other => unreachable!("no echo: {other:?}"),
    }
}

#[tokio::test]
async fn a_draft_arrives_whole() {
    assert_eq!(told(MERCHANT).await, draft().merchant.to_string());
    assert_eq!(told(DRAFT_ASSET).await, "bsc:USDT");
    assert_eq!(told(DRAFT_AMOUNT).await, "12.5");
    assert_eq!(told(DRAFT_EXTERNAL_ID).await, "order-7");
    assert_eq!(told(DRAFT_CUSTOMER).await, "buyer-3");
    assert_eq!(told(DRAFT_TOLERANCE).await, "0.25");
    let id = told(CALL_ID).await;
    assert!(id.starts_with("on-draft:") && id.len() == "on-draft:".len() + 32, "{id}");
    assert_eq!(told(CALL_ID).await, id, "the same fact has the same id");
}

#[tokio::test]
async fn an_event_and_its_target_arrive() {
    // The event's data stand behind id, kind, time and sequence; the target behind the event.
    for (place, text) in [
        (40, event().id.to_string()),
        (48, "invoice.paid".to_owned()),
        (72, event().data_json),
        (88, "end_1".to_owned()),
    ] {
        let mut guest = Guest::format();
        let message = guest.message("text/plain", &[], b"");
        let body = format!(
            "(i64.store (i32.add {message} (i32.const 24)) (i64.load (i32.add (local.get $args) (i32.const {place}))))
             {message}"
        );
        let host = Bench::format(&guest.function("render", &body), "").host().await;
        let rendered = format(&host).render(&event(), "end_1").await.expect("answers").expect("has a body");
        assert_eq!(String::from_utf8_lossy(&rendered.body), text, "at {place}");
    }
}

#[tokio::test]
async fn payments_arrive_with_their_attempt() {
    // Settles only when everything is as it should be: attempt 5, late, two transfers, the older of them final in block 20.
    let mut guest = Guest::rules();
    let (settle, wait) = (guest.advice(0), guest.advice(1));
    let body = format!(
        "(if (result i32) (i32.and
            (i32.and
                (i32.eq (i32.load offset=24 (local.get $args)) (i32.const 5))
                (i32.eq (i32.load8_u offset=136 (local.get $args)) (i32.const 1)))
            (i32.and
                (i32.eq (i32.load offset=164 (local.get $args)) (i32.const 2))
                (i64.eq (i64.load offset=48 (i32.load offset=160 (local.get $args))) (i64.const 20))))
         (then {settle}) (else {wait}))"
    );
    let host = Bench::rules(&guest.function("on-payment", &body), "").host().await;
    assert_eq!(rules(&host).on_payment(&review()).await.map(plain), Ok(Advice::Settle));
}
