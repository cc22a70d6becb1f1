//! What a chain says was paid, and how what a host credited differs from it.
//!
//! Reads the node itself, never through a proxy, and only blocks that are final. Knows transfers of one token and coins sent
//! as the value of a transaction; coins that a contract passes on are not seen here.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{U256, keccak256};
use serde_json::{Value, json};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::block::BlockNumber;

use crate::BoxError;
use crate::chain::TestChain;
use crate::client::MerchantClient;

/// Blocks that one question for logs spans.
const BLOCKS_AT_ONCE: u64 = 500;

/// All assets of the tests have as many.
const DECIMALS: u8 = 18;

/// A transfer, as the chain holds it or as a host credited it. Equal ones in one transaction are told apart by their number
/// alone: two of them must be credited twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Paid {
    /// The receiving address.
    pub to: Address,
    /// The transaction, as `0x` text.
    pub tx: String,
    /// `USDT` or `BNB`.
    pub asset: String,
    /// How much, in base units.
    pub amount: String,
}

/// Every transfer to one of the addresses in the final blocks from `from` on, in the order of the chain within each asset.
///
/// # Errors
/// When the node does not answer or answers in another form.
pub async fn paid_on(
    chain: &TestChain,
    usdt: Address,
    to: &BTreeSet<Address>,
    from: BlockNumber,
) -> Result<Vec<Paid>, BoxError> {
    let finalized = chain.finalized().await?;
    let mut paid = Vec::new();
    let mut at = from.0;
    while at <= finalized.0 {
        let last = at.saturating_add(BLOCKS_AT_ONCE.saturating_sub(1)).min(finalized.0);
        let transfer = keccak256("Transfer(address,address,uint256)").to_string();
        let filter = json!([{"fromBlock": quantity(at), "toBlock": quantity(last), "address": usdt.to_lower_hex(),
            "topics": [transfer]}]);
        let logs = chain.rpc().call("eth_getLogs", filter).await?;
        for log in items(&logs)? {
            let receiver: Address = format!("0x{}", tail(text(&log["topics"][2])?, 40)?).parse()?;
            if to.contains(&receiver) {
                paid.push(entry(receiver, &log["transactionHash"], "USDT", text(&log["data"])?)?);
            }
        }
        at = last.saturating_add(1);
    }
    for number in from.0..=finalized.0 {
        let block = chain.rpc().call("eth_getBlockByNumber", json!([quantity(number), true])).await?;
        for transaction in items(&block["transactions"])? {
            let Some(receiver) = transaction["to"].as_str() else { continue };
            let (receiver, value): (Address, &str) = (receiver.parse()?, text(&transaction["value"])?);
            if value != "0x0" && to.contains(&receiver) && succeeded(chain, &transaction["hash"]).await? {
                paid.push(entry(receiver, &transaction["hash"], "BNB", value)?);
            }
        }
    }
    Ok(paid)
}

/// Every final payment that the API shows for an invoice. An invoice with more payments than the API lists is an error.
///
/// # Errors
/// When the API does not answer with success.
pub async fn credited_to(client: &MerchantClient, invoice: &str) -> Result<Vec<Paid>, BoxError> {
    let data = client.get(&format!("/invoices/{invoice}")).await?.data()?;
    let payments = items(&data["payments"])?;
    if data["payments_total"] != payments.len() {
        return Err(format!("not every payment is listed: {data}").into());
    }
    payments
        .iter()
        .filter(|payment| payment["status"] == "final")
        .map(|payment| {
            Ok(Paid {
                to: text(&payment["to_address"])?.parse()?,
                tx: text(&payment["tx_hash"])?.to_owned(),
                asset: text(&payment["asset"])?.to_owned(),
                amount: Amount::parse(text(&payment["amount"])?, Decimals::new(DECIMALS)?)?.to_string(),
            })
        })
        .collect()
}

