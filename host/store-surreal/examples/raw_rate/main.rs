//! How fast the engine itself stores what one new invoice costs: one transaction a call, many callers, nothing of ours in
//! between. This is the limit that `xthonpay-bench rest` holds the host against.
//!
//! The transaction is not written down here. The use case makes one invoice in a store of this crate, and the rows that
//! stand there afterwards are the pattern of every further one (see [`pattern`]), so that both sides always store the same
//! records. The engine is opened as the host opens it: same files, same options, a synced log.
//!
//! Afterwards as many callers read the invoices by their record ids: the limit of reads.
//!
//! Prints one line of JSON. Decides nothing about what the figures mean.

mod arguments;
mod invoice;
mod pattern;

use core::hint::black_box;
use core::time::Duration;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use surrealdb::Surreal;
use surrealdb::engine::any::{self, Any};
use surrealdb::opt::Config;
use surrealdb::opt::capabilities::Capabilities;
use surrealdb::types::{RecordId, Value, Variables};
use tokio::task::JoinSet;
use tokio::time::Instant;

use arguments::Arguments;
use pattern::Pattern;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The namespace and database of the store that is measured.
const NAMESPACE: &str = "xthonpay";
const DATABASE: &str = "bench";

/// Enough for a mean that says something, within a few milliseconds.
const FILLS: u32 = 500;

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(usage) => {
            say(&usage);
            return ExitCode::from(2);
        }
    };
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("raw_rate: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), BoxError> {
    let texts = invoice::make(&arguments.directory).await?;
    let db = open_engine(&arguments.directory).await?;
    let mut pattern = Pattern::read(&db, &texts).await?;
    if arguments.rows_alone {
        pattern.drop_entries();
    }
    let fill = mean_fill(&pattern);
    let pattern = Arc::new(pattern);
    let load = Load { db: db.clone(), pattern: Arc::clone(&pattern), last: Arc::default() };
    let measured = load.run(arguments, Work::Store).await?;
    let issued = load.last.load(Ordering::Relaxed);
    pattern.check_count(&db, issued).await?;
    let read = load.run(arguments, Work::Select { issued }).await?;
    let line = format!(
        "{{\"records\":{},\"bytes\":{},\"callers\":{},\"transactions\":{},\"elapsed_us\":{},\"p50_us\":{},\"p99_us\":{},\
         \"fill_ns\":{},\"selects\":{},\"select_p50_us\":{},\"select_p99_us\":{}}}",
        pattern.records(),
        pattern.bytes(),
        arguments.callers,
        measured.len(),
        arguments.measured.as_micros(),
        percentile(&measured, 50).as_micros(),
        percentile(&measured, 99).as_micros(),
        fill.as_nanos(),
        read.len(),
        percentile(&read, 50).as_micros(),
        percentile(&read, 99).as_micros(),
    );
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// How long the rows of one transaction take to make. The callers do it between two transactions, on the same processor, so
/// it has to be little beside a transaction.
fn mean_fill(pattern: &Pattern) -> Duration {
    let started = Instant::now();
    (0..FILLS).for_each(|number| drop(black_box(pattern.fill(number.into()))));
    started.elapsed() / FILLS
}

/// The engine with the host's options.
async fn open_engine(directory: &str) -> surrealdb::Result<Surreal<Any>> {
    let capabilities = Capabilities::new()
        .with_scripting(false)
        .with_guest_access(false)
        .with_live_query_notifications(false)
        .with_all_net_targets_denied();
    let config = Config::new().capabilities(capabilities);
    let db = any::connect((format!("surrealkv://{directory}?sync=every"), config)).await?;
    db.use_ns(NAMESPACE).use_db(DATABASE).await?;
    Ok(db)
}

/// What the callers do.
#[derive(Clone, Copy)]
enum Work {
    /// Store one transaction after the other.
    Store,
    /// Read the record of one of the invoices after the other, by its id. So many of them were made.
    Select { issued: u64 },
}

/// Callers that do one thing after the other.
#[derive(Clone)]
struct Load {
    db: Surreal<Any>,
    pattern: Arc<Pattern>,
    /// The number of the last transaction.
    last: Arc<AtomicU64>,
}

impl Load {
    /// The durations of all calls that ended in the measured time, in ascending order.
    async fn run(&self, arguments: &Arguments, work: Work) -> Result<Vec<Duration>, BoxError> {
        let from = Instant::now() + arguments.warm_up;
        let until = from + arguments.measured;
        let mut callers = JoinSet::new();
        for _ in 0..arguments.callers {
            callers.spawn(self.clone().call(work, from, until));
        }
        let mut all = Vec::new();
        while let Some(durations) = callers.join_next().await {
            all.extend(durations??);
        }
        all.sort_unstable();
        Ok(all)
    }

    async fn call(self, work: Work, from: Instant, until: Instant) -> Result<Vec<Duration>, BoxError> {
        let mut durations = Vec::new();
        loop {
            let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let started = match work {
                Work::Store => {
                    let rows = self.pattern.fill(number);
                    let started = Instant::now();
                    self.store(rows).await?;
                    started
                }
                Work::Select { issued } => {
                    let one_of_them = number.checked_rem(issued).unwrap_or_default().saturating_add(1);
                    let id = self.pattern.invoice(one_of_them).ok_or("the pattern holds no invoice")?;
                    let started = Instant::now();
                    self.select(id).await?;
                    started
                }
            };
            let ended = Instant::now();
            if ended >= until {
                return Ok(durations);
            }
            if ended >= from {
                durations.push(ended.duration_since(started));
            }
        }
    }

    async fn store(&self, rows: Variables) -> surrealdb::Result<()> {
        self.db.query(self.pattern.text()).bind(rows).await?.check().map(drop)
    }

    async fn select(&self, id: RecordId) -> Result<(), BoxError> {
        let found: Option<Value> = self.db.select(id).await?;
        found.map(drop).ok_or_else(|| "an invoice that was stored is not there".into())
    }
}

/// The duration that `percent` of the sorted durations do not exceed; zero when there is none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

fn say(line: &str) {
    // Nothing is left to do when even that fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}
