//! The life of merchants and keys, as an operator leads it with commands and a merchant feels it.

use core::ops::ControlFlow;
use core::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use xthonpay_tests::BoxError;
use xthonpay_tests::client::{Answer, Key, MerchantClient, Scheme};
use xthonpay_tests::host::{HostProcess, Merchant, run};
use xthonpay_tests::places::Places;
use xthonpay_tests::wait;

use crate::refusal::refusal;
use crate::world::{Done, Ground, PATIENCE, World};

/// How late a host may obey a change of a key.
const OBEYED_WITHIN: Duration = Duration::from_secs(1);

/// What a request may take on a busy machine.
const SLACK: Duration = Duration::from_millis(750);

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn shown_key(made: &Value) -> Key {
    Key { id: text(&made["key_id"]), secret: text(&made["secret"]), scheme: Scheme::Request }
}

/// The client of a key that a command has just shown.
fn client(host: &HostProcess, made: &Value) -> Result<MerchantClient, BoxError> {
    MerchantClient::new(host.base_url(), shown_key(made))
}

/// Asks until the answer has this status, and tells how long that took.
async fn until(client: &MerchantClient, status: u16) -> Result<(Duration, Answer), BoxError> {
    let begun = Instant::now();
    let answer = wait::until("another answer", PATIENCE, async || {
        let answer = client.get("/keys/me").await?;
        Ok(if answer.status == status { ControlFlow::Break(answer) } else { ControlFlow::Continue(answer.text) })
    });
    Ok((begun.elapsed(), answer.await?))
}

