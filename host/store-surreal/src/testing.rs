//! Stores for this crate's own tests.

use crate::config::SurrealConfig;
use crate::connection::Connection;

/// The configuration of a store in memory.
pub(crate) fn memory_config() -> SurrealConfig {
    SurrealConfig {
        endpoint: "mem://".to_owned(),
        namespace: "xthonpay".to_owned(),
        database: "test".to_owned(),
        credentials: None,
        allow_volatile: true,
    }
}

/// A store in memory of its own.
pub(crate) async fn memory() -> Connection {
    crate::open::open(&memory_config()).await.expect("memory is always free")
}
