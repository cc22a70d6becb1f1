//! What becomes of an invoice when money arrives in this way or that: status, flags, sums, balance and webhooks.
//!
//! The rows run against one host at the same time; each has a merchant of its own, so a balance holds only its own money.

use serde_json::{Value, json};
use xthonpay_domain::address::Address;
use xthonpay_tests::chain::TestChain;
use xthonpay_tests::receiver::Delivery;

use crate::world::{Done, Issued, PATIENCE, Shop, World, units};

/// Something that happens to an invoice.
enum Step {
    /// A payment in USDT.
    Usdt(&'static str),
    /// A payment in BNB.
    Bnb(&'static str),
    /// Two payments in USDT with one transaction.
    UsdtTwice(&'static str, &'static str),
    /// The status is awaited before the next step.
    Await(&'static str),
}

/// A row: what is due, what happens, and what must come of it.
struct Scenario {
    asset: &'static str,
    due: &'static str,
    steps: &'static [Step],
    status: &'static str,
    flags: &'static [&'static str],
    received: &'static str,
    missing: &'static str,
    overpaid: &'static str,
    payments: usize,
    balance: &'static str,
    webhooks: &'static [&'static str],
}

/// Paid exactly: what most rows differ from in a few fields.
const PAID: Scenario = Scenario {
    asset: "USDT",
    due: "10.00",
    steps: &[Step::Usdt("10")],
    status: "paid",
    flags: &[],
    received: "10",
    missing: "0",
    overpaid: "0",
    payments: 1,
    balance: "10",
    webhooks: &["invoice.confirming", "invoice.paid"],
};

impl Scenario {
    async fn run(self) -> Done {
        let world = World::shared().await?;
        let shop = world.shop().await?;
        let invoice = shop.invoice(self.asset, self.due).await?;
        for step in self.steps {
            match step {
                Step::Usdt(amount) => drop(shop.pay_usdt(invoice.address, amount).await?),
                Step::Bnb(amount) => drop(shop.pay_bnb(invoice.address, amount).await?),
                Step::UsdtTwice(one, other) => {
                    shop.pay_usdt_together(&[(invoice.address, one), (invoice.address, other)]).await?;
                }
                Step::Await(status) => drop(shop.wait_status(&invoice, status).await?),
            }
        }
        self.check(&shop, &invoice).await
    }

