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
mod process;
mod rest;
mod rpc;
mod samples;
mod start;

use std::io::Write as _;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use xthonpay_tests::BoxError;

use arguments::{Arguments, Benchmark, USAGE};
use figures::Report;

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            // A reader that has gone away does not want the rest.
            let _ = writeln!(std::io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            tell(&format!("{problem}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(report) => {
            report.print(arguments.json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Report, BoxError> {
    if cfg!(debug_assertions) {
        tell("bench: this is a debug build: its figures say nothing about the product");
    }
    runtime(&arguments.benchmark)?.block_on(async {
        tokio::select! {
            report = measure(&arguments.benchmark) => report,
            // Dropping the benchmark ends every process that it started.
            interrupted = tokio::signal::ctrl_c() => Err(interrupted.map_or_else(BoxError::from, |()| "interrupted".into())),
        }
    })
}

async fn measure(benchmark: &Benchmark) -> Result<Report, BoxError> {
    match benchmark {
        Benchmark::Backfill(plan) => backfill::run(plan).await,
        Benchmark::Hooks => hooks::run().await,
        Benchmark::Detect(plan) => detect::run(plan).await,
        Benchmark::Rest(plan) => rest::run(plan).await,
        Benchmark::Rpc(plan) => rpc::run(plan).await,
        Benchmark::Start(plan) => start::run(plan).await,
    }
}

/// What runs inside this process is measured as the host runs it, on all cores. A load generator gets one thread: it must
/// leave the machine to the host, and tasks that never change threads cost the least.
fn runtime(benchmark: &Benchmark) -> std::io::Result<Runtime> {
    match benchmark {
        Benchmark::Backfill(_) | Benchmark::Hooks => Builder::new_multi_thread().enable_all().build(),
        Benchmark::Detect(_) | Benchmark::Rest(_) | Benchmark::Rpc(_) | Benchmark::Start(_) => {
            Builder::new_current_thread().enable_all().build()
        }
    }
}

/// A line about the progress. Standard output is for figures alone.
fn tell(line: &str) {
    // Nothing is left to do when even that fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}
