//! Values that plugins keep.

use surrealdb::types::{Bytes, RecordId, SurrealValue};
use xthonpay_domain::text::ItemKey;
use xthonpay_payments::port::lending::storage::{Item, Space};

use super::{Record, RowError, key_parts, text_part};
use crate::table::{Table, text};
use crate::whole::Whole;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredItem {
    pub(crate) space: Space,
    pub(crate) key: ItemKey,
    pub(crate) item: Item,
}

/// A value as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct ItemRow {
    id: RecordId,
    value: Bytes,
    revision: Whole,
    expires_at: Option<Whole>,
}

/// The record of a value. A value about nobody stands under an empty merchant.
pub(crate) fn id(space: &Space, key: &str) -> RecordId {
    let merchant = space.merchant.as_ref().map_or("", |merchant| merchant.as_str());
    Table::PluginItem.composite([space.plugin.as_str(), merchant, space.label.as_str(), key].map(text).to_vec())
}

impl Record for StoredItem {
    const TABLE: Table = Table::PluginItem;
    type Row = ItemRow;

    fn to_row(&self) -> ItemRow {
        ItemRow {
            id: id(&self.space, self.key.as_str()),
            value: self.item.value.clone().into(),
            revision: Whole(self.item.revision),
            expires_at: self.item.expires_at.map(Into::into),
        }
    }

    fn from_row(row: ItemRow) -> Result<Self, RowError> {
        let [plugin, merchant, label, key] = key_parts(&row.id)?;
        let merchant: String = text_part(&merchant)?;
        let about = |_| RowError::Key;
        Ok(Self {
            space: Space {
                plugin: text_part(&plugin)?,
                merchant: (!merchant.is_empty()).then(|| merchant.parse().map_err(about)).transpose()?,
                label: text_part(&label)?,
            },
            key: text_part(&key)?,
            item: Item {
                value: row.value.to_vec(),
                revision: row.revision.0,
                expires_at: row.expires_at.map(Into::into),
            },
        })
    }
}
