//! Names that may be taken once: account numbers and external ids. The record's id is what is reserved, so that two takers
//! cannot both win; its row says who has it.

use surrealdb::types::{RecordId, RecordIdKey, SurrealValue};
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::text::ExternalId;

use super::{Record, RowError, key_parts, parse, text_part};
use crate::table::{Table, text};

/// An account number with its merchant.
pub(crate) struct TakenAccount {
    pub(crate) account: u32,
    pub(crate) merchant: MerchantId,
}

/// A merchant's external id with its invoice.
pub(crate) struct TakenExternalId {
    pub(crate) merchant: MerchantId,
    pub(crate) external_id: ExternalId,
    pub(crate) invoice: InvoiceId,
}

/// An account number as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct AccountRow {
    id: RecordId,
    merchant: String,
}

/// An external id as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct ExternalIdRow {
    id: RecordId,
    invoice: String,
}

/// The record of an account number.
pub(crate) fn account_id(account: u32) -> RecordId {
    RecordId::new(Table::Account.name(), i64::from(account))
}

/// The record of a merchant's external id.
pub(crate) fn external_id_id(merchant: &MerchantId, external_id: &ExternalId) -> RecordId {
    Table::ExternalId.composite(vec![text(merchant.as_str()), text(external_id.as_str())])
}

impl Record for TakenAccount {
    const TABLE: Table = Table::Account;
    type Row = AccountRow;

    fn to_row(&self) -> AccountRow {
        AccountRow { id: account_id(self.account), merchant: self.merchant.to_string() }
    }

    fn from_row(row: AccountRow) -> Result<Self, RowError> {
        let RecordIdKey::Number(account) = row.id.key else { return Err(RowError::Key) };
        let account = u32::try_from(account).map_err(|_| RowError::Key)?;
        Ok(Self { account, merchant: parse("merchant", &row.merchant)? })
    }
}

impl Record for TakenExternalId {
    const TABLE: Table = Table::ExternalId;
    type Row = ExternalIdRow;

    fn to_row(&self) -> ExternalIdRow {
        ExternalIdRow { id: external_id_id(&self.merchant, &self.external_id), invoice: self.invoice.to_string() }
    }

    fn from_row(row: ExternalIdRow) -> Result<Self, RowError> {
        let [merchant, external_id] = key_parts(&row.id)?;
        Ok(Self {
            merchant: text_part(&merchant)?,
            external_id: text_part(&external_id)?,
            invoice: parse("invoice", &row.invoice)?,
        })
    }
}
