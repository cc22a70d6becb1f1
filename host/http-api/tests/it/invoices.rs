//! Making and reading invoices, from the product's own guide to every field.

use std::sync::Arc;

use serde_json::json;
use xthonpay_domain::access::{Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::ledger::Balance;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_payments::catalog::{Catalog, ChainTerms};
use xthonpay_payments::port::store::{Changeset, Store as _, Write};

use crate::doubles::{INNER_DETAIL, Mood};
use crate::world::World;

const BOTH: [Scope; 2] = [Scope::Read, Scope::Write];

/// The steps of the guide, with a key of its scheme and nothing else changed.
#[tokio::test]
async fn the_products_guide_runs_unchanged() {
    for base in ["/api/v1", "/v1"] {
        let world = World::new();
        let merchant = world.merchant().await;
        let key = world.key_with(&merchant, &BOTH, |key| key.scheme = SignatureScheme::Timestamp).await;
        let body =
            r#"{"amount": "50.00", "external_id": "order_12345", "callback_url": "https://yourapp.com/webhooks/pay"}"#;
        let made = world.post(&key, &format!("{base}/invoices"), body).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert!(made.data("deposit_address").starts_with("0x"), "{made:?}");
        assert!(made.data("invoice_id").starts_with("inv_"), "{made:?}");
        for (field, value) in
            [("amount", "50"), ("status", "pending"), ("asset", "USDT"), ("external_id", "order_12345")]
        {
            assert_eq!(made.data(field), value, "{field}");
        }
        assert_eq!(made.data("expires_at"), "2023-11-14T23:13:20.5Z");
        let balance = world.get(&key, &format!("{base}/balance")).await;
        assert_eq!((balance.status, balance.data("balance"), balance.data("currency")), (200, "0", "USDT"));
    }
}

#[tokio::test]
async fn every_field_comes_back() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let body = json!({
        "amount": "0.000000000000000001", "asset": "bsc:BNB", "chain": "bsc", "external_id": "order `1`; DROP a:b 🧾",
        "customer": "Zoë", "callback_url": "https://shop.example/hook?x=1", "expires_in": 60,
        "metadata": {"table": "7", "note": "<b>"},
    });
    let made = world.post(&key, "/api/v1/invoices", &body.to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let data = &made.body["data"];
    for field in ["amount", "external_id", "customer", "callback_url", "metadata", "chain"] {
        assert_eq!(data[field], body[field], "{field}");
    }
    assert_eq!((made.data("asset"), made.data("created_at")), ("BNB", "2023-11-14T22:13:20.5Z"));
    assert_eq!(made.data("expires_at"), "2023-11-14T22:14:20.5Z");
    let location = format!("https://pay.example/api/v1/invoices/{}", made.data("invoice_id"));
    assert_eq!(made.header("location"), location);
    let read = world.get(&key, location.trim_start_matches("https://pay.example")).await;
    assert_eq!((read.status, &read.body["data"]), (200, data));
}

#[tokio::test]
async fn nulls_are_fields_that_are_not_there() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let body = r#"{"amount": "1", "asset": null, "chain": null, "external_id": null, "customer": null,
        "callback_url": null, "expires_in": null, "metadata": null}"#;
    let made = world.post(&key, "/v1/invoices", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.body["data"]["external_id"].is_null());
}

