//! How far chains are processed.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::{Cursor, Freeze};

use super::block::BlockPart;
use super::{Record, RowError, text_key};
use crate::table::Table;
use crate::whole::Whole;

/// A cursor as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct CursorRow {
    id: RecordId,
    tip: BlockPart,
    finalized: BlockPart,
    frozen: Option<FreezePart>,
    revision: Whole,
}

/// Why a chain is frozen, as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
struct FreezePart {
    reason: String,
    at: Whole,
}

/// The record of a chain's cursor.
pub(crate) fn id(chain: &ChainName) -> RecordId {
    Table::Cursor.record(chain.as_str())
}

impl Record for Cursor {
    const TABLE: Table = Table::Cursor;
    type Row = CursorRow;

    fn to_row(&self) -> CursorRow {
        CursorRow {
            id: id(&self.chain),
            tip: (&self.tip).into(),
            finalized: (&self.finalized).into(),
            frozen: self
                .frozen
                .as_ref()
                .map(|freeze| FreezePart { reason: freeze.reason.clone(), at: Whole(freeze.at.as_millis()) }),
            revision: Whole(self.revision),
        }
    }

    fn from_row(row: CursorRow) -> Result<Self, RowError> {
        Ok(Self {
            chain: text_key(&row.id)?,
            tip: row.tip.read()?,
            finalized: row.finalized.read()?,
            frozen: row.frozen.map(|freeze| Freeze { reason: freeze.reason, at: Timestamp::from_millis(freeze.at.0) }),
            revision: row.revision.0,
        })
    }
}
