//! The product at work, with real parts: a chain node, the host, a merchant, a customer, a webhook.
//!
//! Owns the order of the steps and the words for them. `cargo xtask demo` builds what it needs and starts it. Everything it
//! makes stands below `target/demo` and is made anew each time.

mod arguments;
mod narrator;
mod parts;
mod sale;
mod try_it;

use core::time::Duration;
use std::pin::pin;
use std::process::ExitCode;

use tokio::signal::ctrl_c;
use tokio::time::timeout;
use xthonpay_tests::BoxError;

use arguments::Arguments;
use narrator::Narrator;
use parts::Parts;

/// How far apart two processes may see the same Ctrl-C.
const SIGNAL_GRACE: Duration = Duration::from_millis(500);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(usage) => {
            Narrator::new(true).say(&usage);
            return ExitCode::from(2);
        }
    };
    let narrator = Narrator::new(arguments.json);
    match run(arguments, &narrator).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            narrator.failed(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments, narrator: &Narrator) -> Result<(), BoxError> {
    let mut parts = parts::start(narrator).await?;
    let timings = sale::run(&parts, narrator).await?;
    narrator.result(&timings);
    if arguments.once {
        return parts.stop().await;
    }
    try_it::print(&parts, narrator)?;
    stay_up(&mut parts, narrator).await?;
    narrator.say("\nStopping.");
    parts.stop().await
}

/// Until Ctrl-C. A host that ends is started again, so that a changed config takes effect.
async fn stay_up(parts: &mut Parts, narrator: &Narrator) -> Result<(), BoxError> {
    let mut interrupted = pin!(ctrl_c());
    loop {
        tokio::select! {
            result = &mut interrupted => return Ok(result?),
            result = parts.host_ended() => result?,
        }
        // A terminal sends Ctrl-C to the host as well: then both end.
        if let Ok(result) = timeout(SIGNAL_GRACE, &mut interrupted).await {
            return Ok(result?);
        }
        narrator.say("The host has ended; starting it again with its config as it is now.");
        parts.restart_host().await?;
        narrator.step("host", &format!("{}: ready", parts.host.base_url()));
    }
}
