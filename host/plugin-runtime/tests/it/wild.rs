//! Answers of random bytes: whatever a guest's memory holds, the host gets a value that the contract allows, or a failure of the
//! plugin. Nothing of the host breaks.
//!
//! One guest holds thousands of answers and gives the one that the time of the call names. Words are drawn so that most answers are
//! nearly right: cases that exist, pointers to texts of every kind, short lengths.

use std::fmt::Debug;
use std::sync::Arc;

use xthonpay_domain::time::Timestamp;
use xthonpay_payments::hook_tally::HookOutcome;
use xthonpay_payments::port::bot::{BotUpdate, ButtonAction, Effect, Happening, Reply};
use xthonpay_payments::port::hooks::{DraftRuling, HookFailure, Hooks as _, WithdrawalRuling};
use xthonpay_plugin_runtime::PluginHost;
use xthonpay_plugin_runtime::workbench::Fixture;
use xthonpay_tests::BoxError;
use xthonpay_tests::guest::Guest;
use xthonpay_tests::seeded::Seeded;

use crate::bench::{Bench, NAME, format, plain, rules};
use crate::facts::{draft, event, review};
use crate::policies::request;

/// Answers of one guest, as many as its memory has room for.
const ANSWERS: u32 = 4_096;
/// Words of one answer: the largest of a hook has twelve.
const WORDS: u32 = 16;
/// Where the answers stand, well above the guest's heap, and behind them the texts.
const BASE: u32 = 512 * 1_024;
const TEXTS: u32 = BASE + ANSWERS * WORDS * 4;
/// Bytes of the place of one text.
const TEXT_BYTES: u32 = 64;
/// 2027-01-15T08:00:00.000Z; the answer of a call is that of the milliseconds since then, and 0 is the good one.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// Where the time of a call stands in the arguments, and that of an event, which comes second.
const CALLED_AT: u32 = 16;
const CREATED: u32 = 56;

/// Texts that an answer may point to: right, nearly right, and wrong.
const SAMPLES: [&[u8]; 28] = [
    b"",
    b"0",
    b"0.5",
    b"12.5",
    b"1e9",
    b"-1",
    b"+1",
    b"0x10",
    b" 1",
    b"99999999999999999999999999999999999999999999999999999999",
    b"0.0000000000000000001",
    "\u{ff11}\u{ff12}".as_bytes(),
    b"too_small",
    b"Too-Small",
    b"At least 20 USDT, please.",
    b"two\nlines",
    "\u{202e}backwards".as_bytes(),
    "zero\u{200b}width".as_bytes(),
    b"application/json",
    b"text/plain; charset=utf-8",
    b"x-shop",
    b"x-xthon-signature",
    b"host",
    b"a\r\nb: c",
    b"https://shop.example/",
    b"javascript:alert(1)",
    b"\xff\xfe no text",
    b"\0",
];

/// A text of the module's data.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A word of an answer.
fn word(random: &mut Seeded) -> u32 {
    let count = u64::try_from(SAMPLES.len()).unwrap_or(1);
    let drawn = match random.below(10) {
        0..=3 => random.below(4),
        4..=5 => u64::from(TEXTS) + random.below(count) * u64::from(TEXT_BYTES),
        6 => random.below(80),
        7 => u64::from(BASE) + random.below(u64::from(ANSWERS * WORDS)) * 4,
        8 => random.pick(&[60, 3_600, 2_592_000, 10_000, 5_000, 1 << 31, u64::from(u32::MAX)]).unwrap_or(0),
        _ => random.next_u64(),
    };
    u32::try_from(drawn & u64::from(u32::MAX)).unwrap_or(0)
}

/// What stands in an answer that is right: a case or small number, a number, a text, or an empty list.
#[derive(Clone, Copy)]
enum Field {
    Case,
    Number,
    Text,
    Nothing,
}

/// `ok(accept(terms))`, and advice in its first two words.
const RULING: [Field; 7] =
    [Field::Case, Field::Case, Field::Number, Field::Number, Field::Text, Field::Number, Field::Nothing];
/// `ok(some(message))`.
const MESSAGE: [Field; 6] = [Field::Case, Field::Case, Field::Text, Field::Nothing, Field::Text, Field::Nothing];
/// `ok(verdict)`.
const VERDICT: [Field; 5] = [Field::Case, Field::Case, Field::Text, Field::Text, Field::Nothing];
/// `ok(effects)`: mostly none, and whatever stands there.
const EFFECTS: [Field; 3] = [Field::Case, Field::Case, Field::Case];

