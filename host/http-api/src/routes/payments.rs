//! `GET /payments`, `GET /payments/{id}`: transfers to the merchant's addresses, those of invoices and its own.

use serde::Serialize;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::{DepositId, InvoiceId};
use xthonpay_payments::port::store::{PaymentFilter, PaymentSelection};
use xthonpay_payments::snapshot::PaymentSnapshot;

use crate::answer::Answer;
use crate::api::Api;
use crate::cursor::Place;
use crate::door::Call;
use crate::error::{ApiError, Fault};
use crate::named::{Named, parse};
use crate::query::{limit, parameters};

/// A payment, and what it was for.
#[derive(Serialize)]
struct Payment {
    #[serde(flatten)]
    payment: PaymentSnapshot,
    /// The invoice of the address; `null` for the merchant's own address.
    invoice_id: Option<String>,
}

/// The merchant's payments by the time of their blocks, newest first, page by page.
pub(crate) async fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let (filter, limit) = filter(parameters(call.query())?)?;
    // One more than asked for tells whether another page follows.
    let mut deposits = api.invoicing.payments(call.caller().merchant(), &filter, limit.saturating_add(1)).await?;
    let more = deposits.len() > limit;
    deposits.truncate(limit);
    let next_cursor = deposits.last().filter(|_| more).map(|last| {
        let place = Place { at: last.block.time, id: last.id.clone() };
        place.encode()
    });
    Ok(Answer::page(deposits.iter().map(|deposit| shown(api, deposit)).collect(), next_cursor))
}

/// One payment.
pub(crate) async fn read(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let id = call.last_segment().parse::<DepositId>().map_err(|_| ApiError::not_found())?;
    let found = api.invoicing.payment(call.caller().merchant(), &id).await?;
    let deposit = found.ok_or_else(ApiError::not_found)?;
    Ok(Answer::data(shown(api, &deposit)))
}

fn filter(mut parameters: Named<String>) -> Result<(PaymentFilter, usize), ApiError> {
    let limit = limit(&mut parameters)?;
    let cursor = parameters.take("cursor");
    let cursor = cursor.map(|text| parse::<Place<DepositId>>(Fault::InvalidRequest, "cursor", &text)).transpose()?;
    let invoice = parameters.take("invoice_id");
    let invoice = invoice.map(|text| parse::<InvoiceId>(Fault::InvalidRequest, "invoice_id", &text)).transpose()?;
    parameters.finish()?;
    let select = invoice.map_or(PaymentSelection::All, PaymentSelection::OfInvoice);
    Ok((PaymentFilter { select, after: cursor.map(|place| (place.at, place.id)) }, limit))
}

fn shown(api: &Api, deposit: &Deposit) -> Payment {
    Payment {
        payment: PaymentSnapshot::new(deposit, api.catalog.as_ref()),
        invoice_id: deposit.invoice.as_ref().map(ToString::to_string),
    }
}
