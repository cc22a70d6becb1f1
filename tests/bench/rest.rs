//! How fast invoices are made over REST: signed, durable, from many clients at once; with and without plugins.
//!
//! The limit is the raw store: the same records in one transaction a call, with as many callers, on the same disk, without
//! HTTP, signatures, rules and addresses (see `host/store-surreal/examples/raw_rate`); once more with the host's memory
//! allocator. Kinds of runs take turns, and of each figure the median of the rounds counts, because other work on a machine
//! comes and goes. Every run begins with an empty store.

mod bare;
mod load;
mod raw;
mod wire;

use core::time::Duration;
use std::path::{Path, PathBuf};

use xthonpay_tests::BoxError;
use xthonpay_tests::places::Places;

use self::bare::BareServer;
use self::load::{Load, Phases, Requests};
use self::raw::{Contents, RawRun};
use crate::figures::{Aim, Figure, Report, Thousandths};
use crate::parts::{self, Chain, FreshHost, Hooks};
use crate::samples::{Samples, median};
use crate::tell;
use xthonpay_tests::process::processor_time;

/// Clients, each with a connection of its own, and callers of the raw store.
pub(crate) const CLIENTS: usize = 64;

/// How long a run goes on before it is measured.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);

/// As fast as the store itself.
const RATE_AIM: Aim = Aim::RatioAtLeast(Thousandths::whole(1));

/// Nearly as fast as reading one record of the store by its id, although a signature is checked and JSON is made.
const READ_AIM: Aim = Aim::RatioAtLeast(Thousandths(800));

/// The size of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RestPlan {
    /// How long each run is measured.
    pub(crate) measured: Duration,
    pub(crate) rounds: usize,
    /// Merchants that the clients belong to, at most one for each client.
    pub(crate) merchants: usize,
}

impl Default for RestPlan {
    fn default() -> Self {
        Self { measured: Duration::from_secs(10), rounds: 3, merchants: 8 }
    }
}

/// What the parts of a run say about it.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    rate: Thousandths,
    p50: Thousandths,
    p99: Thousandths,
    /// Cores that were busy with this program and with the host.
    client_cores: Thousandths,
    host_cores: Thousandths,
}

/// The runs of one round.
struct Round {
    raw: Run,
    raw_rows_alone: Run,
    raw_mimalloc: Run,
    unbound: Run,
    bound: Run,
    reads: Reads,
    shape: RawRun,
}

/// Runs that read.
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    /// Single invoices.
    invoice: Run,
    /// What a merchant has.
    balance: Run,
    /// As many bytes as a single invoice, from a server that does nothing else.
    bare: Run,
}

/// Runs the benchmark.
pub(crate) async fn run(plan: &RestPlan) -> Result<Report, BoxError> {
    let stage = Stage {
        places: parts::places()?,
        raw_rate: parts::raw_rate()?,
        raw_rate_mimalloc: parts::raw_rate_mimalloc()?,
        plan,
    };
    let chain = Chain::start(&stage.places).await?;
    let mut rounds = Vec::with_capacity(plan.rounds);
    for number in 1..=plan.rounds {
        rounds.push(stage.round(&chain, number).await?);
    }
    let shape = rounds.last().map(|round| round.shape.clone()).ok_or("there was no round")?;
    let method = format!(
        "{CLIENTS} clients, merchants: {}, {} s a run, medians, rounds: {}; baseline: the raw store, {} records of {} bytes in \
         one transaction a call, {CLIENTS} callers",
        plan.merchants,
        plan.measured.as_secs(),
        plan.rounds,
        shape.records,
        shape.bytes
    );
    Ok(Report { bench: "rest", method, figures: figures(&rounds) })
}

/// What all runs share.
struct Stage<'a> {
    places: Places,
    raw_rate: PathBuf,
    raw_rate_mimalloc: PathBuf,
    plan: &'a RestPlan,
}

impl Stage<'_> {
    async fn round(&self, chain: &Chain, number: usize) -> Result<Round, BoxError> {
        let of = self.plan.rounds;
        let shape = self.raw(&self.raw_rate, Contents::Equal).await?;
        let raw = Run::from(&shape);
        tell(&format!("round {number} of {of}: raw store {} /s", raw.rate));
        let (unbound, reads) = self.host(chain, Hooks::Unbound).await?;
        tell(&format!(
            "round {number} of {of}: hooks unbound {} /s, reads {} /s, balances {} /s, bare server {} /s",
            unbound.rate, reads.invoice.rate, reads.balance.rate, reads.bare.rate
        ));
        let raw_rows_alone = Run::from(&self.raw(&self.raw_rate, Contents::RowsAlone).await?);
        tell(&format!("round {number} of {of}: raw store, rows alone {} /s", raw_rows_alone.rate));
        let raw_mimalloc = Run::from(&self.raw(&self.raw_rate_mimalloc, Contents::Equal).await?);
        tell(&format!("round {number} of {of}: raw store, with the host's allocator {} /s", raw_mimalloc.rate));
        let (bound, _) = self.host(chain, Hooks::Bound).await?;
        tell(&format!("round {number} of {of}: hooks bound {} /s", bound.rate));
        Ok(Round { raw, raw_rows_alone, raw_mimalloc, unbound, bound, reads, shape })
    }

    async fn raw(&self, program: &Path, contents: Contents) -> Result<RawRun, BoxError> {
        raw::run(program, contents, self.plan.measured).await
    }

    /// Makes invoices on a fresh host and, where no plugin is bound, reads them again.
    async fn host(&self, chain: &Chain, hooks: Hooks) -> Result<(Run, Reads), BoxError> {
        let mut host = FreshHost::start(&self.places, chain, hooks).await?;
        let keys = host.merchants(self.plan.merchants).await?;
        let mut load = Load::connect(host.process.base_url(), &keys, CLIENTS).await?;
        let made = self.measured(&host, &mut load, Requests::Create).await?;
        let reads = match hooks {
            // No plugin is asked about a read, so it is measured once.
            Hooks::Unbound => self.reads(&host, &mut load).await?,
            Hooks::Bound => Reads::default(),
        };
        drop(load);
        host.process.stop().await?;
        Ok((made, reads))
    }

    async fn reads(&self, host: &FreshHost, load: &mut Load) -> Result<Reads, BoxError> {
        let balance = self.measured(host, load, Requests::Balance).await?;
        let invoice = self.measured(host, load, Requests::Read).await?;
        let server = BareServer::start(load.answer_bytes()).await?;
        let mut elsewhere = load.reconnected(server.address).await?;
        let bare = self.measured(host, &mut elsewhere, Requests::Read).await?;
        Ok(Reads { invoice, balance, bare })
    }

    async fn measured(&self, host: &FreshHost, load: &mut Load, requests: Requests) -> Result<Run, BoxError> {
        let pids = [std::process::id(), host.pid()?];
        let phases = Phases::from_now(WARM_UP, self.plan.measured);
        // Taken over the whole run with its warm-up, and spread over as much time.
        let before = processor_times(pids)?;
        let samples = load.run(requests, phases).await?;
        let after = processor_times(pids)?;
        let whole = WARM_UP.saturating_add(self.plan.measured);
        let [client_cores, host_cores] = [0, 1].map(|side: usize| cores(before[side], after[side], whole));
        Ok(Run { client_cores, host_cores, ..Run::of(&samples, self.plan.measured) })
    }
}

