//! Killed under load: what was acknowledged is there, and nothing is there in part.
//!
//! The test starts itself again as a child process that writes and says what was acknowledged, kills it at a moment that a
//! printed seed decides, and reads the store that is left.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::{DeliveryId, EventId, MerchantId};
use xthonpay_payments::port::store::{CommitError, Counter, Delivery, FeedPosition, READ_LIMIT_MAX, Store, Write};
use xthonpay_store_surreal::SurrealStore;

use crate::engine::{directory, open};
use crate::samples;

/// How often the writer is killed.
const KILLS: u64 = 10;
/// Writers in the process that is killed.
const WORKERS: u64 = 8;
/// Facts that a worker never reaches before it is killed.
const FACTS_MAX: u64 = 100_000;
/// Repeats a run.
const SEED_VARIABLE: &str = "XTHONPAY_TEST_SEED";
/// Tell the child that it is one: the directory, and how often its store was killed before.
const DIRECTORY_VARIABLE: &str = "XTHONPAY_CRASH_DIRECTORY";
const ROUND_VARIABLE: &str = "XTHONPAY_CRASH_ROUND";

/// One writer of one child. Its facts have numbers that no other writer uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worker(u64);

impl Worker {
    fn of(round: u64, number: u64) -> Self {
        Self(round * WORKERS + number)
    }

    fn merchant(self) -> MerchantId {
        samples::merchant_id(self.0)
    }

    fn deposit(self, fact: u64) -> Deposit {
        samples::deposit(self.0 * FACTS_MAX + fact, None)
    }

    fn event(self, fact: u64) -> xthonpay_domain::event::Event {
        samples::event(self.0 * FACTS_MAX + fact, 1)
    }

    /// Large enough that the engine keeps it in a file of its own beside the log.
    fn delivery(self, fact: u64) -> Delivery {
        let number = self.0 * FACTS_MAX + fact;
        Delivery { body: vec![number.to_le_bytes()[0]; 6 * 1024], ..samples::delivery(number) }
    }

    /// What belongs together: a deposit, its posting, the balance after it, the event that tells of it, and its delivery.
    fn writes(self, fact: u64) -> Vec<Write> {
        vec![
            Write::CreateDeposit(self.deposit(fact)),
            Write::Post(samples::posting(self.0 * FACTS_MAX + fact)),
            Write::SetBalance {
                merchant: self.merchant(),
                asset: samples::asset(),
                balance: samples::balance(u128::from(fact + 1)),
                from_revision: fact,
            },
            Write::CreateEvent(self.event(fact)),
            Write::CreateDelivery(Box::new(self.delivery(fact))),
        ]
    }
}

/// Not a test of its own: what the child process does. Started as a test, it returns at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_it_is_killed() {
    let Some(directory) = env::var_os(DIRECTORY_VARIABLE) else { return };
    let round = env::var(ROUND_VARIABLE).ok().and_then(|round| round.parse().ok()).expect("set by the parent");
    let store = Arc::new(open(&PathBuf::from(directory)).await.expect("the last writer is dead"));
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let store = Arc::clone(&store);
        workers.spawn(async move {
            let worker = Worker::of(round, number);
            for fact in 0..FACTS_MAX {
                store.commit(worker.writes(fact).into_iter().collect()).await.expect("nobody else writes these");
                say(&format!("fact {} {fact}", worker.0));
            }
        });
    }
    loop {
        let number =
            store.take_numbers(&Counter::AddressIndex(samples::merchant_id(0)), 1).await.expect("the store works");
        say(&format!("number {number}"));
    }
}

fn say(line: &str) {
    let mut out = stdout().lock();
    // One write, so that a kill cannot leave half a line in front of another.
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
}

/// What children said before they were killed.
#[derive(Default)]
struct Acknowledged {
    /// The last fact of each worker.
    facts: BTreeMap<Worker, u64>,
    count: u64,
    numbers: Vec<u32>,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let number = |words: &mut std::str::SplitAsciiWhitespace<'_>| words.next().and_then(|word| word.parse().ok());
        match words.next() {
            Some("fact") => {
                let (worker, fact) = number(&mut words).zip(number(&mut words)).expect("a worker and a fact");
                self.facts.insert(Worker(worker), fact);
                self.count += 1;
            }
            Some("number") => {
                let taken = number(&mut words).and_then(|taken| u32::try_from(taken).ok());
                self.numbers.push(taken.expect("a number"));
            }
            // The test harness says something too.
            _ => {}
        }
    }
}

