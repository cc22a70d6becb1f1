//! `kill -9` at random moments under a stream of deposits: nothing may be lost, nothing credited twice.
//!
//! The host is the real binary on a real node that makes a block every 450 ms, as BNB Smart Chain does. A shop makes
//! invoices, customers pay many addresses in every block, and neither stops while the host is gone. At the end the chain, the
//! REST API, the webhooks and the host's own audit are held against each other. `cargo xtask crash` builds what is needed.
//! `kill -9` leaves what the system has cached in memory: losing that is another test.

mod arguments;
mod customers;
mod reckoning;
mod shop;
mod stage;
mod verdict;

use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};
use xthonpay_tests::BoxError;
use xthonpay_tests::program::{self, tell, unless_interrupted};
use xthonpay_tests::seeded::Seeded;

use arguments::{Arguments, USAGE};
use stage::Stage;
use verdict::Verdict;

/// How long the host lives at most between ready and the next kill, in milliseconds. Some blocks long, so that kills meet
/// every part of the work on a block.
const LIFE_MS_MAX: u64 = 1_600;

/// How long it stays away at most after a kill: blocks go on in the meantime.
const ABSENCE_MS_MAX: u64 = 400;

/// So many of a hundred kills come while the host is still starting.
const KILLS_AT_START_PERCENT: u64 = 15;

/// How long a start takes at most before such a kill.
const START_MS_MAX: u64 = 300;

/// Kills between two lines about the progress.
const KILLS_A_LINE: u32 = 10;

fn main() -> ExitCode {
    program::run("crash", USAGE, Arguments::read(), |arguments| {
        let verdict = run(arguments)?;
        verdict.print(arguments.json);
        Ok(verdict.holds())
    })
}

fn run(arguments: &Arguments) -> Result<Verdict, BoxError> {
    // One thread: the machine belongs to the host.
    Builder::new_current_thread().enable_all().build()?.block_on(unless_interrupted(measure(arguments)))
}

async fn measure(arguments: &Arguments) -> Result<Verdict, BoxError> {
    tell(&format!("crash: --kills {} --seed {}", arguments.kills, arguments.seed));
    let mut random = Seeded::new(arguments.seed);
    let mut stage = Stage::set(random.next_u64()).await?;
    let mut starts = Vec::new();
    for number in 1..=arguments.kills {
        stage.check_workers().await?;
        if random.chance(KILLS_AT_START_PERCENT) {
            stage.host.kill()?;
            stage.host.spawn()?;
            sleep(random.millis(0..=START_MS_MAX)).await;
        } else {
            sleep(random.millis(0..=LIFE_MS_MAX)).await;
        }
        stage.host.kill()?;
        sleep(random.millis(0..=ABSENCE_MS_MAX)).await;
        let started = Instant::now();
        stage.host.spawn()?;
        stage.host.wait_until_ready().await?;
        starts.push(started.elapsed());
        stage.announce_host();
        if number.is_multiple_of(KILLS_A_LINE) {
            tell(&format!("crash: {number} of {} kills, {} payments sent", arguments.kills, stage.sent()));
        }
    }
    stage.settle().await?;
    let difference = reckoning::compare(&stage).await?;
    stage.host.stop().await?;
    Ok(Verdict::new(arguments, difference, starts))
}
