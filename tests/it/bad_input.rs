//! Requests that must be refused: the status, the code and the parameter of the answer, and nothing stored.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::refusal::{INVALID, Refusal, nothing_is_stored, refusal};
use crate::world::{Done, PATIENCE, World};

/// A field of an invoice that cannot be.
type FieldCase = (&'static str, Value, Refusal);

fn amounts() -> Vec<FieldCase> {
    let refused = || refusal(400, "INVALID_AMOUNT", "amount");
    let texts = [
        "",
        " ",
        "0",
        "0.00",
        "-1",
        "+1",
        "1e3",
        "1E3",
        "0x10",
        "1,5",
        "1.",
        ".5",
        "1.2.3",
        "1_000",
        " 1",
        "1 ",
        "NaN",
        "Infinity",
        "\u{ff11}",
        "\u{0661}",
        "00000000000000000000",
        "0.0000000000000000001",
        "115792089237316195423570985008687907853269984665640564039457.584007913129639936",
        "1\u{0}",
        "1\u{200b}",
    ];
    texts.into_iter().map(|text| ("amount", json!(text), refused())).collect()
}

fn fields() -> Vec<FieldCase> {
    let asset = || refusal(400, "UNSUPPORTED_ASSET", "asset");
    let at = |param| refusal(400, "INVALID_REQUEST", param);
    let entries: serde_json::Map<String, Value> = (0..17).map(|nth| (format!("key{nth}"), json!("x"))).collect();
    let mut cases = amounts();
    // A number would lose digits on the way, so it is none.
    cases.extend(
        [json!(50), json!(50.5), json!(null), json!(true), json!(["1"]), json!({})]
            .map(|value| ("amount", value, refusal(400, "INVALID_AMOUNT", "amount"))),
    );
    cases
        .extend([json!("DOGE"), json!("usdt"), json!("\u{ff35}SDT"), json!("")].map(|value| ("asset", value, asset())));
    cases.extend(
        [json!(5), json!("x".repeat(129)), json!("a\nb"), json!("\u{202e}gnp"), json!("")]
            .map(|value| ("external_id", value, at("external_id"))),
    );
    cases.extend([json!([]), json!("x".repeat(129)), json!("a\u{0}")].map(|value| ("customer", value, at("customer"))));
    cases.extend(
        [json!(-1), json!("3600"), json!(1.5), json!(0), json!(4_294_967_296_u64)]
            .map(|value| ("expires_in", value, at("expires_in"))),
    );
    let urls = [
        "",
        "javascript:alert(1)",
        "ftp://shop.example/",
        "//shop.example/",
        "https://",
        "shop.example/hook",
        "https://shop.example/a b",
        "https://user:pw@shop.example/",
        "https://shop.example/#part",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://0.0.0.0/",
        "https://100.64.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://0x0a000001/",
        "https://167772161/",
        "http://8.8.8.8/",
        "https://8.8.8.8:22/",
    ];
    cases.extend(urls.map(|url| ("callback_url", json!(url), at("callback_url"))));
    cases.push(("callback_url", json!(format!("https://shop.example/{}", "x".repeat(2_048))), at("callback_url")));
    cases.extend(
        [
            json!("x"),
            json!([]),
            json!({"a": 1}),
            json!({"a": null}),
            json!({"a": {"b": "c"}}),
            json!({"a b": "c"}),
            json!({"a": "x".repeat(257)}),
            json!({"a": "b\u{7}"}),
            Value::Object(entries),
        ]
        .map(|value| ("metadata", value, at("metadata"))),
    );
    cases.push(("chain", json!("xrp"), asset()));
    cases.extend([json!("BSC"), json!(56)].map(|value| ("chain", value, refusal(400, "UNSUPPORTED_ASSET", "chain"))));
    cases.push(("amuont", json!("1"), at("amuont")));
    cases.push(("status", json!("paid"), at("status")));
    cases
}

#[tokio::test]
async fn fields_that_cannot_be_are_refused_by_name() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let mut differences = Vec::new();
    for (field, value, refusal) in fields() {
        let mut body = json!({"amount": "10"});
        body[field] = value;
        let what = format!("{field} of {body}");
        let answer = shop.client.post("/invoices", &body).await?;
        differences.extend(refusal.difference(&what, &answer));
    }
    assert_eq!(differences, [""; 0]);
    nothing_is_stored(&shop).await
}

