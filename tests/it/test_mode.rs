//! Test mode as a merchant meets it: test keys, simulated payments, really signed webhooks, and a wall between play money and
//! real money.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use serde_json::{Value, json};
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::client::{Key, MerchantClient, Scheme, now_s};
use xthonpay_tests::host::Merchant;
use xthonpay_tests::receiver::{Delivery, Receiver};
use xthonpay_tests::wait;

use core::ops::ControlFlow;
use core::time::Duration;

use crate::world::{BLOCK_TIME, Done, HOOK, PATIENCE, World};

/// A shop that tries things out.
struct TestShop {
    client: MerchantClient,
    receiver: Receiver,
    /// The merchant to which the test key belongs.
    twin: Merchant,
    /// The merchant that it is the twin of.
    live: Merchant,
}

impl TestShop {
    async fn new(world: &World) -> Result<Self, BoxError> {
        let live = world.host.create_merchant("shop").await?;
        let arguments = ["key", "create", "--merchant", live.id.as_str(), "--scopes", "read,write", "--test"];
        let made = world.host.command_json(&arguments).await?;
        let text = |pointer: &str| {
            let found = made.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            found.ok_or_else(|| format!("no {pointer} in {made}"))
        };
        let key = Key { id: text("/key_id")?, secret: text("/secret")?, scheme: Scheme::Request };
        assert!(key.id.starts_with("xpk_test_") && key.secret.starts_with("xps_test_"), "{}", key.id);
        let twin = Merchant {
            id: text("/test_merchant/merchant_id")?,
            deposit_address: text("/test_merchant/deposit_address")?,
            webhook_secret: text("/test_merchant/webhook_secret")?,
        };
        let client = MerchantClient::new(world.host.base_url(), key)?;
        Ok(Self { client, receiver: Receiver::start().await?, twin, live })
    }

    /// The same shop after the host got another port by starting again.
    fn at(self, world: &World) -> Self {
        Self { client: self.client.at(world.host.base_url()), ..self }
    }

    /// The id of a new invoice.
    async fn invoice(&self, asset: &str, amount: &str) -> Result<String, BoxError> {
        let fields = json!({"asset": asset, "amount": amount, "callback_url": self.receiver.url(HOOK)});
        let data = self.client.post("/invoices", &fields).await?.data()?;
        assert_eq!(data["chain"], "test", "{data}");
        Ok(data["invoice_id"].as_str().ok_or("no id")?.to_owned())
    }

    /// The invoice after a case happened to it.
    async fn simulate(&self, invoice: &str, wish: Value) -> Result<Value, BoxError> {
        self.client.post(&format!("/test/invoices/{invoice}/simulate"), &wish).await?.data()
    }

    async fn look(&self, invoice: &str) -> Result<Value, BoxError> {
        self.client.get(&format!("/invoices/{invoice}")).await?.data()
    }

    /// What the balance says, as pairs of an asset with its chain and what can be spent.
    async fn balances(&self) -> Result<Vec<(String, String)>, BoxError> {
        balances(&self.client).await
    }

    /// Waits until webhooks of these kinds came for an invoice, and checks the signatures of all that came.
    async fn wait_webhooks(&self, invoice: &str, kinds: &[&str]) -> Done {
        let wanted: BTreeSet<&str> = kinds.iter().copied().collect();
        let came = wait::until(&format!("webhooks of {invoice}"), PATIENCE, async || {
            let about = |delivery: &Delivery| delivery.data()["invoice_id"] == invoice;
            let came: Vec<_> = self.receiver.deliveries(HOOK).into_iter().filter(about).collect();
            let kinds: BTreeSet<String> = came.iter().map(Delivery::kind).collect();
            let complete = wanted.iter().all(|kind| kinds.contains(*kind));
            Ok(if complete { ControlFlow::Break(came) } else { ControlFlow::Continue(format!("{kinds:?}")) })
        })
        .await?;
        came.iter().try_for_each(|delivery| delivery.verify(&self.twin.webhook_secret, now_s()))
    }
}

async fn balances(client: &MerchantClient) -> Result<Vec<(String, String)>, BoxError> {
    let data = client.get("/balance").await?.data()?;
    let balances = data["balances"].as_array().ok_or_else(|| format!("no balances in {data}"))?;
    let text = |balance: &Value, member: &str| balance[member].as_str().unwrap_or_default().to_owned();
    let pair = |balance: &Value| {
        (format!("{}:{}", text(balance, "chain"), text(balance, "asset")), text(balance, "available"))
    };
    Ok(balances.iter().map(pair).collect())
}

/// Case, asset, status, flags, amount received, and the webhooks that tell of it.
type Story = (&'static str, &'static str, &'static str, &'static [&'static str], &'static str, &'static [&'static str]);