    async fn check(&self, shop: &Shop, invoice: &Issued) -> Done {
        let settled = |data: &Value| {
            data["status"] == self.status && data["amount_received"] == self.received && data["amount_pending"] == "0"
        };
        let data = shop.wait_until(invoice, &format!("{} with {}", self.status, self.received), settled).await?;
        assert_eq!(data["flags"], json!(self.flags), "{data}");
        assert_eq!(data["amount_missing"], self.missing, "{data}");
        assert_eq!(data["amount_overpaid"], self.overpaid, "{data}");
        assert_eq!(data["payments_total"], self.payments, "{data}");
        let payments = data["payments"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(payments.iter().all(|payment| payment["status"] == "final"), "{data}");
        assert_eq!(shop.balance(self.asset).await?, self.balance);
        if let Some(last) = self.webhooks.last() {
            shop.wait_webhook(invoice, last).await?;
        }
        let kinds: Vec<String> = shop.webhooks(invoice).iter().map(Delivery::kind).collect();
        assert_eq!(kinds, self.webhooks);
        Ok(())
    }
}

#[tokio::test]
async fn paid_in_usdt() -> Done {
    PAID.run().await
}

#[tokio::test]
async fn paid_in_bnb() -> Done {
    Scenario {
        asset: "BNB",
        due: "0.123456789012345678",
        steps: &[Step::Bnb("0.123456789012345678")],
        received: "0.123456789012345678",
        balance: "0.123456789012345678",
        ..PAID
    }
    .run()
    .await
}

#[tokio::test]
async fn paid_in_part_and_then_topped_up() -> Done {
    Scenario {
        steps: &[Step::Usdt("3.5"), Step::Await("partially_paid"), Step::Usdt("6.5")],
        flags: &["multi_payment"],
        payments: 2,
        webhooks: &["invoice.partially_paid", "invoice.confirming", "invoice.paid"],
        ..PAID
    }
    .run()
    .await
}

#[tokio::test]
async fn paid_in_part_only() -> Done {
    Scenario {
        steps: &[Step::Usdt("9.999999999999999999")],
        status: "partially_paid",
        received: "9.999999999999999999",
        missing: "0.000000000000000001",
        balance: "9.999999999999999999",
        webhooks: &["invoice.partially_paid"],
        ..PAID
    }
    .run()
    .await
}

#[tokio::test]
async fn overpaid() -> Done {
    Scenario {
        steps: &[Step::Usdt("12.5")],
        flags: &["overpaid"],
        received: "12.5",
        overpaid: "2.5",
        balance: "12.5",
        webhooks: &["invoice.confirming", "invoice.paid", "invoice.overpaid"],
        ..PAID
    }
    .run()
    .await
}

#[tokio::test]
async fn paid_again_after_it_was_paid() -> Done {
    Scenario {
        steps: &[Step::Usdt("10"), Step::Await("paid"), Step::Usdt("10")],
        flags: &["overpaid", "multi_payment"],
        received: "20",
        overpaid: "10",
        payments: 2,
        balance: "20",
        webhooks: &["invoice.confirming", "invoice.paid", "invoice.overpaid"],
        ..PAID
    }
    .run()
    .await
}

#[tokio::test]
async fn two_transfers_in_one_transaction_both_count() -> Done {
    Scenario { steps: &[Step::UsdtTwice("5", "5")], flags: &["multi_payment"], payments: 2, ..PAID }.run().await
}

#[tokio::test]
async fn two_invoices_paid_by_one_transaction() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let (one, other) = (shop.invoice("USDT", "4").await?, shop.invoice("USDT", "6").await?);
    assert_ne!(one.address, other.address);
    let tx = shop.pay_usdt_together(&[(one.address, "4"), (other.address, "6")]).await?;
    for (invoice, amount) in [(&one, "4"), (&other, "6")] {
        let data = shop.wait_status(invoice, "paid").await?;
        assert_eq!(data["amount_received"], amount);
        assert_eq!(data["payments_total"], 1);
        assert_eq!(data["payments"][0]["tx_hash"], tx.to_string());
        let told = shop.wait_webhook(invoice, "invoice.paid").await?;
        assert_eq!(told.data()["amount_received"], amount);
    }
    assert_eq!(shop.balance("USDT").await?, "10");
    Ok(())
}

/// The invoice and the merchant's money are as if nothing had happened, once the host has processed the transactions.
async fn untouched(world: &World, shop: &Shop, invoice: &Issued) -> Done {
    let data = shop.look(invoice).await?;
    assert_eq!(data["status"], "pending", "{data}");
    assert_eq!(data["flags"], json!([]), "{data}");
    assert_eq!(data["payments_total"], 0, "{data}");
    assert_eq!((shop.balance("USDT").await?, shop.balance("BNB").await?), ("0".to_owned(), "0".to_owned()));
    assert_eq!(shop.webhooks(invoice).len(), 0);
    // What came later is still found, so the scanner has not stopped at it.
    shop.pay_usdt(invoice.address, "10").await?;
    shop.wait_status(invoice, "paid").await?;
    assert_eq!(world.host.status().await?["chains"][0]["health"], "running");
    Ok(())
}

#[tokio::test]
async fn a_token_with_the_same_name_is_not_money() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    let tx = shop.pay_token(world.ground.fake_usdt, invoice.address, "10").await?;
    assert_eq!(shop.chain.wait_receipt(tx).await?.logs, 1, "the transfer happened");
    world.wait_processed(&shop.chain, tx).await?;
    untouched(&world, &shop, &invoice).await
}

#[tokio::test]
async fn a_failed_transaction_pays_nothing() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    // Coins: the receiving address refuses, so the transaction fails although it names receiver and value.
    let in_bnb = shop.invoice("BNB", "1").await?;
    shop.chain.reject_payments(in_bnb.address).await?;
    let coins = shop.pay_bnb(in_bnb.address, "1").await?;
    // Tokens: more than the customer has.
    let in_usdt = shop.invoice("USDT", "10").await?;
    let tokens = shop.pay_usdt(in_usdt.address, "5000000000").await?;
    for tx in [coins, tokens] {
        assert!(!shop.chain.wait_receipt(tx).await?.succeeded);
        world.wait_processed(&shop.chain, tx).await?;
    }
    assert_eq!(shop.look(&in_bnb).await?["payments_total"], 0);
    untouched(&world, &shop, &in_usdt).await
}

#[tokio::test]
async fn a_transfer_of_nothing_is_no_payment() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    for tx in [shop.pay_usdt(invoice.address, "0").await?, shop.pay_bnb(invoice.address, "0").await?] {
        assert!(shop.chain.wait_receipt(tx).await?.succeeded);
        world.wait_processed(&shop.chain, tx).await?;
    }
    untouched(&world, &shop, &invoice).await
}

#[tokio::test]
async fn a_transfer_to_an_unknown_address_concerns_nobody() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    let stranger = Address::new([0x5a; 20]);
    for tx in [shop.pay_usdt(stranger, "10").await?, shop.pay_bnb(stranger, "1").await?] {
        world.wait_processed(&shop.chain, tx).await?;
    }
    untouched(&world, &shop, &invoice).await
}

