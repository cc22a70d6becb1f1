//! Many callers at once: nothing is lost, nothing is done twice, and no one suffers for another.

use std::sync::Arc;

use tokio::task::JoinSet;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::ledger::Balance;
use xthonpay_payments::port::store::{Changeset, CommitError, Counter, READ_LIMIT_MAX, Store, Write};
use xthonpay_store_surreal::SurrealStore;

use crate::engine::{directory, on_each_engine, open};
use crate::samples;

/// Runs so many tasks on one store in a directory and returns what each said.
async fn all_at_once<T, F>(tasks: u64, task: impl Fn(Arc<SurrealStore>, u64) -> F) -> (Arc<SurrealStore>, Vec<T>)
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let directory = directory();
    let store = Arc::new(open(directory.path()).await.expect("a fresh directory opens"));
    let mut running = JoinSet::new();
    for number in 0..tasks {
        running.spawn(task(Arc::clone(&store), number));
    }
    let said = running.join_all().await;
    store.close().await;
    let store = Arc::new(open(directory.path()).await.expect("the store was closed"));
    (store, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_of_one_balance_lose_no_unit() {
    const EACH: u64 = 2;
    let one_more = async |store: &SurrealStore| loop {
        let (merchant, asset) = (samples::merchant_id(1), samples::asset());
        let (before, from_revision) = store.balance(&merchant, &asset).await.expect("readable");
        let available = before.available.checked_add(Amount::from_units(1)).expect("small");
        let balance = Balance { available, ..before };
        let write = Write::SetBalance { merchant, asset, balance, from_revision };
        match store.commit(Changeset::new().with(write)).await {
            Ok(()) => return,
            Err(CommitError::Refused) => {}
            Err(error) => unreachable!("the store works: {error}"),
        }
    };
    let (store, _) = all_at_once(64, |store, _| async move {
        for _ in 0..EACH {
            one_more(&store).await;
        }
    })
    .await;
    let (balance, revision) = store.balance(&samples::merchant_id(1), &samples::asset()).await.expect("readable");
    assert_eq!((balance, revision), (samples::balance(u128::from(64 * EACH)), 64 * EACH));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_creators_exactly_one_wins() {
    const ROUNDS: u64 = 200;
    const RACERS: u64 = 8;
    let (store, won) = all_at_once(RACERS, |store, racer| async move {
        let mut won = Vec::new();
        for round in 0..ROUNDS {
            // Each racer brings its own witness, to see that a loser leaves nothing behind.
            let witness = samples::event(round * RACERS + racer, 1);
            let invoice = Box::new(samples::invoice(round));
            let changes = [Write::CreateEvent(witness), Write::CreateInvoice(invoice)].into_iter().collect();
            match store.commit(changes).await {
                Ok(()) => won.push(round),
                Err(CommitError::Refused) => {}
                Err(error) => unreachable!("the store works: {error}"),
            }
        }
        won
    })
    .await;
    let mut won: Vec<u64> = won.into_iter().flatten().collect();
    won.sort_unstable();
    assert_eq!(won, (0..ROUNDS).collect::<Vec<_>>());
    assert_eq!(store.unrouted_events(READ_LIMIT_MAX).await.expect("readable").len() as u64, ROUNDS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_never_given_twice() {
    const EACH: u32 = 5;
    let (store, taken) = all_at_once(32, |store, number| async move {
        let counter = Counter::AddressIndex(samples::merchant_id(number % 2));
        let mut taken = Vec::new();
        for _ in 0..EACH {
            let first = store.take_numbers(&counter, 3).await.expect("the store works");
            taken.extend((first..first + 3).map(|index| (number % 2, index)));
        }
        taken
    })
    .await;
    let mut taken: Vec<(u64, u32)> = taken.into_iter().flatten().collect();
    taken.sort_unstable();
    let expected: Vec<(u64, u32)> = (0..2).flat_map(|counter| (0..16 * EACH * 3).map(move |n| (counter, n))).collect();
    assert_eq!(taken, expected, "no number twice, and none left out");
    let next = store.take_numbers(&Counter::AddressIndex(samples::merchant_id(0)), 1).await;
    assert_eq!(next, Ok(16 * EACH * 3), "counting goes on where it stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_changeset_among_many_good_ones_fails_alone() {
    on_each_engine(async |store| {
        let taken = |number: u64| number.is_multiple_of(10);
        let occupied = (0..100).filter(|number| taken(*number)).map(|number| Write::Post(samples::posting(number)));
        store.commit(occupied.collect()).await.expect("new");
        let commits = (0..100).map(|number| async move {
            let changes = [Write::CreateEvent(samples::event(number, 1)), Write::Post(samples::posting(number))];
            (number, store.commit(changes.into_iter().collect()).await)
        });
        for (number, outcome) in join_all(commits).await {
            let expected = if taken(number) { Err(CommitError::Refused) } else { Ok(()) };
            assert_eq!(outcome, expected, "{number}");
        }
        assert_eq!(store.unrouted_events(READ_LIMIT_MAX).await.expect("readable").len(), 90);
    })
    .await;
}

/// Polls all futures on this task until each is done.
async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, said) in &mut running {
            if said.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *said = Some(value);
            }
        }
        if running.iter().all(|(_, said)| said.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    running.into_iter().filter_map(|(_, said)| said).collect()
}

/// A transaction shows at one moment, also where a part of it is answered from memory: whoever sees a deposit sees the invoice
/// and the balance that it changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_sees_a_part_of_a_transaction() {
    const DEPOSITS: u64 = 100;
    let directory = directory();
    let store = Arc::new(open(directory.path()).await.expect("a fresh directory opens"));
    let first = samples::invoice(1);
    let created = Write::CreateInvoice(Box::new(first.clone()));
    store.commit(Changeset::new().with(created)).await.expect("stored");
    let writer = {
        let (store, mut invoice) = (Arc::clone(&store), first.clone());
        tokio::spawn(async move {
            let (merchant, asset) = (samples::merchant_id(1), samples::asset());
            for number in 1..=DEPOSITS {
                (invoice.revision, invoice.events) = (invoice.revision + 1, number + 1);
                let deposit = samples::deposit(number, Some(invoice.id.clone()));
                let balance = Write::SetBalance {
                    merchant: merchant.clone(),
                    asset: asset.clone(),
                    balance: samples::balance(number.into()),
                    from_revision: number - 1,
                };
                let changes = Changeset::new()
                    .with(Write::CreateDeposit(deposit))
                    .with(Write::UpdateInvoice(Box::new(invoice.clone())))
                    .with(balance);
                store.commit(changes).await.expect("stored");
            }
        })
    };
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (store, id) = (Arc::clone(&store), first.id.clone());
        readers.spawn(async move {
            loop {
                let seen = store.deposits_of_invoice(&id).await.expect("readable").len();
                let seen = u64::try_from(seen).expect("few");
                let invoice = store.invoice(&id).await.expect("readable").expect("was made");
                let (_, revision) = store.balance(&samples::merchant_id(1), &samples::asset()).await.expect("readable");
                assert!(
                    seen == 0 || invoice.events > seen,
                    "{seen} deposits, and an invoice of {} events",
                    invoice.events
                );
                assert!(revision >= seen, "{seen} deposits, and a balance of revision {revision}");
                if seen == DEPOSITS {
                    return;
                }
            }
        });
    }
    writer.await.expect("writes");
    readers.join_all().await;
    store.close().await;
}
