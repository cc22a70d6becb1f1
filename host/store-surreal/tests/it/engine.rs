//! Stores to test: in memory, and in a directory that goes with the test.

use std::path::Path;

use surrealdb::Surreal;
use surrealdb::engine::any::{Any, connect};
use tempfile::TempDir;
use tokio::time::{Duration, sleep};
use xthonpay_payments::port::store::{Changeset, CommitError, Store, Write};
use xthonpay_store_surreal::{OpenError, SurrealConfig, SurrealStore};

/// The configuration of a store at an endpoint.
pub(crate) fn config(endpoint: &str) -> SurrealConfig {
    SurrealConfig {
        endpoint: endpoint.to_owned(),
        namespace: "xthonpay".to_owned(),
        database: "test".to_owned(),
        credentials: None,
        allow_volatile: true,
    }
}

/// The endpoint of a directory.
pub(crate) fn endpoint(directory: &Path) -> String {
    format!("surrealkv://{}", directory.display())
}

/// Opens the store in a directory.
pub(crate) async fn open(directory: &Path) -> Result<SurrealStore, OpenError> {
    SurrealStore::open(config(&endpoint(directory))).await
}

/// A directory that goes with the test.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Runs a test on a fresh store of each embedded engine.
pub(crate) async fn on_each_engine(test: impl AsyncFn(&SurrealStore)) {
    let memory = SurrealStore::open(config("mem://")).await.expect("memory opens");
    test(&memory).await;
    memory.close().await;
    on_disk(test).await;
}

/// Runs a test on a fresh store in a directory.
pub(crate) async fn on_disk(test: impl AsyncFn(&SurrealStore)) {
    let directory = directory();
    let store = open(directory.path()).await.expect("a fresh directory opens");
    test(&store).await;
    store.close().await;
}

/// Stores writes that must hold.
pub(crate) async fn stored(store: &SurrealStore, writes: impl IntoIterator<Item = Write>) {
    store.commit(writes.into_iter().collect()).await.expect("every expectation holds");
}

/// Stores one write that must hold.
pub(crate) async fn stored_one(store: &SurrealStore, write: Write) {
    stored(store, [write]).await;
}

/// What becomes of one write.
pub(crate) async fn outcome(store: &SurrealStore, write: Write) -> Result<(), CommitError> {
    store.commit(Changeset::new().with(write)).await
}

/// Works on the database in a directory beside the store, which must be closed.
pub(crate) async fn beside_the_store(directory: &Path, work: impl AsyncFnOnce(&Surreal<Any>)) {
    let address = format!("{}?sync=every", endpoint(directory));
    let db = connect(address.as_str()).await.expect("the store is closed");
    db.use_ns("xthonpay").use_db("test").await.expect("the database of the tests");
    work(&db).await;
    drop(db);
    // The engine closes in the background.
    for _ in 0..500 {
        let lock = std::fs::File::open(directory.join("LOCK")).expect("the engine has a lock file");
        if lock.try_lock().is_ok() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    unreachable!("the engine did not close");
}
