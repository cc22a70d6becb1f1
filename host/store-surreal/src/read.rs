//! Reading: records by their id, and lists as ranges of keys.
//!
//! These are all the texts that read; none scans a table but in pages. Each call is one statement and so sees one state of the store.

mod deliveries;
mod events;
mod invoices;
mod payments;

use core::ops::Bound;

use surrealdb::types::{Array, RecordId, RecordIdKey, RecordIdKeyRange, Value, Variables};
use xthonpay_domain::address::Address;
use xthonpay_domain::text::ItemKey;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::storage::{Item, Space};
use xthonpay_payments::port::store::{AttestationRecord, READ_LIMIT_MAX, StoreError};

pub(crate) use deliveries::deliveries;
pub(crate) use events::{feed, unrouted_events, unrouted_events_behind};
pub(crate) use invoices::{invoice_by_external_id, invoices};
pub(crate) use payments::payments;

use crate::connection::{Connection, bind};
use crate::record::plugin_item::StoredItem;
use crate::record::{ID, Record, RowError, address, attestation, decode, plugin_item, text_key};
use crate::table::Table;

// Why a range stands in a call that changes nothing: the engine stops reading at the limit only where the source of a SELECT
// is a table or a call. From a bare parameter or a literal it reads the whole range first, and a page costs as much as the
// list is long; see `docs/throughput.md`. A test looks at the engine's plans.

/// The key of an entry ends in the key of the record that stands there.
const LISTED: &str =
    "SELECT VALUE type::record($table, array::last(record::id(id))).* FROM array::first([$range]) LIMIT $limit;";
/// For each range of entries, the records that stand there.
const LISTED_IN_EACH: &str = "RETURN $ranges.map(|$range| \
    (SELECT VALUE type::record($table, array::last(record::id(id))).* FROM array::first([$range]) LIMIT $limit));";
const LISTED_ALL: &str = "SELECT VALUE type::record($table, array::last(record::id(id))).* FROM $range;";
const IDS: &str = "SELECT VALUE id FROM array::first([$range]) LIMIT $limit;";
const ROWS: &str = "SELECT * FROM array::first([$range]) LIMIT $limit;";
/// A row for each id, and nothing in the place of one that is not there.
const ROWS_OF: &str = "RETURN $ids.*;";

/// Whoever can be asked for a row.
pub(crate) trait Rows {
    /// The row of one record, if it is there.
    fn row(&self, id: RecordId) -> impl Future<Output = Result<Option<Value>, StoreError>> + Send;
}

/// A record by its id.
pub(crate) async fn by_id<R: Record>(rows: &impl Rows, id: RecordId) -> Result<Option<R>, StoreError> {
    rows.row(id).await?.map(decode).transpose()
}

/// The rows with these ids in their order, as they are at one moment; [`Value::None`] in the place of one that is not there.
pub(crate) async fn rows_of(connection: &Connection, ids: Vec<RecordId>) -> Result<Vec<Value>, StoreError> {
    let asked: Array = ids.iter().cloned().map(Value::RecordId).collect();
    let rows = list(connection.read(ROWS_OF, bind("ids", asked)).await?);
    if are_of(&rows, &ids) {
        return Ok(rows);
    }
    Err(StoreError::Unavailable {
        reason: "the store answered with other records than those it was asked for".to_owned(),
    })
}

/// Whether there is a row of each id in its place, or nothing. No record may be taken for another one, or for one that is
/// not there, because an engine answers in another way than it did.
fn are_of(rows: &[Value], ids: &[RecordId]) -> bool {
    let is_of = |(row, id): (&Value, &RecordId)| match row {
        Value::None => true,
        Value::Object(row) => matches!(row.get(ID), Some(Value::RecordId(found)) if found == id),
        _ => false,
    };
    rows.len() == ids.len() && rows.iter().zip(ids).all(is_of)
}

/// The first records of a part of a list, at most [`READ_LIMIT_MAX`].
pub(crate) async fn listed<R: Record>(
    connection: &Connection,
    range: RecordId,
    limit: usize,
) -> Result<Vec<R>, StoreError> {
    decode_all(connection.read(LISTED, bind_list(R::TABLE, range, Some(limit))).await?)
}

