//! Lives random lives of a deployment and holds its books against the chain.
//!
//! Owns the choice of the task, what is printed and how it ends. `README.md` beside this folder tells what is simulated and
//! what is not; `cargo xtask chaos` builds and starts this program, and the tests of this package run two thousand lives.

mod arguments;
mod campaign;
mod crash_plan;
mod deployment;
mod findings;
mod gate;
mod oracle;
mod process;
mod receivers;
mod scenario;
mod temper;
mod traffic;
mod witness;

use std::io::Write as _;
use std::process::ExitCode;

use xthonpay_tests::crash_points::CrashPoint;
use xthonpay_tests::program::tell;
use xthonpay_tests::seeded::Seeded;

use arguments::{Task, USAGE};
use campaign::Totals;

/// Lives between two lines about the progress.
const PROGRESS_STRIDE: usize = 500;

fn main() -> ExitCode {
    match Task::read() {
        Ok(Task::Run { scenarios, seed, until_found, json }) => run(scenarios, seed, until_found, json),
        Ok(Task::Replay { seed }) => replay(seed),
        Ok(Task::ListCrashPoints) => {
            CrashPoint::all().for_each(|point| print(&point.to_string()));
            ExitCode::SUCCESS
        }
        Ok(Task::Help) => {
            print(USAGE);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            tell(&format!("{problem}\n{USAGE}"));
            ExitCode::from(2)
        }
    }
}

fn run(scenarios: usize, seed: Option<u64>, until_found: bool, json: bool) -> ExitCode {
    let drawn = seed.map_or_else(|| Seeded::announced("chaos").map(|mut random| random.next_u64()), Ok);
    let seed = match drawn {
        Ok(seed) => seed,
        Err(problem) => {
            tell(&format!("chaos: {problem}"));
            return ExitCode::from(2);
        }
    };
    tell(&format!("chaos: {scenarios} lives from the seed {seed}"));
    let totals = campaign::run(scenarios, seed, until_found, &|lives| {
        if lives.checked_rem(PROGRESS_STRIDE) == Some(0) {
            tell(&format!("chaos: {lives} lives"));
        }
    });
    report(&totals);
    if json {
        let findings = &totals.findings;
        let line = serde_json::json!({
            "scenarios": totals.lives,
            "seed": seed,
            "lost": findings.lost,
            "doubled": findings.doubled,
            "premature": findings.premature,
        });
        print(&line.to_string());
    }
    if totals.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(totals: &Totals) {
    let findings = &totals.findings;
    let stories: Vec<String> = totals.stories.iter().map(|(story, lives)| format!("{lives} {story}")).collect();
    let deaths: usize = totals.crashes.values().sum();
    tell(&format!(
        "chaos: {} lives ({}), {} of them on the real store; {} blocks, {} deposits, {deaths} crashes at {} of {} points",
        totals.lives,
        stories.join(", "),
        totals.on_real_store,
        totals.blocks,
        totals.deposits,
        totals.crashes.len(),
        CrashPoint::all().count(),
    ));
    tell(&format!(
        "chaos: lost {}, doubled {}, premature {}, otherwise wrong {}",
        findings.lost, findings.doubled, findings.premature, findings.wrong
    ));
    for point in totals.never_hit() {
        tell(&format!("chaos: no process died {point}"));
    }
    for (index, (seed, told)) in &totals.bad {
        tell(&format!("chaos: life {} went wrong; again: cargo xtask chaos --replay {seed}", index.saturating_add(1)));
        told.iter().for_each(|line| tell(&format!("    {line}")));
    }
}

fn replay(seed: u64) -> ExitCode {
    let outcome = campaign::live_one(seed);
    tell(&format!(
        "chaos: the life of seed {seed}, {}: {} blocks, {} deposits",
        outcome.story.name(),
        outcome.blocks,
        outcome.deposits
    ));
    outcome.crashes.iter().for_each(|point| tell(&format!("chaos: died {point}")));
    outcome.findings.told.iter().for_each(|line| tell(&format!("    {line}")));
    tell(&format!("chaos: {} findings", outcome.findings.total()));
    if outcome.findings.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line of the result.
fn print(line: &str) {
    // A reader that has gone away does not want the rest.
    let _ = writeln!(std::io::stdout(), "{line}");
}
