//! The command line and the life of the process: what scripts and service managers rely on.

use core::time::Duration;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::client::{MerchantClient, Scheme};
use xthonpay_tests::host::{HostProcess, PASSPHRASE, run};
use xthonpay_tests::places::Places;
use xthonpay_tests::receiver::{Delivery, Reply};

use crate::world::{BLOCK_TIME, Done, Ground, HOOK, World};

#[tokio::test]
async fn help_lists_the_commands() -> Done {
    let help = run(&Places::find()?.binary, &["--help"]).await?;
    let text = String::from_utf8(help.stdout)?;
    assert!(help.status.success());
    for command in ["serve", "check", "merchant", "key", "rescan", "routes", "status", "suspense"] {
        assert!(text.contains(command), "no {command} in {text}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_command_is_refused_with_advice() -> Done {
    let refused = run(&Places::find()?.binary, &["sevre"]).await?;
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr)?;
    assert!(said.contains("sevre") && said.contains("serve"), "{said}");
    assert!(refused.stdout.is_empty());
    Ok(())
}

#[tokio::test]
async fn merchants_and_keys_are_printed_once_in_full() -> Done {
    let world = World::shared().await?;
    let merchant = world.host.command_json(&["merchant", "create", "--name", "Café"]).await?;
    assert_eq!(merchant["name"], "Café");
    assert!(merchant["webhook_secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{merchant}");
    assert!(merchant["created_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{merchant}");
    let id = merchant["merchant_id"].as_str().unwrap_or_default();
    let arguments = ["key", "create", "--merchant", id, "--scopes", "read,write", "--signature", "request"];
    let key = world.host.command_json(&arguments).await?;
    assert!(key["key_id"].as_str().is_some_and(|key| key.starts_with("xpk_live_")), "{key}");
    assert!(key["secret"].as_str().is_some_and(|secret| secret.starts_with("xps_live_")), "{key}");
    assert_eq!((&key["scopes"], &key["signature"]), (&json!(["read", "write"]), &json!("request")), "{key}");
    assert_eq!(key["merchant_id"], id);
    Ok(())
}

#[tokio::test]
async fn impossible_keys_are_refused_with_a_reason() -> Done {
    let world = World::shared().await?;
    let merchant = world.host.create_merchant("shop").await?;
    let id = merchant.id.as_str();
    let stranger = "mer_00000000000000000000000000000000";
    let withdraw = ["--merchant", id, "--scopes", "withdraw"];
    let refused_alike = |more: &[&'static str]| [&withdraw[..], more].concat();
    let two_caps = refused_alike(&["--daily-withdraw-cap", "1", "--daily-withdraw-cap", "bsc:USDT=2"]);
    let no_asset = refused_alike(&["--daily-withdraw-cap", "DOGE=1"]);
    let no_amount = refused_alike(&["--daily-withdraw-cap", "USDT="]);
    let too_fine = refused_alike(&["--daily-withdraw-cap", "0.1234567890123456789"]);
    // The last digit of an example of EIP-55 in the other case.
    let mistyped = refused_alike(&["--withdraw-address", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"]);
    let nobodys = refused_alike(&["--withdraw-address", "0x0000000000000000000000000000000000000000"]);
    let bare_time = refused_alike(&["--signature", "timestamp", "--daily-withdraw-cap", "1"]);
    let cases: [(&[&str], &str); 17] = [
        (&["--merchant", "mer_0", "--scopes", "read"], "mer_"),
        (&["--merchant", stranger, "--scopes", "read"], stranger),
        (&["--merchant", id, "--scopes", "read,admin"], "unknown scope"),
        (&["--merchant", id, "--scopes", "read", "--daily-withdraw-cap", "1"], "scope withdraw"),
        (&["--merchant", id, "--signature", "timestamp", "--scopes", "webhooks"], "scheme request"),
        (&["--merchant", id, "--expires-in", "soon"], "expires-in: `soon` is not a duration"),
        (&["--merchant", id, "--expires-in", "0s"], "revoke"),
        (&["--merchant", id, "--requests-per-minute", "1000001"], "1000000 requests"),
        (&two_caps, "two daily caps for bsc:USDT"),
        (&no_asset, "bsc:BNB, bsc:USDT"),
        (&no_amount, "daily cap `USDT=`"),
        (&too_fine, "18 digits"),
        (&mistyped, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD`: the address fails its EIP-55 checksum"),
        (&nobodys, "zero address"),
        (&bare_time, "IP list"),
        (&["--merchant", id, "--scopes", "read", "--signature", "none"], "unknown signature scheme"),
        (&["--merchant", id, "--scopes", "read", "--ip", "10.0.0.0/99"], "10.0.0.0/99"),
    ];
    for (arguments, says) in cases {
        let refused = world.host.command(&[&["key", "create"], arguments].concat()).await?;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(said.contains(says), "{arguments:?}: no {says} in {said}");
        assert!(refused.stdout.is_empty(), "{arguments:?}");
    }
    Ok(())
}

#[tokio::test]
async fn commands_work_before_the_host_runs() -> Done {
    let places = Places::find()?;
    let ground = Ground::new(&places, Mining::Interval(BLOCK_TIME)).await?;
    let mut host = HostProcess::prepare(&places, &ground.config(&places).to_toml())?;
    let merchant = host.create_merchant("early bird").await?;
    let key = host.create_key(&merchant, "read,write", Scheme::Request, &[]).await?;

    host.restart().await?;
    let client = MerchantClient::new(host.base_url(), key)?;
    let shown = client.get("/deposit-address").await?.data()?;
    assert_eq!(shown["address"], merchant.deposit_address.as_str());
    Ok(())
}

#[tokio::test]
async fn status_tells_how_chain_and_plugins_are() -> Done {
    let world = World::shared().await?;
    let status = world.host.status().await?;
    assert_eq!(status["ready"], true, "{status}");
    let chain = &status["chains"][0];
    assert_eq!((&chain["chain"], &chain["health"]), (&json!("bsc"), &json!("running")), "{status}");
    let height = |member: &str| chain[member].as_u64().unwrap_or(0);
    assert!(
        height("head") >= height("tip") && height("tip") >= height("finalized") && height("finalized") > 0,
        "{status}"
    );
    let plugins = status["plugins"].as_array().map_or(&[][..], Vec::as_slice);
    let bound: Vec<_> = plugins.iter().map(|plugin| (plugin["name"].as_str(), plugin["state"].as_str())).collect();
    assert!(bound.contains(&(Some("default-rules"), Some("active"))), "{status}");
    assert!(bound.contains(&(Some("xthon-json"), Some("active"))), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_second_host_on_the_same_data_is_refused() -> Done {
    let world = World::shared().await?;
    let second = world.host.command(&["serve"]).await?;
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success(), "{said}");
    assert!(said.contains("data"), "it names the folder: {said}");
    // The first one does not notice.
    let shop = world.shop().await?;
    assert_eq!(shop.client.get("/keys/me").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_the_host_after_what_is_under_way() -> Done {
    let mut world = World::new(Mining::Interval(BLOCK_TIME)).await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    shop.receiver.plan(HOOK, [Reply::slow(Duration::from_millis(1_500))]);
    shop.pay_usdt(invoice.address, "10").await?;
    shop.wait_webhook(&invoice, "invoice.confirming").await?;
    // The receiver has the webhook and has not answered yet.
    world.host.stop().await?;

    world.host.restart().await?;
    shop.wait_webhook(&invoice, "invoice.paid").await?;
    let kinds: Vec<String> = shop.webhooks(&invoice).iter().map(Delivery::kind).collect();
    assert_eq!(kinds, ["invoice.confirming", "invoice.paid"], "the answer was waited for, so nothing is sent twice");
    Ok(())
}

#[tokio::test]
async fn a_wrong_passphrase_opens_nothing() -> Done {
    let mut world = World::new(Mining::Interval(BLOCK_TIME)).await?;
    world.host.stop().await?;
    let passphrase = world.host.folder().join("passphrase");
    std::fs::write(&passphrase, "not the passphrase")?;
    let refused = world.host.command(&["serve"]).await?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("passphrase"), "{said}");
    // And nothing was harmed: the right one still opens it.
    std::fs::write(&passphrase, PASSPHRASE)?;
    world.host.restart().await
}

#[tokio::test]
async fn data_is_for_the_owner_alone() -> Done {
    let world = World::shared().await?;
    let data = world.host.data();
    for (name, mode) in [("", 0o700), ("admin.sock", 0o600), ("vault.json", 0o600)] {
        let path = data.join(name);
        let found = std::fs::metadata(&path)?.permissions().mode() & 0o777;
        assert_eq!(found, mode, "{} has mode {found:o}", path.display());
    }
    Ok(())
}

#[tokio::test]
async fn no_secret_is_written_to_the_log() -> Done {
    let places = Places::find()?;
    let ground = std::sync::Arc::new(Ground::new(&places, Mining::Interval(BLOCK_TIME)).await?);
    // The libraries that see requests and records are named, because otherwise only their warnings are written.
    let loud = "format = \"json\"\nlevel = \"trace,hyper=trace,reqwest=trace,surrealdb=trace,surrealkv=trace\"";
    let config = ground.config(&places).to_toml().replace("format = \"json\"", loud);
    let mut host = HostProcess::prepare(&places, &config)?;
    host.restart().await?;
    let world = World { ground, host };
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "1").await?;
    shop.pay_usdt(invoice.address, "1").await?;
    shop.wait_webhook(&invoice, "invoice.paid").await?;

    let log = world.host.log();
    assert!(log.contains("\"level\":\"TRACE\""), "the log is as loud as it can be");
    let bare = |text: &str| text.split('_').next_back().unwrap_or_default().to_owned();
    for secret in [PASSPHRASE, &bare(&shop.client.key().secret), &bare(&shop.merchant.webhook_secret)] {
        assert!(secret.len() > 20 && !log.contains(secret));
    }
    Ok(())
}
