//! `POST /invoices/{id}/cancel` and `POST /invoices/{id}/resolve`: what merchants decide about their invoices. Fields that are
//! not known are refused, because they are about money.

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::invoice::resolution::Wish;
use xthonpay_payments::invoicing::decision::DecidedInvoice;
use xthonpay_payments::snapshot::{DecimalsOf as _, InvoiceSnapshot};

use super::request::amount_of;
use crate::answer::Answer;
use crate::api::Api;
use crate::door::Call;
use crate::error::{ApiError, Fault};
use crate::json::{Json, fields, optional_text, take};

/// What the body of a resolution asks for. The amount can be read only once the asset is known.
enum Asked {
    Accept,
    Refund { to: Address, amount: Option<Json> },
    Ignore,
}

/// Withdraws an invoice. Takes an empty body, or an empty object.
pub(crate) async fn cancel(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let id = invoice_id(call)?;
    if !call.body().is_empty() {
        fields(call.headers(), call.body())?.finish()?;
    }
    let answer = |decided: &DecidedInvoice| shown(api, decided).to_bytes();
    let cancelled = api.invoicing.cancel(call.caller(), &id, &answer).await?;
    Ok(shown(api, &cancelled))
}

/// Decides what becomes of what an invoice received.
pub(crate) async fn resolve(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let id = invoice_id(call)?;
    let wish = match asked(call)? {
        Asked::Accept => Wish::Accept,
        Asked::Ignore => Wish::Ignore,
        Asked::Refund { to, amount: None } => Wish::Refund { to, amount: None },
        Asked::Refund { to, amount: Some(given) } => {
            let amount = amount_in_asset(api, call.caller().merchant(), &id, given).await?;
            Wish::Refund { to, amount: Some(amount) }
        }
    };
    let answer = |decided: &DecidedInvoice| shown(api, decided).to_bytes();
    let resolved = api.invoicing.resolve(call.caller(), &id, &wish, &answer).await?;
    Ok(shown(api, &resolved))
}

/// The invoice that the path names.
fn invoice_id(call: &Call) -> Result<InvoiceId, ApiError> {
    call.segment_before_last().parse().map_err(|_| ApiError::not_found())
}

fn shown(api: &Api, decided: &DecidedInvoice) -> Answer {
    Answer::data(InvoiceSnapshot::new(&decided.invoice, &decided.deposits, api.catalog.as_ref()))
}

fn asked(call: &Call) -> Result<Asked, ApiError> {
    let mut fields = fields(call.headers(), call.body())?;
    let action = optional_text::<String>(&mut fields, Fault::InvalidRequest, "action")?;
    let to = optional_text::<Address>(&mut fields, Fault::InvalidAddress, "to_address")?;
    let amount = take(&mut fields, "amount");
    fields.finish()?;
    let asked = match (action.as_deref(), to) {
        (Some("refund"), Some(to)) => return Ok(Asked::Refund { to, amount }),
        (Some("refund"), None) => {
            let message = "to_address is missing: say who is to get the money back";
            return Err(ApiError::at(Fault::InvalidAddress, "to_address", message));
        }
        (Some("accept"), None) => Asked::Accept,
        (Some("ignore"), None) => Asked::Ignore,
        (Some("accept" | "ignore"), Some(_)) => {
            return Err(ApiError::at(Fault::InvalidRequest, "to_address", "only a refund has a to_address"));
        }
        _ => {
            return Err(ApiError::at(Fault::InvalidRequest, "action", "action must be accept, refund or ignore"));
        }
    };
    match amount {
        None => Ok(asked),
        Some(_) => Err(ApiError::at(Fault::InvalidRequest, "amount", "only a refund has an amount")),
    }
}

/// An amount in the asset of the caller's invoice.
async fn amount_in_asset(api: &Api, merchant: &MerchantId, id: &InvoiceId, given: Json) -> Result<Amount, ApiError> {
    let found = api.store.invoice(id).await?.filter(|invoice| invoice.merchant == *merchant);
    let asset = found.ok_or_else(ApiError::not_found)?.terms.asset;
    let decimals = api.catalog.decimals(&asset).ok_or_else(|| {
        let message = format!("this deployment no longer accepts {asset}: leave amount out to refund all of it");
        ApiError::at(Fault::UnsupportedAsset, "amount", message)
    })?;
    amount_of(given, decimals)
}
