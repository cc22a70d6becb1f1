//! How fast old blocks are read: by logs alone, and whole with their roots verified.
//!
//! The node is a canned one in a process of its own, twenty milliseconds away. The limit is what a plain program does: one
//! `eth_getLogs` a block through alloy's client, each after the answer to the one before. Runs take turns, and of each figure
//! the median of the rounds counts.

mod node;
mod plain;

use core::time::Duration;
use std::sync::Arc;

use tokio::time::Instant;
use xthonpay_chain_evm::{CatchUp, EvmChain, EvmChainConfig, FALLBACK_AFTER, Finality};
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::asset::{Asset, AssetKind};
use xthonpay_domain::block::{BlockNumber, BlockRange};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::chain::{ChainSource as _, RANGE_BLOCKS_MAX, Verification};
use xthonpay_payments::port::random::Random;
use xthonpay_tests::BoxError;
use xthonpay_tests::canned_node::{CHAIN_ID, TOKEN};
use xthonpay_tests::manual_clock::ManualClock;
use xthonpay_tests::seeded_random::SeededRandom;

use self::node::{Kind, NodeProcess, ROUND_TRIP_MS};
use crate::figures::{Aim, Figure, Report, Thousandths};
use crate::samples::median;
use crate::tell;
use xthonpay_tests::process::processor_time;

/// Far beyond any answer at this distance.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the fastest indexers that ask nodes reach on sparse ranges.
const SPARSE_AIM: Aim = Aim::ValueAtLeast(Thousandths::whole(4_100));
const RATIO_AIM: Aim = Aim::RatioAtLeast(Thousandths::whole(10));
/// Verified blocks that one core reads in a second.
const CORE_AIM: Aim = Aim::ValueAtLeast(Thousandths::whole(400));

/// Blocks of a sparse and of a full run that are asked for at once, as the host does when it catches up. Full ones are fewer,
/// so that a run of seconds holds several.
const SPARSE_RUN: u64 = RANGE_BLOCKS_MAX;
const DENSE_RUN: u64 = 500;

/// The size of the benchmark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackfillPlan {
    /// How long each run is measured.
    pub(crate) measured: Duration,
    pub(crate) rounds: usize,
}

impl Default for BackfillPlan {
    fn default() -> Self {
        Self { measured: Duration::from_secs(5), rounds: 3 }
    }
}

/// What one run read.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    blocks: usize,
    logs: usize,
    took: Duration,
    /// Processor time of this process.
    busy: Duration,
}

impl Run {
    fn blocks_rate(&self) -> Thousandths {
        Thousandths::per_second(self.blocks, self.took)
    }

    fn logs_rate(&self) -> Thousandths {
        Thousandths::per_second(self.logs, self.took)
    }

    /// Blocks for each second that one core was busy.
    fn blocks_per_core(&self) -> Thousandths {
        Thousandths::per_second(self.blocks, self.busy)
    }
}

/// The runs of one round over one kind of chain.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    plain: Run,
    plain_ranges: Run,
    logs: Run,
    verified: Run,
}

/// Runs the benchmark.
pub(crate) async fn run(plan: &BackfillPlan) -> Result<Report, BoxError> {
    let mut figures = Vec::new();
    for kind in [Kind::Sparse, Kind::Dense] {
        let node = NodeProcess::start(kind).await?;
        check_same_answers(&node).await?;
        let mut rounds = Vec::with_capacity(plan.rounds);
        for number in 1..=plan.rounds {
            let round = round(&node, plan).await?;
            tell(&format!(
                "{} round {number}: plain {} blocks/s, by ranges {}, logs {}, verified {}",
                kind.name(),
                round.plain.blocks_rate(),
                round.plain_ranges.blocks_rate(),
                round.logs.blocks_rate(),
                round.verified.blocks_rate()
            ));
            rounds.push(round);
        }
        figures.extend(figures_of(kind, &rounds));
    }
    let method = format!(
        "canned node in another process, {ROUND_TRIP_MS} ms away; {} s a run, medians, rounds: {}; baseline: eth_getLogs block \
         by block through alloy's client, one after the other; full blocks: 117 transactions, 290 logs, 87 of the token",
        plan.measured.as_secs(),
        plan.rounds
    );
    Ok(Report { bench: "backfill", method, figures })
}

async fn round(node: &NodeProcess, plan: &BackfillPlan) -> Result<Round, BoxError> {
    let step = match node.kind {
        Kind::Sparse => SPARSE_RUN,
        Kind::Dense => DENSE_RUN,
    };
    Ok(Round {
        plain: plain::read(node, 1, plan.measured).await?,
        plain_ranges: plain::read(node, plain::RANGE, plan.measured).await?,
        logs: read(node, CatchUp::Logs, step, plan.measured).await?,
        verified: read(node, CatchUp::Blocks, step, plan.measured).await?,
    })
}

