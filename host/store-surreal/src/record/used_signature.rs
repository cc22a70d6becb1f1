//! Signatures that are used up.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::access::KeyId;
use xthonpay_payments::port::store::UsedSignature;

use super::{Record, RowError, key_parts, text_part};
use crate::list::List;
use crate::table::{Table, text};
use crate::whole::Whole;

/// A used signature as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct UsedSignatureRow {
    id: RecordId,
    expires_at: Whole,
}

/// The record of a used signature.
pub(crate) fn id(key: &KeyId, signature: &str) -> RecordId {
    Table::UsedSignature.composite(vec![text(key.as_str()), text(signature)])
}

/// The list in which a used signature stands until it is forgotten.
pub(crate) fn entries(used: &UsedSignature) -> Vec<RecordId> {
    vec![List::expiring_signatures().signature(used.expires_at, &used.key, &used.signature)]
}

impl Record for UsedSignature {
    const TABLE: Table = Table::UsedSignature;
    type Row = UsedSignatureRow;

    fn to_row(&self) -> UsedSignatureRow {
        UsedSignatureRow { id: id(&self.key, &self.signature), expires_at: self.expires_at.into() }
    }

    fn from_row(row: UsedSignatureRow) -> Result<Self, RowError> {
        let [key, signature] = key_parts(&row.id)?;
        Ok(Self { key: text_part(&key)?, signature: text_part(&signature)?, expires_at: row.expires_at.into() })
    }
}
