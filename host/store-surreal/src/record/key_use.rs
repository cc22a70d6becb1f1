//! When keys were last used. A row of its own, so that noting it never stands in the way of a change of the key.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::access::KeyId;
use xthonpay_domain::time::Timestamp;

use super::{Record, RowError, text_key};
use crate::table::Table;
use crate::whole::Whole;

/// When a key was last used.
pub(crate) struct KeyUse {
    pub(crate) key: KeyId,
    pub(crate) at: Timestamp,
}

/// The last use of a key as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct KeyUseRow {
    id: RecordId,
    at: Whole,
}

/// The record of a key's last use.
pub(crate) fn id(key: &KeyId) -> RecordId {
    Table::KeyUse.record(key.as_str())
}

impl Record for KeyUse {
    const TABLE: Table = Table::KeyUse;
    type Row = KeyUseRow;

    fn to_row(&self) -> KeyUseRow {
        KeyUseRow { id: id(&self.key), at: self.at.into() }
    }

    fn from_row(row: KeyUseRow) -> Result<Self, RowError> {
        Ok(Self { key: text_key(&row.id)?, at: row.at.into() })
    }
}
