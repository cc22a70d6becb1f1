//! Looking again, by the command line and by REST, and the list of what is set aside.

use core::ops::ControlFlow;

use serde_json::{Value, json};
use xthonpay_tests::BoxError;
use xthonpay_tests::client::Scheme;
use xthonpay_tests::receiver::Receiver;
use xthonpay_tests::wait;

use crate::world::{Done, PATIENCE, World};

const NO_TX: &str = "0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

#[tokio::test]
async fn a_known_payment_is_found_by_hash_and_by_range_and_stays_as_it_is() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    let tx = shop.pay_usdt(invoice.address, "10").await?;
    shop.wait_status(&invoice, "paid").await?;
    let block = shop.look(&invoice).await?["payments"][0]["block_number"].as_u64().ok_or("no block")?.to_string();
    let found = world.host.command_json(&["rescan", "--chain", "bsc", "--tx", &tx.to_string()]).await?;
    assert_eq!((&found["known"], &found["recorded"]), (&json!(1), &json!(0)), "{found}");
    let finding = &found["findings"][0];
    assert_eq!((&finding["outcome"], &finding["amount"]), (&json!("known"), &json!("10")), "{finding}");
    assert_eq!(finding["invoice_id"], invoice.id.as_str());
    let found = world.host.command_json(&["rescan", "--from", "1", "--to", &block]).await?;
    assert!(found["known"].as_u64() >= Some(1) && found["recorded"] == 0, "{found}");
    let answer = shop.client.post("/rescan", &json!({"tx_hash": tx.to_string()})).await?.data()?;
    let deposit = &answer["deposits"][0];
    assert_eq!((&deposit["outcome"], &deposit["payment"]["status"]), (&json!("known"), &json!("final")), "{answer}");
    assert_eq!(deposit["invoice_id"], invoice.id.as_str());
    assert_eq!(shop.balance("USDT").await?, "10");
    let stranger = world.shop_with(Scheme::Request, Receiver::start().await?).await?;
    let refused = stranger.client.post("/rescan", &json!({"tx_hash": tx.to_string()})).await?;
    assert_eq!((refused.status, refused.code().as_str()), (404, "NOT_FOUND"));
    let unknown = shop.client.post("/rescan", &json!({"tx_hash": NO_TX})).await?;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "NOT_FOUND"));
    Ok(())
}

/// The deposits of one merchant that are set aside.
async fn set_aside(world: &World, merchant: &str) -> Result<Vec<Value>, BoxError> {
    let listed = world.host.command_json(&["suspense"]).await?;
    let deposits = listed["deposits"].as_array().cloned().ok_or("no deposits")?;
    Ok(deposits.into_iter().filter(|deposit| deposit["merchant_id"] == merchant).collect())
}

#[tokio::test]
async fn coins_on_the_wrong_invoice_are_found_on_request_and_listed_as_set_aside() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    let tx = shop.pass_on_bnb(&[(invoice.address, "0.25")]).await?;
    world.wait_processed(&shop.chain, tx).await?;
    let address = invoice.address.to_string();
    let found = world.host.command_json(&["rescan", "--address", &address]).await?;
    assert_eq!((&found["recorded"], &found["findings"][0]["amount"]), (&json!(1), &json!("0.25")), "{found}");
    let again = world.host.command_json(&["rescan", "--address", &address]).await?;
    assert_eq!(again["recorded"], 0, "{again}");
    let listed = wait::until("the deposit to be set aside", PATIENCE, async || {
        let listed = set_aside(&world, &shop.merchant.id).await?;
        Ok(if listed.is_empty() { ControlFlow::Continue("none".to_owned()) } else { ControlFlow::Break(listed) })
    })
    .await?;
    let [deposit] = listed.as_slice() else { return Err(format!("one deposit, not {listed:?}").into()) };
    assert_eq!((&deposit["asset"], &deposit["amount"]), (&json!("bsc:BNB"), &json!("0.25")), "{deposit}");
    assert_eq!((&deposit["invoice_id"], &deposit["tx_hash"]), (&json!(invoice.id), &Value::Null), "{deposit}");
    assert_eq!(shop.balance("BNB").await?, "0");
    let text = world.host.command(&["suspense"]).await?;
    let text = String::from_utf8(text.stdout)?;
    assert!(text.contains("total ") && text.contains("bsc:BNB") && text.contains(&invoice.id), "{text}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_refused_with_a_reason() -> Done {
    let world = World::shared().await?;
    let stranger = "0x00000000000000000000000000000000000000aa";
    let cases: [(&[&str], i32, &str); 12] = [
        (&[], 2, "--tx"),
        (&["--from", "1"], 2, "--to"),
        (&["--to", "1"], 2, "--from"),
        (&["--from", "x", "--to", "2"], 2, "invalid"),
        (&["--from", "-1", "--to", "2"], 2, "-1"),
        (&["--tx", NO_TX, "--from", "1", "--to", "2"], 2, "cannot be used"),
        (&["--from", "5", "--to", "4"], 2, "lies above"),
        (&["--from", "0", "--to", "1000000"], 2, "more than the 1000000"),
        (&["--tx", "0x12"], 1, "64 hexadecimal digits"),
        (&["--tx", NO_TX], 1, "as mined"),
        (&["--tx", NO_TX, "--chain", "eth"], 1, "no chain eth"),
        (&["--address", stranger], 1, "neither the address of an invoice"),
    ];
    for (arguments, code, reason) in cases {
        let output = world.host.command(&[&["rescan"][..], arguments].concat()).await?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let output = world.host.command(&["rescan", "--from", "900000", "--to", "900001"]).await?;
    let said = String::from_utf8(output.stderr)?;
    assert!(said.contains("is not final yet") && said.contains("--from 900000"), "{said}");
    Ok(())
}
