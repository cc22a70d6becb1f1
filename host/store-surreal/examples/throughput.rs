//! Changesets a second through the store, beside the same changesets one transaction each.
//!
//! `cargo run --release -p xthonpay-store-surreal --example throughput -- [CHANGESETS]`, with 20 000 when no number is given.
//! Works on a fresh directory below the system's temporary one, which is removed afterwards. Prints one line a measurement:
//! the kind of changeset, committers, changesets a second, and the time of a commit at the median and at 99 %.

use std::error::Error;
use std::io::{Write as _, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::EventId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::port::store::{Changeset, InvoiceFilter, Store, Write};
use xthonpay_store_surreal::{SurrealConfig, SurrealStore};

#[path = "../src/record/samples.rs"]
mod samples;

/// Changesets of one measurement, unless the command line says another number.
const CHANGESETS: u64 = 20_000;
/// Merchants among which the work is spread.
const MERCHANTS: u64 = 50;

type Failure = Box<dyn Error + Send + Sync>;

/// Two records: a deposit and its posting.
fn deposit(number: u64) -> Changeset {
    let deposit = Write::CreateDeposit(samples::deposit(number, None));
    Changeset::new().with(deposit).with(Write::Post(samples::posting(number)))
}

/// What `POST /invoices` stores: an invoice with its external id, its address, an event, and a used signature.
fn invoice(number: u64) -> Changeset {
    let external_id = Some(format!("order-{number}").parse().expect("an external id"));
    let invoice =
        Invoice { merchant: samples::merchant_id(number % MERCHANTS), external_id, ..samples::invoice(number) };
    let event = Event { id: EventId::from_fact(&["created", invoice.id.as_str()]), ..samples::event(number, 1) };
    Changeset::new()
        .with(Write::CreateAddress(samples::own_address(number, Some(invoice.id.clone()))))
        .with(Write::CreateInvoice(Box::new(invoice)))
        .with(Write::CreateEvent(event))
        .with(Write::UseSignature(samples::used_signature(number)))
}

/// Commits changesets of one kind from so many tasks at once.
async fn measure(
    store: &Arc<SurrealStore>,
    name: &str,
    committers: u64,
    changesets: u64,
    numbers: &Arc<AtomicU64>,
    make: fn(u64) -> Changeset,
) -> Result<(), Failure> {
    let end = numbers.load(Ordering::Relaxed) + changesets;
    let started = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..committers {
        let (store, numbers) = (Arc::clone(store), Arc::clone(numbers));
        running.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return Ok::<_, Failure>(times);
                }
                let before = Instant::now();
                store.commit(make(number)).await?;
                times.push(before.elapsed());
            }
        });
    }
    let mut times = Vec::new();
    for of_one in running.join_all().await {
        times.extend(of_one?);
    }
    report(&format!("{name}, {committers} committers"), started.elapsed(), &mut times)
}

fn report(name: &str, took: Duration, times: &mut [Duration]) -> Result<(), Failure> {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let millis = u64::try_from(took.as_millis())?.max(1);
    let rate = u64::try_from(times.len())? * 1_000 / millis;
    writeln!(stdout().lock(), "{name}: {rate}/s, median {:?}, 99 % {:?}", at(50), at(99))?;
    Ok(())
}

/// Reads by id and lists, one after the other.
async fn measure_reads(store: &SurrealStore, count: u64) -> Result<(), Failure> {
    let mut times = Vec::new();
    let started = Instant::now();
    for number in 0..count {
        let before = Instant::now();
        store.invoice(&samples::invoice_id(number)).await?;
        times.push(before.elapsed());
    }
    report("read by id, 1 reader", started.elapsed(), &mut times)?;
    times.clear();
    let started = Instant::now();
    for number in 0..count.min(500) {
        let before = Instant::now();
        store.invoices(&samples::merchant_id(number % MERCHANTS), &InvoiceFilter::default(), 20).await?;
        times.push(before.elapsed());
    }
    report("list of 20, 1 reader", started.elapsed(), &mut times)
}

async fn run(changesets: u64) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let config = SurrealConfig {
        endpoint: format!("surrealkv://{}", directory.path().display()),
        namespace: "xthonpay".to_owned(),
        database: "throughput".to_owned(),
        credentials: None,
        allow_volatile: false,
    };
    let store = Arc::new(SurrealStore::open(config).await?);
    let (deposits, invoices) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for committers in [1, 8, 64, 256] {
        let share = changesets * committers.min(64) / 64;
        measure(&store, "2 records (deposit, posting)", committers, share, &deposits, deposit).await?;
        measure(&store, "5 records (invoice)", committers, share, &invoices, invoice).await?;
        // Numbers that the committers took beyond the end are never used.
    }
    measure_reads(&store, changesets.min(5_000)).await?;
    store.close().await;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let changesets = std::env::args().nth(1).map_or(Ok(CHANGESETS), |text| text.parse())?;
    tokio::runtime::Runtime::new()?.block_on(run(changesets))
}
