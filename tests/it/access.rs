//! Who may call: signatures, their age and their single use, scopes and networks of keys.

use serde_json::json;
use xthonpay_tests::client::{API, MerchantClient, Request, Scheme, now_s};
use xthonpay_tests::signatures;

use crate::refusal::{Refusal, UNAUTHORIZED, nothing_is_stored, refusal};
use crate::world::{Done, World};

/// A change to a signed request.
type Forge = fn(&MerchantClient, Request) -> Request;

fn with_other_body(_: &MerchantClient, mut request: Request) -> Request {
    request.body.push(b' ');
    request
}

fn with_other_path(_: &MerchantClient, mut request: Request) -> Request {
    request.target = request.target.replace(API, "/v1");
    request
}

fn twice(request: Request, name: &str) -> Request {
    let mut request = request;
    let again = request.headers.iter().find(|(known, _)| known == name).cloned();
    request.headers.extend(again);
    request
}

fn signed_at(client: &MerchantClient, stamp: &str) -> Request {
    client.sign_at(stamp, "POST", "/invoices", br#"{"amount":"10"}"#)
}

#[tokio::test]
async fn requests_that_are_not_signed_for_are_refused() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let missing = |param| refusal(401, "UNAUTHORIZED", param);
    let skew = || refusal(401, "CLOCK_SKEW", "X-Timestamp");
    let cases: [(&str, Forge, Refusal); 21] = [
        ("no key", |_, request| request.without_header("x-api-key"), missing("X-API-Key")),
        ("no time stamp", |_, request| request.without_header("x-timestamp"), missing("X-Timestamp")),
        ("no signature", |_, request| request.without_header("x-signature"), missing("X-Signature")),
        ("two keys", |_, request| twice(request, "x-api-key"), missing("X-API-Key")),
        ("two time stamps", |_, request| twice(request, "x-timestamp"), missing("X-Timestamp")),
        ("two signatures", |_, request| twice(request, "x-signature"), missing("X-Signature")),
        (
            "a key that does not exist",
            |_, request| request.with_header("x-api-key", "xpk_live_000000000000000000000000"),
            UNAUTHORIZED,
        ),
        ("a key that is none", |_, request| request.with_header("x-api-key", "' OR 1=1 --"), UNAUTHORIZED),
        ("an empty key", |_, request| request.with_header("x-api-key", ""), UNAUTHORIZED),
        ("a signature of zeros", |_, request| request.with_header("x-signature", &"0".repeat(64)), UNAUTHORIZED),
        ("half a signature", |_, request| request.with_header("x-signature", "abcd"), UNAUTHORIZED),
        ("a signature that is none", |_, request| request.with_header("x-signature", &"z".repeat(64)), UNAUTHORIZED),
        (
            "the time stamp changed",
            |_, request| request.with_header("x-timestamp", &(now_s() + 1_000).to_string()),
            UNAUTHORIZED,
        ),
        ("the body changed", with_other_body, UNAUTHORIZED),
        ("the path changed", with_other_path, UNAUTHORIZED),
        (
            "the other scheme's signature",
            |client, request| {
                let stamp = now_s().to_string();
                let signature = signatures::timestamp_scheme(&client.key().secret, &stamp);
                request.with_header("x-timestamp", &stamp).with_header("x-signature", &signature)
            },
            UNAUTHORIZED,
        ),
        ("signed long ago", |client, _| signed_at(client, &(now_s() - 305).to_string()), skew()),
        ("signed in the future", |client, _| signed_at(client, &(now_s() + 305).to_string()), skew()),
        ("a time with a sign", |client, _| signed_at(client, &format!("+{}", now_s())), skew()),
        ("a time in milliseconds", |client, _| signed_at(client, &format!("{}000", now_s())), skew()),
        ("a time with a leading zero", |client, _| signed_at(client, &format!("0{}", now_s())), skew()),
    ];
    let mut differences = Vec::new();
    for (what, forge, refusal) in cases {
        let sound = shop.client.sign("POST", "/invoices", br#"{"amount":"10"}"#);
        let answer = shop.client.send(forge(&shop.client, sound)).await?;
        differences.extend(refusal.difference(what, &answer));
    }
    assert_eq!(differences, [""; 0]);
    nothing_is_stored(&shop).await
}

#[tokio::test]
async fn the_alias_of_a_path_works_when_it_is_signed() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let stamp = now_s().to_string();
    let signature = signatures::request_scheme(&shop.client.key().secret, &stamp, "GET", "/v1/balance", b"");
    let mut request = shop.client.sign_at(&stamp, "GET", "/balance", b"").with_header("x-signature", &signature);
    request.target = "/v1/balance".to_owned();
    assert_eq!(shop.client.send(request.clone()).await?.status, 200);
    let upper = request.with_header("x-signature", &signature.to_uppercase());
    assert_eq!(shop.client.send(upper).await?.status, 200, "some clients write upper case");
    Ok(())
}

