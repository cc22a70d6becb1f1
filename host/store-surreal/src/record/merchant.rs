//! Merchants.

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::access::Mode;
use xthonpay_domain::id::MerchantId;
use xthonpay_payments::port::store::Merchant;
use xthonpay_payments::port::vault::Sealed;

use super::{Record, RowError, parse, text_key, word};
use crate::table::Table;
use crate::whole::Whole;

const MODES: [Mode; 2] = [Mode::Live, Mode::Test];

/// A merchant as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct MerchantRow {
    id: RecordId,
    account: u32,
    mode: String,
    name: String,
    created_at: Whole,
    webhook_secret: Bytes,
}

/// The record of a merchant.
pub(crate) fn id(merchant: &MerchantId) -> RecordId {
    Table::Merchant.record(merchant.as_str())
}

impl Record for Merchant {
    const TABLE: Table = Table::Merchant;
    type Row = MerchantRow;

    fn to_row(&self) -> MerchantRow {
        MerchantRow {
            id: id(&self.id),
            account: self.account,
            mode: self.mode.name().to_owned(),
            name: self.name.to_string(),
            created_at: self.created_at.into(),
            webhook_secret: self.webhook_secret.0.clone().into(),
        }
    }

    fn from_row(row: MerchantRow) -> Result<Self, RowError> {
        Ok(Self {
            id: text_key(&row.id)?,
            account: row.account,
            mode: word("mode", &row.mode, &MODES, Mode::name)?,
            name: parse("name", &row.name)?,
            created_at: row.created_at.into(),
            webhook_secret: Sealed(row.webhook_secret.to_vec()),
        })
    }
}