impl Run {
    fn of(samples: &Samples, measured: Duration) -> Self {
        Self {
            rate: Thousandths::per_second(samples.len(), measured),
            p50: Thousandths::millis(samples.percentile(50)),
            p99: Thousandths::millis(samples.percentile(99)),
            ..Self::default()
        }
    }
}

impl From<&RawRun> for Run {
    fn from(raw: &RawRun) -> Self {
        Self {
            rate: Thousandths::per_second(raw.transactions, raw.elapsed()),
            p50: Thousandths::millis(raw.p50()),
            p99: Thousandths::millis(raw.p99()),
            ..Self::default()
        }
    }
}

fn processor_times(pids: [u32; 2]) -> Result<[Duration; 2], BoxError> {
    let [client, host] = pids.map(processor_time);
    Ok([client?, host?])
}

fn cores(before: Duration, after: Duration, elapsed: Duration) -> Thousandths {
    Thousandths::millis(after.saturating_sub(before)).over(Thousandths::millis(elapsed)).unwrap_or_default()
}

fn figures(rounds: &[Round]) -> Vec<Figure> {
    let middle = |of: fn(&Round) -> Thousandths| median(rounds.iter().map(of));
    let [raw_rate, raw_p50, raw_p99] =
        [middle(|round| round.raw.rate), middle(|round| round.raw.p50), middle(|round| round.raw.p99)];
    let [select_rate, select_p50, select_p99] = [
        middle(|round| Thousandths::per_second(round.shape.selects, round.shape.elapsed())),
        middle(|round| Thousandths::millis(round.shape.select_p50())),
        middle(|round| Thousandths::millis(round.shape.select_p99())),
    ];
    let bare_rate = middle(|round| round.reads.bare.rate);
    let rate = |name: &str, value| Figure::new(name, value, "1/s");
    let time = |name: &str, value| Figure::new(name, value, "ms");
    let busy = |name: &str, value| Figure::new(name, value, "cores");
    vec![
        rate("create_unbound_rate", middle(|round| round.unbound.rate)).beside(raw_rate).aiming(RATE_AIM),
        time("create_unbound_p50", middle(|round| round.unbound.p50)).beside(raw_p50),
        time("create_unbound_p99", middle(|round| round.unbound.p99)).beside(raw_p99),
        rate("create_bound_rate", middle(|round| round.bound.rate)).beside(raw_rate).aiming(RATE_AIM),
        time("create_bound_p50", middle(|round| round.bound.p50)).beside(raw_p50),
        time("create_bound_p99", middle(|round| round.bound.p99)).beside(raw_p99),
        rate("read_rate", middle(|round| round.reads.invoice.rate)).beside(select_rate).aiming(READ_AIM),
        time("read_p50", middle(|round| round.reads.invoice.p50)).beside(select_p50),
        time("read_p99", middle(|round| round.reads.invoice.p99)).beside(select_p99),
        rate("balance_rate", middle(|round| round.reads.balance.rate)).beside(select_rate).aiming(READ_AIM),
        time("balance_p50", middle(|round| round.reads.balance.p50)).beside(select_p50),
        time("balance_p99", middle(|round| round.reads.balance.p99)).beside(select_p99),
        rate("read_rate_beside_bare_server", middle(|round| round.reads.invoice.rate)).beside(bare_rate),
        rate("balance_rate_beside_bare_server", middle(|round| round.reads.balance.rate)).beside(bare_rate),
        rate("raw_rows_alone_rate", middle(|round| round.raw_rows_alone.rate)).beside(raw_rate),
        rate("raw_with_the_hosts_allocator_rate", middle(|round| round.raw_mimalloc.rate)).beside(raw_rate),
        Figure::new("raw_making_rows", middle(|round| Thousandths::micros(round.shape.making_rows())), "us"),
        busy("create_client_cores", middle(|round| round.unbound.client_cores)),
        busy("create_host_cores", middle(|round| round.unbound.host_cores)),
        busy("read_client_cores", middle(|round| round.reads.invoice.client_cores)),
        busy("read_host_cores", middle(|round| round.reads.invoice.host_cores)),
    ]
}
