//! What a secondary index costs a write: rows a second into tables with no, one, two and four indexes.
//!
//! `cargo run --release -p xthonpay-store-surreal --example index_cost`. Works on a fresh directory below the system's
//! temporary one, which is removed afterwards. Each line is the best of twenty transactions of fifty rows.

use std::error::Error;
use std::io::{Write as _, stdout};
use std::time::Duration;

use surrealdb::engine::any::{Any, connect};
use surrealdb::types::{Array, Object, RecordId, Value};
use surrealdb::{IndexedResults, Surreal};
use tokio::time::Instant;

const ROWS: u32 = 50;
const TRANSACTIONS: u32 = 20;
/// A table and the fields that each of its indexes covers.
const TABLES: [(&str, &[&str]); 5] = [
    ("no_index", &[]),
    ("one_index", &["time"]),
    ("one_index_on_nothing", &["absent"]),
    ("two_indexes", &["time", "merchant, time"]),
    ("four_indexes", &["time", "merchant, time", "merchant, state, time", "absent"]),
];

type Failure = Box<dyn Error + Send + Sync>;

/// A row of the size of a small record.
fn row(table: &str, transaction: u32, number: u32) -> Value {
    let mut row = Object::new();
    row.insert("id", RecordId::new(table, format!("inv_{transaction:016}{number:016}")));
    row.insert("merchant", "mer_00000000000000000000000000000001".to_owned());
    row.insert("state", "pending".to_owned());
    row.insert("time", i64::from(number));
    for field in ["due", "received", "pending", "overpaid", "missing", "address"] {
        row.insert(field, "50000000000000000000".to_owned());
    }
    Value::Object(row)
}

async fn define(db: &Surreal<Any>, table: &str, indexes: &[&str]) -> Result<(), Failure> {
    db.query(format!("DEFINE TABLE {table} SCHEMALESS")).await?.check()?;
    for (number, fields) in indexes.iter().enumerate() {
        db.query(format!("DEFINE INDEX i{number} ON {table} FIELDS {fields}")).await?.check()?;
    }
    Ok(())
}

/// The shortest time that a transaction into the table took.
async fn best(db: &Surreal<Any>, table: &str) -> Result<Duration, Failure> {
    let text = format!("BEGIN; INSERT INTO {table} $rows RETURN NONE; COMMIT");
    let mut best = Duration::MAX;
    for transaction in 0..TRANSACTIONS {
        let rows: Vec<Value> = (0..ROWS).map(|number| row(table, transaction, number)).collect();
        let before = Instant::now();
        db.query(&text).bind(("rows", Array::from(rows))).await.and_then(IndexedResults::check)?;
        best = best.min(before.elapsed());
    }
    Ok(best)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let db = connect(format!("surrealkv://{}?sync=every", directory.path().display())).await?;
    db.use_ns("xthonpay").use_db("index_cost").await?;
    for (table, indexes) in TABLES {
        define(&db, table, indexes).await?;
        let best = best(&db, table).await?;
        writeln!(stdout().lock(), "{table}: {:?} a row", best / ROWS)?;
    }
    Ok(())
}
