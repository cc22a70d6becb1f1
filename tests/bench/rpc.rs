//! What a block costs at the node, and what addresses cost in the host: for one, ten thousand and a million of them.
//!
//! A proxy in front of the node counts what the host asks while blocks with payments come. The addresses are put into the
//! store before, by `host/store-surreal/examples/fill_addresses`, and the host is then started on it as after any restart. How
//! long one address takes to be looked up is measured in this process, on the same set that the host uses.

mod lookup;

use core::ops::ControlFlow;
use core::time::Duration;
use std::path::Path;

use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_tests::chain::{Anvil, AnvilOptions, TestChain, anvil_binary};
use xthonpay_tests::client::{MerchantClient, Scheme};
use xthonpay_tests::fault_proxy::{Counts, FaultProxy};
use xthonpay_tests::host::{HostConfig, HostProcess, PluginEntry};
use xthonpay_tests::places::Places;
use xthonpay_tests::{BoxError, wait};

use crate::figures::{Aim, Figure, Report, Thousandths};
use crate::parts::{self, FORMAT, RULES};
use crate::tell;
use xthonpay_tests::process::resident_kib;

/// The sizes of the watch set, the smallest first: the others are held against it.
const SIZES: [u32; 3] = [1, 10_000, 1_000_000];

/// How long a host is left alone after its start before its memory is looked at.
const IDLE: Duration = Duration::from_secs(5);

/// Where the store of the default config keeps its records.
const NAMESPACE: &str = "xthonpay";
const DATABASE: &str = "payments";

/// Above every index that the host itself has used by then.
const FIRST_INDEX: &str = "10000";

/// Far above the time between two blocks.
const PATIENCE: Duration = Duration::from_secs(60);

const METHODS: Aim = Aim::ValueAtMost(Thousandths::whole(3));
const REQUESTS: Aim = Aim::ValueAtMost(Thousandths::whole(2));
const MEMORY: Aim = Aim::ValueAtMost(Thousandths::whole(64));
const LOOKUP: Aim = Aim::ValueAtMost(Thousandths::whole(100));
const LOAD: Aim = Aim::ValueAtMost(Thousandths::whole(5_000));

/// The size of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RpcPlan {
    /// Blocks over which requests are counted, for each size.
    pub(crate) blocks: u64,
}

impl Default for RpcPlan {
    fn default() -> Self {
        Self { blocks: 60 }
    }
}

/// What a host with so many addresses showed.
struct Shown {
    size: u32,
    /// Whether the node announces new blocks.
    announced: bool,
    counts: Counts,
    blocks: u64,
    start: Duration,
    resident_kib: u64,
}

/// Runs the benchmark.
pub(crate) async fn run(plan: &RpcPlan) -> Result<Report, BoxError> {
    let places = parts::places()?;
    let filler = parts::fill_addresses()?;
    let mut shown = Vec::new();
    let runs = SIZES.map(|size| (size, true)).into_iter().chain([(1, false)]);
    for (size, announced) in runs {
        let one = with_addresses(&places, &filler, plan, size, announced).await?;
        let (methods, requests) = (one.per_block(one.counts.calls()), one.per_block(one.counts.requests));
        tell(&format!("{size} addresses: {methods} methods and {requests} requests a block: {:?}", one.counts.methods));
        shown.push(one);
    }
    let lookups = SIZES.map(|size| (size, lookup::mean(size)));
    Ok(Report {
        bench: "rpc",
        method: format!(
            "{} blocks each, one every 450 ms, with a payment in every other; one node, which announces blocks unless the \
             figure says polling; the baseline is the host with one address",
            plan.blocks
        ),
        figures: figures(&shown, &lookups),
    })
}

async fn with_addresses(
    places: &Places,
    filler: &Path,
    plan: &RpcPlan,
    size: u32,
    announced: bool,
) -> Result<Shown, BoxError> {
    let anvil = Anvil::start(AnvilOptions::new(anvil_binary(&places.tools)?)).await?;
    let chain = TestChain::connect(anvil.url()).await?;
    let usdt = chain.deploy_usdt("Tether USD", "USDT", 18).await?;
    let proxy = FaultProxy::start(anvil.url(), 1).await?;
    let folder = parts::folder()?;
    let plugin = |name: &str| PluginEntry::new(name, places.plugin(name));
    let mut config = HostConfig::new(&proxy.url(), usdt).with_plugins(vec![plugin(RULES)], Some(plugin(FORMAT)));
    // What an operator gets who sets nothing.
    config.poll_interval = "\"250ms\"".to_owned();
    if announced {
        config.chain_more = format!("websockets = [\"{}\"]", proxy.ws_url());
    }
    let mut host = HostProcess::prepare_in(folder.path(), places, &config.to_toml())?;
    host.restart().await?;
    let merchant = host.create_merchant("Bench").await?;
    let key = host.create_key(&merchant, "read,write", Scheme::Request, &[]).await?;
    host.stop().await?;
    if size > 1 {
        fill(filler, &host, &merchant.id, size).await?;
        // Once in between, so that the measured start finds a store that was closed in order and needs no clearing up.
        host.restart().await?;
        host.stop().await?;
    }

    let started = Instant::now();
    host.spawn()?;
    host.wait_until_ready().await?;
    let start = started.elapsed();
    let client = MerchantClient::new(host.base_url(), key)?;
    sleep(IDLE).await;
    let resident_kib = resident_kib(host.pid().ok_or("the host does not run")?)?;
    let (counts, blocks) = counted(&chain, usdt, &client, &proxy, plan.blocks).await?;
    host.stop().await?;
    Ok(Shown { size, announced, counts, blocks, start, resident_kib })
}

