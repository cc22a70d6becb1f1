//! `xthonpay audit` from outside: on sound books, on books that do not fit the chain, beside a running host and alone.

use serde_json::{Value, json};
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{Mining, Word};
use xthonpay_tests::host::PASSPHRASE;

use crate::world::{BLOCK_TIME, Done, Shop, World};

/// What an audit prints, and its exit code.
async fn audit(world: &World, more: &[&str]) -> Result<(i32, Value), BoxError> {
    let output = world.host.command(&[&["audit", "--json"], more].concat()).await?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let report = if printed.is_empty() { Value::Null } else { serde_json::from_str(&printed)? };
    Ok((output.status.code().ok_or("ended by a signal")?, report))
}

/// A host that was paid in both assets.
async fn paid() -> Result<(World, Shop), BoxError> {
    let world = World::new(Mining::Interval(BLOCK_TIME)).await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "12.5").await?;
    shop.pay_usdt(invoice.address, "12.5").await?;
    let in_bnb = shop.invoice("BNB", "0.001").await?;
    let amount = 1_000_000_000_000_001_u64;
    shop.chain.transfer_native(in_bnb.address, amount).await?;
    shop.wait_status(&invoice, "paid").await?;
    shop.wait_status(&in_bnb, "paid").await?;
    Ok((world, shop))
}

fn asset<'a>(report: &'a Value, name: &str) -> &'a Value {
    let assets = report["assets"].as_array().map_or(&[][..], Vec::as_slice);
    assets.iter().find(|asset| asset["asset"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn sound_books_match_the_chain_to_the_base_unit() -> Done {
    let (mut world, _shop) = paid().await?;
    for more in [&[][..], &["--full"], &["--from", "1"], &["--chain", "bsc"]] {
        let (code, report) = audit(&world, more).await?;
        assert_eq!((code, &report["ok"], &report["breaches"]), (0, &json!(true), &json!([])), "{more:?}: {report:#}");
        assert!(report["checked"]["chain_transfers"].as_u64().is_some_and(|count| count >= 2), "{report:#}");
        let usdt = asset(&report, "bsc:USDT");
        assert_eq!(
            (&usdt["on_chain"], &usdt["deposited"]),
            (&json!("12500000000000000000"), &usdt["on_chain"]),
            "{usdt}"
        );
        let bnb = asset(&report, "bsc:BNB");
        assert_eq!((&bnb["on_chain"], &bnb["unexplained"]), (&json!("1000000000000001"), &json!("0")), "{bnb}");
    }
    let table = world.host.command(&["audit"]).await?;
    let text = String::from_utf8_lossy(&table.stdout);
    assert!(table.status.success() && text.contains("nothing is wrong"), "{text}");
    for invariant in ["I1", "I2", "I3", "I5", "I7", "I8"] {
        assert!(text.lines().any(|line| line.starts_with(invariant)), "no {invariant} in {text}");
    }

    world.host.stop().await?;
    let (code, report) = audit(&world, &[]).await?;
    assert_eq!((code, &report["ok"]), (0, &json!(true)), "the same without a host: {report:#}");
    Ok(())
}

#[tokio::test]
async fn a_single_unexplained_unit_is_told_and_freezes_nothing() -> Done {
    let (mut world, shop) = paid().await?;
    // The invoice asks for another asset, so nothing but the audit looks at its address's balance in the coin.
    let in_usdt = shop.invoice("USDT", "1").await?;
    shop.chain.disperse_native(world.ground.disperse, &[(in_usdt.address, Word::from(1_u64))]).await?;
    let mut found = (0, Value::Null);
    for _ in 0..50 {
        found = audit(&world, &[]).await?;
        if found.0 != 0 {
            break;
        }
        tokio::time::sleep(BLOCK_TIME).await;
    }
    let (code, report) = found;
    assert_eq!((code, &report["breaches_total"]["I5"]), (1, &json!(1)), "{report:#}");
    assert_eq!(asset(&report, "bsc:BNB")["unexplained"], "1", "{report:#}");
    let breach = &report["breaches"][0];
    let subject = breach["subject"].as_str().unwrap_or_default();
    assert!(breach["invariant"] == "I5" && subject.contains(&in_usdt.address.to_string()), "{breach}");
    assert_eq!(world.host.status().await?["ready"], true, "an audit changes nothing by itself");

    let (code, report) = audit(&world, &["--freeze"]).await?;
    assert_eq!((code, &report["chains"][0]["frozen"]), (1, &Value::Null), "whoever likes can send a unit: {report:#}");
    world.host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn an_audit_that_cannot_be_carried_out_ends_with_2() -> Done {
    let world = World::shared().await?;
    let (code, report) = audit(&world, &["--chain", "nowhere"]).await?;
    assert_eq!((code, &report), (2, &Value::Null));
    let said = world.host.command(&["audit", "--chain", "nowhere"]).await?;
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("nowhere") && said.contains("bsc"), "it names the chains there are: {said}");
    let contradiction = world.host.command(&["audit", "--full", "--from", "3"]).await?;
    assert_eq!(contradiction.status.code(), Some(2));
    Ok(())
}

/// I9: nothing in the data folder lets its reader sign, pay or open the vault. The audit leaves this to the tests.
#[tokio::test]
async fn no_secret_stands_in_the_data_folder() -> Done {
    let (mut world, shop) = paid().await?;
    let bare = |text: &str| text.split('_').next_back().unwrap_or_default().to_owned();
    let secrets = [bare(&shop.client.key().secret), bare(&shop.merchant.webhook_secret), PASSPHRASE.to_owned()];
    // As it is written, while the host runs and after its end.
    for stopped in [false, true] {
        if stopped {
            world.host.stop().await?;
        }
        let (mut files, mut known) = (vec![world.host.data()], false);
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<
                    Vec<_>,
                    _,
                >>(
                )?);
            } else if path.is_file() {
                let bytes = std::fs::read(&path)?;
                let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
                known |= holds(&shop.merchant.id);
                for secret in &secrets {
                    assert!(secret.len() > 20 && !holds(secret), "a secret stands in {}", path.display());
                }
            }
        }
        assert!(known, "what is no secret is found, so a secret would be");
    }
    Ok(())
}
