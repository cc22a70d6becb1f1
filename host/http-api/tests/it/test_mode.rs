//! What a test key sees: the simulated chain's assets in place of all others, and a call that no live key knows.

use serde_json::json;
use xthonpay_domain::access::{KeyId, Mode, Scope};
use xthonpay_payments::port::vault::{Purpose, Vault as _};

use crate::doubles::OpenVault;
use crate::world::{TestKey, World};

/// A live and a test key of two merchants, which may read and write, where there is a real chain and the simulated one.
async fn keys(world: &World) -> (TestKey, TestKey) {
    let scopes = [Scope::Read, Scope::Write];
    let live = world.key(&scopes).await;
    let id = KeyId::from_random(Mode::Test, [7; 12]);
    let secret = "xps_test_1".to_owned();
    let merchant = world.merchant().await;
    let made = world.key_with(&merchant, &scopes, |key| {
        key.id = id.clone();
        key.secret = OpenVault.seal(Purpose::ApiSecret, id.as_str(), secret.as_bytes());
    });
    let test = TestKey { id: id.clone(), secret: secret.clone(), ..made.await };
    (live, test)
}

#[tokio::test]
async fn an_asset_is_looked_for_on_the_chains_of_the_keys_mode() {
    let world = World::on_chains(&["bsc", "test"], |_| {});
    let (live, test) = keys(&world).await;
    for (key, body, expected) in [
        (&live, json!({"amount": "1"}), Ok("bsc")),
        (&live, json!({"amount": "1", "asset": "BNB"}), Ok("bsc")),
        (&live, json!({"amount": "1", "chain": "test"}), Err("bsc:BNB, bsc:USDT")),
        (&live, json!({"amount": "1", "asset": "test:USDT"}), Err("bsc:BNB, bsc:USDT")),
        (&test, json!({"amount": "1"}), Ok("test")),
        (&test, json!({"amount": "1", "asset": "BNB"}), Ok("test")),
        (&test, json!({"amount": "1", "asset": "bsc:USDT"}), Err("test:BNB, test:USDT")),
    ] {
        let made = world.post(key, "/v1/invoices", &body.to_string()).await;
        match expected {
            Ok(chain) => assert_eq!((made.status, made.data("chain")), (201, chain), "{body}"),
            Err(known) => {
                assert_eq!((made.status, made.outcome().1), (400, "UNSUPPORTED_ASSET"), "{body}");
                let message = format!("unknown asset; this deployment accepts: {known}");
                assert_eq!(made.message(), message, "no word about the other mode");
            }
        }
    }
}

#[tokio::test]
async fn the_default_of_real_money_is_not_that_of_the_simulation() {
    let world = World::on_chains(&["bsc", "test"], |api| api.config.default_asset = "bsc:BNB".parse().ok());
    let (live, test) = keys(&world).await;
    for (key, asset) in [(&live, "bsc:BNB"), (&test, "test:USDT")] {
        assert_eq!(world.get(key, "/v1/balance").await.data("asset"), asset);
        let made = world.post(key, "/v1/invoices", r#"{"amount": "1"}"#).await;
        assert_eq!(format!("{}:{}", made.data("chain"), made.data("asset")), asset);
    }
}

#[tokio::test]
async fn lists_of_assets_are_those_of_the_keys_mode() {
    let world = World::on_chains(&["bsc", "test"], |_| {});
    let (live, test) = keys(&world).await;
    for (key, chain) in [(&live, "bsc"), (&test, "test")] {
        let accepts = world.get(key, "/v1/deposit-address").await.body["data"]["accepts"].clone();
        assert_eq!(accepts, json!([{"asset": "BNB", "chain": chain}, {"asset": "USDT", "chain": chain}]));
        let balances = world.get(key, "/v1/balance").await.body["data"]["balances"].clone();
        let chains: Vec<_> = balances.as_array().expect("a list").iter().map(|balance| &balance["chain"]).collect();
        assert_eq!(chains, [chain, chain], "{balances}");
    }
}

#[tokio::test]
async fn nobody_simulates_with_a_live_key_or_without_a_simulated_chain() {
    let world = World::on_chains(&["bsc", "test"], |_| {});
    let (live, test) = keys(&world).await;
    for key in [&live, &test] {
        let made = world.post(key, "/v1/invoices", r#"{"amount": "1"}"#).await;
        let target = format!("/v1/test/invoices/{}/simulate", made.data("invoice_id"));
        let refused = world.post(key, &target, r#"{"case": "paid"}"#).await;
        assert_eq!(refused.outcome(), (404, "NOT_FOUND", ""), "{}", key.id);
    }
}
