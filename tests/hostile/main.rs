//! Hostile plugins against a real host under load: each must be contained, and nobody else may feel it.
//!
//! A host serves a victim, whose requests are timed without a pause, and an attacker, whose orders call the plugin of the row
//! again and again. Each row exchanges the plugin and looks at what the host says about it: the outcome of its calls, or why it
//! was not loaded. Beside it the runtime is driven alone: how long a loop really runs, and what ten thousand traps leave behind.
//! `cargo xtask hostile` builds what is needed.

mod arguments;
mod load;
mod rows;
mod runtime;
mod stage;
mod verdict;

use std::process::ExitCode;

use tokio::runtime::Builder;
use xthonpay_tests::BoxError;
use xthonpay_tests::program::{self, tell, unless_interrupted};

use arguments::{Arguments, USAGE};
use stage::Stage;
use verdict::Verdict;

fn main() -> ExitCode {
    program::run("hostile", USAGE, Arguments::read(), |arguments| {
        let verdict = run(arguments)?;
        verdict.print(arguments.json);
        Ok(verdict.holds())
    })
}

fn run(arguments: &Arguments) -> Result<Verdict, BoxError> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(unless_interrupted(measure(arguments)))
}

async fn measure(arguments: &Arguments) -> Result<Verdict, BoxError> {
    let mut stage = Stage::set().await?;
    let mut verdict = Verdict::default();
    stage.quiet().await?;
    let before = stage.resident_kib()?;
    for row in rows::all(stage.foreign_invoice()) {
        let outcome = stage.row(&row, arguments.rounds).await?;
        let resident = stage.resident_kib()? / 1_024;
        tell(&format!("hostile: {} {}: {} (host: {resident} MiB)", outcome.word(), row.name, outcome.what));
        verdict.rows.push(outcome);
    }
    verdict.host_growth_kib = stage.resident_kib()?.saturating_sub(before);
    stage.quiet().await?;
    [verdict.quiet, verdict.loaded] = stage.end();
    let alone = runtime::alone().await?;
    verdict.longest_overrun = alone.longest_overrun;
    verdict.growth_kib = alone.growth_kib;
    Ok(verdict)
}
