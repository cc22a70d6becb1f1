//! Plugins that cannot be loaded, and plugins that fail when they are called: the host runs, the operator's policy applies,
//! and the message names the plugin and what to do.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::host::{HostProcess, PluginEntry};
use xthonpay_tests::places::Places;

use crate::hostile::{self, EATS_MEMORY, LOOPS, TALKS_NONSENSE, TRAPS};
use crate::world::{BLOCK_TIME, Done, Ground, World};

/// A host with these plugins on a chain of its own.
async fn world_with(rules: Vec<PluginEntry>, format: Option<PluginEntry>) -> Result<World, BoxError> {
    let places = Places::find()?;
    let ground = Arc::new(Ground::new(&places, Mining::Interval(BLOCK_TIME)).await?);
    let config = ground.bare_config().with_plugins(rules, format);
    Ok(World { host: HostProcess::start(&places, &config).await?, ground })
}

/// Every way in which a plugin cannot be loaded, and what the reason must say.
fn unloadable(folder: &Path, places: &Places) -> Result<Vec<(PluginEntry, &'static [&'static str])>, BoxError> {
    let manifest = |name: &str, of: &str| -> Result<(), BoxError> {
        let text = std::fs::read_to_string(places.plugins.join(format!("{of}.toml")))?;
        let renamed = text.replace(&format!("id = \"{of}\""), &format!("id = \"{name}\""));
        Ok(std::fs::write(folder.join(format!("{name}.toml")), renamed)?)
    };
    let copy = |name: &str, of: &str| -> Result<PluginEntry, BoxError> {
        manifest(name, of)?;
        let file = folder.join(format!("{name}.wasm"));
        std::fs::copy(places.plugin(of), &file)?;
        Ok(PluginEntry::new(name, file))
    };
    let garbage = copy("garbage", "default-rules")?;
    std::fs::write(&garbage.file, "this is no component")?;
    let cut_short = copy("cut-short", "default-rules")?;
    let whole = std::fs::read(&cut_short.file)?;
    std::fs::write(&cut_short.file, whole.get(..whole.len() / 2).unwrap_or_default())?;
    // It claims the hook, and exports another one.
    let pretender = copy("pretender", "xthon-json")?;
    manifest("pretender", "default-rules")?;
    let changed = copy("changed", "default-rules")?.with(&format!("sha256 = \"{}\"", "0".repeat(64)));
    let settings = copy("settings", "default-rules")?;
    Ok(vec![
        (PluginEntry::new("absent", folder.join("absent.wasm")), &["absent.wasm", "missing", "plugins.absent.file"]),
        (garbage, &["garbage.wasm"]),
        (cut_short, &["cut-short.wasm"]),
        (copy("other-hook", "xthon-json")?, &["hooks.webhook-format", "hooks.invoice-rules"]),
        (pretender, &["invoice-rules", "hooks.invoice-rules"]),
        (changed, &["plugins.changed.sha256"]),
        (settings.clone().with("config = { tolerance_bps = 20000 }"), &["tolerance_bps"]),
        (copy("unknown-setting", "default-rules")?.with("config = { colour = \"red\" }"), &["colour"]),
        (copy("greedy", "default-rules")?.with("limits = { cpu_ms = 900000 }"), &["plugins.greedy.limits.cpu_ms"]),
    ])
}

#[tokio::test]
async fn plugins_that_cannot_be_loaded_leave_the_host_running() -> Done {
    let (places, folder) = (Places::find()?, tempfile::tempdir()?);
    let broken = unloadable(folder.path(), &places)?;
    let lenient = |plugin: &PluginEntry| {
        plugin.clone().with(&format!("{}\non_failure = {{ on-payment = \"builtin\" }}", plugin.more))
    };
    let rules = broken.iter().map(|(plugin, _)| lenient(plugin)).collect();
    let world = world_with(rules, None).await?;

    let status = world.host.status().await?;
    for (plugin, says) in &broken {
        let line = status["plugins"].as_array().into_iter().flatten().find(|line| line["name"] == plugin.name.as_str());
        let line = line.ok_or_else(|| format!("{} is not in {status}", plugin.name))?;
        assert_eq!((&line["state"], &line["hook"]), (&json!("failed"), &json!("invoice-rules")), "{line}");
        let reason = line["reason"].as_str().unwrap_or_default();
        assert!(says.iter().all(|word| reason.contains(word)), "{}: no {says:?} in {reason}", plugin.name);
    }

    // The built-in rules decide in place of the plugins.
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    assert_eq!(invoice.data["amount_tolerated"], "0");
    shop.pay_usdt(invoice.address, "10").await?;
    shop.wait_status(&invoice, "paid").await?;
    Ok(())
}

