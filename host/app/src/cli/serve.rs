//! `serve`: from the config to a running host and, at a signal, to its end.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::CliError;
use crate::config::Config;
use crate::host::{Host, RunError};
use crate::logging;

/// Runs the host until SIGTERM or SIGINT.
pub(super) async fn serve(file: &Path) -> Result<(), CliError> {
    let config = Config::load(file)?;
    logging::start(&config.log);
    let stop = CancellationToken::new();
    watch_signals(&stop).map_err(|source| CliError::System { what: "signals cannot be watched", source })?;
    let host = Host::build(&config).await?;
    match host.run(stop).await {
        Ok(()) => {
            info!("stopped");
            Ok(())
        }
        Err(error @ (RunError::WorkerEnded(_) | RunError::NotDrained)) => Err(CliError::HostEnded(error.to_string())),
    }
}

/// The first signal asks for an orderly end, a second one for the end.
fn watch_signals(stop: &CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                warn!("second signal: stopping at once; nothing that was acknowledged is lost");
                // A crash at any line is safe, so leaving here is too.
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
            }
            info!("stopping");
            stop.cancel();
        }
    });
    Ok(())
}
