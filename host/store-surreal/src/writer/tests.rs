//! How plans are put together and what becomes of them.

use surrealdb::types::RecordId;
use tokio::task::JoinSet;
use xthonpay_domain::id::{EventId, MerchantId};
use xthonpay_payments::port::store::{FeedPosition, Write};

use super::presence::Presence;
use super::*;
use crate::lane::Lane;
use crate::record::{balance, samples};
use crate::testing::{create, memory, plan};
use crate::{read, statements, tx};

fn set_balance(merchant: &MerchantId, units: u128, from_revision: u64) -> Plan {
    let (merchant, asset, balance) = (merchant.clone(), samples::asset(), samples::balance(units));
    plan([Write::SetBalance { merchant, asset, balance, from_revision }])
}

fn job(plan: Plan) -> Job {
    Job { plan, done: oneshot::channel().0 }
}

/// Plans whose callers wait, and where these are told.
fn awaited(plans: impl Iterator<Item = Plan>) -> (Vec<Job>, Vec<oneshot::Receiver<Result<(), CommitError>>>) {
    let with_caller = |plan| {
        let (done, answer) = oneshot::channel();
        (Job { plan, done }, answer)
    };
    plans.map(with_caller).unzip()
}

fn waiting(plans: impl IntoIterator<Item = Plan>) -> VecDeque<Job> {
    plans.into_iter().map(job).collect()
}

async fn feed(connection: &Connection) -> Arc<Feed> {
    Arc::new(Feed::open(connection).await.expect("readable"))
}

fn records(group: &[Job]) -> Vec<RecordId> {
    group.iter().flat_map(|job| job.plan.records().cloned()).collect()
}

#[test]
fn plans_of_one_record_are_never_together_and_keep_their_order() {
    let merchant = samples::merchant_id(1);
    let mut waiting = waiting([set_balance(&merchant, 1, 1), set_balance(&merchant, 2, 2), create(1), create(2)]);
    let balance = balance::id(&merchant, &samples::asset());
    let first = next_group(&mut waiting);
    assert_eq!(first.len(), 3, "all but the second change of the balance");
    assert_eq!(records(&first).iter().filter(|record| **record == balance).count(), 1);
    assert_eq!(records(&next_group(&mut waiting)), [balance]);
    assert!(next_group(&mut waiting).is_empty());
}

#[test]
fn a_plan_does_not_overtake_an_earlier_one_that_waits() {
    let (first, second) = (samples::event(1, 1), samples::event(2, 1));
    let block = Write::PutBlock { chain: samples::chain(), block: samples::block(1) };
    let mut waiting = waiting([
        plan([block.clone()]),
        plan([block, Write::CreateEvent(first.clone())]),
        plan([Write::MarkRouted(first.id)]),
        plan([Write::CreateEvent(second)]),
    ]);
    let groups = [next_group(&mut waiting), next_group(&mut waiting), next_group(&mut waiting)];
    assert_eq!(groups.each_ref().map(Vec::len), [2, 1, 1], "the event is made before it is routed");
}

#[test]
fn groups_have_a_size() {
    assert_eq!(next_group(&mut waiting((0..400).map(create))).len(), GROUP_PLANS_MAX);
    let large = |number: u64| plan((0..300).map(|i| Write::CreateEvent(samples::event(number * 1_000 + i, 1))));
    let mut waiting = waiting((1..=4).map(large));
    assert_eq!(next_group(&mut waiting).len(), 1, "two would have more than {GROUP_RECORDS_MAX} records");
    let huge = plan((0..1_000).map(|number| Write::CreateEvent(samples::event(number, 1))));
    assert_eq!(next_group(&mut VecDeque::from([job(huge)])).len(), 1, "a single one is stored whatever its size");
}

#[tokio::test]
async fn one_that_is_refused_does_not_fail_its_neighbours() {
    let connection = Arc::new(memory().await);
    let taken = create(7);
    let outcome = tx::tx(&connection, statements::store([&taken])).await;
    assert!(matches!(outcome, tx::Outcome::Committed), "{outcome:?}");

    let plans = (0..33).map(create).chain([set_balance(&samples::merchant_id(1), 1, 4)]);
    let (group, answers) = awaited(plans);
    let feed = feed(&connection).await;
    group::store(&connection, &feed, &Hot::new(), group).await;
    for (number, answer) in answers.into_iter().enumerate() {
        let expected = if number == 7 || number == 33 { Err(CommitError::Refused) } else { Ok(()) };
        assert_eq!(answer.await.expect("each is answered"), expected, "{number}");
    }
}