/// Runs a command that must be refused, and gives what it says.
async fn refused(host: &HostProcess, arguments: &[&str]) -> Result<String, BoxError> {
    let output = host.command(arguments).await?;
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_new_key_reads_and_its_secret_is_shown_once() -> Done {
    let world = World::shared().await?;
    let merchant = world.host.create_merchant("shop").await?;
    let made = world.host.command_json(&["key", "create", "--merchant", &merchant.id]).await?;
    assert_eq!((&made["scopes"], &made["state"], &made["mode"]), (&json!(["read"]), &json!("active"), &json!("live")));
    let reader = client(&world.host, &made)?;
    assert_eq!(reader.get("/balance").await?.status, 200);
    let refused = reader.post("/invoices", &json!({"amount": "10"})).await?;
    refusal(403, "SCOPE_REQUIRED", "").check("a key that reads", &refused);

    let id = text(&made["key_id"]);
    let shown = world.host.command_json(&["key", "show", &id]).await?;
    let listed = world.host.command_json(&["key", "list", "--merchant", &merchant.id]).await?;
    assert_eq!(listed["keys_total"], 1, "{listed}");
    assert_eq!((&listed["keys"][0]["key_id"], &shown["key_id"]), (&made["key_id"], &made["key_id"]));
    let bare = text(&made["secret"]).replace("xps_live_", "");
    assert_eq!(bare.len(), 64);
    for printed in [&shown, &listed] {
        assert!(!printed.to_string().contains(&bare), "{printed}");
    }
    let plain = world.host.command(&["key", "show", &id]).await?;
    assert!(plain.status.success() && !String::from_utf8_lossy(&plain.stdout).contains(&bare));
    assert!(!world.host.log().contains(&bare));
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_a_second_and_for_ever() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    assert_eq!(shop.client.get("/keys/me").await?.status, 200, "the host has it in memory");
    let id = shop.client.key().id.clone();
    let revoked = world.host.command_json(&["key", "revoke", &id]).await?;
    assert_eq!(revoked["state"], "revoked", "{revoked}");
    let (took, answer) = until(&shop.client, 401).await?;
    assert_eq!(answer.code(), "KEY_REVOKED", "{}", answer.text);
    assert!(took < OBEYED_WITHIN + SLACK, "it took {took:?}");
    let again = world.host.command_json(&["key", "revoke", &id]).await?;
    assert_eq!(again["revoked_at"], revoked["revoked_at"], "the first time counts");
    for arguments in [&["key", "rotate", &id][..], &["key", "update", &id, "--label", "till"]] {
        let said = refused(&world.host, arguments).await?;
        assert!(said.contains("revoked") && said.contains("make a new one"), "{said}");
    }
    assert_eq!(shop.client.get("/keys/me").await?.code(), "KEY_REVOKED");
    Ok(())
}

#[tokio::test]
async fn a_rotated_key_goes_on_beside_the_new_one_until_the_overlap_is_over() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let old = shop.client.key().id.clone();
    let said = refused(&world.host, &["key", "rotate", &old, "--overlap", "31d"]).await?;
    assert!(said.contains("30 days"), "{said}");
    let made = world.host.command_json(&["key", "rotate", &old, "--overlap", "4s"]).await?;
    let new = client(&world.host, &made)?;
    assert_eq!((&made["scopes"], &made["replaces"]["key_id"]), (&json!(["read", "write"]), &json!(old)), "{made}");
    assert_eq!(made["replaces"]["state"], "retiring", "{made}");
    for key in [&shop.client, &new] {
        let data = key.get("/keys/me").await?.data()?;
        assert_eq!(data["merchant_id"], shop.merchant.id.as_str(), "{data}");
    }
    let said = refused(&world.host, &["key", "rotate", &old]).await?;
    assert!(said.contains(&new.key().id), "it names the successor: {said}");

    let (_, answer) = until(&shop.client, 401).await?;
    assert_eq!(answer.code(), "KEY_EXPIRED", "{}", answer.text);
    assert!(answer.text.contains(&new.key().id), "it names the successor: {}", answer.text);
    assert_eq!(new.post("/invoices", &json!({"amount": "10"})).await?.status, 201);

    // Without an overlap.
    let made = world.host.command_json(&["key", "rotate", &new.key().id, "--overlap", "0s"]).await?;
    let newest = client(&world.host, &made)?;
    let (took, answer) = until(&new, 401).await?;
    assert_eq!(answer.code(), "KEY_EXPIRED", "{}", answer.text);
    assert!(took < OBEYED_WITHIN + SLACK, "it took {took:?}");
    assert_eq!(newest.get("/keys/me").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_key_with_an_end_works_until_then() -> Done {
    let world = World::shared().await?;
    let merchant = world.host.create_merchant("shop").await?;
    let arguments = ["key", "create", "--merchant", merchant.id.as_str(), "--expires-in"];
    let made = world.host.command_json(&[&arguments[..], &["4s"]].concat()).await?;
    let short = client(&world.host, &made)?;
    let shown = short.get("/keys/me").await?.data()?;
    assert_eq!(shown["expires_at"], made["expires_at"]);
    let (_, answer) = until(&short, 401).await?;
    assert_eq!(answer.code(), "KEY_EXPIRED", "{}", answer.text);
    let shown = world.host.command_json(&["key", "show", &short.key().id]).await?;
    assert_eq!(shown["state"], "expired", "{shown}");
    Ok(())
}

#[tokio::test]
async fn changes_of_a_key_are_obeyed_within_a_second() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let id = shop.client.key().id.clone();
    assert_eq!(shop.client.get("/keys/me").await?.status, 200);
    world.host.command_json(&["key", "update", &id, "--ip", "10.1.2.0/24", "--ip", "2001:db8::/32"]).await?;
    let (took, answer) = until(&shop.client, 403).await?;
    assert_eq!(answer.code(), "IP_NOT_ALLOWED", "{}", answer.text);
    assert!(took < OBEYED_WITHIN + SLACK, "it took {took:?}");

    world.host.command_json(&["key", "update", &id, "--ip", "::ffff:127.0.0.1/128"]).await?;
    until(&shop.client, 200).await?;
    let changed = world.host.command_json(&["key", "update", &id, "--any-ip", "--label", "kiosk"]).await?;
    assert_eq!((&changed["ip"], &changed["label"]), (&json!([]), &json!("kiosk")));

    world.host.command_json(&["key", "update", &id, "--requests-per-minute", "1"]).await?;
    let (_, answer) = until(&shop.client, 429).await?;
    assert_eq!(answer.code(), "RATE_LIMITED", "{}", answer.text);
    world.host.command_json(&["key", "update", &id, "--default-requests-per-minute"]).await?;
    until(&shop.client, 200).await?;
    let said = refused(&world.host, &["key", "update", &id]).await?;
    assert!(said.contains("--ip"), "it says what can be changed: {said}");
    Ok(())
}

#[tokio::test]
async fn a_key_tells_its_owner_what_it_may_do() -> Done {
    let world = World::shared().await?;
    let merchant = world.host.create_merchant("shop").await?;
    let address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    let arguments = [
        ["--merchant", &merchant.id],
        ["--scopes", "withdraw"],
        ["--ip", "127.0.0.0/8"],
        ["--requests-per-minute", "77"],
        ["--expires-in", "90d"],
        ["--daily-withdraw-cap", "12.50"],
        ["--daily-withdraw-cap", "bsc:BNB=1"],
        ["--withdraw-address", address],
    ];
    let made = world.host.command_json(&[&["key", "create"], arguments.concat().as_slice()].concat()).await?;
    assert!(made["notes"].to_string().contains("cannot withdraw"), "{made}");
    assert_eq!(made["daily_withdraw_caps"], json!({"bsc:BNB": "1", "bsc:USDT": "12.5"}), "{made}");
    let data = client(&world.host, &made)?.get("/keys/me").await?.data()?;
    let caps = json!([
        {"asset": "BNB", "chain": "bsc", "amount": "1"},
        {"asset": "USDT", "chain": "bsc", "amount": "12.5"},
    ]);
    let expected = [
        ("scopes", json!(["read", "withdraw"])),
        ("ip_list", json!(["127.0.0.0/8"])),
        ("requests_per_minute", json!(77)),
        ("daily_withdraw_caps", caps),
        ("withdraw_addresses", json!([address])),
        ("expires_at", made["expires_at"].clone()),
        ("replaced_by", Value::Null),
        ("mode", json!("live")),
    ];
    for (member, value) in expected {
        assert_eq!(data[member], value, "{member} in {data}");
    }
    assert!(data.get("secret").is_none());

    let plain = world.host.command_json(&["key", "create", "--merchant", &merchant.id]).await?;
    let data = client(&world.host, &plain)?.get("/keys/me").await?.data()?;
    assert_eq!((&data["expires_at"], &data["daily_withdraw_caps"]), (&Value::Null, &json!([])), "{data}");
    assert!(data["requests_per_minute"].as_u64().is_some_and(|limit| limit > 77), "the deployment's: {data}");
    Ok(())
}

#[tokio::test]
async fn test_keys_belong_to_a_merchant_of_their_own() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let create = ["key", "create", "--test", "--merchant", shop.merchant.id.as_str()];
    let first = world.host.command_json(&create).await?;
    let twin = text(&first["merchant_id"]);
    assert!(text(&first["key_id"]).starts_with("xpk_test_") && text(&first["secret"]).starts_with("xps_test_"));
    assert_eq!(first["test_merchant"]["merchant_id"], twin.as_str(), "{first}");
    assert!(text(&first["test_merchant"]["webhook_secret"]).starts_with("whsec_"), "{first}");
    assert_ne!(
        (twin.as_str(), &first["test_merchant"]["deposit_address"]),
        (shop.merchant.id.as_str(), &json!(shop.merchant.deposit_address),)
    );
    let second = world.host.command_json(&create).await?;
    assert_eq!((&second["merchant_id"], second.get("test_merchant")), (&first["merchant_id"], None), "{second}");

    let data = client(&world.host, &first)?.get("/keys/me").await?.data()?;
    assert_eq!((&data["mode"], &data["merchant_id"]), (&json!("test"), &json!(twin)));
    let invoice = shop.invoice("USDT", "10").await?;
    let answer = client(&world.host, &first)?.get(&format!("/invoices/{}", invoice.id)).await?;
    refusal(404, "NOT_FOUND", "").check("the invoice of the live side", &answer);

    let shown = world.host.command_json(&["merchant", "show", &shop.merchant.id]).await?;
    assert_eq!((&shown["mode"], &shown["test_merchant_id"]), (&json!("live"), &json!(twin)), "{shown}");
    let shown = world.host.command_json(&["merchant", "show", &twin]).await?;
    assert_eq!((&shown["mode"], &shown["name"]), (&json!("test"), &json!("shop (test)")), "{shown}");
    let listed = world.host.command_json(&["merchant", "list"]).await?;
    let ids: Vec<String> =
        listed["merchants"].as_array().into_iter().flatten().map(|it| text(&it["merchant_id"])).collect();
    assert!(ids.contains(&twin) && ids.contains(&shop.merchant.id), "{listed}");
    let keys = world.host.command_json(&["key", "list", "--test", "--merchant", &shop.merchant.id]).await?;
    assert_eq!(keys["keys_total"], 2, "{keys}");

    let said = refused(&world.host, &["key", "create", "--merchant", &twin]).await?;
    assert!(said.contains(&twin) && said.contains("test"), "{said}");
    Ok(())
}