/// How credits differ from what was paid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Paid and not credited.
    pub lost: Vec<Paid>,
    /// Credited and not paid, or credited once more than it was paid.
    pub surplus: Vec<Paid>,
}

impl Difference {
    /// Compares one by one; the order does not matter.
    #[must_use]
    pub fn between(paid: &[Paid], credited: &[Paid]) -> Self {
        let mut open: BTreeMap<&Paid, usize> = BTreeMap::new();
        for one in paid {
            let count = open.entry(one).or_default();
            *count = count.saturating_add(1);
        }
        let mut surplus = Vec::new();
        for one in credited {
            match open.get_mut(one) {
                Some(count) if *count > 0 => *count = count.saturating_sub(1),
                _ => surplus.push(one.clone()),
            }
        }
        let lost = open.into_iter().flat_map(|(one, count)| core::iter::repeat_n(one.clone(), count)).collect();
        Self { lost, surplus }
    }

    /// Nothing differs.
    ///
    /// # Errors
    /// Names what does.
    pub fn nothing(&self) -> Result<(), BoxError> {
        if self.lost.is_empty() && self.surplus.is_empty() { Ok(()) } else { Err(format!("{self:?}").into()) }
    }
}

/// The sum of an asset among transfers.
///
/// # Errors
/// When an amount is none or the sum is above what an amount can be.
pub fn sum<'a>(paid: impl IntoIterator<Item = &'a Paid>, asset: &str) -> Result<Amount, BoxError> {
    let of_asset = paid.into_iter().filter(|one| one.asset == asset);
    let amounts: Result<Vec<Amount>, _> = of_asset.map(|one| Amount::parse_units(&one.amount)).collect();
    Ok(Amount::sum(amounts?)?)
}

async fn succeeded(chain: &TestChain, tx: &Value) -> Result<bool, BoxError> {
    let receipt = chain.rpc().call("eth_getTransactionReceipt", json!([tx])).await?;
    Ok(receipt["status"] == "0x1")
}

fn entry(to: Address, tx: &Value, asset: &str, hex: &str) -> Result<Paid, BoxError> {
    let amount: U256 = hex.parse()?;
    Ok(Paid { to, tx: text(tx)?.to_owned(), asset: asset.to_owned(), amount: amount.to_string() })
}

fn quantity(number: u64) -> String {
    format!("{number:#x}")
}

fn items(value: &Value) -> Result<&[Value], BoxError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("no list: {value}").into())
}

fn text(value: &Value) -> Result<&str, BoxError> {
    value.as_str().ok_or_else(|| format!("no text: {value}").into())
}

/// The last characters of a text.
fn tail(text: &str, length: usize) -> Result<&str, BoxError> {
    let start = text.len().checked_sub(length).ok_or("too short")?;
    text.get(start..).ok_or_else(|| "not hexadecimal".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paid(tx: &str, amount: &str) -> Paid {
        Paid { to: Address::ZERO, tx: tx.to_owned(), asset: "USDT".to_owned(), amount: amount.to_owned() }
    }

    #[test]
    fn tells_lost_from_doubled_and_invented() {
        let chain = [paid("0x1", "5"), paid("0x1", "5"), paid("0x2", "7")];
        assert!(Difference::between(&chain, &chain).nothing().is_ok());

        let credited = [paid("0x1", "5"), paid("0x2", "7"), paid("0x2", "7"), paid("0x3", "9")];
        let difference = Difference::between(&chain, &credited);
        assert_eq!(difference.lost, [paid("0x1", "5")]);
        assert_eq!(difference.surplus, [paid("0x2", "7"), paid("0x3", "9")]);
        assert!(difference.nothing().is_err());
    }

    #[test]
    fn sums_one_asset() {
        let coins = Paid { asset: "BNB".to_owned(), ..paid("0x4", "100") };
        let total = sum(&[paid("0x1", "5"), coins, paid("0x2", "7")], "USDT");
        assert_eq!(total.expect("small numbers"), Amount::from_units(12));
    }
}
