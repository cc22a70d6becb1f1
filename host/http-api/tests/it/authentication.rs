//! Who may call: every refusal of the door. The walk over all calls is in `policy_table`.

use xthonpay_domain::access::{Mode, Scope, SignatureScheme};
use xthonpay_domain::time::Timestamp;

use crate::metrics::scrape;
use crate::world::{Ask, Census, TestKey, World};

const BOTH: [Scope; 2] = [Scope::Read, Scope::Write];
const INVOICE: &str = r#"{"amount":"50.00"}"#;

#[tokio::test]
async fn each_header_must_be_there_exactly_once() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let sound = world.signed(&key, "GET", "/v1/balance", "");
    for (name, shown) in [("x-api-key", "X-API-Key"), ("x-timestamp", "X-Timestamp"), ("x-signature", "X-Signature")] {
        let value = sound.header(name);
        let mut foreign = sound.clone().without(name);
        foreign.headers.push((name, [value.as_bytes(), b"\xff"].concat()));
        for ask in
            [sound.clone().without(name), sound.clone().with(name, &value), sound.clone().with(name, "other"), foreign]
        {
            assert_eq!(world.send(ask).await.outcome(), (401, "UNAUTHORIZED", shown));
        }
        for forged in ["", " ", "null", &format!("{value},{value}"), &"x".repeat(4_000)] {
            let ask = sound.clone().without(name).with(name, forged);
            assert_eq!(world.send(ask).await.status, 401, "{name}: {forged:?}");
        }
    }
    assert_eq!(world.send(sound).await.status, 200);
}

#[tokio::test]
async fn an_unknown_key_looks_like_a_wrong_signature() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let other = world.key(&BOTH).await;
    let unknown = TestKey { id: "xpk_live_000000000000000000000000".parse().expect("a key id"), ..key.clone() };
    let wrong = TestKey { secret: other.secret, ..key.clone() };
    let nonsense = world.signed(&key, "GET", "/v1/balance", "").without("x-api-key").with("x-api-key", "a:b`");
    let mut answers = Vec::new();
    for ask in
        [world.signed(&unknown, "GET", "/v1/balance", ""), world.signed(&wrong, "GET", "/v1/balance", ""), nonsense]
    {
        let reply = world.send(ask).await;
        assert_eq!(reply.outcome(), (401, "UNAUTHORIZED", ""));
        answers.push(reply.body_without_id());
    }
    assert!(answers.iter().all(|answer| Some(answer) == answers.first()), "{answers:?}");
}

/// Every other byte at every place of what is signed, and every other digit at every place of the signature.
#[tokio::test]
async fn no_changed_byte_passes() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let sound = world.signed(&key, "POST", "/v1/invoices", INVOICE);
    let mut changed = 0_usize;
    for place in 0..sound.body.len() {
        for byte in (0..=u8::MAX).filter(|byte| *byte != sound.body[place]) {
            let mut ask = sound.clone();
            ask.body[place] = byte;
            assert_eq!(world.send(ask).await.outcome(), (401, "UNAUTHORIZED", ""), "byte {byte} at {place}");
            changed += 1;
        }
    }
    let signature = sound.header("x-signature");
    for place in 0..signature.len() {
        for digit in "0123456789abcdef".bytes().filter(|digit| *digit != signature.as_bytes()[place]) {
            let mut forged = signature.clone().into_bytes();
            forged[place] = digit;
            let mut ask = sound.clone().without("x-signature");
            ask.headers.push(("x-signature", forged));
            assert_eq!(world.send(ask).await.outcome(), (401, "UNAUTHORIZED", ""), "digit at {place}");
            changed += 1;
        }
    }
    let now = world.now_secs();
    for ask in [
        Ask { method: "GET".to_owned(), ..sound.clone() },
        Ask { target: "/api/v1/invoices".to_owned(), ..sound.clone() },
        Ask { body: Vec::new(), ..sound.clone() },
        Ask { body: format!("{INVOICE} ").into_bytes(), ..sound.clone() },
        sound.clone().without("x-timestamp").with("x-timestamp", &(now + 1).to_string()),
        sound.clone().without("x-timestamp").with("x-timestamp", &format!("{now} ")),
        sound.clone().without("x-signature").with("x-signature", &signature[..63]),
        sound.clone().without("x-signature").with("x-signature", &format!("{signature}0")),
        sound.clone().without("x-signature").with("x-signature", &format!("0x{signature}")),
    ] {
        assert_eq!(world.send(ask).await.outcome().1, "UNAUTHORIZED");
        changed += 1;
    }
    assert!(changed > 5_000, "{changed}");
    assert_eq!(world.census().invoices, 0);
    let shouted = sound.clone().without("x-signature").with("x-signature", &signature.to_uppercase());
    assert_eq!(world.send(shouted).await.status, 201, "upper-case digits are the same signature");
}

