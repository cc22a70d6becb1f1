//! Whole tables in pages: each record once, in the order of the keys, whatever the size of a page.

use std::fmt::Debug;

use surrealdb::types::RecordId;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::ledger::Posting;
use xthonpay_payments::port::store::{READ_LIMIT_MAX, Store, StoreError, Write};
use xthonpay_store_surreal::SurrealStore;

use crate::engine::{beside_the_store, directory, on_each_engine, open, stored};
use crate::samples;

/// Reads page by page until one is empty.
async fn all_pages<T: Clone, K>(
    key: impl Fn(&T) -> K,
    page: impl AsyncFn(Option<K>) -> Result<Vec<T>, StoreError>,
) -> Vec<T> {
    let mut all = Vec::new();
    loop {
        let found = page(all.last().map(&key)).await.expect("readable");
        if found.is_empty() {
            return all;
        }
        all.extend(found);
    }
}

/// That a table holds these records, in pages of every size.
async fn pages_of<T: Clone + PartialEq + Debug, K>(
    expected: &[T],
    key: impl Fn(&T) -> K,
    page: impl AsyncFn(Option<K>, usize) -> Result<Vec<T>, StoreError>,
) {
    for limit in 1..=expected.len() + 1 {
        let found = all_pages(&key, async |after| page(after, limit).await).await;
        assert_eq!(found, expected, "in pages of {limit}");
    }
    assert_eq!(page(None, 0).await, Ok(Vec::new()));
    assert_eq!(page(expected.last().map(key), usize::MAX).await, Ok(Vec::new()));
}

/// Deposits in the order of their ids.
fn deposits(count: u64) -> Vec<Deposit> {
    let mut deposits: Vec<Deposit> = (1..=count).map(|number| samples::deposit(number, None)).collect();
    deposits.sort_by(|a, b| a.id.cmp(&b.id));
    deposits
}

/// A posting that sets a deposit aside.
fn suspension(deposit: &Deposit) -> Posting {
    Posting::suspend_deposit(deposit, samples::time(1)).expect("an amount above zero")
}

#[tokio::test]
async fn merchants_deposits_and_postings_page_by_id() {
    on_each_engine(async |store| {
        let merchants: Vec<_> = (1..=5).map(samples::merchant).collect();
        let deposits = deposits(5);
        let mut postings: Vec<Posting> = (1..=5).map(samples::posting).collect();
        postings.sort_by(|a, b| a.id().cmp(b.id()));
        let of_merchants = merchants.iter().cloned().map(Write::CreateMerchant);
        let of_deposits = deposits.iter().cloned().map(Write::CreateDeposit);
        let of_postings = postings.iter().cloned().map(Write::Post);
        stored(store, of_merchants.chain(of_deposits).chain(of_postings)).await;

        let page = async |after: Option<_>, limit| store.merchants(after.as_ref(), limit).await;
        pages_of(&merchants, |merchant| merchant.id.clone(), page).await;
        let page = async |after: Option<_>, limit| store.deposits(after.as_ref(), limit).await;
        pages_of(&deposits, |deposit| deposit.id.clone(), page).await;
        let page = async |after: Option<_>, limit| store.postings(after.as_ref(), limit).await;
        pages_of(&postings, |posting| posting.id().clone(), page).await;
        assert_eq!(store.posting(postings[2].id()).await, Ok(Some(postings[2].clone())));
    })
    .await;
}

#[tokio::test]
async fn balances_page_by_merchant_and_asset() {
    on_each_engine(async |store| {
        let asset = |text: &str| text.parse().expect("an asset id");
        let mut all = Vec::new();
        for (merchant, name) in [(1_u64, "bsc:BNB"), (1, "bsc:USDT"), (2, "bsc:USDT"), (3, "bsc:BNB")] {
            all.push((samples::merchant_id(merchant), asset(name), samples::balance(merchant.into())));
        }
        let set = |(merchant, asset, balance): &(_, _, _)| Write::SetBalance {
            merchant: Clone::clone(merchant),
            asset: Clone::clone(asset),
            balance: *balance,
            from_revision: 0,
        };
        stored(store, all.iter().rev().map(set)).await;
        let page = async |after: Option<_>, limit| store.balances(after.as_ref(), limit).await;
        pages_of(&all, |(merchant, asset, _)| (merchant.clone(), asset.clone()), page).await;
    })
    .await;
}