/// Everything that an operator does with keys, each step as a command of its own. Gives the keys with what becomes of them.
async fn all_of_it(host: &HostProcess, merchant: &Merchant) -> Result<Vec<(Key, &'static str)>, BoxError> {
    let create = ["key", "create", "--merchant", merchant.id.as_str()];
    let kept = host.command_json(&create).await?;
    let ended = host.command_json(&create).await?;
    host.command_json(&["key", "revoke", &text(&ended["key_id"])]).await?;
    let old = host.command_json(&create).await?;
    let new = host.command_json(&["key", "rotate", &text(&old["key_id"]), "--overlap", "0s"]).await?;
    host.command_json(&["key", "update", &text(&new["key_id"]), "--label", "till"]).await?;
    let listed = host.command_json(&["key", "list", "--merchant", &merchant.id]).await?;
    assert_eq!(listed["keys_total"], 4, "{listed}");
    let shown = host.command_json(&["merchant", "show", &merchant.id]).await?;
    assert_eq!(shown["deposit_address"], merchant.deposit_address.as_str(), "{shown}");
    Ok(vec![
        (shown_key(&kept), ""),
        (shown_key(&ended), "KEY_REVOKED"),
        (shown_key(&old), "KEY_EXPIRED"),
        (shown_key(&new), ""),
    ])
}

