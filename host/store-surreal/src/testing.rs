//! Stores for this crate's own tests.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::test_runner::{Config, RngSeed};
use xthonpay_payments::port::store::{Changeset, Write};

use crate::config::SurrealConfig;
use crate::connection::Connection;
use crate::hot::Hot;
use crate::plan::Plan;
use crate::record::samples;
use crate::space::Space;
use crate::writer::{Feed, Writer};

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

/// How the laws of a test are tried: the seed is printed, and `XTHONPAY_TEST_SEED` sets it.
pub(crate) fn laws(name: &str) -> Config {
    let given = std::env::var("XTHONPAY_TEST_SEED").ok().map(|text| text.parse().expect("the seed is a number"));
    // The standard library seeds its hash tables from the system.
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let _ = writeln!(std::io::stderr(), "{name}: XTHONPAY_TEST_SEED={seed}");
    // Each case is a transaction and a read, of a debug build.
    Config { cases: 48, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}

/// A store in a directory.
pub(crate) async fn on_disk(directory: &Path) -> Connection {
    let endpoint = format!("surrealkv://{}", directory.display());
    crate::open::open(&SurrealConfig { endpoint, ..memory_config() }).await.expect("the directory is free")
}

/// A store in memory that takes a disk with so much room for its own, and how to change the room.
pub(crate) async fn with_free_bytes(bytes: u64) -> (Connection, impl Fn(u64)) {
    let free = Arc::new(AtomicU64::new(bytes));
    let connection = memory().await.with_space(Space::Pretended(Arc::clone(&free)));
    (connection, move |bytes| free.store(bytes, Ordering::Relaxed))
}

/// A plan of writes that can all hold.
pub(crate) fn plan(writes: impl IntoIterator<Item = Write>) -> Plan {
    Plan::new(&writes.into_iter().collect::<Changeset>()).expect("no contradiction")
}

/// A plan that makes an event.
pub(crate) fn create(number: u64) -> Plan {
    plan([Write::CreateEvent(samples::event(number, 1))])
}

/// A writer of a store.
pub(crate) async fn writer(connection: &Arc<Connection>) -> Writer {
    let feed = Feed::open(connection).await.expect("the store has a feed");
    Writer::start(Arc::clone(connection), Arc::new(feed), Arc::new(Hot::new()))
}

/// A store in memory of its own.
pub(crate) async fn memory() -> Connection {
    crate::open::open(&memory_config()).await.expect("memory is always free")
}
