//! The raw store, measured by a program of its own: only its crate may name the engine.

use core::time::Duration;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;
use xthonpay_tests::BoxError;

use super::{CLIENTS, WARM_UP};
use crate::parts;

/// What a run takes besides what is measured: opening the store, counting its rows, closing it.
const OVERHEAD_MAX: Duration = Duration::from_secs(120);

/// What one transaction stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// What the host stores for one invoice.
    Equal,
    /// The same without the positions in lists, which the host has in place of secondary indexes.
    RowsAlone,
}

/// A run as the program reports it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RawRun {
    /// Records of one transaction.
    pub(super) records: usize,
    /// Their size as text.
    pub(super) bytes: usize,
    /// Transactions that ended in the measured time.
    pub(super) transactions: usize,
    elapsed_us: u64,
    p50_us: u64,
    p99_us: u64,
    fill_ns: u64,
    /// Reads of one record by its id that ended in as much time.
    pub(super) selects: usize,
    select_p50_us: u64,
    select_p99_us: u64,
}

impl RawRun {
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed_us)
    }

    pub(super) fn p50(&self) -> Duration {
        Duration::from_micros(self.p50_us)
    }

    pub(super) fn p99(&self) -> Duration {
        Duration::from_micros(self.p99_us)
    }

    /// What half of the reads took at most.
    pub(super) fn select_p50(&self) -> Duration {
        Duration::from_micros(self.select_p50_us)
    }

    /// What 99 of 100 reads took at most.
    pub(super) fn select_p99(&self) -> Duration {
        Duration::from_micros(self.select_p99_us)
    }

    /// What the program takes to make the rows of one transaction, which its callers do between two.
    pub(super) fn making_rows(&self) -> Duration {
        Duration::from_nanos(self.fill_ns)
    }
}

/// Measures the raw store in an empty folder.
pub(super) async fn run(program: &Path, contents: Contents, measured: Duration) -> Result<RawRun, BoxError> {
    let folder = parts::folder()?;
    let mut command = Command::new(program);
    command.arg("--directory").arg(folder.path().join("store"));
    for (name, value) in [
        ("--seconds", measured.as_secs().to_string()),
        ("--warm-up", WARM_UP.as_secs().to_string()),
        ("--callers", CLIENTS.to_string()),
    ] {
        command.args([name, &value]);
    }
    if contents == Contents::RowsAlone {
        command.arg("--rows-alone");
    }
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    // It stores for so long, and then reads for so long.
    let limit = WARM_UP.saturating_add(measured).saturating_mul(2).saturating_add(OVERHEAD_MAX);
    let output =
        timeout(limit, command.output()).await.map_err(|_| format!("{} takes too long", program.display()))??;
    if !output.status.success() {
        return Err(format!("{} ended with {}", program.display(), output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
