//! One sale: an invoice, its payment, and how long each part took.
//!
//! All times are taken on this program's own clock, when it sees something from outside, because the headers of blocks hold
//! whole seconds only. Node and API are asked every few milliseconds, so each time is late by at most about one question:
//!
//! - the block: the node has a receipt of the payment;
//! - seen: the API shows the payment;
//! - final: the node's `finalized` block is the payment's or a later one;
//! - paid: the API shows the invoice as paid;
//! - webhook: the receiver has read the whole body of `invoice.paid`.

use core::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::hash::TxHash;
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::TestChain;
use xthonpay_tests::client::{MerchantClient, now_s};

use crate::narrator::Narrator;
use crate::parts::Parts;

/// Far above what any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two questions: short against what is measured, long enough not to slow it down.
const ASK_INTERVAL: Duration = Duration::from_millis(5);

const AMOUNT: &str = "50.00";
const HOOK: &str = "/webhooks/pay";

/// When things happened.
pub(crate) struct Timings {
    created: Instant,
    block: Instant,
    seen: Instant,
    finalized: Instant,
    paid: Instant,
    webhook: Instant,
}

impl Timings {
    /// The intervals with their names for people, in milliseconds.
    pub(crate) fn rows(&self) -> [(&'static str, u128); 4] {
        [
            ("block to seen", millis(self.block, self.seen)),
            ("final to paid", millis(self.finalized, self.paid)),
            ("paid to webhook received", millis(self.paid, self.webhook)),
            ("invoice made to webhook received", millis(self.created, self.webhook)),
        ]
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value {
        let [seen, paid, webhook, total] = self.rows().map(|(_, millis)| millis);
        json!({
            "ok": true,
            "block_to_seen_ms": seen,
            "final_to_paid_ms": paid,
            "paid_to_webhook_ms": webhook,
            "total_ms": total,
        })
    }
}

/// Zero when the later event was seen first, which happens within one question.
fn millis(from: Instant, to: Instant) -> u128 {
    to.saturating_duration_since(from).as_millis()
}

/// Sells something.
pub(crate) async fn run(parts: &Parts, narrator: &Narrator) -> Result<Timings, BoxError> {
    let fields = json!({
        "amount": AMOUNT,
        "external_id": "order_12345",
        "callback_url": parts.receiver.url(HOOK),
    });
    let invoice = parts.client.post("/invoices", &fields).await?.data()?;
    let created = Instant::now();
    let path = format!("/invoices/{}", text(&invoice, "invoice_id")?);
    let address: Address = text(&invoice, "deposit_address")?.parse()?;
    narrator.step("created", &format!("{} over {AMOUNT} USDT, to be paid to {address}", text(&invoice, "invoice_id")?));

    let amount = Amount::parse(AMOUNT, Decimals::new(18)?)?;
    let tx = parts.chain.transfer_token(parts.usdt, address, amount).await?;
    narrator.step("sent", &format!("by a customer, in the transaction {tx}"));

    let (chain, client) = (&parts.chain, &parts.client);
    let on_chain = async {
        let (block, number) = mined(chain, tx).await?;
        narrator.step("block", &format!("{number} has the payment"));
        let finalized = final_on_chain(chain, number).await?;
        Ok::<_, BoxError>((block, finalized))
    };
    let in_api = async {
        let seen = shown(client, &path, |invoice| invoice["payments_total"] == 1).await?;
        narrator.step("seen", "the API shows the payment; nothing is credited yet");
        let paid = shown(client, &path, |invoice| invoice["status"] == "paid").await?;
        narrator.step("final", "the payment cannot be undone any more: it is credited and the invoice is paid");
        Ok::<_, BoxError>((seen, paid))
    };
    let at_merchant = async {
        let delivery = parts.receiver.wait_for(HOOK, "invoice.paid", PATIENCE).await?;
        delivery.verify(&parts.merchant.webhook_secret, now_s())?;
        let order = delivery.data()["external_id"].as_str().unwrap_or_default().to_owned();
        Ok::<_, BoxError>((delivery.at, order))
    };
    let ((block, finalized), (seen, paid), (webhook, order)) = tokio::try_join!(on_chain, in_api, at_merchant)?;
    narrator.step("webhook", &format!("invoice.paid for {order}: both signatures hold"));

    let balance = client.get("/balance").await?.data()?;
    narrator.step("balance", &format!("{} USDT", text(&balance, "balance")?));
    Ok(Timings { created, block, seen, finalized, paid, webhook })
}

async fn mined(chain: &TestChain, tx: TxHash) -> Result<(Instant, BlockNumber), BoxError> {
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        if let Some(receipt) = chain.receipt(tx).await? {
            return Ok((Instant::now(), receipt.number));
        }
        sleep(ASK_INTERVAL).await;
    }
    Err("no block has the payment".into())
}

async fn final_on_chain(chain: &TestChain, number: BlockNumber) -> Result<Instant, BoxError> {
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        if chain.finalized().await? >= number {
            return Ok(Instant::now());
        }
        sleep(ASK_INTERVAL).await;
    }
    Err("the payment's block does not become final".into())
}

async fn shown(client: &MerchantClient, path: &str, wanted: impl Fn(&Value) -> bool) -> Result<Instant, BoxError> {
    let asked = Instant::now();
    let mut invoice = Value::Null;
    while asked.elapsed() < PATIENCE {
        invoice = client.get(path).await?.data()?;
        if wanted(&invoice) {
            return Ok(Instant::now());
        }
        sleep(ASK_INTERVAL).await;
    }
    Err(format!("the invoice stays as it is: {invoice}").into())
}

fn text<'a>(object: &'a Value, member: &str) -> Result<&'a str, BoxError> {
    object[member].as_str().ok_or_else(|| format!("no {member} in {object}").into())
}
