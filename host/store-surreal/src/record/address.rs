//! Addresses of ours. Their key is the address in lower-case hexadecimal, so that the table is in the order of addresses.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::address::Address;
use xthonpay_payments::port::store::OwnAddress;

use super::{Record, RowError, parse, parse_option, text_key};
use crate::list::List;
use crate::table::Table;

/// An address as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct AddressRow {
    id: RecordId,
    merchant: String,
    invoice: Option<String>,
    index: u32,
}

/// The record of an address.
pub(crate) fn id(address: &Address) -> RecordId {
    Table::Address.record(&address.to_lower_hex())
}

/// The list in which an address stands for ever.
pub(crate) fn entries(own: &OwnAddress) -> Vec<RecordId> {
    let of_merchant = || List::deposit_addresses(&own.merchant).address(own.index, &own.address);
    own.invoice.is_none().then(of_merchant).into_iter().collect()
}

impl Record for OwnAddress {
    const TABLE: Table = Table::Address;
    type Row = AddressRow;

    fn to_row(&self) -> AddressRow {
        AddressRow {
            id: id(&self.address),
            merchant: self.merchant.to_string(),
            invoice: self.invoice.as_ref().map(ToString::to_string),
            index: self.index,
        }
    }

    fn from_row(row: AddressRow) -> Result<Self, RowError> {
        Ok(Self {
            address: text_key(&row.id)?,
            merchant: parse("merchant", &row.merchant)?,
            invoice: parse_option("invoice", row.invoice.as_deref())?,
            index: row.index,
        })
    }
}
