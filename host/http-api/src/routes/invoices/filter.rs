//! What a list of invoices may be narrowed by.

use jiff::Timestamp as Instant;
use xthonpay_domain::address::Address;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::InvoiceFilter;

use crate::cursor::Place;
use crate::error::{ApiError, Fault};
use crate::named::{Named, parse};
use crate::query::limit;

/// Which invoices are asked for.
pub(super) struct Wanted {
    pub(super) filter: InvoiceFilter,
    /// Only the one to which this address belongs.
    pub(super) address: Option<Address>,
    /// How many.
    pub(super) limit: usize,
}

/// What the parameters describe.
pub(super) fn read(mut parameters: Named<String>) -> Result<Wanted, ApiError> {
    let limit = limit(&mut parameters)?;
    let cursor = parameters.take("cursor");
    let cursor = cursor.map(|text| parse::<Place<InvoiceId>>(Fault::InvalidRequest, "cursor", &text)).transpose()?;
    let external_id = parameters.take("external_id");
    let address = parameters.take("address");
    let filter = InvoiceFilter {
        state: parameters.take("status").map(|text| state(&text)).transpose()?,
        external_id: external_id.map(|text| parse(Fault::InvalidRequest, "external_id", &text)).transpose()?,
        created_from: moment(&mut parameters, "created_gte")?,
        created_to: moment(&mut parameters, "created_lte")?,
        after: cursor.map(|place| (place.at, place.id)),
    };
    let address = address.map(|text| parse(Fault::InvalidAddress, "address", &text)).transpose()?;
    parameters.finish()?;
    Ok(Wanted { filter, address, limit })
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