#[tokio::test]
async fn keys_are_cared_for_over_the_socket_and_without_a_host_alike() -> Done {
    let places = Places::find()?;
    let ground = Ground::shared().await?;
    let mut host = HostProcess::prepare(&places, &ground.config(&places).to_toml())?;
    let merchant = host.create_merchant("early bird").await?;
    let mut keys = all_of_it(&host, &merchant).await?;
    host.restart().await?;
    let merchant = host.create_merchant("later bird").await?;
    keys.extend(all_of_it(&host, &merchant).await?);
    // Longer than the host believes what it read before.
    tokio::time::sleep(OBEYED_WITHIN).await;
    let mut differences = Vec::new();
    for (key, expected) in keys {
        let id = key.id.clone();
        let answer = MerchantClient::new(host.base_url(), key)?.get("/keys/me").await?;
        if answer.code() != expected {
            differences.push(format!("{id}: expected {expected:?}, not {}", answer.text));
        }
    }
    assert_eq!(differences, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn without_a_simulated_chain_no_test_key_is_made() -> Done {
    let places = Places::find()?;
    let ground = Ground::shared().await?;
    let config = format!("{}\n[test_mode]\nenabled = false\n", ground.config(&places).to_toml());
    let host = HostProcess::prepare(&places, &config)?;
    let merchant = host.create_merchant("shop").await?;
    let said = refused(&host, &["key", "create", "--test", "--merchant", &merchant.id]).await?;
    assert!(said.contains("test_mode.enabled"), "it names the key of the config: {said}");
    let listed = host.command_json(&["merchant", "list"]).await?;
    assert_eq!(listed["merchants_total"], 1, "{listed}");
    Ok(())
}

#[tokio::test]
async fn the_table_of_routes_is_what_the_server_answers() -> Done {
    let world = World::shared().await?;
    let printed = run(&Places::find()?.binary, &["routes", "--json"]).await?;
    assert!(printed.status.success());
    let table: Value = serde_json::from_slice(&printed.stdout)?;
    let routes = table["routes"].as_array().ok_or("no routes")?;
    assert!(routes.len() > 15, "{table}");
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut differences = Vec::new();
    for route in routes {
        let (method, path, door) = (text(&route["method"]), text(&route["path"]), text(&route["door"]));
        let id = "00000000000000000000000000000000";
        let target = path.split('/').map(|part| if part.starts_with('{') { id } else { part }).collect::<Vec<_>>();
        let url = format!("{}{}", world.host.base_url(), target.join("/"));
        let status = http.request(method.parse()?, url).send().await?.status().as_u16();
        let has_scope = route["scope"].is_string();
        let sound = match door.as_str() {
            "signed" => status == 401 && has_scope,
            "open" | "operator" => status == 200 && !has_scope && route["mutates"] == false,
            _ => false,
        };
        if !sound {
            differences.push(format!("{status}: {route}"));
        }
    }
    assert_eq!(differences, [""; 0]);
    let people = run(&Places::find()?.binary, &["routes"]).await?;
    assert_eq!(String::from_utf8(people.stdout)?.lines().count(), routes.len() + 1, "a line each, and a heading");
    Ok(())
}
