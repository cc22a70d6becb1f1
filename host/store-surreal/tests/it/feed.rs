//! The feed: every event once, in the order of commits, without a gap that is filled later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{EventId, MerchantId};
use xthonpay_payments::port::store::{Changeset, CommitError, FeedPosition, READ_LIMIT_MAX, Store, Write};
use xthonpay_store_surreal::SurrealStore;

use crate::engine::{directory, on_each_engine, open, stored, stored_one};
use crate::samples;

fn event(merchant: u64, number: u64) -> Event {
    Event { merchant: samples::merchant_id(merchant), ..samples::event(number, 1) }
}

fn create(event: &Event) -> Write {
    Write::CreateEvent(event.clone())
}

/// A merchant's whole feed, read in pages.
async fn whole_feed(store: &SurrealStore, merchant: &MerchantId, limit: usize) -> Vec<(FeedPosition, Event)> {
    let mut all: Vec<(FeedPosition, Event)> = Vec::new();
    loop {
        let after = all.last().map(|(position, _)| *position).unwrap_or_default();
        let page = store.feed(merchant, after, limit).await.expect("readable");
        assert!(page.len() <= limit.min(READ_LIMIT_MAX));
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn grow(feed: &[(FeedPosition, Event)]) -> bool {
    feed.is_sorted_by(|(one, _), (next, _)| one < next)
}

#[tokio::test]
async fn a_feed_is_in_the_order_of_commits_and_of_writes_whatever_the_clock_says() {
    on_each_engine(async |store| {
        let events = [event(1, 9), event(1, 3), event(1, 7), event(1, 1)];
        let foreign = event(2, 5);
        stored(store, [create(&events[0]), create(&foreign), create(&events[1])]).await;
        stored_one(store, create(&events[2])).await;
        // Nobody hears of this one, and it stands in the feed nevertheless.
        stored(store, [create(&events[3]), Write::MarkRouted(events[3].id.clone())]).await;
        for limit in [1, 3, 99] {
            let feed = whole_feed(store, &samples::merchant_id(1), limit).await;
            assert!(grow(&feed));
            assert_eq!(feed.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), events, "in pages of {limit}");
        }
        let others = whole_feed(store, &samples::merchant_id(2), 9).await;
        assert_eq!(others.into_iter().map(|(_, event)| event).collect::<Vec<_>>(), [foreign]);
        for beyond in [FeedPosition(u64::MAX), FeedPosition(i64::MAX.unsigned_abs())] {
            assert_eq!(store.feed(&samples::merchant_id(1), beyond, 9).await, Ok(Vec::new()), "{beyond:?}");
        }
        assert_eq!(store.feed(&samples::merchant_id(1), FeedPosition(0), 0).await, Ok(Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_takes_no_place() {
    on_each_engine(async |store| {
        stored_one(store, create(&event(1, 1))).await;
        let refused = Changeset::new().with(create(&event(1, 2))).with(create(&event(1, 1)));
        assert_eq!(store.commit(refused).await, Err(CommitError::Refused));
        stored_one(store, create(&event(1, 3))).await;
        let feed = whole_feed(store, &samples::merchant_id(1), 9).await;
        assert_eq!(feed.iter().map(|(_, told)| told.id.clone()).collect::<Vec<_>>(), [event(1, 1).id, event(1, 3).id]);
    })
    .await;
}

#[tokio::test]
async fn a_feed_goes_on_behind_itself_when_the_store_is_opened_again() {
    let directory = directory();
    let mut last = FeedPosition::default();
    for round in 0..3 {
        let store = open(directory.path()).await.expect("closed");
        let before = whole_feed(&store, &samples::merchant_id(1), 9).await;
        assert_eq!(before.len() as u64, round * 2, "what was stored before is told at once");
        // The clock of the second round is behind that of the first.
        stored(&store, [create(&event(1, 100 - round)), create(&event(1, 200 + round))]).await;
        let added = store.feed(&samples::merchant_id(1), last, 9).await.expect("readable");
        assert_eq!(added.len(), 2);
        last = added.last().map(|(position, _)| *position).expect("two");
        store.close().await;
    }
}

/// Follows a merchant's feed as a client does, until `done` and nothing more comes.
async fn follow(store: Arc<SurrealStore>, merchant: MerchantId, done: Arc<AtomicBool>) -> Vec<EventId> {
    let mut followed = Vec::new();
    let mut after = FeedPosition::default();
    loop {
        let last_look = done.load(Ordering::SeqCst);
        let page = store.feed(&merchant, after, 7).await.expect("readable");
        assert!(grow(&page), "{page:?}");
        after = page.last().map_or(after, |(position, _)| *position);
        if page.is_empty() && last_look {
            return followed;
        }
        followed.extend(page.into_iter().map(|(_, event)| event.id));
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_a_feed_while_many_write_misses_nothing_and_hears_nothing_twice() {
    const WRITERS: u64 = 32;
    const EACH: u64 = 20;
    const MERCHANTS: u64 = 2;
    let directory = directory();
    let store = Arc::new(open(directory.path()).await.expect("a fresh directory opens"));
    let done = Arc::new(AtomicBool::new(false));
    let mut following = JoinSet::new();
    for merchant in 0..MERCHANTS {
        following.spawn(follow(Arc::clone(&store), samples::merchant_id(merchant), Arc::clone(&done)));
    }
    // The first changeset of each writer also makes an event that all of them make, so that groups are taken apart.
    let shared = event(0, 1_000_000);
    let mut writing = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, shared) = (Arc::clone(&store), shared.clone());
        writing.spawn(async move {
            let own = |number| event(writer % MERCHANTS, writer * EACH + number);
            let contested = Changeset::new().with(create(&own(0))).with(create(&shared));
            let won = match store.commit(contested).await {
                Ok(()) => 1,
                Err(CommitError::Refused) => {
                    stored_one(&store, create(&own(0))).await;
                    0
                }
                Err(error) => unreachable!("the store works: {error}"),
            };
            for number in 1..EACH {
                stored_one(&store, create(&own(number))).await;
            }
            won
        });
    }
    let won: u64 = writing.join_all().await.into_iter().sum();
    assert_eq!(won, 1);
    done.store(true, Ordering::SeqCst);
    let followed: Vec<EventId> = following.join_all().await.into_iter().flatten().collect();
    let different: BTreeSet<&EventId> = followed.iter().collect();
    let all: Vec<EventId> = (0..WRITERS * EACH).map(|number| event(0, number).id).chain([shared.id]).collect();
    assert_eq!(followed.len(), all.len());
    assert_eq!(different, all.iter().collect());
    store.close().await;
}