#[tokio::test]
async fn an_external_id_names_one_invoice() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let first = world.post(&key, "/v1/invoices", r#"{"amount": "5", "external_id": "a"}"#).await;
    world.advance_millis(60_000);
    let again = world.post(&key, "/v1/invoices", r#"{"external_id": "a", "amount": "5.00"}"#).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.body["data"], again.body["data"]);
    assert_eq!(again.header("location"), "");
    for body in [
        r#"{"amount": "6", "external_id": "a"}"#,
        r#"{"amount": "5", "external_id": "a", "asset": "BNB"}"#,
        r#"{"amount": "5", "external_id": "a", "customer": "b"}"#,
        r#"{"amount": "5", "external_id": "a", "callback_url": "https://b.example/"}"#,
        r#"{"amount": "5", "external_id": "a", "metadata": {"b": "c"}}"#,
    ] {
        let other = world.post(&key, "/v1/invoices", body).await;
        assert_eq!(other.outcome(), (409, "EXTERNAL_ID_CONFLICT", "external_id"), "{body}");
    }
    assert_eq!(world.census().invoices, 1);
    let someone_else = world.key(&BOTH).await;
    let own = world.post(&someone_else, "/v1/invoices", r#"{"amount": "6", "external_id": "a"}"#).await;
    assert_eq!(own.status, 201, "another merchant's names are its own");
}

#[tokio::test]
async fn the_order_of_metadata_does_not_matter() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let first = r#"{"amount": "5", "external_id": "a", "metadata": {"x": "1", "y": "2"}}"#;
    let second = r#"{"metadata": {"y": "2", "x": "1"}, "amount": "5", "external_id": "a"}"#;
    assert_eq!(world.post(&key, "/v1/invoices", first).await.status, 201);
    assert_eq!(world.post(&key, "/v1/invoices", second).await.status, 200);
}

#[tokio::test]
async fn an_asset_is_told_by_symbol_chain_or_default() {
    let two = World::on_chains(&["bsc", "opbnb"], |_| {});
    let defaulting = World::on_chains(&["bsc", "opbnb"], |api| api.config.default_asset = "opbnb:USDT".parse().ok());
    let table = [
        (&two, r#"{"amount": "1", "asset": "bsc:USDT"}"#, Ok("bsc")),
        (&two, r#"{"amount": "1", "asset": "USDT", "chain": "opbnb"}"#, Ok("opbnb")),
        (&two, r#"{"amount": "1", "chain": "opbnb"}"#, Ok("opbnb")),
        (&two, r#"{"amount": "1", "asset": "opbnb:BNB", "chain": "opbnb"}"#, Ok("opbnb")),
        (&two, r#"{"amount": "1"}"#, Err("chain")),
        (&two, r#"{"amount": "1", "asset": "USDT"}"#, Err("chain")),
        (&two, r#"{"amount": "1", "asset": "bsc:BNB", "chain": "opbnb"}"#, Err("chain")),
        (&two, r#"{"amount": "1", "asset": "bsc:DAI"}"#, Err("asset")),
        (&defaulting, r#"{"amount": "1"}"#, Ok("opbnb")),
        (&defaulting, r#"{"amount": "1", "asset": "USDT"}"#, Ok("opbnb")),
        (&defaulting, r#"{"amount": "1", "asset": "USDT", "chain": "bsc"}"#, Ok("bsc")),
        (&defaulting, r#"{"amount": "1", "asset": "BNB"}"#, Err("chain")),
    ];
    for (world, body, expected) in table {
        let key = world.key(&BOTH).await;
        let made = world.post(&key, "/v1/invoices", body).await;
        match expected {
            Ok(chain) => assert_eq!((made.status, made.data("chain")), (201, chain), "{body}"),
            Err(param) => assert_eq!(made.outcome(), (400, "UNSUPPORTED_ASSET", param), "{body}"),
        }
    }
    let key = defaulting.key(&BOTH).await;
    let address = defaulting.get(&key, "/v1/deposit-address").await;
    assert_eq!((address.data("network"), address.data("currency")), ("OPBNB", "USDT"));
    assert_eq!(address.body["data"]["accepts"].as_array().map(Vec::len), Some(4));
    let key = two.key(&BOTH).await;
    let balance = two.get(&key, "/v1/balance").await;
    assert!(balance.body["data"]["balance"].is_null(), "two USDT make no default: {balance:?}");
    assert_eq!(balance.body["data"]["balances"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn the_only_asset_is_the_default_whatever_its_name() {
    let world = World::on_chains(&["bsc"], |api| {
        let only = api.catalog.assets().filter(|asset| asset.id.symbol.as_str() == "BNB").cloned().collect();
        let terms = [("bsc".parse().expect("a name"), ChainTerms { min_confirmations: 1 })];
        let catalog = Arc::new(Catalog::new(terms.into(), only));
        api.invoicing.catalog = Arc::clone(&catalog);
        api.balances.catalog = Arc::clone(&catalog);
        api.catalog = catalog;
    });
    let key = world.key(&BOTH).await;
    let made = world.post(&key, "/v1/invoices", r#"{"amount": "50.00"}"#).await;
    assert_eq!((made.status, made.data("asset")), (201, "BNB"));
    let balance = world.get(&key, "/v1/balance").await;
    assert_eq!((balance.data("currency"), balance.data("balance")), ("BNB", "0"));
    let asked = world.post(&key, "/v1/invoices", r#"{"amount": "50.00", "asset": "USDT"}"#).await;
    assert_eq!(asked.outcome(), (400, "UNSUPPORTED_ASSET", "asset"));
}

#[tokio::test]
async fn rules_can_refuse_and_their_failure_is_not_told() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    world.hooks.set(Mood::Refuse);
    let refused = world.post(&key, "/v1/invoices", r#"{"amount": "1"}"#).await;
    assert_eq!(refused.outcome(), (422, "RULE_REJECTED", ""));
    assert_eq!(refused.message(), "shop_closed: no orders on Sundays");
    world.hooks.set(Mood::Fail);
    let failed = world.post(&key, "/v1/invoices", r#"{"amount": "1"}"#).await;
    assert_eq!(failed.outcome(), (502, "COMPONENT_FAILED", ""));
    assert!(!failed.body.to_string().contains(INNER_DETAIL), "{failed:?}");
    assert_eq!(failed.header("retry-after"), "1");
    assert_eq!(world.census().invoices, 0);
}

#[tokio::test]
async fn payments_and_money_are_shown_wherever_they_belong() {
    let world = World::new();
    let key = world.key(&BOTH).await;
    let body = r#"{"amount": "5", "external_id": "a"}"#;
    let made = world.post(&key, "/v1/invoices", body).await;
    let id = made.data("invoice_id").to_owned();
    let transfer = Transfer {
        identity: TransferIdentity {
            asset: "bsc:USDT".parse().expect("an asset"),
            to: made.data("deposit_address").parse().expect("an address"),
            origin: Origin::Transaction { tx: TxHash::new([7; 32]), nth: 0 },
        },
        from: Some(Address::new([1; 20])),
        amount: Amount::from_units(2_500_000_000_000_000_000),
    };
    let block = BlockRef {
        number: BlockNumber(9),
        hash: BlockHash::new([9; 32]),
        parent: BlockHash::new([8; 32]),
        time: Timestamp::from_secs(world.now_secs()),
    };
    let deposit = Deposit::seen(transfer, block, key.merchant.clone(), id.parse().ok(), 1);
    let balance = Balance { available: Amount::from_units(u128::MAX), held: Amount::from_units(1) };
    let asset = "bsc:USDT".parse().expect("an asset");
    let mut touched = world.store.invoice(&id.parse().expect("an id")).await.expect("a store").expect("was made");
    (touched.events, touched.revision) = (touched.events + 1, touched.revision + 1);
    let touched = Write::UpdateInvoice(Box::new(touched));
    let changes = Changeset::new().with(Write::CreateDeposit(deposit)).with(touched).with(Write::SetBalance {
        merchant: key.merchant.clone(),
        asset,
        balance,
        from_revision: 0,
    });
    world.store.commit(changes).await.expect("the store takes it");
    let read = world.get(&key, &format!("/v1/invoices/{id}")).await;
    let payment = &read.body["data"]["payments"][0];
    assert_eq!((&payment["amount"], &payment["status"]), (&json!("2.5"), &json!("seen")));
    world.advance_millis(1_000);
    assert_eq!(world.post(&key, "/v1/invoices", body).await.body["data"], read.body["data"]);
    assert_eq!(world.get(&key, "/v1/invoices").await.body["data"][0], read.body["data"]);
    let shown = world.get(&key, "/v1/balance").await;
    assert_eq!(shown.data("balance"), "340282366920938463463.374607431768211455");
    assert_eq!(shown.body["data"]["balances"][1]["held"], "0.000000000000000001");
    let someone_else = world.key(&BOTH).await;
    assert_eq!(world.get(&someone_else, "/v1/balance").await.data("balance"), "0");
}

#[tokio::test]
async fn balance_address_key_and_time_are_shown() {
    let world = World::new();
    let merchant = world.merchant().await;
    let key = world
        .key_with(&merchant, &[Scope::Read], |key| key.ip_list = vec!["198.51.100.0/24".parse().expect("a network")])
        .await;
    let address = world.get(&key, "/v1/deposit-address").await;
    assert_eq!((address.status, address.data("network"), address.data("currency")), (200, "BSC", "USDT"));
    let balance = world.get(&key, "/v1/balance").await;
    assert_eq!(balance.data("address"), address.data("address"));
    assert_eq!(balance.data("asset"), "bsc:USDT");
    let nothing = |asset: &str| json!({"asset": asset, "chain": "bsc", "available": "0", "held": "0"});
    assert_eq!(balance.body["data"]["balances"], json!([nothing("BNB"), nothing("USDT")]));
    let own = world.get(&key, "/v1/keys/me").await;
    assert_eq!(
        own.body["data"],
        json!({
            "key_id": key.id.to_string(), "label": "till", "merchant_id": merchant.to_string(), "mode": "live",
            "scopes": ["read"], "signature": "request", "ip_list": ["198.51.100.0/24"],
            "requests_per_minute": u32::MAX, "daily_withdraw_caps": [], "withdraw_addresses": [],
            "created_at": "2023-11-14T22:13:20.5Z", "expires_at": null, "last_used_at": null, "replaced_by": null,
        })
    );
    assert!(!own.body.to_string().contains(&key.secret));
    let time = world.send(crate::world::Ask::new("GET", "/v1/time", "")).await;
    assert_eq!(time.body["data"], json!({"unix": 1_700_000_000, "time": "2023-11-14T22:13:20.5Z"}));
}
