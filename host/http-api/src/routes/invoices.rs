//! `POST /invoices`, `GET /invoices`, `GET /invoices/{id}`, and what merchants decide about them.

mod decisions;
mod filter;
mod request;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::invoicing::Created;
use xthonpay_payments::snapshot::InvoiceSnapshot;

use crate::answer::Answer;
use crate::api::Api;
use crate::cursor::Place;
use crate::door::Call;
use crate::error::ApiError;
use crate::json::fields;
use crate::query::parameters;
pub(crate) use decisions::{cancel, resolve};
use filter::Wanted;

/// Invoices of a page whose payments are read at the same time: a page must not wait for a hundred reads in a row, nor take
/// the store for itself.
const READS_AT_ONCE: usize = 8;

/// Makes an invoice: 201, or 200 with the earlier one of the same external id and terms.
pub(crate) async fn create(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let new = request::new_invoice(api, call.caller().mode(), fields(call.headers(), call.body())?)?;
    match api.invoicing.create(call.caller(), new, &|invoice| created(api, invoice).to_bytes()).await? {
        Created::New(invoice) => Ok(created(api, &invoice)),
        Created::Existing(invoice) => Ok(Answer::data(with_payments(api, invoice).await?)),
    }
}

fn created(api: &Api, invoice: &Invoice) -> Answer {
    let base = api.config.public_url.as_str().trim_end_matches('/');
    let location = format!("{base}/api/v1/invoices/{}", invoice.id);
    Answer::data(InvoiceSnapshot::new(invoice, &[], api.catalog.as_ref())).created(&location)
}

/// One invoice with its payments.
pub(crate) async fn read(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    parameters(call.query())?.finish()?;
    let id = call.last_segment().parse::<InvoiceId>().map_err(|_| ApiError::not_found())?;
    let found = api.invoicing.get(call.caller().merchant(), &id).await?;
    let (invoice, deposits) = found.ok_or_else(ApiError::not_found)?;
    Ok(Answer::data(InvoiceSnapshot::new(&invoice, &deposits, api.catalog.as_ref())))
}

/// The merchant's invoices with their payments, newest first, page by page.
pub(crate) async fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let Wanted { filter, address, limit } = filter::read(parameters(call.query())?)?;
    let merchant = call.caller().merchant();
    let mut invoices = match address {
        // An address belongs to one invoice at most.
        Some(address) => {
            let found = api.invoicing.at_address(merchant, &address).await?;
            found.into_iter().filter(|invoice| filter.admits(invoice)).collect()
        }
        // One more than asked for tells whether another page follows.
        None => api.invoicing.list(merchant, &filter, limit.saturating_add(1)).await?,
    };
    let more = invoices.len() > limit;
    invoices.truncate(limit);
    let next_cursor = invoices.last().filter(|_| more).map(|last| {
        let place = Place { at: last.created_at, id: last.id.clone() };
        place.encode()
    });
    let snapshots = stream::iter(invoices).map(|invoice| with_payments(api, invoice));
    Ok(Answer::page(snapshots.buffered(READS_AT_ONCE).try_collect().await?, next_cursor))
}

async fn with_payments(api: &Api, invoice: Invoice) -> Result<InvoiceSnapshot, ApiError> {
    let deposits = api.invoicing.deposits(&invoice).await?;
    Ok(InvoiceSnapshot::new(&invoice, &deposits, api.catalog.as_ref()))
}