/// Reads run after run, as the host does when it catches up.
async fn read(node: &NodeProcess, way: CatchUp, step: u64, measured: Duration) -> Result<Run, BoxError> {
    let source = source(node, way)?;
    source.self_check().await?;
    let level = source.report().nodes.first().and_then(|node| node.verification);
    if level != Some(Verification::Roots) {
        return Err(format!("the node's blocks are not verified by roots: {level:?}").into());
    }
    // The first runs learn what the node takes.
    let mut next = 1;
    for _ in 0..2 {
        source.transfers_in(range(node, &mut next, step)?).await?;
    }
    let (mut run, busy, started) = (Run::default(), processor_time(std::process::id())?, Instant::now());
    while started.elapsed() < measured {
        let range = range(node, &mut next, step)?;
        let found = source.transfers_in(range).await?;
        run.blocks += usize::try_from(range.blocks())?;
        run.logs += match way {
            CatchUp::Logs => found.blocks.iter().map(|block| block.transfers.len()).sum::<usize>(),
            // Read, proved and looked through: those of the token and all others.
            CatchUp::Blocks => node.kind.logs_in(range),
        };
    }
    run.took = started.elapsed();
    run.busy = processor_time(std::process::id())?.saturating_sub(busy);
    Ok(run)
}

fn source(node: &NodeProcess, way: CatchUp) -> Result<EvmChain, BoxError> {
    let kind = AssetKind::Token { contract: TOKEN };
    let token = Asset { id: "bsc:USDT".parse()?, kind, decimals: Decimals::new(18)? };
    // Logs take the word of two nodes: the same process answers twice, so that the price of agreement is in the figure.
    let mut nodes = vec![node.url.parse()?];
    if way == CatchUp::Logs {
        nodes.push(format!("{}?again", node.url).parse()?);
    }
    let config = EvmChainConfig {
        name: "bsc".parse()?,
        chain_id: CHAIN_ID,
        quorum: nodes.len(),
        nodes,
        assets: vec![token],
        finality: Finality::Tag,
        fallback_depth: None,
        fallback_after: FALLBACK_AFTER,
        catch_up: way,
        checkpoint: None,
        websockets: Vec::new(),
        request_timeout: REQUEST_TIMEOUT,
    };
    let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
    Ok(EvmChain::new(config, Arc::new(ManualClock::starting_at(Timestamp::from_secs(1_790_000_000))), &random)?)
}

/// The next run of blocks; begins again before the end of the chain.
fn range(node: &NodeProcess, next: &mut u64, step: u64) -> Result<BlockRange, BoxError> {
    if next.saturating_add(step) > node.kind.blocks() {
        *next = 1;
    }
    let last = next.saturating_add(step).saturating_sub(1);
    let range = BlockRange::new(BlockNumber(*next), BlockNumber(last)).ok_or("a run without blocks")?;
    *next = last.saturating_add(1);
    Ok(range)
}

/// Before anything is measured, all ways must find as many transfers.
async fn check_same_answers(node: &NodeProcess) -> Result<(), BoxError> {
    let range = BlockRange::new(BlockNumber(1), BlockNumber(plain::RANGE)).ok_or("a run without blocks")?;
    let plain = plain::count(node, range).await?;
    for way in [CatchUp::Logs, CatchUp::Blocks] {
        let found = source(node, way)?.transfers_in(range).await?;
        let found: usize = found.blocks.iter().map(|block| block.transfers.len()).sum();
        if found != plain || found == 0 {
            return Err(format!("{way:?} finds {found} transfers, the plain loop {plain}").into());
        }
    }
    Ok(())
}

fn figures_of(kind: Kind, rounds: &[Round]) -> Vec<Figure> {
    let middle = |of: fn(&Round) -> Thousandths| median(rounds.iter().map(of));
    let plain = middle(|round| round.plain.blocks_rate());
    let plain_logs = middle(|round| round.plain.logs_rate());
    let figure = |what: &str, value, unit| Figure::new(format!("{}_{what}", kind.name()), value, unit);
    let logs = figure("by_logs", middle(|round| round.logs.blocks_rate()), "blk/s").beside(plain);
    let verified = figure("verified", middle(|round| round.verified.blocks_rate()), "blk/s").beside(plain);
    let logs_rate = figure("by_logs_logs", middle(|round| round.logs.logs_rate()), "log/s").beside(plain_logs);
    let verified_logs = figure("verified_logs", middle(|round| round.verified.logs_rate()), "log/s").beside(plain_logs);
    let per_core = figure("verified_per_core", middle(|round| round.verified.blocks_per_core()), "blk/s");
    let logs_core = figure("by_logs_per_core", middle(|round| round.logs.blocks_per_core()), "blk/s");
    let ranges = figure("plain_by_ranges", middle(|round| round.plain_ranges.blocks_rate()), "blk/s").beside(plain);
    match kind {
        Kind::Sparse => {
            vec![logs.aiming(SPARSE_AIM), logs_rate, logs_core, verified.aiming(RATIO_AIM), per_core, ranges]
        }
        Kind::Dense => vec![
            logs.aiming(RATIO_AIM),
            logs_rate,
            logs_core,
            verified.aiming(RATIO_AIM),
            verified_logs,
            per_core.aiming(CORE_AIM),
            ranges,
        ],
    }
}