/// One bit, one digit or one letter at every place of everything that a request consists of, in both schemes. What a scheme
/// covers is refused, and what it does not cover makes at most what it says.
#[tokio::test]
async fn no_flipped_bit_passes_where_a_scheme_covers_it() {
    let mut refused = 0_usize;
    for scheme in [SignatureScheme::Request, SignatureScheme::Timestamp] {
        let world = World::new();
        let merchant = world.merchant().await;
        let key = world.key_with(&merchant, &BOTH, |key| key.scheme = scheme).await;
        let sound = world.signed(&key, "POST", "/v1/invoices", INVOICE);
        for name in ["x-api-key", "x-timestamp", "x-signature"] {
            let value = sound.header(name).into_bytes();
            for (place, bit) in (0..value.len()).flat_map(|place| (0..7).map(move |bit| (place, bit))) {
                let mut flipped = value.clone();
                flipped[place] ^= 1 << bit;
                // Capital digits are the same signature, and no header holds control characters.
                let is_same = name == "x-signature" && flipped.eq_ignore_ascii_case(&value);
                if is_same || !flipped.iter().all(|byte| (b' '..=b'~').contains(byte)) {
                    continue;
                }
                let mut ask = sound.clone().without(name);
                ask.headers.push((name, flipped));
                assert_eq!(world.send(ask).await.status, 401, "{name}, bit {bit} of byte {place}");
                refused += 1;
            }
        }
        if scheme == SignatureScheme::Timestamp {
            continue;
        }
        for (place, bit) in (0..sound.body.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut ask = sound.clone();
            ask.body[place] ^= 1 << bit;
            assert_eq!(world.send(ask).await.outcome().1, "UNAUTHORIZED", "bit {bit} of byte {place}");
            refused += 1;
        }
        let letters = || (b'A'..=b'Z').chain(b'a'..=b'z');
        for place in 0..sound.target.len() {
            for letter in letters().filter(|letter| *letter != sound.target.as_bytes()[place]) {
                let mut target = sound.target.clone().into_bytes();
                target[place] = letter;
                let target = String::from_utf8(target).expect("letters");
                if !target.starts_with('/') {
                    continue;
                }
                let reply = world.send(Ask { target: target.clone(), ..sound.clone() }).await;
                assert!([401, 404].contains(&reply.status), "{target}: {reply:?}");
                refused += 1;
            }
        }
        for method in ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QOST", "PO"] {
            let reply = world.send(Ask { method: method.to_owned(), ..sound.clone() }).await;
            assert!([401, 405].contains(&reply.status), "{method}: {reply:?}");
            refused += 1;
        }
        assert_eq!(world.census().invoices, 0);
    }
    assert!(refused > 2_000, "{refused}");
}

/// The guide's client: one signature for everything within a second.
#[tokio::test]
async fn a_bare_time_stamp_makes_each_request_once() {
    let world = World::new();
    let merchant = world.merchant().await;
    let key = world.key_with(&merchant, &BOTH, |key| key.scheme = SignatureScheme::Timestamp).await;
    let make = |body: &str| world.signed(&key, "POST", "/api/v1/invoices", body);
    assert_eq!(world.send(make(INVOICE)).await.status, 201);
    for _ in 0..100 {
        let again = world.send(make(INVOICE)).await;
        assert_eq!(again.outcome(), (401, "SIGNATURE_REPLAYED", "X-Signature"));
    }
    for order in ["a", "b"] {
        let body = format!(r#"{{"amount":"50.00","external_id":"{order}"}}"#);
        assert_eq!(world.send(make(&body)).await.status, 201, "another invoice in the same second");
        assert_eq!(world.send(make(&body)).await.status, 200, "the same order");
    }
    assert_eq!(world.census().invoices, 3);
    world.advance_millis(1_000);
    assert_eq!(world.send(make(INVOICE)).await.status, 201, "a second later it is another request");
    let (_, metrics) = scrape(&world).await;
    assert!(metrics.contains("\nxthonpay_http_timestamp_signatures_total 106\n"), "each use is counted: {metrics}");
}

#[tokio::test]
async fn the_clock_may_be_off_by_exactly_the_window() {
    for (scheme, window) in [(SignatureScheme::Request, 300), (SignatureScheme::Timestamp, 60)] {
        let world = World::new();
        let merchant = world.merchant().await;
        let key = world.key_with(&merchant, &BOTH, |key| key.scheme = scheme).await;
        let now = world.now_secs();
        for (stamp, passes) in [
            (now, true),
            (now - window, true),
            (now + window, true),
            (now - window - 1, false),
            (now + window + 1, false),
            (now * 1_000, false), // milliseconds
            (1, false),
            (253_402_300_799, false), // the last second of the year 9999
        ] {
            let reply = world.send(Ask::new("GET", "/v1/balance", "").sign(&key, stamp)).await;
            let expected = if passes { (200, "", "") } else { (401, "CLOCK_SKEW", "X-Timestamp") };
            assert_eq!(reply.outcome(), expected, "{scheme:?}: {stamp} at {now}");
        }
    }
}

#[tokio::test]
async fn a_time_stamp_has_one_form() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let now = world.now_secs();
    for text in [
        format!("+{now}"),
        format!("-{now}"),
        format!("0{now}"),
        format!("{now}.0"),
        format!("{now}e0"),
        format!("0x{now:x}"),
        format!("{now}_"),
        format!("{now},{now}"),
        "0".to_owned(),
        "now".to_owned(),
        "2023-11-14T22:13:20Z".to_owned(),
        "99999999999999999999999999".to_owned(),
    ] {
        let reply = world.send(Ask::new("GET", "/v1/balance", "").sign_text(&key, &text)).await;
        assert_eq!(reply.outcome(), (401, "CLOCK_SKEW", "X-Timestamp"), "{text}");
    }
}

