//! `POST /rescan`: looks again at one transaction, for a merchant whose customer says that it has paid.
//!
//! Makes nothing that the chain does not show, and tells of the caller's own deposits alone, so the scope `read` is enough.

use serde::Serialize;
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::text::ChainName;
use xthonpay_payments::scanning::rescan::{Finding, TransactionReport};
use xthonpay_payments::snapshot::{DecimalsOf as _, PaymentSnapshot, rfc3339};

use crate::answer::Answer;
use crate::api::Api;
use crate::door::Call;
use crate::error::{ApiError, Fault};
use crate::json::{fields, optional_text};

#[derive(Serialize)]
struct Rescanned {
    tx_hash: String,
    chain: String,
    block_number: u64,
    block_hash: String,
    /// RFC 3339.
    block_time: String,
    /// Whether its block is final. Before that nothing is recorded by this call: the scanner finds it.
    is_final: bool,
    /// One for each transfer to an address of the caller.
    deposits: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    /// `recorded` by this call and credited within seconds, `known` already, `awaited` until its block is final, or `refused`
    /// because the address has received no more than what is credited.
    outcome: &'static str,
    /// The invoice whose address was paid.
    invoice_id: Option<String>,
    /// The deposit, once there is one.
    payment: Option<PaymentSnapshot>,
    asset: String,
    amount: String,
    to_address: String,
    /// Why it was refused.
    reason: Option<String>,
}

pub(crate) async fn transaction(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let mut fields = fields(call.headers(), call.body())?;
    let tx = optional_text::<TxHash>(&mut fields, Fault::InvalidRequest, "tx_hash")?;
    let chain = optional_text::<ChainName>(&mut fields, Fault::InvalidRequest, "chain")?;
    fields.finish()?;
    let missing = || ApiError::at(Fault::InvalidRequest, "tx_hash", "tx_hash is missing: 0x and 64 hexadecimal digits");
    let tx = tx.ok_or_else(missing)?;
    let report = api.rescan.for_merchant(call.caller(), chain.as_ref(), tx).await?;
    Ok(Answer::data(rescanned(api, &report, tx)))
}

fn rescanned(api: &Api, report: &TransactionReport, tx: TxHash) -> Rescanned {
    Rescanned {
        tx_hash: tx.to_string(),
        chain: report.chain.to_string(),
        block_number: report.block.number.0,
        block_hash: report.block.hash.to_string(),
        block_time: rfc3339(report.block.time),
        is_final: report.is_final,
        deposits: report.findings.iter().map(|finding| found(api, finding)).collect(),
    }
}

fn found(api: &Api, finding: &Finding) -> Found {
    let transfer = finding.transfer();
    let (deposit, reason) = match finding {
        Finding::Recorded(deposit) | Finding::Known(deposit) => (Some(deposit), None),
        Finding::Awaited { .. } => (None, None),
        Finding::Refused { reason, .. } => (None, Some(reason.clone())),
    };
    Found {
        outcome: finding.name(),
        invoice_id: deposit.and_then(|deposit| deposit.invoice.as_ref()).map(ToString::to_string),
        payment: deposit.map(|deposit| PaymentSnapshot::new(deposit, api.catalog.as_ref())),
        asset: transfer.identity.asset.symbol.to_string(),
        amount: api.catalog.show(&transfer.identity.asset, transfer.amount),
        to_address: transfer.identity.to.to_string(),
        reason,
    }
}