fn start(directory: &Path, round: u64) -> Child {
    Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "crash::writes_until_it_is_killed", "--nocapture"])
        .env(DIRECTORY_VARIABLE, directory)
        .env(ROUND_VARIABLE, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test can be started again")
}

/// Lets a child write for a while after its first word, kills it, and hears what it said until then.
fn write_and_kill(directory: &Path, round: u64, after: Duration, heard: &mut Acknowledged) {
    let mut child = start(directory, round);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let first = lines.by_ref().find(|line| line.starts_with("fact") || line.starts_with("number"));
    heard.hear(&first.expect("the child writes"));
    let killer = std::thread::spawn(move || {
        std::thread::sleep(after);
        child.kill().expect("the child still writes");
        child.wait().expect("a killed child ends")
    });
    lines.for_each(|line| heard.hear(&line));
    assert!(!killer.join().expect("no panic").success());
}

/// How many facts of a worker are lost or there in part.
async fn examine(
    store: &SurrealStore,
    worker: Worker,
    last: u64,
    deliveries: &BTreeMap<DeliveryId, Delivery>,
) -> (u64, u64) {
    let (mut lost, mut torn) = (0, 0);
    let (_, revision) = store.balance(&worker.merchant(), &samples::asset()).await.expect("readable");
    // The fact behind the last acknowledged one may be there or not, but not in part. It is the only one under way.
    for fact in 0..=last + 1 {
        let deposit = store.deposit(&worker.deposit(fact).id).await.expect("readable").is_some();
        let balance = revision > fact;
        let posting = exists(store, Write::Post(samples::posting(worker.0 * FACTS_MAX + fact))).await;
        let delivery = deliveries.get(&worker.delivery(fact).id) == Some(&worker.delivery(fact));
        lost += u64::from(fact <= last && !(deposit && balance && posting && delivery));
        torn += u64::from([balance, posting, delivery].iter().any(|there| *there != deposit));
    }
    let routed = (0..=last).map(|fact| Write::MarkRouted(worker.event(fact).id));
    lost += u64::from(store.commit(routed.collect()).await.is_err());
    let behind = store.commit([Write::MarkRouted(worker.event(last + 1).id)].into_iter().collect()).await.is_ok();
    torn += u64::from(behind != (revision > last + 1));
    (lost, torn)
}

/// Whether a record is there, found out by making it.
async fn exists(store: &SurrealStore, create: Write) -> bool {
    match store.commit([create].into_iter().collect()).await {
        Ok(()) => false,
        Err(CommitError::Refused) => true,
        Err(error) => unreachable!("the store works: {error}"),
    }
}

async fn all_deliveries(store: &SurrealStore) -> BTreeMap<DeliveryId, Delivery> {
    let mut all = BTreeMap::new();
    let mut after = None;
    loop {
        let page = store.due_deliveries(samples::time(u64::MAX), after.as_ref(), READ_LIMIT_MAX).await;
        let page = page.expect("readable");
        let Some(last) = page.last() else { return all };
        after = Some((last.next_at, last.id.clone()));
        all.extend(page.into_iter().map(|delivery| (delivery.id.clone(), delivery)));
    }
}

/// The events of all writers in the order of the feed.
async fn whole_feed(store: &SurrealStore) -> Vec<EventId> {
    let mut all = Vec::new();
    let mut after = FeedPosition::default();
    loop {
        let page = store.feed(&samples::merchant_id(1), after, READ_LIMIT_MAX).await.expect("readable");
        let Some((last, _)) = page.last() else { return all };
        after = *last;
        all.extend(page.into_iter().map(|(_, event)| event.id));
    }
}