#[rustfmt::skip]
const STORIES: [Story; 10] = [
    ("paid", "USDT", "paid", &[], "10", &["invoice.confirming", "invoice.paid"]),
    ("paid", "BNB", "paid", &[], "10", &["invoice.paid"]),
    ("underpaid", "USDT", "partially_paid", &[], "5", &["invoice.partially_paid"]),
    ("overpaid", "USDT", "paid", &["overpaid"], "15", &["invoice.paid", "invoice.overpaid"]),
    ("late", "USDT", "expired", &["late", "needs_review"], "10",
        &["invoice.expired", "invoice.payment_late", "invoice.needs_review"]),
    ("late", "BNB", "expired", &["late", "needs_review"], "10", &["invoice.expired", "invoice.payment_late"]),
    ("multi", "USDT", "paid", &["multi_payment"], "10", &["invoice.partially_paid", "invoice.paid"]),
    ("reorg", "USDT", "paid", &["reorged"], "10", &["invoice.payment_reverted", "invoice.paid"]),
    ("wrong_asset", "USDT", "pending", &["wrong_asset", "needs_review"], "0", &["invoice.needs_review"]),
    ("internal_bnb", "BNB", "paid", &[], "10", &["invoice.paid"]),
];

#[tokio::test]
async fn every_case_happens_and_is_told_by_signed_webhooks() -> Done {
    let world = World::shared().await?;
    let shop = TestShop::new(&world).await?;
    let stories = STORIES.iter().map(async |(case, asset, status, flags, received, webhooks)| -> Done {
        let invoice = shop.invoice(asset, "10").await?;
        let data = shop.simulate(&invoice, json!({"case": case})).await?;
        let name = format!("{case} in {asset}: {data}");
        assert_eq!((&data["status"], &data["flags"]), (&json!(status), &json!(flags)), "{name}");
        assert_eq!((&data["amount_received"], &data["amount_pending"]), (&json!(received), &json!("0")), "{name}");
        assert_eq!(data, shop.look(&invoice).await?, "what was answered is how it is");
        shop.wait_webhooks(&invoice, webhooks).await
    });
    try_join_all(stories).await?;
    let expected = [("test:BNB".to_owned(), "30".to_owned()), ("test:USDT".to_owned(), "60".to_owned())];
    assert_eq!(shop.balances().await?, expected, "all that was received, and nothing of what was set aside");
    Ok(())
}

