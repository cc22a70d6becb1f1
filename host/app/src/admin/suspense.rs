//! `suspense`: the deposits that are set aside, page by page. The same answer whether a host runs or not.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::DepositId;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::port::store::{READ_LIMIT_MAX, Store};
use xthonpay_payments::snapshot::PaymentSnapshot;

use super::service::AdminError;

/// The path of `suspense`.
pub const SUSPENSE: &str = "/suspense";

/// Which page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskSuspense {
    /// The last deposit of the page before.
    pub after: Option<String>,
}

/// One page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuspensePage {
    /// The deposits in ascending order of the id.
    pub deposits: Vec<SuspendedLine>,
    /// What to ask for next, if there may be more.
    pub next: Option<String>,
}

/// A deposit that is set aside: it belongs to nobody's balance until an operator has decided about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuspendedLine {
    /// Public id.
    pub deposit_id: String,
    /// Whose address received it.
    pub merchant_id: String,
    /// The invoice whose address received it.
    pub invoice_id: Option<String>,
    /// The asset with its chain.
    pub asset: String,
    /// How much.
    pub amount: String,
    /// The same in base units.
    pub units: String,
    /// The address.
    pub to_address: String,
    /// The sender, where one is known.
    pub from_address: Option<String>,
    /// The transaction; none for coins that only a balance shows.
    pub tx_hash: Option<String>,
    /// Its block.
    pub block_number: u64,
    /// RFC 3339, the time of its block.
    pub block_time: String,
}

/// Records to read.
#[derive(Clone)]
struct SuspenseDoor {
    store: Arc<dyn Store>,
    catalog: Arc<Catalog>,
}

/// The route of `suspense`.
pub(super) fn router(store: Arc<dyn Store>, catalog: Arc<Catalog>) -> Router {
    Router::new().route(SUSPENSE, get(list)).with_state(SuspenseDoor { store, catalog })
}

async fn list(
    State(door): State<SuspenseDoor>,
    Query(asked): Query<AskSuspense>,
) -> Result<Json<SuspensePage>, AdminError> {
    Ok(Json(page(door.store.as_ref(), &door.catalog, &asked).await?))
}

/// One page of the deposits that are set aside.
///
/// # Errors
/// [`AdminError`].
pub async fn page(store: &dyn Store, catalog: &Catalog, asked: &AskSuspense) -> Result<SuspensePage, AdminError> {
    let after = asked.after.as_ref().map(|id| id.parse::<DepositId>());
    let after = after.transpose().map_err(AdminError::DepositId)?;
    let deposits = store.suspended_deposits(after.as_ref(), READ_LIMIT_MAX).await?;
    let next = deposits.last().filter(|_| deposits.len() == READ_LIMIT_MAX).map(|last| last.id.to_string());
    Ok(SuspensePage { deposits: deposits.iter().map(|deposit| line(deposit, catalog)).collect(), next })
}

fn line(deposit: &Deposit, catalog: &Catalog) -> SuspendedLine {
    let shown = PaymentSnapshot::new(deposit, catalog);
    SuspendedLine {
        deposit_id: shown.payment_id,
        merchant_id: deposit.merchant.to_string(),
        invoice_id: deposit.invoice.as_ref().map(ToString::to_string),
        asset: deposit.transfer.identity.asset.to_string(),
        amount: shown.amount,
        units: deposit.transfer.amount.to_string(),
        to_address: shown.to_address,
        from_address: shown.from_address,
        tx_hash: shown.tx_hash,
        block_number: shown.block_number,
        block_time: shown.block_time,
    }
}
