//! The rows of one invoice as the pattern of others: same tables, same fields, same sizes, other ids.

use surrealdb::Surreal;
use surrealdb::engine::any::Any;
use surrealdb::types::{Array, Object, RecordId, RecordIdKey, ToSql as _, Value, Variables};

use super::BoxError;
use super::invoice::OwnTexts;

/// Tables whose rows were there before the invoice, or that count something.
const NOT_OF_THE_INVOICE: [&str; 5] = ["account", "counter", "merchant", "probe", "schema_version"];

/// The table of positions in lists.
const ENTRY: &str = "entry";

/// The table of invoices.
const INVOICE: &str = "invoice";

/// Digits at the end of a text that make it a text of one invoice: 64 bits.
const OWN_DIGITS: usize = 16;

/// The rows that one invoice adds to one table.
struct TableRows {
    table: String,
    rows: Vec<Value>,
}

/// The transaction that stores one invoice.
pub(crate) struct Pattern {
    tables: Vec<TableRows>,
    texts: Vec<String>,
    text: String,
}

impl Pattern {
    /// The pattern in a store that holds one invoice.
    pub(crate) async fn read(db: &Surreal<Any>, own: &OwnTexts) -> Result<Self, BoxError> {
        let mut tables = Vec::new();
        for table in names(db).await? {
            if NOT_OF_THE_INVOICE.contains(&table.as_str()) {
                continue;
            }
            // The name comes from the database itself.
            let found: Value = db.query(format!("SELECT * FROM {table};")).await?.check()?.take(0)?;
            let Value::Array(rows) = found else { return Err(format!("the table {table} gives no rows").into()) };
            if !rows.is_empty() {
                tables.push(TableRows { table, rows: rows.into_vec() });
            }
        }
        if tables.is_empty() {
            return Err("the store holds no invoice".into());
        }
        let mut pattern = Self { tables, texts: own.texts.clone(), text: String::new() };
        pattern.write_text();
        Ok(pattern)
    }

    /// Leaves out the positions in lists.
    pub(crate) fn drop_entries(&mut self) {
        self.tables.retain(|rows| rows.table != ENTRY);
        self.write_text();
    }

    /// The statements of the transaction: those with which the host stores new rows.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn write_text(&mut self) {
        let insert = |TableRows { table, .. }: &TableRows| format!("INSERT INTO {table} ${table} RETURN NONE;\n");
        let inserts: String = self.tables.iter().map(insert).collect();
        self.text = format!("BEGIN;\n{inserts}COMMIT;");
    }

    /// The rows of the invoice with this number; different numbers give different ids.
    pub(crate) fn fill(&self, number: u64) -> Variables {
        let digits = format!("{:016x}", mixed(number));
        let mut variables = Variables::new();
        for TableRows { table, rows } in &self.tables {
            let mut rows = rows.clone();
            rows.iter_mut().for_each(|row| self.rename(row, &digits));
            variables.insert(table.clone(), Array::from(rows));
        }
        variables
    }

    /// The record of the invoice with this number.
    pub(crate) fn invoice(&self, number: u64) -> Option<RecordId> {
        let rows = self.tables.iter().find(|rows| rows.table == INVOICE)?;
        let Value::Object(row) = rows.rows.first()? else { return None };
        let mut id = row.get("id")?.clone();
        self.rename(&mut id, &format!("{:016x}", mixed(number)));
        match id {
            Value::RecordId(id) => Some(id),
            _ => None,
        }
    }

    /// How many records one transaction makes.
    pub(crate) fn records(&self) -> usize {
        self.tables.iter().map(|rows| rows.rows.len()).sum()
    }

    /// Their size, written as text.
    pub(crate) fn bytes(&self) -> usize {
        self.tables.iter().flat_map(|rows| &rows.rows).map(|row| row.to_sql().len()).sum()
    }

    /// Checks that every table holds the pattern and `transactions` times as many rows as it has: nothing that was
    /// acknowledged is missing, and no two had the same id.
    pub(crate) async fn check_count(&self, db: &Surreal<Any>, transactions: u64) -> Result<(), BoxError> {
        for TableRows { table, rows } in &self.tables {
            let text = format!("SELECT VALUE count FROM ONLY (SELECT count() FROM {table} GROUP ALL) LIMIT 1;");
            let found: Option<i64> = db.query(text).await?.check()?.take(0)?;
            let each = u64::try_from(rows.len())?;
            let expected = transactions.saturating_add(1).saturating_mul(each);
            if found.and_then(|found| u64::try_from(found).ok()) != Some(expected) {
                return Err(format!("the table {table} has {found:?} rows and should have {expected}").into());
            }
        }
        Ok(())
    }

    fn rename(&self, value: &mut Value, digits: &str) {
        match value {
            Value::String(text) => self.rename_text(text, digits),
            Value::Array(values) => values.iter_mut().for_each(|value| self.rename(value, digits)),
            Value::Object(fields) => self.rename_fields(fields, digits),
            Value::RecordId(id) => match &mut id.key {
                RecordIdKey::String(text) => self.rename_text(text, digits),
                RecordIdKey::Array(parts) => parts.iter_mut().for_each(|part| self.rename(part, digits)),
                RecordIdKey::Object(fields) => self.rename_fields(fields, digits),
                RecordIdKey::Number(_) | RecordIdKey::Uuid(_) | RecordIdKey::Range(_) => {}
            },
            _ => {}
        }
    }

    fn rename_fields(&self, fields: &mut Object, digits: &str) {
        fields.values_mut().for_each(|value| self.rename(value, digits));
    }

    /// Gives every text of the invoice in `text` other digits at its end. The length stays.
    fn rename_text(&self, text: &mut String, digits: &str) {
        for own in &self.texts {
            let mut from = 0;
            while let Some(at) = text.get(from..).and_then(|rest| rest.find(own.as_str())) {
                from = from.saturating_add(at).saturating_add(own.len());
                text.replace_range(from.saturating_sub(OWN_DIGITS)..from, digits);
            }
        }
    }
}

/// The names of all tables.
async fn names(db: &Surreal<Any>) -> Result<Vec<String>, BoxError> {
    let info: Value = db.query("INFO FOR DB;").await?.check()?.take(0)?;
    let Value::Object(mut info) = info else { return Err("the database does not describe itself".into()) };
    match info.remove("tables") {
        Some(Value::Object(tables)) => Ok(tables.into_inner().into_keys().collect()),
        _ => Err("the database does not name its tables".into()),
    }
}

/// A number that looks random, as the host's ids do, and is different for different numbers: the last step of `SplitMix64`,
/// which can be undone.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
