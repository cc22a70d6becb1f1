//! `kill -9` at bad moments: every payment is credited exactly once, and every webhook arrives.
//!
//! Each test has a chain that mines only when told, so that the moment is known, and many rounds with random delays from a
//! printed seed.

use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::BTreeSet;
use std::io::Write as _;

use serde_json::json;
use tokio::time::Instant;
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::Mining;
use xthonpay_tests::client::now_s;
use xthonpay_tests::receiver::{Delivery, Reply};
use xthonpay_tests::seeded::Seeded;
use xthonpay_tests::wait;

use crate::world::{Done, Issued, PATIENCE, Shop, World};

/// How often each bad moment is tried.
const ROUNDS: u32 = 20;

/// Blocks that make a payment final besides its own: `finalized` is two behind the head.
const BLOCKS_TO_FINAL: u64 = 3;

/// How long the receiver keeps a delivery without an answer: longer than the host has left to live.
const HELD: Duration = Duration::from_millis(500);

/// A shop in a world that is killed again and again.
struct Victim {
    world: World,
    shop: Shop,
    random: Seeded,
    paid: u32,
}

impl Victim {
    async fn new(purpose: &str) -> Result<Self, BoxError> {
        let random = Seeded::announced(purpose)?;
        let world = World::new(Mining::Manual).await?;
        let shop = world.shop().await?;
        Ok(Self { world, shop, random, paid: 0 })
    }

    /// An invoice over 10 USDT with a payment in the newest block, seen by the host.
    async fn paid_and_seen(&mut self) -> Result<Issued, BoxError> {
        let invoice = self.shop.invoice("USDT", "10").await?;
        self.shop.pay_usdt(invoice.address, "10").await?;
        self.paid = self.paid.saturating_add(1);
        self.shop.chain.mine(1).await?;
        self.shop.wait_status(&invoice, "confirming").await?;
        Ok(invoice)
    }

    async fn pause(&mut self, millis_max: u64) {
        tokio::time::sleep(self.random.millis(0..=millis_max)).await;
    }

    async fn kill_and_restart(mut self) -> Result<Self, BoxError> {
        self.world.host.kill()?;
        // Sometimes the chain goes on while the host is gone.
        if self.random.next_u64().is_multiple_of(2) {
            self.shop.chain.mine(1).await?;
        }
        self.world.host.restart().await?;
        self.shop = self.shop.at(&self.world);
        Ok(self)
    }

    /// Exactly one credit for this invoice and every earlier one, and its webhook.
    async fn check(&self, invoice: &Issued) -> Done {
        let data = self.shop.wait_status(invoice, "paid").await?;
        assert_eq!((&data["amount_received"], &data["payments_total"]), (&json!("10"), &json!(1)), "{data}");
        assert_eq!((&data["amount_overpaid"], &data["flags"]), (&json!("0"), &json!([])), "{data}");
        let credited = self.paid.saturating_mul(10).to_string();
        assert_eq!(self.shop.balance("USDT").await?, credited, "one credit for each payment");
        self.delivered(invoice).await
    }

    /// Both webhooks of the invoice arrived; a repeated one is the same event in the same bytes.
    async fn delivered(&self, invoice: &Issued) -> Done {
        let expected = BTreeSet::from(["invoice.confirming".to_owned(), "invoice.paid".to_owned()]);
        let came = wait::until("both webhooks", PATIENCE, async || {
            let came = self.shop.webhooks(invoice);
            let kinds: BTreeSet<String> = came.iter().map(Delivery::kind).collect();
            Ok(if kinds == expected { ControlFlow::Break(came) } else { ControlFlow::Continue(format!("{kinds:?}")) })
        })
        .await?;
        let distinct: BTreeSet<(&str, &[u8])> =
            came.iter().map(|delivery| (delivery.id(), delivery.body.as_slice())).collect();
        assert_eq!(distinct.len(), expected.len(), "one event in one form for each webhook");
        came.iter().try_for_each(|delivery| delivery.verify(&self.shop.merchant.webhook_secret, now_s()))
    }

    /// After all rounds the books are as before, once more from disk.
    async fn check_at_the_end(mut self) -> Done {
        let balance = self.shop.balance("USDT").await?;
        assert_eq!(balance, ROUNDS.saturating_mul(10).to_string());
        self.world.host.stop().await?;
        self.world.host.restart().await?;
        let shop = self.shop.at(&self.world);
        assert_eq!(shop.balance("USDT").await?, balance);
        let invoices = shop.client.get("/invoices?limit=100").await?.data()?;
        let invoices = invoices.as_array().ok_or("no list")?;
        assert_eq!(invoices.len(), usize::try_from(ROUNDS)?);
        assert!(invoices.iter().all(|invoice| invoice["status"] == "paid"));
        Ok(())
    }
}

#[tokio::test]
async fn killed_between_seen_and_final() -> Done {
    let mut victim = Victim::new("killed_between_seen_and_final").await?;
    for _ in 0..ROUNDS {
        let invoice = victim.paid_and_seen().await?;
        victim.pause(150).await;
        victim = victim.kill_and_restart().await?;
        victim.shop.chain.mine(BLOCKS_TO_FINAL).await?;
        victim.check(&invoice).await?;
    }
    victim.check_at_the_end().await
}

#[tokio::test]
async fn killed_between_final_and_webhook() -> Done {
    let mut victim = Victim::new("killed_between_final_and_webhook").await?;
    let mut hits = 0_u32;
    for round in 0..ROUNDS {
        let invoice = victim.paid_and_seen().await?;
        victim.shop.wait_webhook(&invoice, "invoice.confirming").await?;
        let certain = round.is_multiple_of(2);
        // The kill may fall before the credit, between credit and delivery, or into a delivery that has no answer yet. In
        // every other round the API has shown the credit, so that only the last two are left.
        let answer_delay = if certain { HELD } else { victim.random.millis(0..=150) };
        victim.shop.receiver.plan(crate::world::HOOK, [Reply::slow(answer_delay)]);
        victim.shop.chain.mine(BLOCKS_TO_FINAL).await?;
        if certain {
            victim.shop.wait_status(&invoice, "paid").await?;
            victim.pause(100).await;
        } else {
            victim.pause(200).await;
        }
        let killed_at = Instant::now();
        victim = victim.kill_and_restart().await?;
        let told = victim.shop.webhooks(&invoice);
        let mut told = told.iter().filter(|delivery| delivery.kind() == "invoice.paid");
        let answered = told.any(|delivery| delivery.at + answer_delay <= killed_at);
        hits = hits.saturating_add(u32::from(certain && !answered));
        victim.check(&invoice).await?;
    }
    writeln!(std::io::stderr(), "killed_between_final_and_webhook: {hits} of {ROUNDS} kills fell between the two")?;
    assert!(hits > 0, "no kill fell between credit and answer");
    victim.check_at_the_end().await
}

#[tokio::test]
async fn killed_while_the_receiver_is_down() -> Done {
    let mut victim = Victim::new("killed_while_the_receiver_is_down").await?;
    for _ in 0..ROUNDS {
        victim.shop.receiver.go_down().await?;
        let invoice = victim.paid_and_seen().await?;
        victim.shop.chain.mine(BLOCKS_TO_FINAL).await?;
        victim.shop.wait_status(&invoice, "paid").await?;
        victim.pause(400).await;
        victim = victim.kill_and_restart().await?;
        assert_eq!(victim.shop.webhooks(&invoice).len(), 0, "it is down");
        victim.pause(300).await;
        victim.shop.receiver.up()?;
        victim.check(&invoice).await?;
    }
    victim.check_at_the_end().await
}
