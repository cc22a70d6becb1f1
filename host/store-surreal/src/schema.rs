//! The schema: numbered migrations, each applied once and in order.
//!
//! The number of the last one applied stands in the store and moves in the same transaction as its statements. A store that
//! is ahead of this program is refused: an older program would not understand its rows.
//!
//! Tables have no field definitions. The row types of [`crate::record`] are the only description of a row: they write it
//! whole and refuse to read anything else, which a second description in the database could only contradict.

use surrealdb::types::{RecordId, SurrealValue, Value};
use thiserror::Error;
use xthonpay_payments::port::store::StoreError;

use crate::connection::{Connection, bind_id};
use crate::table::Table;
use crate::tx::{Outcome, Script, tx};
use crate::whole::Whole;

/// Every migration, the first one in front. Its number is its place, counted from 1. Never changed once released.
const MIGRATIONS: [&str; 6] = [
    include_str!("schema/0001_tables.surql"),
    include_str!("schema/0002_suspended.surql"),
    include_str!("schema/0003_deposits_on.surql"),
    include_str!("schema/0004_merchant_surface.surql"),
    include_str!("schema/0005_plugins.surql"),
    include_str!("schema/0006_side_by_side.surql"),
];

/// The newest schema that this program knows.
pub(crate) const KNOWN: u64 = MIGRATIONS.len() as u64;

/// How often the version is looked at. Each look applies a migration or finds that another host did.
const STEPS_MAX: usize = 2 * MIGRATIONS.len() + 8;

/// Where the version itself is kept: needed before the first migration can be looked for.
const DEFINE_VERSION_TABLE: &str = "DEFINE TABLE IF NOT EXISTS schema_version SCHEMALESS;";
const READ_VERSION: &str = "SELECT VALUE number FROM ONLY $id;";
const CHECK_VERSION: &str = "IF ((SELECT VALUE number FROM ONLY $id) ?? 0) != $before { THROW \"expectation\" };";
const WRITE_VERSION: &str = "UPSERT ONLY $id SET number = $number RETURN NONE;";

/// A store whose schema cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// A newer program has used the store.
    #[error(
        "the store has schema {stored} and this program knows schemas up to {known}: \
         start the newer program, or restore a backup from before it"
    )]
    Newer {
        /// The version in the store.
        stored: u64,
        /// The newest version that this program knows.
        known: u64,
    },
    /// A migration did not go through.
    #[error(
        "migration {number} of the store failed: {reason}. Nothing of it is stored; it is tried again at the next start"
    )]
    Migration {
        /// Which.
        number: u64,
        /// Why.
        reason: String,
    },
    /// The version cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SchemaError {
    /// Whether the same start may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Newer { .. } => false,
            Self::Migration { .. } => true,
            Self::Store(error) => error.is_transient(),
        }
    }
}

/// Brings the store to the newest schema.
pub(crate) async fn migrate(connection: &Connection) -> Result<(), SchemaError> {
    define_version_table(connection).await?;
    for _ in 0..STEPS_MAX {
        let stored = version(connection).await?;
        if stored > KNOWN {
            return Err(SchemaError::Newer { stored, known: KNOWN });
        }
        let applied = usize::try_from(stored).unwrap_or(usize::MAX);
        let Some(migration) = MIGRATIONS.get(applied) else { return Ok(()) };
        apply(connection, stored, migration).await?;
    }
    let reason = "other hosts kept changing the schema at the same time".to_owned();
    Err(StoreError::Unavailable { reason }.into())
}

async fn define_version_table(connection: &Connection) -> Result<(), StoreError> {
    let mut script = Script::default();
    script.push(DEFINE_VERSION_TABLE);
    match tx(connection, script).await {
        // In conflict: another host defines it.
        Outcome::Committed | Outcome::Refused | Outcome::Conflict => Ok(()),
        Outcome::Failed(reason) | Outcome::Unknown(reason) => Err(StoreError::Unavailable { reason }),
    }
}

fn version_id() -> RecordId {
    Table::SchemaVersion.record("current")
}

/// The number of the last migration; 0 before the first.
async fn version(connection: &Connection) -> Result<u64, StoreError> {
    match connection.read(READ_VERSION, bind_id(version_id())).await? {
        Value::None => Ok(0),
        number => Whole::from_value(number).map(|number| number.0).map_err(|error| StoreError::Damaged {
            table: Table::SchemaVersion.name(),
            reason: format!("number: {}", error.message()),
        }),
    }
}

async fn apply(connection: &Connection, before: u64, migration: &str) -> Result<(), SchemaError> {
    let number = before.saturating_add(1);
    let mut script = Script::default();
    script.push(CHECK_VERSION);
    script.push(migration);
    script.push(WRITE_VERSION);
    script.bind("id", version_id());
    script.bind("before", Whole(before));
    script.bind("number", Whole(number));
    match tx(connection, script).await {
        // Refused or in conflict: another host migrates the same store. The version is read again.
        Outcome::Committed | Outcome::Refused | Outcome::Conflict => {
            tracing::info!(number, "the store has a new schema");
            Ok(())
        }
        Outcome::Failed(reason) | Outcome::Unknown(reason) => Err(SchemaError::Migration { number, reason }),
    }
}
