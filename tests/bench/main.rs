//! What the host costs and how fast it is, beside a limit that is measured in the same run.
//!
//! Owns the choice of the benchmark and how it ends. The figures are ratios wherever a limit exists, because absolute ones
//! say more about the machine. `README.md` beside this file tells what each benchmark does; `cargo xtask bench` builds what
//! is needed and starts it. Everything runs on this machine and through its loopback address, for a bounded time.

mod arguments;
mod backfill;
mod detect;
mod figures;
mod hooks;
mod parts;
mod rest;
mod rpc;
mod samples;
mod start;
mod webhooks;

use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use xthonpay_tests::BoxError;
use xthonpay_tests::program::{self, tell, unless_interrupted};

use arguments::{Arguments, Benchmark, USAGE};
use figures::Report;

fn main() -> ExitCode {
    program::run("bench", USAGE, Arguments::read(), |arguments| {
        run(arguments)?.print(arguments.json);
        Ok(true)
    })
}

fn run(arguments: &Arguments) -> Result<Report, BoxError> {
    if cfg!(debug_assertions) {
        tell("bench: this is a debug build: its figures say nothing about the product");
    }
    runtime(&arguments.benchmark)?.block_on(unless_interrupted(measure(&arguments.benchmark)))
}

async fn measure(benchmark: &Benchmark) -> Result<Report, BoxError> {
    match benchmark {
        Benchmark::Backfill(plan) => backfill::run(plan).await,
        Benchmark::Hooks => hooks::run().await,
        Benchmark::Detect(plan) => detect::run(plan).await,
        Benchmark::Rest(plan) => rest::run(plan).await,
        Benchmark::Rpc(plan) => rpc::run(plan).await,
        Benchmark::Start(plan) => start::run(plan).await,
        Benchmark::Webhooks(plan) => webhooks::run(plan).await,
    }
}

/// What runs inside this process is measured as the host runs it, on all cores. A load generator gets one thread: it must
/// leave the machine to the host, and tasks that never change threads cost the least.
fn runtime(benchmark: &Benchmark) -> std::io::Result<Runtime> {
    match benchmark {
        Benchmark::Backfill(_) | Benchmark::Hooks => Builder::new_multi_thread().enable_all().build(),
        Benchmark::Detect(_)
        | Benchmark::Rest(_)
        | Benchmark::Rpc(_)
        | Benchmark::Start(_)
        | Benchmark::Webhooks(_) => Builder::new_current_thread().enable_all().build(),
    }
}
