//! Killed under load: what was acknowledged is there, and nothing is there in part.
//!
//! The test starts itself again as a child process that writes and says what was acknowledged, kills it at a moment that a
//! printed seed decides, and reads the store that is left.

use std::collections::BTreeMap;
use std::env;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{BufRead as _, BufReader, Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::id::MerchantId;
use xthonpay_payments::port::store::{CommitError, Counter, Store, Write};
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

    /// What belongs together: a deposit, its posting, the balance after it, and the event that tells of it.
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
        let number = store.take_numbers(&Counter::MerchantAccount, 1).await.expect("the store works");
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
async fn examine(store: &SurrealStore, worker: Worker, last: u64) -> (u64, u64) {
    let (mut lost, mut torn) = (0, 0);
    let (_, revision) = store.balance(&worker.merchant(), &samples::asset()).await.expect("readable");
    // The fact behind the last acknowledged one may be there or not, but not in part. It is the only one under way.
    for fact in 0..=last + 1 {
        let deposit = store.deposit(&worker.deposit(fact).id).await.expect("readable").is_some();
        let balance = revision > fact;
        let posting = exists(store, Write::Post(samples::posting(worker.0 * FACTS_MAX + fact))).await;
        lost += u64::from(fact <= last && !(deposit && balance && posting));
        torn += u64::from([balance, posting].iter().any(|there| *there != deposit));
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
    let store = open(directory.path()).await.expect("the last writer is dead");
    let (mut lost, mut torn) = (0, 0);
    for (worker, last) in &heard.facts {
        let (of_worker_lost, of_worker_torn) = examine(&store, *worker, *last).await;
        lost += of_worker_lost;
        torn += of_worker_torn;
    }
    let numbers = heard.numbers.len();
    heard.numbers.sort_unstable();
    heard.numbers.dedup();
    let twice = numbers - heard.numbers.len();
    let next = store.take_numbers(&Counter::MerchantAccount, 1).await.expect("the store works");
    let report = format!(
        "{SEED_VARIABLE}={seed}: {KILLS} kills, {} acknowledged facts: {lost} lost, {torn} torn; \
         {numbers} numbers: {twice} twice",
        heard.count
    );
    let _ = writeln!(stderr(), "{report}");
    assert_eq!((lost, torn, twice), (0, 0, 0), "{report}");
    assert!(heard.numbers.last().is_none_or(|last| *last < next), "{report}");
    assert!(heard.count > KILLS, "{report}");
    store.close().await;
}
