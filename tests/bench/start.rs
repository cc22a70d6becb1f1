//! How long a host takes from the start of its process until it is ready, and what it takes when it has nothing to do.
//!
//! The store is small and the plugins were compiled by an earlier start, as when an operator restarts a host.

use core::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use xthonpay_tests::BoxError;
use xthonpay_tests::client::MerchantClient;

use crate::figures::{Aim, Figure, Report, Thousandths};
use crate::parts::{self, Chain, FreshHost, Hooks};
use crate::samples::median;
use crate::tell;
use xthonpay_tests::process::resident_kib;

/// Invoices in the store.
const INVOICES: usize = 100;

/// How long a host is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(5);

const START_AIM: Aim = Aim::ValueAtMost(Thousandths::whole(2_000));
const MEMORY_AIM: Aim = Aim::ValueAtMost(Thousandths::whole(200));

/// The size of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartPlan {
    /// Starts that are measured.
    pub(crate) rounds: usize,
}

impl Default for StartPlan {
    fn default() -> Self {
        Self { rounds: 5 }
    }
}

/// Runs the benchmark.
pub(crate) async fn run(plan: &StartPlan) -> Result<Report, BoxError> {
    let places = parts::places()?;
    let chain = Chain::start(&places).await?;
    let started = Instant::now();
    let mut host = FreshHost::start(&places, &chain, Hooks::Bound).await?;
    let first = Thousandths::millis(started.elapsed());
    tell(&format!("first start, with an empty store and no compiled plugins: {first} ms"));
    fill(&host).await?;

    let mut starts = Vec::with_capacity(plan.rounds);
    for number in 1..=plan.rounds {
        host.process.stop().await?;
        let started = Instant::now();
        host.process.spawn()?;
        host.process.wait_until_ready().await?;
        let took = Thousandths::millis(started.elapsed());
        tell(&format!("start {number} of {}: {took} ms", plan.rounds));
        starts.push(took);
    }
    sleep(IDLE).await;
    let memory = Thousandths::mb(resident_kib(host.pid()?)?);
    let size = Thousandths::mib(places.binary.metadata()?.len() / 1_024);
    host.process.stop().await?;
    Ok(Report {
        bench: "start",
        method: format!(
            "median of {} starts with {INVOICES} invoices in the store and compiled plugins in the cache; memory after {} s \
             without work",
            plan.rounds,
            IDLE.as_secs()
        ),
        figures: vec![
            Figure::new("start_to_ready", median(starts), "ms").aiming(START_AIM),
            Figure::new("first_start_to_ready", first, "ms"),
            Figure::new("idle_memory", memory, "MB").aiming(MEMORY_AIM),
            Figure::new("binary_size", size, "MiB"),
        ],
    })
}

/// Makes the invoices.
async fn fill(host: &FreshHost) -> Result<(), BoxError> {
    for key in host.merchants(1).await? {
        let client = MerchantClient::new(host.process.base_url(), key)?;
        for number in 0..INVOICES {
            let order = json!({"amount": "50.00", "external_id": format!("order-{number}")});
            client.post("/invoices", &order).await?.data()?;
        }
    }
    Ok(())
}