#[tokio::test]
async fn a_signature_changes_something_once_only() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let request = shop.client.sign("POST", "/invoices", br#"{"amount":"10"}"#);
    assert_eq!(shop.client.send(request.clone()).await?.status, 201);
    let again = shop.client.send(request.clone()).await?;
    refusal(401, "SIGNATURE_REPLAYED", "X-Signature").check("the same request again", &again);
    let upper = request.headers.iter().find(|(name, _)| name == "x-signature").map(|(_, value)| value.to_uppercase());
    let again = shop.client.send(request.with_header("x-signature", &upper.unwrap_or_default())).await?;
    refusal(401, "SIGNATURE_REPLAYED", "X-Signature").check("the same signature in upper case", &again);
    assert_eq!(shop.client.get("/invoices").await?.data()?.as_array().map(Vec::len), Some(1));

    let read = shop.client.sign("GET", "/balance", b"");
    for _ in 0..2 {
        assert_eq!(shop.client.send(read.clone()).await?.status, 200, "reading may be repeated");
    }
    Ok(())
}

#[tokio::test]
async fn keys_do_only_what_they_may() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let body = json!({"amount": "10"});
    let key = world.host.create_key(&shop.merchant, "read", Scheme::Request, &[]).await?;
    let reader = MerchantClient::new(world.host.base_url(), key)?;
    assert_eq!(reader.get("/balance").await?.status, 200);
    refusal(403, "SCOPE_REQUIRED", "").check("a key that reads", &reader.post("/invoices", &body).await?);

    let elsewhere = ["--ip", "10.1.2.0/24", "--ip", "2001:db8::/32"];
    let key = world.host.create_key(&shop.merchant, "read,write", Scheme::Request, &elsewhere).await?;
    let elsewhere = MerchantClient::new(world.host.base_url(), key)?;
    refusal(403, "IP_NOT_ALLOWED", "").check("a key for another network", &elsewhere.get("/balance").await?);
    let lie = elsewhere.sign("GET", "/balance", b"").with_header("x-forwarded-for", "10.1.2.3");
    refusal(403, "IP_NOT_ALLOWED", "").check("a lie about the network", &elsewhere.send(lie).await?);

    let here = ["--ip", "10.1.2.0/24", "--ip", "127.0.0.1/32"];
    let key = world.host.create_key(&shop.merchant, "read", Scheme::Request, &here).await?;
    assert_eq!(MerchantClient::new(world.host.base_url(), key)?.get("/balance").await?.status, 200);
    nothing_is_stored(&shop).await
}

#[tokio::test]
async fn the_timestamp_scheme_has_a_narrow_window() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let key = world.host.create_key(&shop.merchant, "read,write", Scheme::Timestamp, &[]).await?;
    let client = MerchantClient::new(world.host.base_url(), key)?;
    let old = client.send(client.sign_at(&(now_s() - 50).to_string(), "GET", "/balance", b"")).await?;
    assert_eq!(old.status, 200);
    let older = client.send(client.sign_at(&(now_s() - 65).to_string(), "GET", "/balance", b"")).await?;
    refusal(401, "CLOCK_SKEW", "X-Timestamp").check("65 s old", &older);
    // A key of this scheme is never judged by the other one.
    let stamp = now_s().to_string();
    let request = signatures::request_scheme(&client.key().secret, &stamp, "GET", "/api/v1/balance", b"");
    let mixed = client.sign_at(&stamp, "GET", "/balance", b"").with_header("x-signature", &request);
    UNAUTHORIZED.check("the other scheme", &client.send(mixed).await?);
    Ok(())
}
