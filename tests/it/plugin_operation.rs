//! What an operator does with the plugins of a running host: the switch, the failures, watched files, a candidate beside one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::host::{HostProcess, PluginEntry, run_within};
use xthonpay_tests::places::Places;

use crate::hostile::{self, TRAPS};
use crate::world::{BLOCK_TIME, Done, Ground, Shop, World};

/// A watched file is looked at every two seconds and has to rest for as long; the rest is for a busy machine.
const WATCHED_WITHIN: Duration = Duration::from_secs(60);

/// The example that accepts one percent too little, in a folder of its own.
fn loyal_shop(folder: &Path, places: &Places) -> Result<PluginEntry, BoxError> {
    let (from, file) = (places.plugin("loyal-shop"), folder.join("loyal-shop.wasm"));
    std::fs::copy(&from, &file)?;
    std::fs::copy(from.with_extension("toml"), file.with_extension("toml"))?;
    Ok(PluginEntry::new("loyal-shop", file))
}

/// Puts another version of it there, which answers the same.
fn another_version(file: &Path, places: &Places) -> Result<(), BoxError> {
    let mut other = std::fs::read(places.plugin("loyal-shop"))?;
    // A section that nobody reads makes it another file.
    other.extend([0, 3, 1, b'x', 0]);
    Ok(std::fs::write(file, other)?)
}

async fn world_with(rules: Vec<PluginEntry>) -> Result<World, BoxError> {
    let places = Places::find()?;
    let ground = Arc::new(Ground::new(&places, Mining::Interval(BLOCK_TIME)).await?);
    let config = ground.config(&places).with_plugins(rules, None);
    Ok(World { host: HostProcess::start(&places, &config).await?, ground })
}

async fn tolerated(shop: &Shop, id: &str) -> Result<Value, BoxError> {
    let invoice = shop.invoice_with(json!({"amount": "100", "external_id": id})).await?;
    Ok(invoice.data["amount_tolerated"].clone())
}

#[tokio::test]
async fn a_plugin_that_is_switched_off_stays_off_after_a_crash() -> Done {
    let folder = tempfile::tempdir()?;
    let mut world = world_with(vec![loyal_shop(folder.path(), &Places::find()?)?]).await?;
    let shop = world.shop().await?;
    assert_eq!(tolerated(&shop, "a").await?, json!("1"));

    let off = world.host.command_json(&["plugins", "disable", "loyal-shop"]).await?;
    assert_eq!(off["state"], "switched-off", "{off}");
    assert_eq!(tolerated(&shop, "b").await?, json!("0"), "the built-in rules decide");
    world.host.kill()?;
    world.host.restart().await?;
    let shop = shop.at(&world);
    assert_eq!(tolerated(&shop, "c").await?, json!("0"), "still off");
    let on = world.host.command_json(&["plugins", "enable", "loyal-shop"]).await?;
    assert_eq!(on["state"], "active", "{on}");
    assert_eq!(tolerated(&shop, "d").await?, json!("1"));

    let refused = world.host.command(&["plugins", "disable", "nobody"]).await?;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("no hook names the plugin `nobody`"), "{said}");

    let seen = world.host.command_json(&["plugins", "inspect", "loyal-shop"]).await?;
    assert_eq!((&seen["wants"][0], &seen["limits"]["cpu_ms"]), (&json!("config"), &json!(50)), "{seen}");
    assert_eq!(seen["calls"]["on-draft"], json!({"answered": 1, "switched_off": 1}), "{seen}");
    assert_eq!(seen["failures"], 0);
    Ok(())
}