/// The writer keeps plans of one record apart, so only this test lets them race: the transaction itself must decide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_transactions_exactly_one_is_committed() {
    const ROUNDS: u64 = 200;
    const RACERS: u64 = 8;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let connection = Arc::new(crate::testing::on_disk(directory.path()).await);
    let mut conflicts = 0;
    for round in 0..ROUNDS {
        let mut racing = JoinSet::new();
        for racer in 0..RACERS {
            let connection = Arc::clone(&connection);
            let witness = Write::CreateEvent(samples::event(round * RACERS + racer, 1));
            let prize = Write::CreateInvoice(Box::new(samples::invoice(round)));
            racing.spawn(async move { tx::tx(&connection, statements::store([&plan([witness, prize])])).await });
        }
        let outcomes = racing.join_all().await;
        let committed = outcomes.iter().filter(|outcome| matches!(outcome, tx::Outcome::Committed)).count();
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, tx::Outcome::Refused | tx::Outcome::Conflict));
        conflicts += outcomes.iter().filter(|outcome| matches!(outcome, tx::Outcome::Conflict)).count();
        assert_eq!((committed, lost.count()), (1, RACERS as usize - 1), "{outcomes:?}");
    }
    assert!(conflicts > 0, "none of {ROUNDS} rounds was a race");
    let events = read::unrouted_events(&connection, usize::MAX).await.expect("readable");
    assert_eq!(events.len() as u64, ROUNDS, "a loser stores nothing");
    connection.close().await;
}

/// The events of merchant 1 with their places, as they are stored, durable or not.
async fn places(connection: &Connection) -> Vec<(u64, EventId)> {
    let all = read::feed(connection, &samples::merchant_id(1), FeedPosition(0), u64::MAX, 99).await.expect("readable");
    all.into_iter().map(|(place, event)| (place.0, event.id)).collect()
}

fn id(number: u64) -> EventId {
    samples::event(number, 1).id
}

/// Stores each list of plans as one group.
async fn store_groups(connection: &Arc<Connection>, feed: &Arc<Feed>, groups: Vec<Vec<Plan>>) {
    for group in groups {
        group::store(connection, feed, &Hot::new(), group.into_iter().map(job).collect()).await;
    }
}

#[tokio::test]
async fn events_get_places_in_the_order_of_their_commits() {
    let connection = Arc::new(memory().await);
    let feed = feed(&connection).await;
    let several = plan([5, 4].map(|number| Write::CreateEvent(samples::event(number, 1))));
    let nothing = set_balance(&samples::merchant_id(1), 1, 0);
    store_groups(&connection, &feed, vec![vec![create(9), several], vec![nothing], vec![create(1)]]).await;
    assert_eq!(places(&connection).await, [(1, id(9)), (2, id(5)), (3, id(4)), (4, id(1))]);
    assert_eq!(feed.end(), 5);
    assert_eq!(Feed::open(&connection).await.expect("readable").end(), 5, "the store knows it too");
}

