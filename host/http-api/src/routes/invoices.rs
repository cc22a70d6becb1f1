//! `POST /invoices`, `GET /invoices`, `GET /invoices/{id}`.

mod filter;
mod request;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::invoicing::Created;
use xthonpay_payments::snapshot::InvoiceSnapshot;

use crate::answer::Answer;
use crate::api::Api;
use crate::cursor::InvoiceCursor;
use crate::door::Call;
use crate::error::ApiError;
use crate::json::fields;
use crate::query::parameters;

/// Invoices of a page whose payments are read at the same time: a page must not wait for a hundred reads in a row, nor take
/// the store for itself.
const READS_AT_ONCE: usize = 8;

/// Makes an invoice: 201, or 200 with the earlier one of the same external id and terms.
pub(crate) async fn create(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let new = request::new_invoice(api, fields(call.headers(), call.body())?)?;
    match api.invoicing.create(call.caller(), new).await? {
        Created::New(invoice) => {
            let base = api.config.public_url.as_str().trim_end_matches('/');
            let location = format!("{base}/api/v1/invoices/{}", invoice.id);
            let snapshot = InvoiceSnapshot::new(&invoice, &[], api.catalog.as_ref());
            Ok(Answer::data(snapshot)?.created(&location))
        }
        Created::Existing(invoice) => Answer::data(with_payments(api, invoice).await?),
    }
}

/// One invoice with its payments.
pub(crate) async fn read(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let id = call.last_segment().parse::<InvoiceId>().map_err(|_| ApiError::not_found())?;
    let found = api.invoicing.get(call.caller().merchant(), &id).await?;
    let (invoice, deposits) = found.ok_or_else(ApiError::not_found)?;
    Answer::data(InvoiceSnapshot::new(&invoice, &deposits, api.catalog.as_ref()))
}

/// The merchant's invoices with their payments, newest first, page by page.
pub(crate) async fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let (filter, limit) = filter::read(parameters(call.query())?)?;
    // One more than asked for tells whether another page follows.
    let mut invoices = api.invoicing.list(call.caller().merchant(), &filter, limit.saturating_add(1)).await?;
    let more = invoices.len() > limit;
    invoices.truncate(limit);
    let next_cursor = invoices.last().filter(|_| more).map(|last| {
        let cursor = InvoiceCursor { created_at: last.created_at, id: last.id.clone() };
        cursor.encode()
    });
    let snapshots = stream::iter(invoices).map(|invoice| with_payments(api, invoice));
    Answer::page(snapshots.buffered(READS_AT_ONCE).try_collect().await?, next_cursor)
}

async fn with_payments(api: &Api, invoice: Invoice) -> Result<InvoiceSnapshot, ApiError> {
    let deposits = api.store.deposits_of_invoice(&invoice.id).await?;
    Ok(InvoiceSnapshot::new(&invoice, &deposits, api.catalog.as_ref()))
}
