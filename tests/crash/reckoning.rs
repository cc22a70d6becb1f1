//! The books, held against each other: the chain, the API, the webhooks, and the host's own audit.

use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_tests::books::{self, Paid};
use xthonpay_tests::client::{MerchantClient, now_s};
use xthonpay_tests::{BoxError, wait};

use crate::shop::Order;
use crate::stage::{HOOK, Stage};

/// How long the audit may take: it reads every block from the chain node, which serves full blocks slowly.
const AUDIT_MAX: Duration = Duration::from_secs(15 * 60);
/// How long the webhooks of the last payments may take. Each is tried again after a second.
const WEBHOOKS_MAX: Duration = Duration::from_secs(60);

/// What differs between the books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    /// Final transfers to our addresses on the chain.
    pub(crate) deposits: usize,
    /// Paid and not credited, or credited and never told.
    pub(crate) lost: usize,
    /// Credited more often than paid, or told as two different facts.
    pub(crate) doubled: usize,
    /// One line each.
    pub(crate) findings: Vec<String>,
}

impl Difference {
    fn lose(&mut self, what: String) {
        self.lost = self.lost.saturating_add(1);
        self.findings.push(format!("lost: {what}"));
    }

    fn double(&mut self, what: String) {
        self.doubled = self.doubled.saturating_add(1);
        self.findings.push(format!("doubled: {what}"));
    }
}

/// Compares everything. The host must have processed the last payment.
pub(crate) async fn compare(stage: &Stage) -> Result<Difference, BoxError> {
    let paid = books::paid_on(&stage.chain, stage.usdt, &stage.addresses(), stage.from).await?;
    let client = MerchantClient::new(stage.host.base_url(), stage.client.key().clone())?;
    let mut difference = Difference { deposits: paid.len(), ..Difference::default() };
    if paid.len() != stage.sent() {
        difference.findings.push(format!("{} payments sent, {} on the chain", stage.sent(), paid.len()));
    }
    payments(stage, &client, &paid, &mut difference).await?;
    balances(&client, &paid, &mut difference).await?;
    webhooks(stage, &client, &mut difference).await?;
    audit(stage, &mut difference).await?;
    Ok(difference)
}

/// Every payment of every order, one by one.
async fn payments(
    stage: &Stage,
    client: &MerchantClient,
    paid: &[Paid],
    difference: &mut Difference,
) -> Result<(), BoxError> {
    let mut by_address: BTreeMap<Address, Vec<Paid>> = BTreeMap::new();
    for one in paid {
        by_address.entry(one.to).or_default().push(one.clone());
    }
    for order in stage.counter.orders() {
        let credited = books::credited_to(client, &order.id).await?;
        let expected = by_address.get(&order.address).map_or(&[][..], Vec::as_slice);
        let found = books::Difference::between(expected, &credited);
        found.lost.into_iter().for_each(|one| difference.lose(format!("{one:?} of {}", order.id)));
        found.surplus.into_iter().for_each(|one| difference.double(format!("{one:?} of {}", order.id)));
    }
    Ok(())
}

/// The merchant's balance, which holds the deposit address too, to the last unit.
async fn balances(client: &MerchantClient, paid: &[Paid], difference: &mut Difference) -> Result<(), BoxError> {
    let data = client.get("/balance").await?.data()?;
    let shown = data["balances"].as_array().ok_or_else(|| format!("no balances in {data}"))?;
    for asset in ["USDT", "BNB"] {
        let of_asset = shown.iter().find(|balance| balance["asset"] == asset);
        let available = of_asset.and_then(|balance| balance["available"].as_str()).unwrap_or("0");
        let available = Amount::parse(available, Decimals::new(18)?)?;
        let expected = books::sum(paid, asset)?;
        if available < expected {
            difference.lose(format!("{asset}: {available} of {expected} base units in the balance"));
        } else if available > expected {
            difference.double(format!("{asset}: {available} instead of {expected} base units in the balance"));
        }
    }
    Ok(())
}

/// Every paid order was told, as one fact in one form, however often it was sent.
async fn webhooks(stage: &Stage, client: &MerchantClient, difference: &mut Difference) -> Result<(), BoxError> {
    let mut sold = BTreeSet::new();
    for Order { id, .. } in stage.counter.orders() {
        let data = client.get(&format!("/invoices/{id}")).await?.data()?;
        if data["status"] == "paid" {
            sold.insert(id);
        }
    }
    let told = || -> BTreeMap<String, BTreeSet<(String, Vec<u8>)>> {
        let mut told = BTreeMap::<_, BTreeSet<_>>::new();
        for delivery in stage.receiver.deliveries(HOOK).iter().filter(|delivery| delivery.kind() == "invoice.paid") {
            let id = delivery.data()["invoice_id"].as_str().unwrap_or_default().to_owned();
            told.entry(id).or_default().insert((delivery.id().to_owned(), delivery.body.clone()));
        }
        told
    };
    let waited = wait::until("the webhook of every paid order", WEBHOOKS_MAX, async || {
        let told = told();
        let missing: Vec<&String> = sold.iter().filter(|id| !told.contains_key(*id)).collect();
        Ok(if missing.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(format!("{missing:?}")) })
    });
    if let Err(error) = waited.await {
        difference.lose(error.to_string());
    }
    for (id, forms) in told() {
        if forms.len() > 1 {
            difference.double(format!("{} events invoice.paid of {id}", forms.len()));
        }
        if !sold.contains(&id) {
            difference.double(format!("invoice.paid of {id}, which is not paid"));
        }
    }
    let deliveries = stage.receiver.deliveries(HOOK);
    let unsigned = deliveries.iter().filter(|one| one.verify(&stage.merchant.webhook_secret, now_s()).is_err());
    // Old ones are beyond the time that a receiver allows, so only what was just received is looked at.
    let recent = |sent: &str| sent.parse::<u64>().is_ok_and(|sent| now_s().abs_diff(sent) < 60);
    for one in unsigned.filter(|one| recent(one.header("webhook-timestamp"))) {
        difference.findings.push(format!("a webhook whose signature does not hold: {}", one.id()));
    }
    Ok(())
}

/// The host's own audit, in its words.
async fn audit(stage: &Stage, difference: &mut Difference) -> Result<(), BoxError> {
    let output = stage.host.command_within(AUDIT_MAX, &["audit", "--full", "--json"]).await?;
    if !output.status.success() {
        let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let printed: Value = serde_json::from_str(&printed).unwrap_or_else(|_| printed.as_ref().into());
        difference.findings.push(format!("the audit ended with {}: {printed} {said}", output.status));
    }
    Ok(())
}