/// The first records of parts of several lists, at most [`READ_LIMIT_MAX`] of each, as they are at one moment.
pub(crate) async fn listed_in_each<R: Record>(
    connection: &Connection,
    ranges: Vec<RecordId>,
    limit: usize,
) -> Result<Vec<R>, StoreError> {
    let mut variables = bind("ranges", Array::from(ranges));
    variables.insert("table", R::TABLE.name().to_owned());
    variables.insert("limit", limit.min(READ_LIMIT_MAX));
    let found = list(connection.read(LISTED_IN_EACH, variables).await?);
    found.into_iter().flat_map(list).map(decode).collect()
}

/// Every record of a part of a list.
pub(crate) async fn listed_all<R: Record>(connection: &Connection, range: RecordId) -> Result<Vec<R>, StoreError> {
    decode_all(connection.read(LISTED_ALL, bind_list(R::TABLE, range, None)).await?)
}

/// The first ids in a range of a table.
pub(crate) async fn ids(connection: &Connection, range: RecordId, limit: usize) -> Result<Vec<RecordId>, StoreError> {
    let found = connection.read(IDS, bind_range(range, limit)).await?;
    let id = |value| match value {
        Value::RecordId(id) => Some(id),
        _ => None,
    };
    Ok(list(found).into_iter().filter_map(id).collect())
}

/// Records of a table in the order of their keys, from the one behind `after`.
pub(crate) async fn rows<R: Record>(
    connection: &Connection,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Vec<R>, StoreError> {
    decode_all(connection.read(ROWS, bind_range(behind(R::TABLE, after), limit)).await?)
}

/// Values of a plugin's space whose keys begin with a prefix, from the one behind `after`.
pub(crate) async fn plugin_items(
    connection: &Connection,
    space: &Space,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(ItemKey, Item)>, StoreError> {
    let key = |key: &str| plugin_item::id(space, key).key;
    let start = match after.filter(|after| *after >= prefix) {
        Some(after) => Bound::Excluded(key(after)),
        None => Bound::Included(key(prefix)),
    };
    // The last key that can begin like this: no character sorts behind this one, and no key holds it.
    let end = Bound::Included(key(&format!("{prefix}{}", char::MAX)));
    let range = range_of(Table::PluginItem, start, end);
    let stored: Vec<StoredItem> = decode_all(connection.read(ROWS, bind_range(range, limit)).await?)?;
    Ok(stored.into_iter().map(|stored| (stored.key, stored.item)).collect())
}

/// Uses of signers in ascending order, from the one behind `after`.
pub(crate) async fn attestations(
    connection: &Connection,
    after: Option<(Timestamp, &str)>,
    limit: usize,
) -> Result<Vec<AttestationRecord>, StoreError> {
    rows(connection, after.map(|(at, id)| attestation::id(at, id)), limit).await
}

/// Addresses of ours in ascending order, from the one behind `after`, without what they are for.
pub(crate) async fn address_list(
    connection: &Connection,
    after: Option<Address>,
    limit: usize,
) -> Result<Vec<Address>, StoreError> {
    let found = ids(connection, behind(Table::Address, after.as_ref().map(address::id)), limit).await?;
    let damaged = |error: RowError| StoreError::Damaged { table: Table::Address.name(), reason: error.to_string() };
    found.iter().map(|id| text_key(id).map_err(damaged)).collect()
}

/// What comes in a table behind a record.
fn behind(table: Table, after: Option<RecordId>) -> RecordId {
    range_of(table, after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.key)), Bound::Unbounded)
}

/// A range of the records of a table.
pub(crate) fn range_of(table: Table, start: Bound<RecordIdKey>, end: Bound<RecordIdKey>) -> RecordId {
    RecordId::new(table.name(), RecordIdKey::Range(Box::new(RecordIdKeyRange { start, end })))
}

fn bind_list(table: Table, range: RecordId, limit: Option<usize>) -> Variables {
    let mut variables = bind("table", table.name().to_owned());
    variables.insert("range", range);
    if let Some(limit) = limit {
        variables.insert("limit", limit.min(READ_LIMIT_MAX));
    }
    variables
}

fn bind_range(range: RecordId, limit: usize) -> Variables {
    let mut variables = bind("range", range);
    variables.insert("limit", limit.min(READ_LIMIT_MAX));
    variables
}

fn decode_all<R: Record>(value: Value) -> Result<Vec<R>, StoreError> {
    list(value).into_iter().map(decode).collect()
}

/// The values of an array.
pub(crate) fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.into_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
