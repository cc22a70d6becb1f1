//! Balances of merchants.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::ledger::Balance;

use super::{Record, RowError, amount, key_parts, text_part};
use crate::table::{Table, text};
use crate::whole::Whole;

/// A merchant's balance of an asset, and how often it has changed.
pub(crate) struct StoredBalance {
    pub(crate) merchant: MerchantId,
    pub(crate) asset: AssetId,
    pub(crate) balance: Balance,
    pub(crate) revision: u64,
}

/// A balance as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct BalanceRow {
    id: RecordId,
    available: String,
    held: String,
    revision: Whole,
}

/// The record of a balance.
pub(crate) fn id(merchant: &MerchantId, asset: &AssetId) -> RecordId {
    Table::Balance.composite(vec![text(merchant.as_str()), text(&asset.to_string())])
}

impl Record for StoredBalance {
    const TABLE: Table = Table::Balance;
    type Row = BalanceRow;

    fn to_row(&self) -> BalanceRow {
        BalanceRow {
            id: id(&self.merchant, &self.asset),
            available: self.balance.available.to_string(),
            held: self.balance.held.to_string(),
            revision: Whole(self.revision),
        }
    }

    fn from_row(row: BalanceRow) -> Result<Self, RowError> {
        let [merchant, asset] = key_parts(&row.id)?;
        Ok(Self {
            merchant: text_part(&merchant)?,
            asset: text_part(&asset)?,
            balance: Balance { available: amount("available", &row.available)?, held: amount("held", &row.held)? },
            revision: row.revision.0,
        })
    }
}
