//! Opening, closing and reopening: what is refused, with which words, and that nothing is lost.

use surrealdb::types::{RecordId, Value};
use xthonpay_payments::port::store::{Changeset, CommitError, Counter, FeedPosition, Store, StoreError, Write};
use xthonpay_store_surreal::{DirectoryError, EndpointError, OpenError, SchemaError, SurrealConfig, SurrealStore};

use crate::engine::{beside_the_store, config, directory, endpoint, on_each_engine, open, stored, stored_one};
use crate::samples;

/// What opening says that must fail.
async fn refused(config: SurrealConfig) -> OpenError {
    match SurrealStore::open(config).await {
        Ok(_) => unreachable!("must be refused"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_still_there_after_closing_and_after_dropping() {
    let directory = directory();
    let store = open(directory.path()).await.expect("a fresh directory opens");
    stored(
        &store,
        [
            Write::CreateMerchant(samples::merchant(1)),
            Write::CreateInvoice(Box::new(samples::invoice(1))),
            Write::CreateEvent(samples::event(1, 1)),
        ],
    )
    .await;
    assert_eq!(store.take_numbers(&Counter::AddressIndex(samples::merchant_id(1)), 2).await, Ok(0));
    store.close().await;
    store.close().await;

    let store = open(directory.path()).await.expect("closed");
    stored_one(&store, Write::CreateDelivery(Box::new(samples::delivery(1)))).await;
    drop(store);

    let store = open(directory.path()).await.expect("dropped");
    assert_eq!(store.merchant(&samples::merchant_id(1)).await, Ok(Some(samples::merchant(1))));
    assert_eq!(store.invoice(&samples::invoice_id(1)).await, Ok(Some(samples::invoice(1))));
    assert_eq!(store.unrouted_events(9).await, Ok(vec![samples::event(1, 1)]));
    assert_eq!(store.due_deliveries(samples::time(1), None, 9).await, Ok(vec![samples::delivery(1)]));
    assert_eq!(store.take_numbers(&Counter::AddressIndex(samples::merchant_id(1)), 1).await, Ok(2));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    on_each_engine(async |store| {
        store.close().await;
        let closed = Err(StoreError::Unavailable { reason: "the store is closed".to_owned() });
        assert_eq!(store.probe().await, closed);
        assert_eq!(store.merchant(&samples::merchant_id(1)).await.map(drop), closed);
        assert_eq!(store.feed(&samples::merchant_id(1), FeedPosition(0), 9).await.map(drop), closed);
        let late = store.commit(Changeset::new().with(Write::CreateEvent(samples::event(1, 1)))).await;
        assert_eq!(late, closed.map_err(CommitError::from));
    })
    .await;
}

#[tokio::test]
async fn a_second_opener_is_refused_and_told_what_to_do() {
    let directory = directory();
    let store = open(directory.path()).await.expect("a fresh directory opens");
    let second = refused(config(&endpoint(directory.path()))).await;
    assert!(matches!(second, OpenError::Directory(DirectoryError::InUse { .. })), "{second}");
    assert!(second.is_transient());
    let name = directory.path().file_name().expect("it has a name").to_string_lossy().into_owned();
    assert!(second.to_string().contains(&name) && second.to_string().contains("store.endpoint"), "{second}");
    // The first one has not noticed.
    assert_eq!(store.probe().await, Ok(()));
    store.close().await;
}

#[tokio::test]
async fn memory_and_unsynced_stores_are_refused() {
    let volatile = refused(SurrealConfig { allow_volatile: false, ..config("mem://") }).await;
    assert!(matches!(volatile, OpenError::Endpoint(EndpointError::Volatile)), "{volatile}");
    let directory = directory();
    for option in ["sync=never", "sync=1s"] {
        let unsynced = refused(config(&format!("{}?{option}", endpoint(directory.path())))).await;
        assert!(matches!(unsynced, OpenError::Endpoint(EndpointError::Option { .. })), "{unsynced}");
    }
    assert_eq!(directory.path().read_dir().expect("readable").count(), 0, "nothing was touched");
}

/// The engine has a thread of its own that syncs the log, in this mode only. Guards against a release of the engine that no
/// longer understands the option.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_engine_of_a_directory_syncs_its_log() {
    let directory = directory();
    let store = open(directory.path()).await.expect("a fresh directory opens");
    let tasks = std::fs::read_dir("/proc/self/task").expect("linux");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    // The system keeps 15 bytes of "surrealkv-commit-coordinator".
    assert!(names.into_iter().any(|name| name.trim_end() == "surrealkv-commi"), "no thread syncs the log");
    store.close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let directory = directory();
    open(directory.path()).await.expect("a fresh directory opens").close().await;
    beside_the_store(directory.path(), async |db| {
        let version = RecordId::new("schema_version", "current".to_owned());
        let changed = db.query("UPDATE $version SET number = 4711").bind(("version", version)).await;
        changed.and_then(surrealdb::IndexedResults::check).expect("the version is stored");
    })
    .await;
    let newer = refused(config(&endpoint(directory.path()))).await;
    assert!(matches!(newer, OpenError::Schema(SchemaError::Newer { stored: 4711, known: 6 })), "{newer}");
    assert!(newer.to_string().contains("4711") && newer.to_string().contains("up to 6"), "{newer}");
    assert!(!newer.is_transient());
    // The refused start let go of the directory.
    let again = refused(config(&endpoint(directory.path()))).await;
    assert!(matches!(again, OpenError::Schema(_)), "{again}");
}

#[tokio::test]
async fn a_damaged_version_is_reported() {
    let directory = directory();
    open(directory.path()).await.expect("a fresh directory opens").close().await;
    beside_the_store(directory.path(), async |db| {
        let changed = db.query("UPDATE schema_version SET number = 'one'").await;
        changed.and_then(surrealdb::IndexedResults::check).expect("the version is stored");
    })
    .await;
    let damaged = refused(config(&endpoint(directory.path()))).await;
    let expected = matches!(&damaged, OpenError::Schema(SchemaError::Store(StoreError::Damaged { table, .. }))
        if *table == "schema_version");
    assert!(expected, "{damaged}");
}

#[tokio::test]
async fn a_damaged_record_is_reported_and_the_others_are_read() {
    let directory = directory();
    let store = open(directory.path()).await.expect("a fresh directory opens");
    let (merchant, asset) = (samples::merchant_id(1), samples::asset());
    let set = |merchant: &xthonpay_domain::id::MerchantId| Write::SetBalance {
        merchant: merchant.clone(),
        asset: samples::asset(),
        balance: samples::balance(5),
        from_revision: 0,
    };
    stored(&store, [set(&merchant), set(&samples::merchant_id(2))]).await;
    store.close().await;
    beside_the_store(directory.path(), async |db| {
        let key = vec![Value::String(merchant.to_string()), Value::String(asset.to_string())];
        let id = RecordId::new("balance", surrealdb::types::RecordIdKey::Array(key.into()));
        let changed = db.query("UPDATE $id SET available = '5.0'").bind(("id", id)).await;
        changed.and_then(surrealdb::IndexedResults::check).expect("the balance is stored");
    })
    .await;
    let store = open(directory.path()).await.expect("closed");
    let damaged = store.balance(&merchant, &asset).await.expect_err("damaged");
    let StoreError::Damaged { table, reason } = &damaged else { unreachable!("not transient: {damaged}") };
    assert_eq!(*table, "balance");
    assert!(reason.contains(merchant.as_str()) && reason.contains("available"), "{reason}");
    assert_eq!(store.balance(&samples::merchant_id(2), &asset).await, Ok((samples::balance(5), 1)));
    store.close().await;
}