#[tokio::test]
async fn a_signature_works_once_where_something_changes() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let post = world.signed(&key, "POST", "/v1/invoices", INVOICE);
    assert_eq!(world.send(post.clone()).await.status, 201);
    for _ in 0..100 {
        let again = world.send(post.clone()).await;
        assert_eq!(again.outcome(), (401, "SIGNATURE_REPLAYED", "X-Signature"));
    }
    let shouted = post.clone().without("x-signature").with("x-signature", &post.header("x-signature").to_uppercase());
    assert_eq!(world.send(shouted).await.outcome().1, "SIGNATURE_REPLAYED");
    let Census { invoices, signatures, .. } = world.census();
    assert_eq!((invoices, signatures), (1, 1));
    let get = world.signed(&key, "GET", "/v1/balance", "");
    for _ in 0..3 {
        assert_eq!(world.send(get.clone()).await.status, 200, "reading twice does no harm");
    }
}

#[tokio::test]
async fn racing_replays_make_one_invoice() {
    let world = std::sync::Arc::new(World::new());
    let key = world.key(&BOTH).await;
    let post = world.signed(&key, "POST", "/v1/invoices", INVOICE);
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (world, post) = (std::sync::Arc::clone(&world), post.clone());
        racers.spawn(async move { world.send(post).await.status });
    }
    let statuses = racers.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 401].contains(status)), "{statuses:?}");
    assert_eq!(world.census().invoices, 1);
}

#[tokio::test]
async fn revoked_keys_and_schemes_switched_off_are_told_so() {
    let world = World::with(|api| api.access.allow_timestamp_scheme = false);
    let merchant = world.merchant().await;
    let revoked = world.key_with(&merchant, &BOTH, |key| key.revoked_at = Some(Timestamp::EPOCH)).await;
    assert_eq!(world.get(&revoked, "/v1/balance").await.outcome(), (401, "KEY_REVOKED", ""));
    let old = world.key_with(&merchant, &BOTH, |key| key.scheme = SignatureScheme::Timestamp).await;
    assert_eq!(world.get(&old, "/v1/balance").await.outcome(), (401, "KEY_REGENERATION_REQUIRED", ""));
    let forged = TestKey { secret: "xps_live_0".to_owned(), ..revoked };
    assert_eq!(world.get(&forged, "/v1/balance").await.outcome(), (401, "UNAUTHORIZED", ""), "told to owners only");
}

#[tokio::test]
async fn a_test_key_opens_nothing_where_test_mode_is_off() {
    for (on, expected) in [(true, (200, "", "")), (false, (401, "KEY_REVOKED", ""))] {
        let world = World::with(|api| api.access.test_mode = on);
        let merchant = world.merchant().await;
        let test = world.key_of(Mode::Test, &merchant, &BOTH, |_| ()).await;
        assert_eq!(world.get(&test, "/v1/balance").await.outcome(), expected, "{on}");
        let live = world.key_with(&merchant, &BOTH, |_| ()).await;
        assert_eq!(world.get(&live, "/v1/balance").await.outcome(), (200, "", ""));
    }
}

#[tokio::test]
async fn the_scheme_is_the_keys_and_not_the_requests() {
    let world = World::new();
    let merchant = world.merchant().await;
    for (pinned, used) in
        [(SignatureScheme::Request, SignatureScheme::Timestamp), (SignatureScheme::Timestamp, SignatureScheme::Request)]
    {
        let key = world.key_with(&merchant, &BOTH, |key| key.scheme = pinned).await;
        let other = TestKey { scheme: used, ..key };
        assert_eq!(world.get(&other, "/v1/balance").await.outcome(), (401, "UNAUTHORIZED", ""), "{pinned:?}");
    }
}

#[tokio::test]
async fn the_query_is_no_part_of_the_signature_and_so_changes_nothing() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let get = world.signed(&key, "GET", "/v1/invoices", "");
    assert_eq!(world.send(Ask { target: "/v1/invoices?limit=1".to_owned(), ..get }).await.status, 200);
    let post = world.signed(&key, "POST", "/v1/invoices", INVOICE);
    let reply = world.send(Ask { target: "/v1/invoices?amount=1".to_owned(), ..post }).await;
    assert_eq!(reply.outcome(), (400, "INVALID_REQUEST", "amount"));
    assert_eq!(world.census().invoices, 0);
}