#[tokio::test]
async fn a_group_that_is_taken_apart_leaves_neither_a_gap_nor_a_wrong_order() {
    let connection = Arc::new(memory().await);
    let feed = feed(&connection).await;
    store_groups(&connection, &feed, vec![vec![create(7)], (0..10).map(create).collect(), vec![create(20)]]).await;
    let expected: Vec<u64> = [7].into_iter().chain((0..10).filter(|number| *number != 7)).chain([20]).collect();
    assert_eq!(places(&connection).await, (1..).zip(expected.into_iter().map(id)).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_transactions_side_by_side_have_places_of_their_own() {
    let connection = Arc::new(memory().await);
    let feed = feed(&connection).await;
    // Of the second group the first half is refused: its events come behind those of the second half.
    let groups = [(0..20).collect::<Vec<_>>(), (30..38).chain([5]).chain(38..47).collect()];
    store_groups(&connection, &feed, groups.iter().map(|group| group.iter().copied().map(create).collect()).collect())
        .await;
    let told = places(&connection).await;
    let of = |number| told.iter().find(|(_, event)| *event == id(number)).map(|(place, _)| *place);
    assert_eq!((told.len(), of(0), of(19)), (37, Some(1), Some(20)), "{told:?}");
    assert!((30..47).all(|number| of(number).is_some_and(|place| place > 20)), "{told:?}");
    assert!(of(46) < of(30), "what was stored first has the lower place: {told:?}");
    assert_eq!(feed.end(), told.last().map_or(0, |(place, _)| place + 1));
    assert_eq!(Feed::open(&connection).await.expect("readable").end(), feed.end(), "the store knows it too");
    // The places that the refused half had are nobody's, and the next event comes behind all others.
    store_groups(&connection, &feed, vec![vec![create(50)]]).await;
    assert_eq!(places(&connection).await.last().map(|(_, event)| event.clone()), Some(id(50)));
}

#[tokio::test]
async fn one_of_two_that_is_refused_tells_nobody_what_the_other_has_not_settled() {
    let connection = Arc::new(memory().await);
    let feed = feed(&connection).await;
    let (own, beside) = ([create(1)], [create(2)]);
    let places = feed.places(Lane::First, feed.end(), &own);
    let taken = feed.places(Lane::Second, places.next, &beside);
    let outcome = tx::tx(&connection, statements::store(beside.iter().chain(&taken.plan))).await;
    assert!(matches!(outcome, tx::Outcome::Committed), "{outcome:?}");
    assert_eq!(feed.was_behind(&connection, &places).await, Ok(false));
    assert_eq!(feed.end(), 1, "the other one is stored and not settled");
    feed.advance(&taken);
    assert_eq!(feed.end(), 3);
}

#[tokio::test]
async fn of_two_transactions_none_is_acknowledged_when_one_is_in_doubt() {
    let connection = Arc::new(memory().await);
    let feed = feed(&connection).await;
    let (group, answers) = awaited((0..20).map(create));
    let hot = Hot::new();
    // The doubt comes up while both are under way.
    let storing = group::store(&connection, &feed, &hot, group);
    let mut storing = std::pin::pin!(storing);
    tokio::select! {
        biased;
        () = &mut storing => unreachable!("an engine answers through another task"),
        () = std::future::ready(()) => connection.distrust("the disk said no"),
    }
    storing.await;
    for answer in answers {
        let answer = answer.await.expect("each is answered").expect_err("in doubt");
        assert!(answer.to_string().contains("the disk said no"), "{answer}");
    }
    assert_eq!(feed.end(), 1, "nobody is told of them");
}

#[tokio::test]
async fn a_feed_that_went_on_without_this_process_goes_on_behind_that() {
    let connection = Arc::new(memory().await);
    let (feed, elsewhere) = (feed(&connection).await, feed(&connection).await);
    store_groups(&connection, &elsewhere, vec![vec![create(1), create(2)]]).await;
    assert_eq!(feed.end(), 1, "nothing of it is told yet");
    store_groups(&connection, &feed, vec![vec![create(3), create(4)]]).await;
    assert_eq!(places(&connection).await, [(1, id(1)), (2, id(2)), (3, id(3)), (4, id(4))]);
    assert_eq!(feed.end(), 5);
    // What is refused for a reason of its own is still refused.
    let (done, answer) = oneshot::channel();
    group::store(&connection, &elsewhere, &Hot::new(), vec![Job { plan: create(1), done }]).await;
    assert_eq!(answer.await.expect("answered"), Err(CommitError::Refused));
    assert_eq!((elsewhere.end(), places(&connection).await.len()), (5, 4));
}

#[tokio::test]
async fn what_is_not_acknowledged_is_not_told() {
    let connection = Arc::new(memory().await);
    let feed = feed(&connection).await;
    let plans = [create(1)];
    let taken = feed.places(Lane::First, feed.end(), &plans);
    let outcome = tx::tx(&connection, statements::store(plans.iter().chain(&taken.plan))).await;
    assert!(matches!(outcome, tx::Outcome::Committed), "{outcome:?}");
    let told = async || {
        let told = read::feed(&connection, &samples::merchant_id(1), FeedPosition(0), feed.end(), 9).await;
        told.expect("readable").len()
    };
    assert_eq!((told().await, places(&connection).await.len()), (0, 1));
    feed.advance(&taken);
    assert_eq!(told().await, 1);
}

#[tokio::test]
async fn presence_tells_all_from_nothing() {
    let connection = memory().await;
    let event = samples::event(1, 1);
    let plans = [
        plan([Write::CreateEvent(event.clone()), Write::Post(samples::posting(1))]),
        set_balance(&samples::merchant_id(1), 5, 0),
    ];
    assert_eq!(presence::of(&connection, &plans).await, Ok(Presence::Nothing));
    assert!(matches!(tx::tx(&connection, statements::store(&plans)).await, tx::Outcome::Committed));
    assert_eq!(presence::of(&connection, &plans).await, Ok(Presence::Whole));

    let next = set_balance(&samples::merchant_id(1), 6, 1);
    assert!(matches!(tx::tx(&connection, statements::store([&next])).await, tx::Outcome::Committed));
    assert_eq!(presence::of(&connection, &plans).await, Ok(Presence::Mixed));

    let routed = [plan([Write::MarkRouted(event.id)])];
    assert_eq!(presence::of(&connection, &routed).await, Ok(Presence::Nothing));
    assert!(matches!(tx::tx(&connection, statements::store(&routed)).await, tx::Outcome::Committed));
    assert_eq!(presence::of(&connection, &routed).await, Ok(Presence::Whole));
}

#[tokio::test]
async fn commits_are_refused_while_the_disk_is_scarce_and_for_good_once_it_was_full() {
    let (connection, free) = crate::testing::with_free_bytes(u64::MAX).await;
    let connection = Arc::new(connection);
    let writer = crate::testing::writer(&connection).await;
    assert_eq!(writer.store(create(1)).await, Ok(()));
    free(8 * 1024 * 1024);
    let scarce = writer.store(create(2)).await.expect_err("too little is free");
    assert!(scarce.is_transient() && scarce.to_string().contains("8 MiB"), "{scarce}");
    let id = |number| crate::record::event::id(&samples::event(number, 1).id);
    assert_eq!(read::by_id(connection.as_ref(), id(1)).await, Ok(Some(samples::event(1, 1))), "reading goes on");
    free(u64::MAX);
    assert_eq!(writer.store(create(2)).await, Ok(()), "as soon as there is room");

    free(0);
    let full = writer.store(create(3)).await.expect_err("nothing is free");
    assert!(full.to_string().contains("full"), "{full}");
    free(u64::MAX);
    let distrusted = writer.store(create(3)).await.expect_err("the engine may have failed to write meanwhile");
    assert!(distrusted.to_string().contains("restart"), "{distrusted}");
    assert!(read::by_id::<xthonpay_domain::event::Event>(connection.as_ref(), id(1)).await.is_err());
}

#[tokio::test]
async fn nothing_is_read_or_written_once_the_store_is_distrusted() {
    let connection = Arc::new(memory().await);
    let writer = crate::testing::writer(&connection).await;
    assert_eq!(writer.store(create(1)).await, Ok(()));
    connection.distrust("the disk said no");
    let refused = writer.store(create(2)).await.expect_err("distrusted");
    assert!(refused.to_string().contains("the disk said no"), "{refused}");
    let id = crate::record::event::id(&samples::event(1, 1).id);
    let unread = read::by_id::<xthonpay_domain::event::Event>(connection.as_ref(), id).await;
    assert!(matches!(unread, Err(StoreError::Unavailable { .. })), "{unread:?}");
}

#[tokio::test]
async fn closing_stores_what_was_handed_in_and_refuses_the_rest() {
    let connection = Arc::new(memory().await);
    let writer = Arc::new(crate::testing::writer(&connection).await);
    let handed_in: Vec<_> = (0..50)
        .map(|number| {
            let writer = Arc::clone(&writer);
            tokio::spawn(async move { writer.store(create(number)).await })
        })
        .collect();
    // The tasks are queued first on this thread, so all of them hand in before the writer is closed.
    tokio::time::sleep(Duration::from_millis(1)).await;
    writer.close().await;
    for stored in handed_in {
        assert_eq!(stored.await.expect("no panic"), Ok(()));
    }
    let late = writer.store(create(99)).await;
    assert!(matches!(late, Err(CommitError::Store(StoreError::Unavailable { .. }))), "{late:?}");
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_its_plan() {
    let connection = Arc::new(memory().await);
    let writer = crate::testing::writer(&connection).await;
    tokio::select! {
        biased;
        early = writer.store(create(1)) => assert!(early.is_err(), "nothing can be stored yet"),
        () = std::future::ready(()) => {}
    }
    writer.close().await;
    let id = crate::record::event::id(&samples::event(1, 1).id);
    assert!(read::by_id::<xthonpay_domain::event::Event>(connection.as_ref(), id).await.expect("readable").is_some());
}