#[tokio::test]
async fn a_required_plugin_that_cannot_be_loaded_refuses_the_start() -> Done {
    let (places, folder) = (Places::find()?, tempfile::tempdir()?);
    let ground = Ground::new(&places, Mining::Interval(BLOCK_TIME)).await?;
    for (plugin, says) in unloadable(folder.path(), &places)? {
        let name = plugin.name.clone();
        let required = plugin.clone().with(&format!("{}\nrequired = true", plugin.more));
        let config = ground.bare_config().with_plugins(vec![required], None);
        let refused = HostProcess::prepare(&places, &config.to_toml())?.command(&["serve"]).await?;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&name) && says.iter().all(|word| said.contains(word)), "{name}: no {says:?} in {said}");
    }
    Ok(())
}

/// The log's lines that name the plugin.
fn lines_about(log: &str, plugin: &str) -> String {
    log.lines().filter(|line| line.contains(&format!("plugin {plugin},"))).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn plugins_that_fail_in_a_call_are_replaced_by_the_built_in_behaviour() -> Done {
    let folder = tempfile::tempdir()?;
    let cases: [(&str, &str, &[&str]); 4] = [
        ("traps", TRAPS, &["trapped", "unreachable"]),
        ("loops", LOOPS, &["plugins.loops.limits.cpu_ms"]),
        ("eats-memory", EATS_MEMORY, &["plugins.eats-memory.limits.memory_mib"]),
        ("talks-nonsense", TALKS_NONSENSE, &["boundary"]),
    ];
    let rules = cases.iter().map(|(name, body, _)| {
        let plugin = hostile::plugin(folder.path(), name, "invoice-rules", body)?;
        Ok(plugin.with("on_failure = { on-payment = \"builtin\" }"))
    });
    let format = hostile::plugin(folder.path(), "mute", "webhook-format", TRAPS)?;
    let world = world_with(rules.collect::<Result<_, BoxError>>()?, Some(format)).await?;
    let states = world.host.status().await?;
    let all_active =
        |states: &Value| states["plugins"].as_array().into_iter().flatten().all(|line| line["state"] == "active");
    assert!(all_active(&states), "they look sound until they are called: {states}");

    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    shop.pay_usdt(invoice.address, "10").await?;
    shop.wait_status(&invoice, "paid").await?;
    let webhook = shop.wait_webhook(&invoice, "invoice.paid").await?;
    assert_eq!(webhook.header("x-format-fallback"), "builtin");

    let log = world.host.log();
    for (name, _, says) in cases {
        let lines = lines_about(&log, name);
        for hook in ["on-draft", "on-payment"] {
            assert!(lines.contains(hook), "{name}: no {hook} in {lines}");
        }
        assert!(says.iter().all(|word| lines.contains(word)), "{name}: no {says:?} in {lines}");
    }
    assert!(lines_about(&log, "mute").contains("render"), "the format is named too");
    Ok(())
}

#[tokio::test]
async fn a_payment_waits_for_rules_that_fail_and_the_money_is_credited() -> Done {
    let folder = tempfile::tempdir()?;
    let world = world_with(vec![hostile::plugin(folder.path(), "traps", "invoice-rules", TRAPS)?], None).await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    let tx = shop.pay_usdt(invoice.address, "10").await?;
    world.wait_processed(&shop.chain, tx).await?;
    let data = shop.wait_until(&invoice, "10 received", |data| data["amount_received"] == "10").await?;
    assert_eq!(data["status"], "confirming", "nobody has agreed");
    assert_eq!(shop.balance("USDT").await?, "10", "money does not wait for rules");
    Ok(())
}

#[tokio::test]
async fn no_invoice_is_made_without_rules_that_must_agree() -> Done {
    let folder = tempfile::tempdir()?;
    let traps = hostile::plugin(folder.path(), "traps", "invoice-rules", TRAPS)?;
    let world = world_with(vec![traps.with("on_failure = { on-draft = \"closed\" }")], None).await?;
    let shop = world.shop().await?;
    let answer = shop.client.post("/invoices", &json!({"amount": "10"})).await?;
    assert_eq!((answer.status, answer.code().as_str()), (502, "COMPONENT_FAILED"));
    assert!(!answer.text.contains("traps"), "strangers learn nothing: {}", answer.text);
    assert_eq!(shop.client.get("/invoices").await?.data()?, json!([]));
    Ok(())
}
