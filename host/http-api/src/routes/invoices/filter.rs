//! What a list of invoices may be narrowed by.

use jiff::Timestamp as Instant;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::InvoiceFilter;

use crate::cursor::InvoiceCursor;
use crate::error::{ApiError, Fault};
use crate::named::{Named, parse};
use crate::query::limit;

/// The filter that the parameters describe, and how many invoices are wanted.
pub(super) fn read(mut parameters: Named<String>) -> Result<(InvoiceFilter, usize), ApiError> {
    let limit = limit(&mut parameters)?;
    let cursor = parameters.take("cursor").map(|text| parse::<InvoiceCursor>(Fault::InvalidRequest, "cursor", &text));
    let external_id = parameters.take("external_id");
    let filter = InvoiceFilter {
        state: parameters.take("status").map(|text| state(&text)).transpose()?,
        external_id: external_id.map(|text| parse(Fault::InvalidRequest, "external_id", &text)).transpose()?,
        created_from: moment(&mut parameters, "created_gte")?,
        created_to: moment(&mut parameters, "created_lte")?,
        after: cursor.transpose()?.map(|cursor| (cursor.created_at, cursor.id)),
    };
    parameters.finish()?;
    Ok((filter, limit))
}

fn state(text: &str) -> Result<InvoiceState, ApiError> {
    InvoiceState::from_name(text).ok_or_else(|| {
        let names = InvoiceState::ALL.map(InvoiceState::name).join(", ");
        ApiError::at(Fault::InvalidRequest, "status", format!("status must be one of: {names}"))
    })
}

fn moment(parameters: &mut Named<String>, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = parameters.take(name) else { return Ok(None) };
    let millis = text.parse::<Instant>().ok().and_then(|instant| u64::try_from(instant.as_millisecond()).ok());
    let millis = millis.ok_or_else(|| {
        let message = format!("{name} must be RFC 3339, such as 2026-01-31T12:00:00Z; write the + of an offset as %2B");
        ApiError::at(Fault::InvalidRequest, name, message)
    })?;
    Ok(Some(Timestamp::from_millis(millis)))
}
