//! `chain freeze` and `chain resume`: the emergency stop of a chain, and the way on. The same whether a host runs or not.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::catalog::Catalog;
use xthonpay_payments::scanning::freeze::{ChainControl, LostDeposit};
use xthonpay_payments::snapshot::{DecimalsOf as _, rfc3339};

use super::service::{AdminError, chain_name};

/// The path of `chain freeze`.
pub const FREEZE: &str = "/chains/freeze";
/// The path of `chain resume`.
pub const RESUME: &str = "/chains/resume";

/// A chain to freeze.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskFreeze {
    /// The chain.
    pub chain: String,
    /// Why, in one sentence.
    pub reason: String,
}

/// A chain that is frozen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frozen {
    /// The chain.
    pub chain: String,
    /// Why: an earlier reason where it was frozen already.
    pub reason: String,
    /// Since when, RFC 3339.
    pub frozen_at: String,
}

/// A chain to resume.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskResume {
    /// The chain.
    pub chain: String,
    /// The block after which the scan goes on; without it, the newest remembered one that the nodes agree on.
    pub from_block: Option<u64>,
}

/// A chain that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResumedChain {
    /// The chain.
    pub chain: String,
    /// The block after which the scan goes on.
    pub tip: u64,
    /// Its hash.
    pub tip_hash: String,
    /// The block up to which everything is final.
    pub finalized: u64,
    /// Deposits that were seen and not final, and are orphaned until they are found again.
    pub orphaned: usize,
    /// Credited deposits whose block left the chain. They stay credited: what becomes of them is for people to decide.
    pub lost_total: usize,
    /// The first of them.
    pub lost: Vec<LostLine>,
}

/// A credited deposit whose block left the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LostLine {
    /// Public id.
    pub deposit_id: String,
    /// Who was credited.
    pub merchant_id: String,
    /// The invoice whose address was paid.
    pub invoice_id: Option<String>,
    /// The asset with its chain.
    pub asset: String,
    /// How much.
    pub amount: String,
    /// The transaction; none for coins that only a balance showed.
    pub tx_hash: Option<String>,
    /// The block that left the chain.
    pub block_number: u64,
    /// The block that holds the transaction now; none when the nodes know none.
    pub mined_again_in: Option<u64>,
}

/// What the routes need.
#[derive(Clone)]
struct ChainDoor {
    chains: Arc<[ChainControl]>,
    catalog: Arc<Catalog>,
}

/// The routes of `chain`.
pub(super) fn router(chains: Vec<ChainControl>, catalog: Arc<Catalog>) -> Router {
    let door = ChainDoor { chains: chains.into(), catalog };
    Router::new().route(FREEZE, post(freeze_here)).route(RESUME, post(resume_here)).with_state(door)
}

async fn freeze_here(State(door): State<ChainDoor>, Json(asked): Json<AskFreeze>) -> Result<Json<Frozen>, AdminError> {
    freeze(&door.chains, &asked).await.map(Json)
}

async fn resume_here(
    State(door): State<ChainDoor>,
    Json(asked): Json<AskResume>,
) -> Result<Json<ResumedChain>, AdminError> {
    resume(&door.chains, &door.catalog, &asked).await.map(Json)
}

/// Freezes a chain.
///
/// # Errors
/// [`AdminError`].
pub async fn freeze(chains: &[ChainControl], asked: &AskFreeze) -> Result<Frozen, AdminError> {
    let control = find(chains, &asked.chain)?;
    let freeze = control.freeze(&asked.reason).await?;
    Ok(Frozen { chain: asked.chain.clone(), reason: freeze.reason, frozen_at: rfc3339(freeze.at) })
}

/// Lets a frozen chain go on.
///
/// # Errors
/// [`AdminError`]; the chain is still frozen then.
pub async fn resume(chains: &[ChainControl], catalog: &Catalog, asked: &AskResume) -> Result<ResumedChain, AdminError> {
    let control = find(chains, &asked.chain)?;
    let resumed = control.resume(asked.from_block.map(BlockNumber)).await?;
    Ok(ResumedChain {
        chain: asked.chain.clone(),
        tip: resumed.tip.number.0,
        tip_hash: resumed.tip.hash.to_string(),
        finalized: resumed.finalized.number.0,
        orphaned: resumed.orphaned,
        lost_total: resumed.lost_count,
        lost: resumed.lost.iter().map(|lost| line(lost, catalog)).collect(),
    })
}

fn find<'a>(chains: &'a [ChainControl], name: &str) -> Result<&'a ChainControl, AdminError> {
    let name = chain_name(name)?;
    let found = chains.iter().find(|control| control.books.chain == name);
    found.ok_or(AdminError::UnknownChain(name))
}

fn line(lost: &LostDeposit, catalog: &Catalog) -> LostLine {
    let deposit = &lost.deposit;
    let identity = &deposit.transfer.identity;
    LostLine {
        deposit_id: deposit.id.to_string(),
        merchant_id: deposit.merchant.to_string(),
        invoice_id: deposit.invoice.as_ref().map(ToString::to_string),
        asset: identity.asset.to_string(),
        amount: catalog.show(&identity.asset, deposit.transfer.amount),
        tx_hash: identity.origin.tx().map(|tx| tx.to_string()),
        block_number: deposit.block.number.0,
        mined_again_in: lost.mined_again_in.map(|number| number.0),
    }
}