/// An answer: as it should be in most fields, and anything in the others.
fn answer(shape: &[Field], random: &mut Seeded) -> Vec<u32> {
    let mut words = Vec::new();
    for field in shape {
        if random.chance(10) {
            words.push(word(random));
            continue;
        }
        match field {
            Field::Case => words.push(u32::try_from(random.below(3)).unwrap_or(0)),
            Field::Number => words.push(random.pick(&[0, 1, 25, 60, 3_600, 2_592_001]).unwrap_or(0)),
            Field::Text => {
                let sample = random.index(SAMPLES.len());
                words.push(TEXTS + u32::try_from(sample).unwrap_or(0) * TEXT_BYTES);
                words.push(SAMPLES.get(sample).and_then(|text| u32::try_from(text.len()).ok()).unwrap_or(0));
            }
            Field::Nothing => words.extend([0, 0]),
        }
    }
    words.resize_with(usize::try_from(WORDS).unwrap_or(0), || word(random));
    words
}

/// `guest` with these functions answering at random, and their good answers at the time [`EPOCH_MS`], which stands at `when` in the
/// arguments.
fn wild(mut guest: Guest, when: u32, shape: &[Field], functions: &[(&str, &str)], random: &mut Seeded) -> Guest {
    let answers: Vec<u8> = (0..ANSWERS).flat_map(|_| answer(shape, random)).flat_map(u32::to_le_bytes).collect();
    let texts: Vec<u8> = SAMPLES
        .iter()
        .flat_map(|text| {
            let mut place = text.to_vec();
            place.resize(usize::try_from(TEXT_BYTES).unwrap_or(0), b'.');
            place
        })
        .collect();
    for (function, good) in functions {
        let body = format!(
            "(local $n i32)
             (local.set $n (i32.wrap_i64 (i64.sub (i64.load offset={when} (local.get $args)) (i64.const {EPOCH_MS}))))
             (if (result i32) (i32.eqz (local.get $n))
                (then {good})
                (else (i32.add (i32.const {BASE}) (i32.mul (local.get $n) (i32.const {bytes})))))",
            bytes = WORDS * 4,
        );
        guest = guest.function(function, &body);
    }
    let data = format!("(data (i32.const {BASE}) \"{}{}\")", escaped(&answers), escaped(&texts));
    guest.pages(16).with(&data)
}

/// How calls came out.
#[derive(Debug, Default)]
struct Seen {
    taken: u32,
    refused: u32,
}

impl Seen {
    fn note<T: Debug>(&mut self, number: u32, came: Result<T, HookFailure>, is_sound: impl FnOnce(&T) -> bool) {
        match came {
            Ok(answer) => {
                assert!(is_sound(&answer), "answer {number} is none that the contract allows: {answer:?}");
                self.taken += 1;
            }
            Err(failure) => {
                assert!(!failure.to_string().is_empty());
                self.refused += 1;
            }
        }
    }
}

/// The time of a call that gets this answer.
fn at(number: u32) -> Timestamp {
    Timestamp::from_millis(EPOCH_MS + u64::from(number))
}

/// Checks that every failure was the plugin's, that both kinds of end were seen, and that what is kept of failures can be read.
fn conclude(host: &PluginHost, seen: &Seen) {
    assert!(seen.taken > 20 && seen.refused > 20, "the answers are all of one kind: {seen:?}");
    for (_, function, tally) in host.tally().all() {
        for (outcome, count) in tally.counts() {
            let may_be = match outcome {
                HookOutcome::HostFailed
                | HookOutcome::NotLoaded
                | HookOutcome::SwitchedOff
                | HookOutcome::LeftAlone => false,
                HookOutcome::Answered
                | HookOutcome::Declined
                | HookOutcome::Trapped
                | HookOutcome::OverLimit
                | HookOutcome::BadOutput
                | HookOutcome::BadBoundary => true,
            };
            assert!(may_be || count == 0, "{count} calls of {function} ended as {}", outcome.name());
        }
    }
    for capture in host.failures(NAME).expect("is bound") {
        let fixture = Fixture::parse(&capture.fixture);
        assert!(fixture.is_ok(), "{fixture:?}: {}", capture.fixture);
    }
}

/// A sentence for people.
fn is_plain(text: &str) -> bool {
    let odd = ['\u{202e}', '\u{200b}'];
    !text.is_empty() && text.len() <= 512 && !text.chars().any(|letter| letter.is_control() || odd.contains(&letter))
}

/// A word for machines.
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A breaker stops a plugin that fails in half of its calls or five times in a row: two good calls stand before each wild one.
const GOOD_CALLS: u32 = 2;

