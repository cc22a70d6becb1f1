//! Domain values as rows and back: one module per kind of record.
//!
//! A row is what the store holds; it names its own record in the field `id`. Reading a row rebuilds the domain value through
//! the domain's own constructors. A row that does not parse is reported as damaged; nothing is guessed or filled in.

pub(crate) mod address;
pub(crate) mod attestation;
pub(crate) mod balance;
pub(crate) mod block;
pub(crate) mod counter;
pub(crate) mod cursor;
pub(crate) mod delivery;
pub(crate) mod deposit;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod invoice;
pub(crate) mod kept_answer;
pub(crate) mod key;
pub(crate) mod key_use;
pub(crate) mod merchant;
pub(crate) mod plugin_item;
pub(crate) mod posting;
pub(crate) mod reservation;
pub(crate) mod used_signature;

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use core::fmt::Display;
use core::str::FromStr;

use surrealdb::types::{Array, Object, RecordId, RecordIdKey, SurrealValue, Value};
use thiserror::Error;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::StoreError;

use crate::table::Table;
use crate::whole::Whole;

/// What the store holds of a record: only fields that have a value.
pub(crate) type Row = Object;

/// The field in which a record that moves between lists remembers where it stands, see [`crate::list`].
pub(crate) const LISTED: &str = "listed";
/// The field that names the record.
pub(crate) const ID: &str = "id";
/// The field that counts the changes of a record.
pub(crate) const REVISION: &str = "revision";

/// A kind of record.
pub(crate) trait Record: Sized {
    /// Where it is stored.
    const TABLE: Table;
    /// Its form in the store.
    type Row: SurrealValue;

    /// The record as it is stored.
    fn to_row(&self) -> Self::Row;

    /// The record from its stored form.
    fn from_row(row: Self::Row) -> Result<Self, RowError>;
}

/// A row that is not a record.
#[derive(Debug, Error)]
pub(crate) enum RowError {
    /// A field that does not parse.
    #[error("{field}: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The key of the record does not have the form of its table.
    #[error("its id has the wrong form")]
    Key,
    /// Fields that each parse contradict one another.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// The row of a record, without the fields that are absent, in its parts too: the store drops those, and rows are compared.
pub(crate) fn encode<R: Record>(record: &R) -> Row {
    let mut row = Row::from_value(record.to_row().into_value()).expect("a struct with named fields becomes an object");
    drop_absent(&mut row);
    row
}

fn drop_absent(fields: &mut Object) {
    fields.retain(|_, value| !matches!(value, Value::None));
    for value in fields.values_mut() {
        match value {
            Value::Object(part) => drop_absent(part),
            Value::Array(parts) => parts.iter_mut().for_each(|part| {
                if let Value::Object(part) = part {
                    drop_absent(part);
                }
            }),
            _ => {}
        }
    }
}

/// The record in a value that the store returned.
pub(crate) fn decode<R: Record>(value: Value) -> Result<R, StoreError> {
    let name = name_of(&value);
    let damaged = |reason: String| StoreError::Damaged { table: R::TABLE.name(), reason: format!("{name}: {reason}") };
    let row = R::Row::from_value(value).map_err(|error| damaged(error.message().to_owned()))?;
    R::from_row(row).map_err(|error| damaged(error.to_string()))
}

/// How a damaged record is called in a message.
fn name_of(value: &Value) -> String {
    let id = match value {
        Value::None => return "a list names a record that is not there".to_owned(),
        Value::Object(row) => row.get(ID),
        _ => None,
    };
    id.map_or_else(|| "a row without id".to_owned(), surrealdb::types::ToSql::to_sql)
}

/// Where the row says that its record stands, as record ids of entries.
pub(crate) fn listed(row: &Row) -> Vec<Value> {
    match row.get(LISTED) {
        Some(Value::Array(entries)) => entries.to_vec(),
        _ => Vec::new(),
    }
}

/// Says in the row that its record stands in no list.
pub(crate) fn unlist(row: &mut Row) {
    row.insert(LISTED, Array::new());
}

/// Reads a text field.
pub(crate) fn parse<T>(field: &'static str, text: &str) -> Result<T, RowError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| RowError::Field { field, reason: error.to_string() })
}

/// Reads a text field that may be absent.
pub(crate) fn parse_option<T>(field: &'static str, text: Option<&str>) -> Result<Option<T>, RowError>
where
    T: FromStr,
    T::Err: Display,
{
    text.map(|text| parse(field, text)).transpose()
}

/// Reads an amount in base units.
pub(crate) fn amount(field: &'static str, text: &str) -> Result<Amount, RowError> {
    Amount::parse_units(text).map_err(|error| RowError::Field { field, reason: error.to_string() })
}

/// Reads the word of one of a closed set.
pub(crate) fn word<T: Copy>(
    field: &'static str,
    text: &str,
    all: &[T],
    word_of: fn(T) -> &'static str,
) -> Result<T, RowError> {
    let unknown = || RowError::Field { field, reason: "an unknown word".to_owned() };
    all.iter().copied().find(|value| word_of(*value) == text).ok_or_else(unknown)
}

/// The text that is a record's key.
pub(crate) fn text_key<T>(id: &RecordId) -> Result<T, RowError>
where
    T: FromStr,
{
    match &id.key {
        RecordIdKey::String(key) => key.parse().map_err(|_| RowError::Key),
        _ => Err(RowError::Key),
    }
}

/// The parts of a record's key.
pub(crate) fn key_parts<const N: usize>(id: &RecordId) -> Result<[Value; N], RowError> {
    match &id.key {
        RecordIdKey::Array(parts) => parts.to_vec().try_into().map_err(|_| RowError::Key),
        _ => Err(RowError::Key),
    }
}

/// A part of a key that is a text.
pub(crate) fn text_part<T: FromStr>(part: &Value) -> Result<T, RowError> {
    match part {
        Value::String(text) => text.parse().map_err(|_| RowError::Key),
        _ => Err(RowError::Key),
    }
}

impl From<Timestamp> for Whole {
    fn from(time: Timestamp) -> Self {
        Self(time.as_millis())
    }
}

impl From<Whole> for Timestamp {
    fn from(millis: Whole) -> Self {
        Self::from_millis(millis.0)
    }
}