async fn fill(filler: &Path, host: &HostProcess, merchant: &str, count: u32) -> Result<(), BoxError> {
    let store = host.data().join("store");
    let started = Instant::now();
    let mut command = Command::new(filler);
    command.arg(store).args([NAMESPACE, DATABASE, merchant]);
    // The merchant's own first indices are taken: its deposit address, and those made ahead.
    let status = command.args([FIRST_INDEX, &count.to_string()]).kill_on_drop(true).status().await?;
    if !status.success() {
        return Err(format!("{} ended with {status}", filler.display()).into());
    }
    tell(&format!("{count} addresses stored in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// What the host asked while this many blocks came, every other one with a payment to an invoice.
async fn counted(
    chain: &TestChain,
    usdt: Address,
    client: &MerchantClient,
    proxy: &FaultProxy,
    blocks: u64,
) -> Result<(Counts, u64), BoxError> {
    let order = json!({"asset": "USDT", "amount": "1000"});
    let made = client.post("/invoices", &order).await?.data()?;
    let address: Address = made["deposit_address"].as_str().ok_or("no address")?.parse()?;
    // The count begins and ends right after the host has seen a new block.
    let first = next_head(chain, chain.head().await?.0).await?;
    sleep(IDLE).await;
    proxy.count_anew();
    let began = chain.head().await?.0.max(first);
    let mut head = began;
    while head < began.saturating_add(blocks) {
        if head.is_multiple_of(2) {
            chain.transfer_token(usdt, address, Amount::parse("1", Decimals::new(18)?)?).await?;
        }
        head = next_head(chain, head).await?;
    }
    let counts = proxy.counts();
    let blocks = chain.head().await?.0.saturating_sub(began);
    let paid = client.get(&format!("/invoices/{}", made["invoice_id"].as_str().unwrap_or_default())).await?.data()?;
    if paid["payments_total"].as_u64().unwrap_or(0) == 0 {
        return Err(format!("the host counted nothing of what it was paid: {paid}").into());
    }
    Ok((counts, blocks))
}

async fn next_head(chain: &TestChain, above: u64) -> Result<u64, BoxError> {
    wait::until("the next block", PATIENCE, async || {
        let head = chain.head().await?.0;
        Ok(if head > above { ControlFlow::Break(head) } else { ControlFlow::Continue(head.to_string()) })
    })
    .await
}

impl Shown {
    fn per_block(&self, count: u64) -> Thousandths {
        Thousandths::whole(count).over(Thousandths::whole(self.blocks)).unwrap_or_default()
    }

    fn methods(&self) -> Thousandths {
        self.per_block(self.counts.calls())
    }

    fn requests(&self) -> Thousandths {
        self.per_block(self.counts.requests)
    }
}

fn figures(shown: &[Shown], lookups: &[(u32, Thousandths)]) -> Vec<Figure> {
    let Some(smallest) = shown.first() else { return Vec::new() };
    let mut figures = Vec::new();
    for one in shown {
        let named = |what: &str| format!("{}{what}_{}", if one.announced { "" } else { "polling_" }, one.size);
        if !one.announced {
            figures.extend([
                Figure::new(named("methods_a_block"), one.methods(), "1/block").beside(smallest.methods()),
                Figure::new(named("requests_a_block"), one.requests(), "1/block").beside(smallest.requests()),
            ]);
            continue;
        }
        figures.extend([
            Figure::new(named("methods_a_block"), one.methods(), "1/block").beside(smallest.methods()).aiming(METHODS),
            Figure::new(named("requests_a_block"), one.requests(), "1/block")
                .beside(smallest.requests())
                .aiming(REQUESTS),
            Figure::new(named("start_to_ready"), Thousandths::millis(one.start), "ms")
                .beside(Thousandths::millis(smallest.start)),
            Figure::new(named("memory"), Thousandths::mb(one.resident_kib), "MB")
                .beside(Thousandths::mb(smallest.resident_kib)),
        ]);
    }
    if let Some(largest) = shown.iter().max_by_key(|one| one.size) {
        let more = u64::from(largest.size.saturating_sub(smallest.size));
        let bytes = largest.resident_kib.saturating_sub(smallest.resident_kib).saturating_mul(1_024);
        let each = Thousandths::whole(bytes).over(Thousandths::whole(more)).unwrap_or_default();
        let load = Thousandths::millis(largest.start.saturating_sub(smallest.start));
        figures.push(Figure::new("memory_an_address", each, "B").aiming(MEMORY));
        figures.push(Figure::new(format!("load_{}", largest.size), load, "ms").aiming(LOAD));
    }
    figures
        .extend(lookups.iter().map(|(size, mean)| Figure::new(format!("lookup_{size}"), *mean, "ns").aiming(LOOKUP)));
    figures
}