#[tokio::test]
async fn rules_that_answer_at_random() -> Result<(), BoxError> {
    let mut random = Seeded::announced("wild rules")?;
    let mut guest = Guest::rules();
    let (accept, settle) = (guest.accept(60, 0, "0", 0), guest.advice(0));
    let guest = wild(guest, CALLED_AT, &RULING, &[("on-draft", &accept), ("on-payment", &settle)], &mut random);
    let host = Bench::rules(&guest, "").host().await;
    let rules = rules(&host);
    let (mut drafts, mut payments) = (Seen::default(), Seen::default());
    for number in 1..ANSWERS {
        for time in [at(0), at(0), at(number)] {
            let (mut draft, mut review) = (draft(), review());
            // Each is a fact of its own.
            (draft.at, review.at) = (time, time);
            draft.external_id = Some(format!("order-{number}").parse()?);
            let ruling = rules.on_draft(&draft).await.map(plain);
            let advice = rules.on_payment(&review).await.map(plain);
            if time == at(0) {
                assert!(ruling.is_ok() && advice.is_ok(), "{ruling:?} {advice:?}");
                continue;
            }
            drafts.note(number, ruling, |ruling| match ruling {
                DraftRuling::Accept(proposal) => !proposal.expires_in.is_zero() && proposal.tolerance.bps <= 10_000,
                DraftRuling::Refuse { code, message } => is_code(code) && is_plain(message),
            });
            payments.note(number, advice, |_| true);
        }
    }
    conclude(&host, &drafts);
    conclude(&host, &payments);
    Ok(())
}

#[tokio::test]
async fn a_format_that_answers_at_random() -> Result<(), BoxError> {
    let mut random = Seeded::announced("wild format")?;
    let mut guest = Guest::format();
    let good = guest.message("text/plain", &[], b"good");
    let host = Bench::format(&wild(guest, CREATED, &MESSAGE, &[("render", &good)], &mut random), "").host().await;
    let (format, mut seen) = (format(&host), Seen::default());
    for number in 1..ANSWERS {
        let mut event = event();
        event.at = at(0);
        for _ in 0..GOOD_CALLS {
            assert!(format.render(&event, "").await.is_ok());
        }
        event.at = at(number);
        let rendered = format.render(&event, "").await;
        seen.note(number, rendered, |rendered| {
            let Some(rendered) = rendered else { return true };
            let printable = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            let named = |name: &str| name.starts_with("x-") && !name.starts_with("x-xthon-");
            printable(&rendered.content_type)
                && rendered.content_type.contains('/')
                && rendered.headers.iter().all(|(name, value)| named(name) && printable(value))
        });
    }
    conclude(&host, &seen);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_answers_at_random() -> Result<(), BoxError> {
    let mut random = Seeded::announced("wild policy")?;
    let mut guest = Guest::policy();
    let good = guest.verdict(0, "", "");
    let host = Bench::policy(&wild(guest, CALLED_AT, &VERDICT, &[("review", &good)], &mut random), "").host().await;
    let policy = host.withdrawal_policies().into_iter().next().ok_or("no policy")?;
    let mut seen = Seen::default();
    for number in 1..ANSWERS {
        let mut request = request();
        request.at = at(0);
        for _ in 0..GOOD_CALLS {
            assert!(policy.review(&request).await.is_ok());
        }
        request.at = at(number);
        seen.note(number, policy.review(&request).await.map(plain), |verdict| match verdict.ruling {
            WithdrawalRuling::Allow => verdict.code.is_empty() && verdict.message.is_empty(),
            _ => is_code(&verdict.code) && is_plain(&verdict.message),
        });
    }
    conclude(&host, &seen);
    Ok(())
}

#[tokio::test]
async fn a_flow_that_answers_at_random() -> Result<(), BoxError> {
    let mut random = Seeded::announced("wild flow")?;
    let mut bench = Bench::new();
    let guest = wild(Guest::bot(), CALLED_AT, &EFFECTS, &[("handle", "(i32.const 0)")], &mut random);
    bench.add(NAME, "bot-flow", &guest.component(), "");
    bench.config.bindings.bot_flow = Some(NAME.to_owned());
    let host = bench.host().await;
    let flow: Arc<_> = host.bot_flow().ok_or("no flow")?;
    let mut seen = Seen::default();
    let reply_is_sound = |reply: &Reply| {
        let opens = reply.buttons.iter().flatten().filter_map(|button| match &button.action {
            ButtonAction::Open(url) => Some(url),
            ButtonAction::Press(_) => None,
        });
        opens.into_iter().all(|url| url.starts_with("https://"))
    };
    for number in 1..ANSWERS {
        let update = |time| BotUpdate {
            id: format!("update-{number}"),
            channel: "telegram".to_owned(),
            chat: "c1".to_owned(),
            user: "u1".to_owned(),
            language: None,
            merchant: None,
            scopes: Vec::new(),
            what: Happening::Start(None),
            at: time,
            attempt: 0,
        };
        for _ in 0..GOOD_CALLS {
            assert!(flow.handle(&update(at(0)), None).await.is_ok());
        }
        seen.note(number, flow.handle(&update(at(number)), None).await.map(plain), |effects| {
            effects.iter().all(|effect| match effect {
                Effect::Say(reply) | Effect::Edit { reply, .. } => reply_is_sound(reply),
                Effect::Run { name, .. } => !name.is_empty(),
                Effect::AskSecret { wait, .. } => !wait.is_zero(),
                Effect::Wake { .. } | Effect::Remember(_) => true,
            })
        });
    }
    conclude(&host, &seen);
    Ok(())
}
