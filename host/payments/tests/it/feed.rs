//! The feed: in the order of commits, without gaps, page by page.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xthonpay_domain::access::SignatureScheme;
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{EventId, MerchantId};
use xthonpay_payments::feed::Feed;
use xthonpay_payments::port::store::{Changeset, FeedPosition, Store as _, Write};

use crate::delivery::paid_invoice;
use crate::world::{BEGINNING, World};

fn event(number: u64, kind: EventKind, merchant: &MerchantId) -> Event {
    Event {
        id: format!("evt_{number:032x}").parse().expect("well formed"),
        kind,
        at: BEGINNING,
        merchant: merchant.clone(),
        invoice: None,
        deposit: None,
        sequence: 0,
        data_json: "{}".to_owned(),
    }
}

/// What a client sees that pages to the end of what there is, and where it stands then.
async fn follow(
    feed: &Feed,
    merchant: &MerchantId,
    mut after: FeedPosition,
    kinds: &BTreeSet<EventKind>,
    limit: usize,
) -> (Vec<EventId>, FeedPosition) {
    let mut seen = Vec::new();
    loop {
        let page = feed.read(merchant, after, kinds, limit).await.expect("the store answers");
        assert!(page.events.len() <= limit);
        seen.extend(page.events.into_iter().map(|(_, event)| event.id));
        after = page.next;
        if !page.has_more {
            return (seen, after);
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_show_every_event_once_in_its_order() {
    let (mut world, caller) = World::started().await;
    let stranger = world.principal(SignatureScheme::Request).await;
    for _ in 0..3 {
        paid_invoice(&mut world, &caller).await;
        paid_invoice(&mut world, &stranger).await;
    }
    let all: Vec<EventId> = {
        let own = |event: &&Arc<Event>| event.merchant == *caller.merchant();
        world.store.tables().events.iter().filter(own).map(|event| event.id.clone()).collect()
    };
    let every: BTreeSet<EventKind> = EventKind::ALL.into();
    for limit in [1, 2, 3, all.len() - 1, all.len(), all.len() + 1, 100] {
        let (seen, end) = follow(&world.feed(), caller.merchant(), FeedPosition(0), &every, limit).await;
        assert_eq!(seen, all, "{limit} at a time");
        assert_eq!(follow(&world.feed(), caller.merchant(), end, &every, limit).await, (Vec::new(), end));
    }
}

#[tokio::test]
async fn a_filter_skips_no_event_and_looks_through_a_bounded_number() {
    let (world, caller) = World::started().await;
    // 5,000 events, of which every 700th is wanted.
    let kind = |number| if number % 700 == 0 { EventKind::InvoicePaid } else { EventKind::PaymentDetected };
    let events: Vec<Event> = (1..=5_000).map(|number| event(number, kind(number), caller.merchant())).collect();
    world.store.commit(events.iter().cloned().map(Write::CreateEvent).collect()).await.expect("stored");
    let wanted: Vec<EventId> =
        events.iter().filter(|event| event.kind == EventKind::InvoicePaid).map(|event| event.id.clone()).collect();
    assert_eq!(wanted.len(), 7);
    let paid = BTreeSet::from([EventKind::InvoicePaid]);
    for limit in [1, 2, 7, 100] {
        let (seen, _) = follow(&world.feed(), caller.merchant(), FeedPosition(0), &paid, limit).await;
        assert_eq!(seen, wanted, "{limit} at a time");
    }
    let nothing = BTreeSet::from([EventKind::Ping]);
    let before = world.store.faults.reads();
    let page = world.feed().read(caller.merchant(), FeedPosition(0), &nothing, 100).await.expect("the store answers");
    assert!(page.events.is_empty() && page.has_more && page.next > FeedPosition(0));
    assert!(world.store.faults.reads() - before <= 8);
    let (seen, _) = follow(&world.feed(), caller.merchant(), FeedPosition(0), &nothing, 100).await;
    assert_eq!(seen, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_follows_while_others_write_misses_nothing() {
    let (world, caller) = World::started().await;
    let merchant = caller.merchant().clone();
    let stopped = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let (store, merchant) = (world.store.clone(), merchant.clone());
            tokio::spawn(async move {
                for number in 0..60 {
                    let event = event(writer * 1_000 + number, EventKind::InvoicePaid, &merchant);
                    let changes = Changeset::new().with(Write::CreateEvent(event));
                    store.commit(changes).await.expect("the store takes it");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let follower = {
        let (feed, merchant, stopped) = (world.feed(), merchant.clone(), stopped.clone());
        tokio::spawn(async move {
            let (mut seen, mut at) = (Vec::new(), FeedPosition(0));
            loop {
                let last = stopped.load(Ordering::SeqCst);
                let (found, next) = follow(&feed, &merchant, at, &EventKind::ALL.into(), 7).await;
                seen.extend(found);
                at = next;
                if last {
                    return seen;
                }
                tokio::task::yield_now().await;
            }
        })
    };
    for writer in writers {
        writer.await.expect("ends");
    }
    stopped.store(true, Ordering::SeqCst);
    let seen = follower.await.expect("ends");
    let stored: Vec<EventId> = world.store.tables().events.iter().map(|event| event.id.clone()).collect();
    assert_eq!(seen.len(), 240);
    assert_eq!(seen, stored);
}

#[tokio::test]
async fn an_event_is_shown_to_its_owner_alone() {
    let (mut world, caller) = World::started().await;
    let stranger = world.principal(SignatureScheme::Request).await;
    paid_invoice(&mut world, &caller).await;
    let event = Event::clone(&world.store.tables().events[0]);
    assert_eq!(world.feed().event(caller.merchant(), &event.id).await, Ok(Some(event.clone())));
    assert_eq!(world.feed().event(stranger.merchant(), &event.id).await, Ok(None));
    let (seen, _) = follow(&world.feed(), stranger.merchant(), FeedPosition(0), &EventKind::ALL.into(), 10).await;
    assert_eq!(seen, []);
}
