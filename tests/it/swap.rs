//! Plugins decide, and the config decides about plugins: the same binary and the same calls, other terms, another outcome,
//! another webhook.

use serde_json::{Value, json};
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::host::{HostConfig, HostProcess, PluginEntry};
use xthonpay_tests::places::Places;

use crate::world::{BLOCK_TIME, Done, Ground, Shop, World};
use std::sync::Arc;

/// The example rules and the other format, in place of the defaults.
fn other_plugins(config: HostConfig, places: &Places) -> HostConfig {
    let plugin = |name: &str| PluginEntry::new(name, places.plugin(name));
    config.with_plugins(vec![plugin("loyal-shop")], Some(plugin("standard-webhooks")))
}

/// An invoice over 100 USDT for a customer that the shop vouches for.
fn order() -> Value {
    json!({"amount": "100", "external_id": "order_1", "metadata": {"loyal": "true"}})
}

/// Seconds from creation to expiry.
fn lifetime_s(invoice: &Value) -> Result<u64, BoxError> {
    let seconds = |member: &str| -> Result<u64, BoxError> {
        let text = invoice[member].as_str().ok_or_else(|| format!("no {member}"))?;
        Ok(u64::try_from(text.parse::<jiff::Timestamp>()?.as_second())?)
    };
    Ok(seconds("expires_at")?.saturating_sub(seconds("created_at")?))
}

/// Pays one percent too little and returns the webhook of this kind.
async fn underpay(shop: &Shop, kind: &str) -> Result<(Value, Value), BoxError> {
    let invoice = shop.invoice_with(order()).await?;
    shop.pay_usdt(invoice.address, "99").await?;
    let told = shop.wait_webhook(&invoice, kind).await?;
    Ok((shop.look(&invoice).await?, told.json()))
}

#[tokio::test]
async fn two_hosts_that_differ_in_config_alone_decide_differently() -> Done {
    let places = Places::find()?;
    let ground = Arc::new(Ground::new(&places, Mining::Interval(BLOCK_TIME)).await?);
    let config = ground.config(&places);
    let one = World { host: HostProcess::start(&places, &config).await?, ground: Arc::clone(&ground) };
    let other = other_plugins(config, &places);
    let other = World { host: HostProcess::start(&places, &other).await?, ground };

    let (invoice, webhook) = underpay(&one.shop().await?, "invoice.partially_paid").await?;
    assert_eq!((lifetime_s(&invoice)?, &invoice["amount_tolerated"]), (3_600, &json!("0")));
    assert_eq!((&invoice["status"], &invoice["amount_missing"]), (&json!("partially_paid"), &json!("1")));
    assert_eq!(members(&webhook), ["data", "event"]);

    let (invoice, webhook) = underpay(&other.shop().await?, "invoice.paid").await?;
    assert_eq!((lifetime_s(&invoice)?, &invoice["amount_tolerated"]), (86_400, &json!("1")));
    assert_eq!((&invoice["status"], &invoice["flags"]), (&json!("paid"), &json!(["within_tolerance"])));
    assert_eq!(members(&webhook), ["data", "timestamp", "type"]);
    assert_eq!((&webhook["type"], &webhook["data"]["status"]), (&json!("invoice.paid"), &json!("paid")));
    Ok(())
}

fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn other_plugins_after_a_restart_leave_old_terms_alone() -> Done {
    let places = Places::find()?;
    let mut world = World::new(Mining::Interval(BLOCK_TIME)).await?;
    let shop = world.shop().await?;
    let old = shop.invoice_with(order()).await?;
    shop.pay_usdt(old.address, "99").await?;
    shop.wait_until(&old, "99 received", |data| data["amount_received"] == "99").await?;

    world.host.stop().await?;
    world.host.configure(&other_plugins(world.ground.config(&places), &places).to_toml())?;
    world.host.restart().await?;
    let shop = shop.at(&world);

    let new = shop.invoice_with(json!({"amount": "100", "external_id": "order_2"})).await?;
    shop.pay_usdt(new.address, "99").await?;
    shop.wait_status(&new, "paid").await?;
    let webhook = shop.wait_webhook(&new, "invoice.paid").await?;
    assert_eq!(webhook.json()["type"], "invoice.paid");
    let old_now = shop.look(&old).await?;
    assert_eq!((&old_now["status"], &old_now["amount_tolerated"]), (&json!("partially_paid"), &json!("0")));
    // The same call again finds the invoice with the terms it was made on.
    let again = shop.invoice_with(order()).await?;
    assert_eq!((again.id, lifetime_s(&again.data)?), (old.id, 3_600));
    Ok(())
}

#[tokio::test]
async fn a_plugin_is_exchanged_while_the_host_runs_and_a_bad_one_is_refused() -> Done {
    let places = Places::find()?;
    let ground = Arc::new(Ground::new(&places, Mining::Interval(BLOCK_TIME)).await?);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("loyal-shop.wasm");
    std::fs::copy(places.plugin("loyal-shop"), &file)?;
    std::fs::copy(places.plugin("loyal-shop").with_extension("toml"), file.with_extension("toml"))?;
    let config = |bps: u32| {
        let rules = PluginEntry::new("loyal-shop", file.clone()).with(&format!("config = {{ tolerance_bps = {bps} }}"));
        ground.config(&places).with_plugins(vec![rules], None)
    };
    let world = World { host: HostProcess::start(&places, &config(100)).await?, ground: Arc::clone(&ground) };
    let shop = world.shop().await?;
    let tolerated = async |id: &str| -> Result<Value, BoxError> {
        let invoice = shop.invoice_with(json!({"amount": "100", "external_id": id})).await?;
        Ok(invoice.data["amount_tolerated"].clone())
    };
    assert_eq!(tolerated("a").await?, json!("1"));

    // The config file is read anew, and only the plugin's own table counts.
    world.host.configure(&config(500).to_toml())?;
    assert_eq!(tolerated("b").await?, json!("1"), "nothing changes by itself");
    let done = world.host.command_json(&["plugins", "reload", "loyal-shop"]).await?;
    assert_eq!((&done["plugin"]["state"], &done["plugin"]["sha256"]), (&json!("active"), &done["sha256_before"]));
    assert_eq!(tolerated("c").await?, json!("5"));

    // A component that is none, settings that do not fit, and a name that nobody has: the old version serves on.
    std::fs::write(&file, b"no component")?;
    for (name, config, told) in [
        ("loyal-shop", config(500), "the new version did not load, and the old one serves on"),
        ("loyal-shop", config(50_000), "plugins.loyal-shop.config.tolerance_bps"),
        ("nobody", config(500), "there is no table [plugins.nobody]"),
    ] {
        world.host.configure(&config.to_toml())?;
        if told.contains("config.") {
            std::fs::copy(places.plugin("loyal-shop"), &file)?;
        }
        let refused = world.host.command(&["plugins", "reload", name]).await?;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(tolerated("d").await?, json!("5"));
    let listed = world.host.command_json(&["plugins", "list"]).await?;
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&json!("loyal-shop"), &json!("active")));
    Ok(())
}
