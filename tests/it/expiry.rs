//! Invoices that nobody pays in time, and money that comes too late. These tests move the chain's clock, so each has a
//! chain of its own.

use core::time::Duration;

use serde_json::json;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::receiver::Delivery;

use crate::world::{BLOCK_TIME, Done, World};

/// The shortest expiry that the host accepts.
const EXPIRES_IN_S: u64 = 60;

#[tokio::test]
async fn an_invoice_expires_by_the_time_of_the_chain() -> Done {
    let world = World::new(Mining::Interval(BLOCK_TIME)).await?;
    let shop = world.shop().await?;
    let fields = json!({"amount": "10", "expires_in": EXPIRES_IN_S});
    let (unpaid, partial) = (shop.invoice_with(fields.clone()).await?, shop.invoice_with(fields).await?);
    let lasting = shop.invoice("USDT", "10").await?;
    shop.pay_usdt(partial.address, "4").await?;
    shop.wait_until(&partial, "4 received", |data| data["amount_received"] == "4").await?;

    shop.chain.increase_time(Duration::from_secs(EXPIRES_IN_S + 5)).await?;
    let data = shop.wait_status(&unpaid, "expired").await?;
    assert_eq!(data["flags"], json!([]), "nothing to look at");
    shop.wait_webhook(&unpaid, "invoice.expired").await?;

    // What was paid in part is kept, and a person is asked.
    let data = shop.wait_status(&partial, "expired").await?;
    assert_eq!((&data["amount_received"], &data["flags"]), (&json!("4"), &json!(["needs_review"])));
    let told = shop.wait_webhook(&partial, "invoice.expired").await?;
    assert_eq!(told.data()["amount_received"], "4");
    assert_eq!(shop.balance("USDT").await?, "4");

    assert_eq!(shop.look(&lasting).await?["status"], "pending", "its hour is not over");
    Ok(())
}

#[tokio::test]
async fn late_money_is_credited_flagged_and_told() -> Done {
    let world = World::new(Mining::Interval(BLOCK_TIME)).await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice_with(json!({"amount": "10", "expires_in": EXPIRES_IN_S})).await?;
    shop.chain.increase_time(Duration::from_secs(EXPIRES_IN_S + 5)).await?;
    shop.wait_status(&invoice, "expired").await?;

    shop.pay_usdt(invoice.address, "10").await?;
    let data = shop.wait_until(&invoice, "10 received", |data| data["amount_received"] == "10").await?;
    assert_eq!(data["status"], "expired", "the rules want a person to decide");
    assert_eq!(data["flags"], json!(["late", "needs_review"]));
    assert_eq!(shop.balance("USDT").await?, "10", "money is credited whatever becomes of the invoice");
    shop.wait_webhook(&invoice, "invoice.payment_late").await?;
    shop.wait_webhook(&invoice, "invoice.needs_review").await?;
    let kinds: Vec<String> = shop.webhooks(&invoice).iter().map(Delivery::kind).collect();
    assert!(!kinds.contains(&"invoice.paid".to_owned()), "{kinds:?}");
    Ok(())
}

#[tokio::test]
async fn a_payment_in_time_is_in_time_however_late_it_is_scanned() -> Done {
    let mut world = World::new(Mining::Manual).await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice_with(json!({"amount": "10", "expires_in": EXPIRES_IN_S})).await?;
    // The host sleeps while the payment is mined in time and the chain goes on beyond the expiry.
    world.host.stop().await?;
    shop.pay_usdt(invoice.address, "10").await?;
    shop.chain.mine(1).await?;
    shop.chain.increase_time(Duration::from_secs(EXPIRES_IN_S + 5)).await?;
    shop.chain.mine(5).await?;

    world.host.restart().await?;
    let shop = shop.at(&world);
    let data = shop.wait_status(&invoice, "paid").await?;
    assert_eq!(data["flags"], json!([]), "neither late nor expired");
    Ok(())
}