/// Events that the feed lacks, tells twice, or tells in another order than the one in which they were stored: one writer's
/// one after the other, and those of an earlier process in front of those of a later one.
async fn wrong_in_feed(store: &SurrealStore, heard: &Acknowledged) -> usize {
    let feed = whole_feed(store).await;
    let places: BTreeMap<&EventId, usize> = feed.iter().zip(0..).collect();
    let mut wrong = feed.len() - places.len();
    let mut rounds: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for (worker, last) in &heard.facts {
        let ids: Vec<EventId> = (0..=*last).map(|fact| worker.event(fact).id).collect();
        let told: Vec<usize> = ids.iter().filter_map(|id| places.get(id).copied()).collect();
        wrong += ids.len() - told.len() + usize::from(!told.is_sorted());
        for place in told {
            let (first, last) = rounds.entry(worker.0 / WORKERS).or_insert((place, place));
            (*first, *last) = (place.min(*first), place.max(*last));
        }
    }
    let rounds: Vec<(usize, usize)> = rounds.into_values().collect();
    wrong + rounds.windows(2).filter(|pair| pair[0].1 > pair[1].0).count()
}

/// What is left of what was acknowledged.
#[derive(Debug, PartialEq, Eq)]
struct Losses {
    lost: u64,
    torn: u64,
    numbers_twice: usize,
    wrong_in_feed: usize,
}

/// Opens the store that the killed writers left and compares it with what they said.
async fn losses(directory: &Path, heard: &Acknowledged) -> Losses {
    let store = open(directory).await.expect("the last writer is dead");
    let deliveries = all_deliveries(&store).await;
    let wrong_in_feed = wrong_in_feed(&store, heard).await;
    let (mut lost, mut torn) = (0, 0);
    for (worker, last) in &heard.facts {
        let (of_worker_lost, of_worker_torn) = examine(&store, *worker, *last, &deliveries).await;
        lost += of_worker_lost;
        torn += of_worker_torn;
    }
    let next = store.take_numbers(&Counter::AddressIndex(samples::merchant_id(0)), 1).await.expect("the store works");
    store.close().await;
    let different: BTreeSet<u32> = heard.numbers.iter().copied().filter(|number| *number < next).collect();
    Losses { lost, torn, numbers_twice: heard.numbers.len() - different.len(), wrong_in_feed }
}

const NONE: Losses = Losses { lost: 0, torn: 0, numbers_twice: 0, wrong_in_feed: 0 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_under_load_lose_nothing_and_tear_nothing() {
    let given = env::var(SEED_VARIABLE).ok().map(|text| text.parse().expect("the seed is a number"));
    // The standard library seeds its hash tables from the system.
    let seed: u64 = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let directory = directory();
    let mut heard = Acknowledged::default();
    for round in 0..KILLS {
        // From the first commits to some hundred of them.
        let after = Duration::from_millis(5 + seed.rotate_left(u32::try_from(round * 7).expect("small")) % 900);
        write_and_kill(directory.path(), round, after, &mut heard);
    }
    let losses = losses(directory.path(), &heard).await;
    let report = format!(
        "{SEED_VARIABLE}={seed}: {KILLS} kills, {} acknowledged facts, {} numbers: {losses:?}",
        heard.count,
        heard.numbers.len()
    );
    let _ = writeln!(stderr(), "{report}");
    assert_eq!(losses, NONE, "{report}");
    assert!(heard.count > KILLS, "{report}");
}

/// A kill can cut the last record of the log short. The engine reads up to there, and would write on behind the stump: after
/// the next kill it would then drop everything that came later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_cut_short_at_the_end_of_the_log_costs_nothing_that_comes_later() {
    let directory = directory();
    let mut heard = Acknowledged::default();
    for round in 0..3 {
        write_and_kill(directory.path(), round, Duration::from_millis(50), &mut heard);
        leave_a_stump(&directory.path().join("wal"));
    }
    assert_eq!(losses(directory.path(), &heard).await, NONE, "{} facts", heard.count);
}

/// Begins a record at the end of the log: the header and half of the content of one that is there.
fn leave_a_stump(log: &Path) {
    let segments = std::fs::read_dir(log).expect("a log").map(|entry| entry.expect("readable").path());
    let last = segments.filter(|path| path.extension().is_some_and(|end| end == "wal")).max().expect("a segment");
    let bytes = std::fs::read(&last).expect("readable");
    // Checksum, length and kind: 4, 2 and 1 bytes.
    let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    let stump = &bytes[..7 + length / 2];
    let mut file = std::fs::OpenOptions::new().append(true).open(&last).expect("writable");
    file.write_all(stump).expect("room for a stump");
}
