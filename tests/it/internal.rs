//! BNB that a contract passes on: no log and no transaction of its own shows it, and it is credited all the same.

use serde_json::{Value, json};

use crate::world::{Done, World};

#[tokio::test]
async fn what_a_contract_passes_on_is_credited_once() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let (first, second) = (shop.invoice("BNB", "1.5").await?, shop.invoice("BNB", "2").await?);
    // In one transaction, as an exchange pays; the second customer pays the rest himself.
    let tx = shop.pass_on_bnb(&[(first.address, "1.5"), (second.address, "0.75")]).await?;
    shop.pay_bnb(second.address, "1.25").await?;
    let paid = shop.wait_status(&first, "paid").await?;
    assert_eq!(paid["payments_total"], 1, "{paid}");
    let payment = &paid["payments"][0];
    assert_eq!((&payment["tx_hash"], &payment["from_address"]), (&Value::Null, &Value::Null), "{payment}");
    assert_eq!((&payment["amount"], &payment["status"]), (&json!("1.5"), &json!("final")), "{payment}");
    let webhook = shop.wait_webhook(&first, "invoice.paid").await?;
    assert_eq!(webhook.data()["amount_received"], "1.5");
    let paid = shop.wait_status(&second, "paid").await?;
    let mut amounts: Vec<&str> =
        paid["payments"].as_array().into_iter().flatten().filter_map(|payment| payment["amount"].as_str()).collect();
    amounts.sort_unstable();
    assert_eq!(amounts, ["0.75", "1.25"], "{paid}");
    // The transaction itself pays nobody, so looking at it again finds nothing to credit.
    let found = world.host.command_json(&["rescan", "--tx", &tx.to_string()]).await?;
    assert_eq!(found["findings"], json!([]), "{found}");
    assert_eq!(shop.balance("BNB").await?, "3.5");
    Ok(())
}
