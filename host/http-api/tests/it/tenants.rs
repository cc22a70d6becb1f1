//! What one merchant has, another never sees.

use xthonpay_domain::access::Scope;

use crate::world::World;

const BOTH: [Scope; 2] = [Scope::Read, Scope::Write];

#[tokio::test]
async fn another_merchants_invoice_looks_like_none() {
    let world = World::new();
    let (mine, other) = (world.key(&BOTH).await, world.key(&BOTH).await);
    let made = world.post(&mine, "/v1/invoices", r#"{"amount": "5", "external_id": "a"}"#).await;
    let target = format!("/v1/invoices/{}", made.data("invoice_id"));
    assert_eq!(world.get(&mine, &target).await.status, 200);
    let foreign = world.get(&other, &target).await;
    let missing = world.get(&other, "/v1/invoices/inv_ffffffffffffffffffffffffffffffff").await;
    assert_eq!(foreign.outcome(), (404, "NOT_FOUND", ""));
    assert_eq!(foreign.body_without_id(), missing.body_without_id());
    for query in ["", "?external_id=a", "?status=pending"] {
        let list = world.get(&other, &format!("/v1/invoices{query}")).await;
        assert_eq!(list.body["data"].as_array().map(Vec::len), Some(0), "{query}");
    }
    let cursor_of_mine = {
        world.post(&mine, "/v1/invoices", r#"{"amount": "6"}"#).await;
        let page = world.get(&mine, "/v1/invoices?limit=1").await;
        page.body["next_cursor"].as_str().expect("a second page").to_owned()
    };
    let list = world.get(&other, &format!("/v1/invoices?cursor={cursor_of_mine}")).await;
    assert_eq!((list.status, list.body["data"].as_array().map(Vec::len)), (200, Some(0)));
}

#[tokio::test]
async fn two_keys_of_a_merchant_see_the_same() {
    let world = World::new();
    let merchant = world.merchant().await;
    let (till, office) =
        (world.key_with(&merchant, &BOTH, |_| {}).await, world.key_with(&merchant, &[Scope::Read], |_| {}).await);
    let made = world.post(&till, "/v1/invoices", r#"{"amount": "5"}"#).await;
    let read = world.get(&office, &format!("/v1/invoices/{}", made.data("invoice_id"))).await;
    assert_eq!(read.body["data"], made.body["data"]);
}

#[tokio::test]
async fn what_is_no_id_is_not_found() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let made = world.post(&key, "/v1/invoices", r#"{"amount": "5"}"#).await;
    let id = made.data("invoice_id");
    for wrong in [
        "1".to_owned(),
        "inv_".to_owned(),
        "inv_x".to_owned(),
        "a:b".to_owned(),
        "%60".to_owned(),
        "%00".to_owned(),
        "%ff".to_owned(),
        "%2e%2e".to_owned(),
        "..".to_owned(),
        format!("{id}%20"),
        format!("{id}%2F"),
        format!("{id};a"),
        id.to_uppercase(),
        id.replacen('i', "%69", 1),
        "x".repeat(8_000),
    ] {
        let reply = world.get(&key, &format!("/v1/invoices/{wrong}")).await;
        assert_eq!(reply.outcome(), (404, "NOT_FOUND", ""), "{wrong}");
    }
}
