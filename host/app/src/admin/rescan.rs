//! `rescan` of a running host: the question, the answer, and what serves it. Given up when the host stops.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use xthonpay_domain::block::{BlockNumber, BlockRange};
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::scanning::rescan::{Finding, Rescan};
use xthonpay_payments::snapshot::DecimalsOf as _;

use super::service::{AdminError, chain_name};

/// The path of `rescan`.
pub const RESCAN: &str = "/rescan";

/// What to look at again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskRescan {
    /// On which chain; needed where there are several.
    pub chain: Option<String>,
    /// What.
    pub target: Target,
}

/// What to look at again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// One transaction, by its hash.
    Tx(String),
    /// A run of blocks, both ends included.
    Blocks {
        /// The lowest.
        from: u64,
        /// The highest.
        to: u64,
    },
    /// The balance of an invoice's address in the native coin.
    Address(String),
}

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rescanned {
    /// Whether all that was looked at is final. What is not is left to the scanner.
    pub is_final: bool,
    /// One for each transfer to an address of ours.
    pub findings: Vec<FindingLine>,
}

/// What was found of one transfer to an address of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindingLine {
    /// `recorded` now, `known` already, `awaited` until final, or `refused`.
    pub outcome: String,
    /// Whose.
    pub merchant_id: String,
    /// The invoice whose address was paid.
    pub invoice_id: Option<String>,
    /// The deposit, once there is one.
    pub deposit_id: Option<String>,
    /// The asset with its chain.
    pub asset: String,
    /// How much.
    pub amount: String,
    /// The address.
    pub to_address: String,
    /// The transaction; none for coins that only a balance shows.
    pub tx_hash: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the door needs.
#[derive(Clone)]
struct RescanDoor {
    rescan: Rescan,
    catalog: Arc<Catalog>,
    stop: CancellationToken,
}

/// The route of `rescan`.
pub(super) fn router(rescan: Rescan, catalog: Arc<Catalog>, stop: CancellationToken) -> Router {
    Router::new().route(RESCAN, post(run)).with_state(RescanDoor { rescan, catalog, stop })
}

async fn run(State(door): State<RescanDoor>, Json(asked): Json<AskRescan>) -> Result<Json<Rescanned>, AdminError> {
    tokio::select! {
        () = door.stop.cancelled() => Err(AdminError::Stopping),
        found = look_again(&door, asked) => Ok(Json(found?)),
    }
}

async fn look_again(door: &RescanDoor, asked: AskRescan) -> Result<Rescanned, AdminError> {
    let chain = asked.chain.as_deref().map(chain_name).transpose()?;
    let (is_final, findings) = match asked.target {
        Target::Tx(tx) => {
            let tx = tx.parse().map_err(|error| AdminError::Hash { what: "tx", error })?;
            let report = door.rescan.transaction(chain.as_ref(), tx).await?;
            (report.is_final, report.findings)
        }
        Target::Blocks { from, to } => {
            let range = BlockRange::new(BlockNumber(from), BlockNumber(to));
            let range = range.ok_or(AdminError::Range { from, to })?;
            (true, door.rescan.range(chain.as_ref(), range).await?.findings)
        }
        Target::Address(address) => {
            let found = door.rescan.address(chain.as_ref(), address.parse()?).await?;
            (true, found.map(Finding::Recorded).into_iter().collect())
        }
    };
    let findings = findings.iter().map(|finding| line(finding, &door.catalog)).collect();
    Ok(Rescanned { is_final, findings })
}

fn line(finding: &Finding, catalog: &Catalog) -> FindingLine {
    let transfer = finding.transfer();
    let identity = &transfer.identity;
    let (deposit, reason) = match finding {
        Finding::Recorded(deposit) | Finding::Known(deposit) => (Some(deposit), None),
        Finding::Awaited { .. } => (None, None),
        Finding::Refused { reason, .. } => (None, Some(reason.clone())),
    };
    FindingLine {
        outcome: finding.name().to_owned(),
        merchant_id: finding.merchant().to_string(),
        invoice_id: deposit.and_then(|deposit| deposit.invoice.as_ref()).map(ToString::to_string),
        deposit_id: deposit.map(|deposit| deposit.id.to_string()),
        asset: identity.asset.to_string(),
        amount: catalog.show(&identity.asset, transfer.amount),
        to_address: identity.to.to_string(),
        tx_hash: identity.origin.tx().map(|tx| tx.to_string()),
        reason,
    }
}
