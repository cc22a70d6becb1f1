//! How long the addresses of a deployment take to load at a start, and how much memory the set of them takes.
//!
//! `cargo run --release -p xthonpay-store-surreal --example addresses -- [ADDRESSES]`, with 1 000 000 when no number is given.
//! Works on a fresh directory below the system's temporary one, which is removed afterwards: some 500 MB for a million.
//! Prints one line a measurement.

use std::error::Error;
use std::io::{Write as _, stdout};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use xthonpay_domain::address::Address;
use xthonpay_payments::port::store::{Changeset, READ_LIMIT_MAX, Store, Write};
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_store_surreal::{SurrealConfig, SurrealStore};

#[path = "../src/record/samples.rs"]
mod samples;

/// Addresses, unless the command line says another number.
const ADDRESSES: u64 = 1_000_000;
/// Addresses that one changeset makes.
const ADDRESSES_AT_ONCE: u64 = 500;
/// An odd number: multiplying by it modulo 2^64 spreads numbers evenly and gives each another one, as hashes are spread.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

type Failure = Box<dyn Error + Send + Sync>;

/// Addresses in no order, as derived ones are.
fn address(number: u64) -> Address {
    let spread = number.wrapping_add(1).wrapping_mul(SPREAD);
    let mut bytes = [0; 20];
    for (byte, source) in bytes.iter_mut().zip(spread.to_be_bytes().into_iter().cycle()) {
        *byte = source;
    }
    Address::new(bytes)
}

/// What `POST /invoices` stores of an address.
fn create(number: u64) -> Write {
    let invoice = Some(samples::invoice_id(number));
    let own = samples::own_address(number, invoice);
    Write::CreateAddress(xthonpay_payments::port::store::OwnAddress { address: address(number), ..own })
}

/// The memory of this process that is in use, in MB.
fn resident_mb() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1_024 / 1_000_000)
}

fn report(what: &str, took: Duration, count: u64) -> Result<(), Failure> {
    let millis = u64::try_from(took.as_millis())?.max(1);
    let rate = count * 1_000 / millis;
    writeln!(stdout().lock(), "{what}: {took:.2?}, {rate}/s, {} MB in use", resident_mb()?)?;
    Ok(())
}

async fn open(directory: &TempDir) -> Result<SurrealStore, Failure> {
    let config = SurrealConfig {
        endpoint: format!("surrealkv://{}", directory.path().display()),
        namespace: "xthonpay".to_owned(),
        database: "addresses".to_owned(),
        credentials: None,
        allow_volatile: false,
    };
    Ok(SurrealStore::open(config).await?)
}

async fn fill(store: &SurrealStore, count: u64) -> Result<(), Failure> {
    let mut first = 0;
    while first < count {
        let next = (first + ADDRESSES_AT_ONCE).min(count);
        store.commit((first..next).map(create).collect::<Changeset>()).await?;
        first = next;
    }
    Ok(())
}

/// Every address with what it is for, as the set would be loaded without a reading of its own.
async fn read_whole(store: &SurrealStore) -> Result<u64, Failure> {
    let (mut after, mut read) = (None, 0);
    loop {
        let page = store.addresses(after, READ_LIMIT_MAX).await?;
        let Some(last) = page.last() else { return Ok(read) };
        after = Some(last.address);
        read += u64::try_from(page.len())?;
    }
}

async fn run(count: u64) -> Result<(), Failure> {
    let before = resident_mb()?;
    let started = Instant::now();
    let set = WatchSet::default();
    for number in 0..count {
        set.insert(address(number));
    }
    report("the set alone", started.elapsed(), count)?;
    writeln!(stdout().lock(), "the set alone takes {} MB", resident_mb()?.saturating_sub(before))?;
    let started = Instant::now();
    // Every second one is a member.
    let found = (0..2 * count).filter(|number| set.contains(&address(*number))).count();
    report("look-ups", started.elapsed(), 2 * count)?;
    if u64::try_from(found)? != count {
        return Err(format!("{found} of {count} found").into());
    }
    drop(set);

    let directory = tempfile::tempdir()?;
    let store = open(&directory).await?;
    let started = Instant::now();
    fill(&store, count).await?;
    report("written", started.elapsed(), count)?;
    store.close().await;

    let started = Instant::now();
    let store = open(&directory).await?;
    report("opened", started.elapsed(), 1)?;
    for round in ["first", "second"] {
        let started = Instant::now();
        let set = WatchSet::default();
        set.load(&store).await?;
        report(&format!("the set loaded, {round} time"), started.elapsed(), count)?;
        if u64::try_from(set.len())? != count {
            return Err(format!("{} of {count} loaded", set.len()).into());
        }
    }
    let started = Instant::now();
    let read = read_whole(&store).await?;
    report("every record read", started.elapsed(), read)?;
    store.close().await;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let count = std::env::args().nth(1).map_or(Ok(ADDRESSES), |text| text.parse())?;
    tokio::runtime::Runtime::new()?.block_on(run(count))
}
