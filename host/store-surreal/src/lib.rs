//! The store of the host in SurrealDB; the only crate that names it.
//!
//! [`SurrealStore`] implements the port `xthonpay_payments::port::store::Store`. Five decisions carry the rest:
//!
//! - **Records are found by their id.** Whatever must be unique is a record's id, created or refused inside the transaction.
//!   Lists are ranges of ids in a table of entries that have no content. There is no secondary index, so nothing depends on
//!   one being unique, and no query on a planner.
//! - **Expectations are checked inside the transaction** and cancel it. A refused expectation, a conflict with another
//!   transaction, a failure and an unclear outcome are told apart by the type of the error; an unclear one is cleared up by
//!   reading the records again.
//! - **Changesets are stored in groups.** One task puts changesets that have no record in common into one transaction and
//!   acknowledges each when that transaction is on disk. If one of a group is refused, the others are stored without it.
//! - **Records are read in groups too.** Questions for single records that wait at the same time are one statement.
//! - **Events get their places when they are stored.** The same task numbers them, so the order of the feed is the order of the
//!   commits, and readers are told of a place only when it is on disk.
//!
//! What this crate does not do: it never reads a clock, never draws a random number, and never decides anything about money.

mod config;
mod connection;
mod directory;
mod hot;
mod lane;
mod list;
mod numbers;
mod open;
mod plan;
mod read;
mod reader;
mod record;
mod schema;
mod space;
mod statements;
mod store;
mod table;
#[cfg(test)]
mod testing;
mod tx;
mod whole;
mod writer;

pub use config::{Credentials, EndpointError, SurrealConfig};
pub use directory::DirectoryError;
pub use open::OpenError;
pub use schema::SchemaError;
pub use store::SurrealStore;
