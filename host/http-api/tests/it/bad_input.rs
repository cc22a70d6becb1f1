//! What callers get wrong: status, code and place of each mistake. Nothing is stored.

use serde_json::json;
use xthonpay_domain::access::Scope;

use crate::world::{Ask, World};

const BOTH: [Scope; 2] = [Scope::Read, Scope::Write];
const REQUEST: &str = "INVALID_REQUEST";
const AMOUNT: &str = "INVALID_AMOUNT";
const ASSET: &str = "UNSUPPORTED_ASSET";

/// Body, code and param; the status is 400.
fn bodies() -> Vec<(String, &'static str, &'static str)> {
    let mut table: Vec<(String, &str, &str)> = Vec::new();
    let mut add = |body: &str, code, param| table.push((body.to_owned(), code, param));
    // Not a JSON object.
    for body in [
        "",
        " ",
        "null",
        "[]",
        "\"amount\"",
        "1",
        "{",
        "{}}",
        "{\"amount\":\"1\",}",
        "{'amount':'1'}",
        "{\"amount\":\"1\"} x",
        "{amount:\"1\"}",
        "\u{feff}{\"amount\":\"1\"}",
        "{\"amount\":\"\\ud800\"}",
        "{\"amount\":\"a\nb\"}",
        "{\"amount\":NaN}",
        "{\"amount\":01}",
        "{\"amount\":1e400}",
        "amount=1",
    ] {
        add(body, REQUEST, "");
    }
    add("{}", AMOUNT, "amount");
    // Names.
    add(r#"{"amount":"1","amuont":"2"}"#, REQUEST, "amuont");
    add(r#"{"amount":"1","Amount":"2"}"#, REQUEST, "Amount");
    add(r#"{"amount":"1","merchant_id":"mer_00"}"#, REQUEST, "merchant_id");
    add(r#"{"amount":"1","":""}"#, REQUEST, "");
    add(r#"{"amount":"1","amount":"1"}"#, REQUEST, "amount");
    add(r#"{"amount":"1","\u0061mount":"2"}"#, REQUEST, "amount");
    add(r#"{"amount":"1","metadata":{"a":"1","a":"2"}}"#, REQUEST, "a");
    add(r#"{"amount":"1","x":[{"b":1,"b":2}]}"#, REQUEST, "b");
    // Amounts.
    for amount in [
        "1",
        "1.5",
        "-1",
        "0",
        "1e18",
        "100000000000000000000000000",
        "null",
        "true",
        "[]",
        "{}",
        "[\"1\"]",
        "\"\"",
        "\" 1\"",
        "\"1 \"",
        "\"+1\"",
        "\"-1\"",
        "\"-0\"",
        "\"1E2\"",
        "\"1e18\"",
        "\"0x10\"",
        "\"1,5\"",
        "\"1_000\"",
        "\".5\"",
        "\"5.\"",
        "\"01\"",
        "\"1.2.3\"",
        "\"NaN\"",
        "\"Infinity\"",
        "\"１\"",
        "\"٣\"",
        "\"1\\u0000\"",
        "\"1\\u200b\"",
        "\"0\"",
        "\"0.0\"",
        "\"0.0000000000000000001\"",
        "\"1.1234567890123456789\"",
        "\"115792089237316195423570985008687907853269984665640564039457584007913129639936\"",
    ] {
        add(&format!("{{\"amount\":{amount}}}"), AMOUNT, "amount");
    }
    // Assets.
    for asset in [
        "\"usdt\"",
        "\"DAI\"",
        "\"\"",
        "\"bsc:\"",
        "\":USDT\"",
        "\"eth:USDT\"",
        "\"bsc:usdt\"",
        "1",
        "[]",
        "\"USDT \"",
        "\"ＵＳＤＴ\"",
    ] {
        add(&format!("{{\"amount\":\"1\",\"asset\":{asset}}}"), ASSET, "asset");
    }
    for chain in ["\"BSC\"", "\"\"", "56", "\"b`c\""] {
        add(&format!("{{\"amount\":\"1\",\"chain\":{chain}}}"), ASSET, "chain");
    }
    add(r#"{"amount":"1","chain":"eth"}"#, ASSET, "asset");
    add(r#"{"amount":"1","asset":"bsc:USDT","chain":"eth"}"#, ASSET, "chain");
    // Texts.
    for name in ["external_id", "customer"] {
        for text in
            ["\"\"", "1", "true", "[]", "{}", "\"a\\u0000b\"", "\"a\\nb\"", "\"\\u202e\"", "\"\\u200b\"", "\"\\ufeff\""]
        {
            add(&format!("{{\"amount\":\"1\",\"{name}\":{text}}}"), REQUEST, name);
        }
        add(&format!("{{\"amount\":\"1\",\"{name}\":\"{}\"}}", "x".repeat(129)), REQUEST, name);
        add(&format!("{{\"amount\":\"1\",\"{name}\":\"{}\"}}", "é".repeat(65)), REQUEST, name);
    }
    // Callback URLs: their text here, their host where webhooks are sent.
    for url in [
        "\"\"",
        "1",
        "\"shop.example\"",
        "\"ftp://shop.example\"",
        "\"javascript:alert(1)\"",
        "\"https://\"",
        "\"http://shop.example/\"",
        "\"https://shop .example\"",
        "\"http:\\\\\\\\host\"",
        "\"https://a\\tb\"",
        "\"https://é\"",
    ] {
        add(&format!("{{\"amount\":\"1\",\"callback_url\":{url}}}"), REQUEST, "callback_url");
    }
    add(&format!("{{\"amount\":\"1\",\"callback_url\":\"https://a/{}\"}}", "x".repeat(2_048)), REQUEST, "callback_url");
    // Expiry.
    for expiry in
        ["0", "59", "2592001", "-1", "60.5", "1e3", "18446744073709551616", "\"3600\"", "true", "[]", "253402300800"]
    {
        add(&format!("{{\"amount\":\"1\",\"expires_in\":{expiry}}}"), REQUEST, "expires_in");
    }
    // Metadata.
    for metadata in [
        "\"a\"",
        "1",
        "[]",
        "{\"a\":1}",
        "{\"a\":null}",
        "{\"a\":{}}",
        "{\"a\":\"\"}",
        "{\"\":\"a\"}",
        "{\"a b\":\"c\"}",
        "{\"é\":\"c\"}",
        "{\"a\":\"b\\u0000\"}",
    ] {
        add(&format!("{{\"amount\":\"1\",\"metadata\":{metadata}}}"), REQUEST, "metadata");
    }
    let seventeen: serde_json::Map<_, _> = (0..17).map(|number| (format!("k{number}"), json!("v"))).collect();
    add(&json!({"amount": "1", "metadata": seventeen}).to_string(), REQUEST, "metadata");
    add(&json!({"amount": "1", "metadata": {"k".repeat(41): "v"}}).to_string(), REQUEST, "metadata");
    add(&json!({"amount": "1", "metadata": {"k": "v".repeat(257)}}).to_string(), REQUEST, "metadata");
    // Depth.
    let deep = |levels: usize| format!("{{\"amount\":\"1\",\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    add(&deep(15), REQUEST, "x");
    add(&deep(16), REQUEST, "");
    add(&deep(10_000), REQUEST, "");
    add(&format!("{{\"amount\":\"1\",\"x\":{}1{}}}", "{\"a\":".repeat(200), "}".repeat(200)), REQUEST, "");
    table
}

#[tokio::test]
async fn bad_bodies_are_refused_by_name_and_leave_nothing_behind() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let before = world.census();
    let table = bodies();
    assert!(table.len() > 130, "{}", table.len());
    for (body, code, param) in table {
        let ask = world.signed(&key, "POST", "/v1/invoices", &body);
        // An empty body brings no media type of its own.
        let ask = ask.without("content-type").with("content-type", "application/json");
        let shown: String = body.chars().take(120).collect();
        let reply = world.send(ask).await;
        assert_eq!(reply.outcome(), (400, code, param), "{shown}: {}", reply.message());
    }
    assert_eq!(world.census(), before);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let before = world.census();
    for bytes in [
        &b"{\"amount\":\"\xff\"}"[..],
        b"\xff\xfe{\0}\0",
        b"{\"amount\":\"1\"}\xc3",
        b"\0",
        b"{\"amount\":\"\xed\xa0\x80\"}",
    ] {
        let mut ask = Ask::new("POST", "/v1/invoices", "x");
        ask.body = bytes.to_vec();
        assert_eq!(world.send(ask.sign(&key, world.now_secs())).await.outcome(), (400, REQUEST, ""), "{bytes:?}");
    }
    assert_eq!(world.census(), before);
}

#[tokio::test]
async fn only_json_is_read() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let body = |number: usize| format!(r#"{{"amount":"{}"}}"#, number + 1);
    let types = [
        ("application/json", 201),
        ("Application/JSON; charset=UTF-8", 201),
        ("application/json;charset=\"utf-8\"", 201),
        ("application/json; version=1", 201),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset", 415),
        ("text/json", 415),
        ("application/jsonx", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ];
    for (number, (media_type, status)) in types.into_iter().enumerate() {
        let ask = world.signed(&key, "POST", "/v1/invoices", &body(number)).without("content-type");
        let reply = world.send(ask.with("content-type", media_type)).await;
        let expected = if status == 201 { (201, "", "") } else { (415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type") };
        assert_eq!(reply.outcome(), expected, "{media_type}");
    }
    let sound = world.signed(&key, "POST", "/v1/invoices", &body(50));
    for ask in [sound.clone().without("content-type"), sound.clone().with("content-type", "application/json")] {
        assert_eq!(world.send(ask).await.outcome(), (415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type"));
    }
    for encoding in ["gzip", "br", "identity"] {
        let reply = world.send(sound.clone().with("content-encoding", encoding)).await;
        assert_eq!(reply.outcome(), (415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding"), "{encoding}");
    }
    assert_eq!(world.census().invoices, 4);
}

#[tokio::test]
async fn bad_queries_are_refused_by_name() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    for (target, param) in [
        ("/v1/invoices?limt=5", "limt"),
        ("/v1/invoices?limit=0", "limit"),
        ("/v1/invoices?limit=101", "limit"),
        ("/v1/invoices?limit=-1", "limit"),
        ("/v1/invoices?limit=%2B5", "limit"),
        ("/v1/invoices?limit=2147483648", "limit"),
        ("/v1/invoices?limit=99999999999999999999999", "limit"),
        ("/v1/invoices?limit=", "limit"),
        ("/v1/invoices?limit", "limit"),
        ("/v1/invoices?limit=5&limit=5", "limit"),
        ("/v1/invoices?limit=5&%6Cimit=6", "limit"),
        ("/v1/invoices?LIMIT=5", "LIMIT"),
        ("/v1/invoices?cursor=", "cursor"),
        ("/v1/invoices?cursor=forged", "cursor"),
        ("/v1/invoices?cursor=MS41Lmludl94", "cursor"),
        ("/v1/invoices?status=payed", "status"),
        ("/v1/invoices?status=PAID", "status"),
        ("/v1/invoices?status=", "status"),
        ("/v1/invoices?status=paid,pending", "status"),
        ("/v1/invoices?external_id=", "external_id"),
        ("/v1/invoices?external_id=a%00b", "external_id"),
        ("/v1/invoices?external_id=a%0Ab", "external_id"),
        ("/v1/invoices?external_id=%ff", ""),
        ("/v1/invoices?%ff=1", ""),
        ("/v1/invoices?created_gte=yesterday", "created_gte"),
        ("/v1/invoices?created_gte=1700000000", "created_gte"),
        ("/v1/invoices?created_gte=2023-11-14", "created_gte"),
        ("/v1/invoices?created_gte=2023-11-14T22:13:20", "created_gte"),
        ("/v1/invoices?created_gte=2023-11-14T22:13:20+02:00", "created_gte"),
        ("/v1/invoices?created_lte=2023-13-14T22:13:20Z", "created_lte"),
        ("/v1/invoices?created_lte=1969-12-31T23:59:59Z", "created_lte"),
        ("/v1/invoices?created_lte=10000-01-01T00:00:00Z", "created_lte"),
        ("/v1/invoices?merchant=mer_00", "merchant"),
        ("/v1/invoices/inv_00?expand=1", "expand"),
        ("/v1/balance?asset=BNB", "asset"),
        ("/v1/deposit-address?chain=bsc", "chain"),
        ("/v1/keys/me?secret=1", "secret"),
    ] {
        let reply = world.get(&key, target).await;
        assert_eq!(reply.outcome(), (400, REQUEST, param), "{target}: {}", reply.message());
    }
    for target in ["/v1/invoices?", "/v1/invoices?&", "/v1/balance?", "/v1/invoices?limit=100"] {
        assert_eq!(world.get(&key, target).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn a_read_takes_no_body() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let reply = world.send(world.signed(&key, "GET", "/v1/balance", "{}")).await;
    assert_eq!(reply.outcome(), (400, REQUEST, ""));
}

#[tokio::test]
async fn callers_words_come_back_short_and_harmless() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let name = format!("\u{202e}<script>{}", "x".repeat(10_000));
    let reply = world.post(&key, "/v1/invoices", &json!({"amount": "1", name: "2"}).to_string()).await;
    let (status, _, param) = reply.outcome();
    assert_eq!(status, 400);
    assert!(param.chars().count() <= 64 && !param.contains('\u{202e}'), "{param}");
}
