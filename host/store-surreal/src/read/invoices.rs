//! A merchant's invoices, newest first.

use xthonpay_domain::id::MerchantId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::text::ExternalId;
use xthonpay_payments::port::store::{InvoiceFilter, StoreError};

use super::{Rows, by_id, listed};
use crate::connection::Connection;
use crate::list::List;
use crate::record::reservation::{TakenExternalId, external_id_id};
use crate::record::{self, Record};

/// A merchant's invoices that pass the filter.
pub(crate) async fn invoices(
    connection: &Connection,
    rows: &impl Rows,
    merchant: &MerchantId,
    filter: &InvoiceFilter,
    limit: usize,
) -> Result<Vec<Invoice>, StoreError> {
    if let Some(external_id) = &filter.external_id {
        let named = invoice_by_external_id(rows, merchant, external_id).await?;
        return Ok(named.into_iter().filter(|invoice| passes(invoice, filter)).take(limit).collect());
    }
    let list = match filter.state {
        Some(state) => List::invoices_in(merchant, state),
        None => List::invoices_of(merchant),
    };
    let after = filter.after.as_ref().map(|(time, id)| (*time, id.as_str()));
    listed(connection, list.newest(filter.created_from, filter.created_to, after), limit).await
}

/// A merchant's invoice by the merchant's own name.
pub(crate) async fn invoice_by_external_id(
    rows: &impl Rows,
    merchant: &MerchantId,
    external_id: &ExternalId,
) -> Result<Option<Invoice>, StoreError> {
    let Some(taken) = by_id::<TakenExternalId>(rows, external_id_id(merchant, external_id)).await? else {
        return Ok(None);
    };
    let invoice = by_id(rows, record::invoice::id(&taken.invoice)).await?;
    let missing = || StoreError::Damaged {
        table: TakenExternalId::TABLE.name(),
        reason: format!("an external id names {}, which is not there", taken.invoice),
    };
    invoice.ok_or_else(missing).map(Some)
}

/// What the ranges of a list do by their bounds, for a single invoice.
fn passes(invoice: &Invoice, filter: &InvoiceFilter) -> bool {
    let time = invoice.created_at;
    filter.state.is_none_or(|state| invoice.assessment.state == state)
        && filter.created_from.is_none_or(|from| from <= time)
        && filter.created_to.is_none_or(|to| time <= to)
        && filter.after.as_ref().is_none_or(|(at, id)| (time, &invoice.id) < (*at, id))
}