#[tokio::test]
async fn suspended_deposits_are_those_that_a_posting_has_set_aside() {
    on_each_engine(async |store| {
        let all = deposits(7);
        let (credited, suspended) = all.split_at(3);
        let credit = |deposit| Posting::credit_deposit(deposit, samples::time(1)).expect("an amount above zero");
        let postings = credited.iter().map(credit).chain(suspended.iter().map(suspension)).map(Write::Post);
        stored(store, all.iter().cloned().map(Write::CreateDeposit).chain(postings)).await;
        let page = async |after: Option<_>, limit| store.suspended_deposits(after.as_ref(), limit).await;
        pages_of(suspended, |deposit| deposit.id.clone(), page).await;

        // The list says who stands in it, not how: the deposit is read as it is now.
        let done = suspended[0].finalised().expect("seen");
        let update = Write::UpdateDeposit { before: Box::new(suspended[0].clone()), after: Box::new(done.clone()) };
        stored(store, [update]).await;
        assert_eq!(store.suspended_deposits(None, 1).await, Ok(vec![done]));
    })
    .await;
}

#[tokio::test]
async fn no_page_of_a_table_is_longer_than_the_limit_of_the_port() {
    on_each_engine(async |store| {
        let all = deposits(READ_LIMIT_MAX as u64 + 5);
        let suspensions = all.iter().map(suspension).map(Write::Post);
        stored(store, all.iter().cloned().map(Write::CreateDeposit).chain(suspensions)).await;
        assert_eq!(store.deposits(None, usize::MAX).await.expect("readable").len(), READ_LIMIT_MAX);
        assert_eq!(store.postings(None, usize::MAX).await.expect("readable").len(), READ_LIMIT_MAX);
        assert_eq!(store.suspended_deposits(None, usize::MAX).await.expect("readable").len(), READ_LIMIT_MAX);
        let read = all_pages(
            |deposit: &Deposit| deposit.id.clone(),
            async |after| store.deposits(after.as_ref(), usize::MAX).await,
        );
        assert_eq!(read.await, all);
    })
    .await;
}

/// What a store of the first schema holds: no deposit that is set aside stands in a list.
async fn made_by_the_first_schema(store: SurrealStore, directory: &std::path::Path) {
    store.close().await;
    beside_the_store(directory, async |db| {
        let emptied = db.query("DELETE entry; UPDATE $version SET number = 1");
        let version = RecordId::new("schema_version", "current".to_owned());
        emptied.bind(("version", version)).await.and_then(|results| results.check()).expect("both statements run");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_from_before_the_list_of_suspended_deposits_gets_it() {
    let directory = directory();
    let store = open(directory.path()).await.expect("a fresh directory opens");
    let all = deposits(4);
    let credit = Posting::credit_deposit(&all[0], samples::time(1)).expect("an amount above zero");
    let postings = [credit, suspension(&all[1]), suspension(&all[3])].map(Write::Post);
    stored(&store, all.iter().cloned().map(Write::CreateDeposit).chain(postings)).await;
    made_by_the_first_schema(store, directory.path()).await;

    let store = open(directory.path()).await.expect("an older store opens");
    assert_eq!(store.suspended_deposits(None, 9).await, Ok(vec![all[1].clone(), all[3].clone()]));
    store.close().await;
    let store = open(directory.path()).await.expect("and again");
    assert_eq!(store.suspended_deposits(None, 9).await, Ok(vec![all[1].clone(), all[3].clone()]));
}