#[tokio::test]
async fn amounts_are_those_of_the_request_and_add_up() -> Done {
    let world = World::shared().await?;
    let shop = TestShop::new(&world).await?;
    let invoice = shop.invoice("USDT", "10").await?;
    for (wish, status, received) in [
        (json!({"case": "paid", "amount": "2.5"}), "partially_paid", "2.5"),
        (json!({"case": "multi", "amount": "3"}), "partially_paid", "5.5"),
        (json!({"case": "paid"}), "paid", "10"),
    ] {
        let data = shop.simulate(&invoice, wish).await?;
        assert_eq!((&data["status"], &data["amount_received"]), (&json!(status), &json!(received)), "{data}");
    }
    Ok(())
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() -> Done {
    let world = World::shared().await?;
    let shop = TestShop::new(&world).await?;
    let (tokens, coins) = (shop.invoice("USDT", "10").await?, shop.invoice("BNB", "10").await?);
    shop.simulate(&coins, json!({"case": "paid"})).await?;
    for (invoice, wish, status, code) in [
        (&tokens, json!({}), 400, "INVALID_REQUEST"),
        (&tokens, json!({"case": "stolen"}), 400, "INVALID_REQUEST"),
        (&tokens, json!({"case": "paid", "amount": 10}), 400, "INVALID_AMOUNT"),
        (&tokens, json!({"case": "paid", "amount": "0"}), 400, "INVALID_AMOUNT"),
        (&tokens, json!({"case": "paid", "amount": "1e3"}), 400, "INVALID_AMOUNT"),
        (&tokens, json!({"case": "paid", "amount": "9".repeat(59)}), 400, "INVALID_AMOUNT"),
        (&tokens, json!({"case": "paid", "asset": "USDT"}), 400, "INVALID_REQUEST"),
        (&tokens, json!({"case": "internal_bnb"}), 400, "INVALID_REQUEST"),
        (&coins, json!({"case": "internal_bnb"}), 409, "INVALID_STATE"),
        (&"inv_00000000000000000000000000000000".to_owned(), json!({"case": "paid"}), 404, "NOT_FOUND"),
        (&"inv_0".to_owned(), json!({"case": "paid"}), 404, "NOT_FOUND"),
    ] {
        let answer = shop.client.post(&format!("/test/invoices/{invoice}/simulate"), &wish).await?;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{wish}: {}", answer.text);
    }
    assert_eq!(shop.look(&tokens).await?["payments"], json!([]), "and nothing happened");
    Ok(())
}

#[tokio::test]
async fn play_money_and_real_money_do_not_see_each_other() -> Done {
    let world = World::shared().await?;
    let shop = TestShop::new(&world).await?;
    let key = world.host.create_key(&shop.live, "read,write", Scheme::Request, &[]).await?;
    let live = MerchantClient::new(world.host.base_url(), key)?;
    let real = live.post("/invoices", &json!({"amount": "10"})).await?.data()?;
    assert_eq!(real["chain"], "bsc", "{real}");
    let real = real["invoice_id"].as_str().ok_or("no id")?;
    let test = shop.invoice("USDT", "10").await?;

    let paid = json!({"case": "paid"});
    for answer in [
        live.get(&format!("/invoices/{test}")).await?,
        live.post(&format!("/test/invoices/{test}/simulate"), &paid).await?,
        live.post(&format!("/test/invoices/{real}/simulate"), &paid).await?,
        shop.client.get(&format!("/invoices/{real}")).await?,
        shop.client.post(&format!("/test/invoices/{real}/simulate"), &paid).await?,
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (404, "NOT_FOUND"), "{}", answer.text);
    }

    shop.simulate(&test, paid).await?;
    let zero = |asset: &str| (asset.to_owned(), "0".to_owned());
    assert_eq!(balances(&live).await?, [zero("bsc:BNB"), zero("bsc:USDT")]);
    assert_eq!(shop.balances().await?, [zero("test:BNB"), ("test:USDT".to_owned(), "10".to_owned())]);
    assert_ne!(shop.twin.deposit_address, shop.live.deposit_address);

    for (client, foreign, own) in [(&live, "test", "bsc:BNB, bsc:USDT"), (&shop.client, "bsc", "test:BNB, test:USDT")] {
        let answer = client.post("/invoices", &json!({"amount": "10", "asset": "USDT", "chain": foreign})).await?;
        assert_eq!((answer.status, answer.code().as_str()), (400, "UNSUPPORTED_ASSET"), "{}", answer.text);
        assert!(answer.text.contains(own) && !answer.text.contains(&format!("{foreign}:")), "{}", answer.text);
        let accepted = client.get("/deposit-address").await?.data()?["accepts"].to_string();
        assert!(!accepted.contains(&format!("\"{foreign}\"")), "{accepted}");
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_sees_the_simulated_chain_among_the_others() -> Done {
    let world = World::shared().await?;
    let status = world.host.status().await?;
    let chains = status["chains"].as_array().ok_or("no chains")?;
    let names: Vec<&str> = chains.iter().filter_map(|chain| chain["chain"].as_str()).collect();
    assert_eq!(names, ["bsc", "test"], "{status}");
    assert_eq!(chains[1]["health"], "running", "{status}");
    Ok(())
}

#[tokio::test]
async fn a_killed_host_goes_on_with_what_was_simulated() -> Done {
    let mut world = World::new(Mining::Interval(BLOCK_TIME)).await?;
    let mut shop = TestShop::new(&world).await?;
    let (tokens, coins) = (shop.invoice("USDT", "10").await?, shop.invoice("BNB", "10").await?);
    shop.simulate(&coins, json!({"case": "underpaid"})).await?;
    // At whichever moment it is killed, the same call can be made again.
    for (round, millis) in [1_u64, 30, 80, 150, 300].into_iter().enumerate() {
        let killed =
            tokio::time::timeout(Duration::from_millis(millis), shop.simulate(&tokens, json!({"case": "reorg"})));
        // Whether it came to an answer is left to chance.
        let _ = killed.await;
        world.host.kill()?;
        world.host.restart().await?;
        shop = shop.at(&world);
        let data = shop.simulate(&tokens, json!({"case": "reorg"})).await?;
        assert_eq!(data["status"], "paid", "round {round}: {data}");
    }
    let data = shop.simulate(&coins, json!({"case": "internal_bnb"})).await?;
    assert_eq!((&data["status"], &data["amount_received"]), (&json!("paid"), &json!("10")), "{data}");

    let received = shop.look(&tokens).await?["amount_received"].clone();
    let received = received.as_str().ok_or("no amount")?.to_owned();
    let expected = [("test:BNB".to_owned(), "10".to_owned()), ("test:USDT".to_owned(), received)];
    assert_eq!(shop.balances().await?, expected, "each payment is credited once");
    shop.wait_webhooks(&tokens, &["invoice.paid"]).await?;
    let audit = world.host.command_json(&["audit"]).await?;
    assert_eq!((&audit["ok"], &audit["breaches"]), (&json!(true), &json!([])), "{audit:#}");
    Ok(())
}