#[tokio::test]
async fn a_failure_is_saved_and_made_again_away_from_the_host() -> Done {
    let folder = tempfile::tempdir()?;
    let traps = hostile::plugin(folder.path(), "traps", "invoice-rules", TRAPS)?;
    let component = traps.file.display().to_string();
    let world = world_with(vec![traps]).await?;
    let shop = world.shop().await?;
    shop.invoice_with(json!({"amount": "100", "external_id": "order_7"})).await?;

    let saved = folder.path().join("saved");
    let save = saved.display().to_string();
    let failures = world.host.command_json(&["plugins", "failures", "traps", "--save", &save]).await?;
    assert_eq!((&failures[0]["kind"], &failures[0]["function"]), (&json!("trapped"), &json!("on-draft")), "{failures}");
    let file = std::fs::read_dir(&saved)?.next().ok_or("nothing was saved")??.path();
    assert!(std::fs::read_to_string(&file)?.contains("order_7"), "it is the call as it was");

    let replay = ["plugin", "replay", &component, "--fixture", &file.display().to_string(), "--json"];
    let output = run_within(WATCHED_WITHIN, world.host.binary(), &replay).await?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((&told["failed"], &told["fails_again"]), (&json!("trapped"), &json!(true)), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_watched_file_is_taken_when_it_changes_and_a_bad_one_is_not() -> Done {
    let (folder, places) = (tempfile::tempdir()?, Places::find()?);
    let plugin = loyal_shop(folder.path(), &places)?.with("watch = true");
    let file = plugin.file.clone();
    let world = world_with(vec![plugin]).await?;
    let digest = async || -> Result<Value, BoxError> {
        Ok(world.host.command_json(&["plugins", "list"]).await?[0]["sha256"].clone())
    };
    let first = digest().await?;

    std::fs::write(&file, "no component")?;
    let begun = Instant::now();
    while !world.host.log().contains("the new version is not taken") {
        assert!(begun.elapsed() < WATCHED_WITHIN, "{}", world.host.log_end());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(digest().await?, first, "the old version serves on");

    another_version(&file, &places)?;
    let begun = Instant::now();
    while digest().await? == first {
        assert!(begun.elapsed() < WATCHED_WITHIN, "{}", world.host.log_end());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(tolerated(&world.shop().await?, "a").await?, json!("1"));
    Ok(())
}

#[tokio::test]
async fn a_candidate_is_compared_under_real_orders() -> Done {
    let (folder, places) = (tempfile::tempdir()?, Places::find()?);
    let candidate = hostile::plugin(folder.path(), "candidate", "invoice-rules", TRAPS)?;
    // A candidate has the name of the plugin that it may replace.
    let manifest = candidate.file.with_extension("toml");
    std::fs::write(&manifest, std::fs::read_to_string(&manifest)?.replace("\"candidate\"", "\"loyal-shop\""))?;
    let shadow = format!("shadow = {{ file = \"{}\" }}", candidate.file.display());
    let world = world_with(vec![loyal_shop(folder.path(), &places)?.with(&shadow)]).await?;
    assert_eq!(tolerated(&world.shop().await?, "a").await?, json!("1"), "the candidate decides nothing");
    let begun = Instant::now();
    loop {
        let seen = world.host.command_json(&["plugins", "inspect", "loyal-shop"]).await?;
        let difference = &seen["shadow"]["differences"][0];
        if difference["candidate"] == "failure: trapped" {
            assert_eq!((&seen["shadow"]["differs"], &seen["shadow"]["same"]), (&json!(1), &json!(0)), "{seen}");
            return Ok(());
        }
        assert!(begun.elapsed() < WATCHED_WITHIN, "{seen}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn what_served_last_serves_when_its_file_is_bad_at_a_start() -> Done {
    let (folder, places) = (tempfile::tempdir()?, Places::find()?);
    let plugin = loyal_shop(folder.path(), &places)?.with("required = true");
    let file = plugin.file.clone();
    let mut world = world_with(vec![plugin]).await?;
    let shop = world.shop().await?;
    let line = async |world: &World| -> Result<Value, BoxError> {
        Ok(world.host.command_json(&["plugins", "list"]).await?[0].clone())
    };
    let first = line(&world).await?;
    assert_eq!(first["state"], "active", "{first}");

    std::fs::write(&file, "no component")?;
    world.host.kill()?;
    world.host.restart().await?;
    let shop = shop.at(&world);
    let serving = line(&world).await?;
    assert_eq!((&serving["state"], &serving["sha256"]), (&json!("last-good"), &first["sha256"]), "{serving}");
    assert!(serving["reason"].as_str().is_some_and(|reason| reason.contains("loyal-shop.wasm")), "{serving}");
    assert_eq!(tolerated(&shop, "a").await?, json!("1"), "with its last good version");
    std::fs::remove_file(&file)?;
    world.host.kill()?;
    world.host.restart().await?;
    assert_eq!(line(&world).await?["state"], "last-good", "also when there is no file at all");

    another_version(&file, &places)?;
    world.host.kill()?;
    world.host.restart().await?;
    let mended = line(&world).await?;
    assert_eq!(mended["state"], "active", "{mended}");
    assert_ne!(mended["sha256"], first["sha256"]);
    Ok(())
}

#[tokio::test]
async fn a_rollback_outlives_a_crash_until_the_plugin_is_loaded_anew() -> Done {
    let (folder, places) = (tempfile::tempdir()?, Places::find()?);
    let plugin = loyal_shop(folder.path(), &places)?;
    let file = plugin.file.clone();
    let mut world = world_with(vec![plugin]).await?;
    let refused = world.host.command(&["plugins", "rollback", "loyal-shop"]).await?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("no other version"), "{said}");

    let first = world.host.command_json(&["plugins", "list"]).await?[0]["sha256"].clone();
    another_version(&file, &places)?;
    let reloaded = world.host.command_json(&["plugins", "reload", "loyal-shop"]).await?;
    let second = reloaded["plugin"]["sha256"].clone();
    assert_ne!(second, first);
    let seen = world.host.command_json(&["plugins", "inspect", "loyal-shop"]).await?;
    assert_eq!(seen["kept"], json!([second, first]), "{seen}");

    let back = world.host.command_json(&["plugins", "rollback", "loyal-shop"]).await?;
    assert_eq!((&back["plugin"]["sha256"], &back["sha256_before"]), (&first, &second), "{back}");
    for _ in 0..2 {
        let serving = world.host.command_json(&["plugins", "list"]).await?[0].clone();
        assert_eq!((&serving["state"], &serving["sha256"]), (&json!("last-good"), &first), "{serving}");
        world.host.kill()?;
        world.host.restart().await?;
    }
    let again = world.host.command_json(&["plugins", "reload", "loyal-shop"]).await?;
    assert_eq!((&again["plugin"]["sha256"], &again["plugin"]["state"]), (&second, &json!("active")), "{again}");
    world.host.kill()?;
    world.host.restart().await?;
    let serving = world.host.command_json(&["plugins", "list"]).await?[0].clone();
    assert_eq!((&serving["state"], &serving["sha256"]), (&json!("active"), &second), "{serving}");
    Ok(())
}
