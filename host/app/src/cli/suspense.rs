//! `suspense`: the deposits that are set aside, and what they sum up to.

use std::collections::BTreeMap;

use serde::Serialize;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_payments::snapshot::DecimalsOf as _;

use super::arguments::Asked;
use super::{CliError, output};
use crate::admin::client::AdminClient;
use crate::admin::service::AdminError;
use crate::admin::suspense::{AskSuspense, SUSPENSE, SuspendedLine, SuspensePage, page};
use crate::compose::{self, Deployment};
use crate::config::Config;

/// Deposits that are listed; all are counted. Bounds the memory of the command.
const LISTED_MAX: usize = 10_000;

#[derive(Serialize)]
struct Suspense {
    deposits: Vec<SuspendedLine>,
    deposits_total: u64,
    /// The sum of each asset.
    totals: BTreeMap<String, String>,
}

/// Where the pages come from.
enum Pages {
    Host(AdminClient),
    Here(Box<Deployment>),
}

/// `suspense`.
pub(super) async fn suspense(asked: &Asked) -> Result<(), CliError> {
    let config = Config::load(&asked.deployment.config)?;
    let pages = match AdminClient::running(&config.admin_socket()).await? {
        Some(client) => Pages::Host(client),
        None => Pages::Here(Box::new(Deployment::open(&config).await?)),
    };
    let listed = list(&pages, &config).await;
    if let Pages::Here(deployment) = pages {
        deployment.close().await;
    }
    let listed = listed?;
    if asked.json { output::json(&listed) } else { output::lines(&lines(&listed)) }
}

async fn list(pages: &Pages, config: &Config) -> Result<Suspense, CliError> {
    let catalog = compose::catalog(config);
    let mut listed = Suspense { deposits: Vec::new(), deposits_total: 0, totals: BTreeMap::new() };
    let mut sums: BTreeMap<String, Amount> = BTreeMap::new();
    let mut asked = AskSuspense::default();
    loop {
        let found = match pages {
            Pages::Host(client) => client.get(&path(&asked)).await?,
            Pages::Here(deployment) => page(deployment.store.as_ref(), &catalog, &asked).await?,
        };
        let SuspensePage { deposits, next } = found;
        for deposit in deposits {
            let sum = sums.entry(deposit.asset.clone()).or_default();
            let amount = Amount::parse_units(&deposit.units).map_err(AdminError::from)?;
            // What anybody can mint may sum to more than there can be; it must not hide the rest of the list.
            *sum = sum.checked_add(amount).unwrap_or(Amount::MAX);
            listed.deposits_total = listed.deposits_total.saturating_add(1);
            if listed.deposits.len() < LISTED_MAX {
                listed.deposits.push(deposit);
            }
        }
        asked.after = next;
        if asked.after.is_none() {
            break;
        }
    }
    listed.totals = sums
        .into_iter()
        .map(|(asset, sum)| {
            let shown = asset.parse::<AssetId>().map_or_else(|_| sum.to_string(), |id| catalog.show(&id, sum));
            (asset, shown)
        })
        .collect();
    Ok(listed)
}

/// An id needs no escaping.
fn path(asked: &AskSuspense) -> String {
    asked.after.as_ref().map_or_else(|| SUSPENSE.to_owned(), |after| format!("{SUSPENSE}?after={after}"))
}

fn lines(listed: &Suspense) -> Vec<String> {
    let mut lines: Vec<String> = listed.deposits.iter().map(deposit_line).collect();
    lines.push(format!("{} deposits are set aside", listed.deposits_total));
    lines.extend(listed.totals.iter().map(|(asset, sum)| format!("total {sum} {asset}")));
    lines
}

fn deposit_line(deposit: &SuspendedLine) -> String {
    let transaction = deposit.tx_hash.as_deref().unwrap_or("in the balance");
    let invoice = deposit.invoice_id.as_deref().unwrap_or("no invoice");
    let SuspendedLine { deposit_id, amount, asset, merchant_id, to_address, block_number, .. } = deposit;
    format!(
        "{deposit_id} {amount} {asset} to {to_address} ({merchant_id}, {invoice}), block {block_number}, {transaction}"
    )
}