#[tokio::test]
async fn bodies_that_are_no_invoice_are_refused() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let cases: [(&str, &[u8], Refusal); 11] = [
        ("no body", b"", refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type")),
        ("half a body", br#"{"amount":"10""#, INVALID),
        ("a body and more", br#"{"amount":"10"}{}"#, INVALID),
        ("a list", br#"["10"]"#, INVALID),
        ("a text", br#""10""#, INVALID),
        ("null", b"null", INVALID),
        ("no UTF-8", b"{\"amount\":\"10\",\"customer\":\"\xff\"}", INVALID),
        ("a byte order mark", b"\xef\xbb\xbf{\"amount\":\"10\"}", INVALID),
        ("one field twice", br#"{"amount":"10","amount":"1"}"#, refusal(400, "INVALID_REQUEST", "amount")),
        ("no amount", b"{}", refusal(400, "INVALID_AMOUNT", "amount")),
        ("a deep body", deep.as_bytes(), INVALID),
    ];
    let mut differences = Vec::new();
    for (what, body, refusal) in cases {
        let answer = shop.client.send(shop.client.sign("POST", "/invoices", body)).await?;
        differences.extend(refusal.difference(what, &answer));
    }
    let form = shop.client.sign("POST", "/invoices", b"amount=10");
    let answer = shop.client.send(form.with_header("content-type", "application/x-www-form-urlencoded")).await?;
    differences.extend(refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type").difference("a form", &answer));
    assert_eq!(differences, [""; 0]);
    nothing_is_stored(&shop).await
}

#[tokio::test]
async fn a_body_that_is_declared_too_big_is_refused_before_it_is_sent() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    // By hand, because clients send the body in any case and may lose the answer when the connection closes on them.
    let request = shop.client.sign("POST", "/invoices", b"{}").with_header("content-length", "65537");
    let lines = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
    let head = format!("POST {} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n", request.target);
    let mut connection = TcpStream::connect(world.host.base_url().trim_start_matches("http://")).await?;
    connection.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut answer)).await??;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"BODY_TOO_LARGE\""), "{answer}");
    nothing_is_stored(&shop).await
}

#[tokio::test]
async fn an_external_id_is_safe_to_repeat_and_stands_for_one_invoice() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let order = json!({"amount": "10.00", "external_id": "order_1"});
    let made = shop.client.post("/invoices", &order).await?;
    assert_eq!(made.status, 201);
    let again = shop.client.post("/invoices", &json!({"amount": "10", "external_id": "order_1"})).await?;
    assert_eq!((again.status, &again.data()?["invoice_id"]), (200, &made.data()?["invoice_id"]));
    for other in
        [json!({"amount": "11"}), json!({"amount": "10", "asset": "BNB"}), json!({"amount": "10", "customer": "x"})]
    {
        let mut other = other;
        other["external_id"] = json!("order_1");
        let answer = shop.client.post("/invoices", &other).await?;
        refusal(409, "EXTERNAL_ID_CONFLICT", "external_id").check(&other.to_string(), &answer);
    }
    assert_eq!(shop.client.get("/invoices").await?.data()?.as_array().map(Vec::len), Some(1));
    // Another merchant's orders have nothing to do with it.
    let stranger = world.shop().await?;
    assert_eq!(stranger.client.post("/invoices", &order).await?.status, 201);
    Ok(())
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let at = |param| refusal(400, "INVALID_REQUEST", param);
    let cases = [
        ("GET", "/invoices?limit=0", at("limit")),
        ("GET", "/invoices?limit=101", at("limit")),
        ("GET", "/invoices?limit=-1", at("limit")),
        ("GET", "/invoices?limit=ten", at("limit")),
        ("GET", "/invoices?limit=5&limit=6", at("limit")),
        ("GET", "/invoices?cursor=nonsense", at("cursor")),
        ("GET", "/invoices?status=payed", at("status")),
        ("GET", "/invoices?limt=5", at("limt")),
        ("GET", "/invoices/nonsense", refusal(404, "NOT_FOUND", "")),
        ("GET", "/invoices/inv_00000000000000000000000000000000", refusal(404, "NOT_FOUND", "")),
        ("GET", "/invoices/..%2fbalance", refusal(404, "NOT_FOUND", "")),
        ("GET", "/nothing", refusal(404, "NOT_FOUND", "")),
        ("DELETE", "/invoices", refusal(405, "METHOD_NOT_ALLOWED", "")),
        ("PUT", "/balance", refusal(405, "METHOD_NOT_ALLOWED", "")),
        ("POST", "/invoices?amount=10", at("amount")),
    ];
    let mut differences = Vec::new();
    for (method, path, refusal) in cases {
        let body: &[u8] = if method == "POST" { br#"{"amount":"10"}"# } else { b"" };
        let answer = shop.client.send(shop.client.sign(method, path, body)).await?;
        differences.extend(refusal.difference(&format!("{method} {path}"), &answer));
    }
    assert_eq!(differences, [""; 0]);
    nothing_is_stored(&shop).await
}

#[tokio::test]
async fn lists_are_paged_without_gaps_or_repetition() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(shop.invoice("USDT", "1").await?.id);
    }
    made.reverse();
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop.client.get(&format!("/invoices?limit=2{cursor}")).await?;
        let ids = page.data()?;
        let ids = ids.as_array().into_iter().flatten().filter_map(|invoice| invoice["invoice_id"].as_str());
        listed.extend(ids.map(str::to_owned));
        let page = page.json();
        let Some(next) = page["next_cursor"].as_str() else { break };
        assert_eq!(page["has_more"], true);
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, made, "the newest first");
    Ok(())
}