#[tokio::test]
async fn the_wrong_asset_is_set_aside_and_told() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    let tx = shop.pay_bnb(invoice.address, "0.5").await?;
    world.wait_processed(&shop.chain, tx).await?;
    let data = shop.wait_until(&invoice, "a final payment", |data| data["payments"][0]["status"] == "final").await?;
    assert_eq!(data["status"], "pending");
    assert_eq!(data["flags"], json!(["wrong_asset", "needs_review"]));
    assert_eq!(data["amount_received"], "0");
    assert_eq!(
        (data["payments"][0]["asset"].as_str(), data["payments"][0]["amount"].as_str()),
        (Some("BNB"), Some("0.5"))
    );
    assert_eq!(shop.balance("BNB").await?, "0", "set aside, not credited");
    shop.wait_webhook(&invoice, "invoice.needs_review").await?;
    let told = shop.wait_webhook(&invoice, "deposit.unattributed").await?;
    assert_eq!(told.data()["deposit"]["amount"], "0.5");
    // The invoice itself can still be paid.
    shop.pay_usdt(invoice.address, "10").await?;
    let data = shop.wait_status(&invoice, "paid").await?;
    assert_eq!(data["flags"], json!(["wrong_asset", "needs_review"]));
    assert_eq!(shop.balance("USDT").await?, "10");
    Ok(())
}

#[tokio::test]
async fn money_to_the_merchants_own_address_is_credited_without_an_invoice() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    let shown = shop.client.get("/deposit-address").await?.data()?;
    assert_eq!(shown["address"], shop.merchant.deposit_address.as_str(), "{shown}");
    let tx = shop.pay_usdt(shop.merchant.deposit_address.parse()?, "7").await?;
    world.wait_processed(&shop.chain, tx).await?;
    assert_eq!(shop.balance("USDT").await?, "7");
    Ok(())
}

#[tokio::test]
async fn merchants_see_only_what_is_theirs() -> Done {
    let world = World::shared().await?;
    let (shop, other) = (world.shop().await?, world.shop().await?);
    let invoice = shop.invoice("USDT", "10").await?;
    assert_eq!(other.client.get(&format!("/invoices/{}", invoice.id)).await?.status, 404);
    assert_eq!(other.client.get("/invoices").await?.data()?, json!([]));
    shop.pay_usdt(invoice.address, "10").await?;
    shop.wait_status(&invoice, "paid").await?;
    assert_eq!(other.balance("USDT").await?, "0");
    Ok(())
}

#[tokio::test]
async fn a_payment_whose_block_left_the_chain_counts_again_only_when_it_is_mined_again() -> Done {
    let world = World::new(xthonpay_tests::chain::Mining::Manual).await?;
    let shop = world.shop().await?;
    let invoice = shop.invoice("USDT", "10").await?;
    let tx = shop.pay_usdt(invoice.address, "10").await?;
    shop.chain.mine(1).await?;
    shop.wait_status(&invoice, "confirming").await?;
    let raw = shop.chain.raw_transaction(tx).await?;

    shop.chain.reorg(1).await?;
    shop.chain.mine(1).await?;
    let data = shop.wait_status(&invoice, "pending").await?;
    assert_eq!(data["payments"][0]["status"], "orphaned", "{data}");
    shop.wait_webhook(&invoice, "invoice.payment_reverted").await?;

    resend(&shop.chain, &raw).await?;
    shop.chain.mine(4).await?;
    let data = shop.wait_status(&invoice, "paid").await?;
    assert_eq!((&data["payments_total"], &data["flags"]), (&json!(1), &json!(["reorged"])), "{data}");
    assert_eq!(shop.balance("USDT").await?, "10");
    shop.receiver.wait_for(crate::world::HOOK, "invoice.paid", PATIENCE).await?;
    Ok(())
}

async fn resend(chain: &TestChain, raw: &str) -> Done {
    chain.rpc().call("eth_sendRawTransaction", json!([raw])).await.map(drop)
}

#[tokio::test]
async fn amounts_keep_every_digit() -> Done {
    let world = World::shared().await?;
    let shop = world.shop().await?;
    // Above 2^64 base units, and with all 18 decimals: no float and no 64-bit number holds it.
    let amount = "123456789.000000000000000001";
    let invoice = shop.invoice("USDT", amount).await?;
    assert_eq!(invoice.data["amount"], amount);
    assert!(units(amount)? > units("18.446744073709551615")?);
    shop.pay_usdt(invoice.address, amount).await?;
    shop.wait_status(&invoice, "paid").await?;
    assert_eq!(shop.balance("USDT").await?, amount);
    Ok(())
}
