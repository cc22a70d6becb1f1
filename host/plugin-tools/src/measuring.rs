//! How long a call takes: the instance and the function, again and again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use serde::Serialize;
use xthonpay_plugin_runtime::workbench::{Ending, Fixture, Workbench};

use crate::fault::ToolError;
use crate::project::component_at;

/// Calls that are not counted: the first ones fill caches.
const WARM_UP: usize = 20;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The component.
    pub component: PathBuf,
    /// The file with the call.
    pub fixture: PathBuf,
    /// How many calls were counted.
    pub calls: usize,
    /// Loading the component for the first time, in milliseconds: most of it is compiling.
    pub load_ms: u64,
    /// The same with compiled code kept.
    pub load_again_ms: u64,
    /// Making an instance, in microseconds: half of the calls took no longer, and 99 of 100.
    pub instantiate_us: [u64; 2],
    /// The function, the same.
    pub call_us: [u64; 2],
    /// Both together, the same.
    pub total_us: [u64; 2],
    /// Linear memory of an instance, in KiB.
    pub memory_kib: u64,
}

/// Measures the call of a file.
///
/// # Errors
/// [`ToolError`], also when the call fails: a failure is not worth measuring.
pub async fn measure(path: &Path, fixture: &Path, calls: usize) -> Result<Measured, ToolError> {
    let component = component_at(path)?;
    let call = Fixture::read(fixture).map_err(|error| ToolError::Fixture { path: fixture.to_owned(), error })?;
    let started = Instant::now();
    let engine = |error| ToolError::Workbench(xthonpay_plugin_runtime::workbench::WorkbenchError::Engine(error));
    // A folder of its own for compiled code: the first load shall be one.
    let cache = std::env::temp_dir().join(format!("xthonpay-bench-{}", std::process::id()));
    let measured = async {
        let workbench = Workbench::new(Some(&cache)).map_err(engine)?;
        let bench = workbench.open(&component, call.clone()).await?;
        let load = started.elapsed();
        let again = Instant::now();
        drop(workbench.open(&component, call.clone()).await?);
        let load_again = again.elapsed();
        let (mut instances, mut functions, mut both, mut memory) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for number in 0..calls.saturating_add(WARM_UP) {
            let report = bench.call().await.map_err(|error| ToolError::Fixture { path: fixture.to_owned(), error })?;
            if let Ending::Failure { kind, text } = &report.ending {
                return Err(ToolError::Failed { line: format!("the call ({kind}: {text})") });
            }
            if number >= WARM_UP {
                instances.push(report.instantiate);
                functions.push(report.call);
                both.push(report.instantiate.saturating_add(report.call));
                memory = memory.max(report.memory_bytes);
            }
        }
        Ok(Measured {
            component: component.clone(),
            fixture: fixture.to_owned(),
            calls,
            load_ms: millis(load),
            load_again_ms: millis(load_again),
            instantiate_us: quantiles(instances),
            call_us: quantiles(functions),
            total_us: quantiles(both),
            memory_kib: memory.div_ceil(1_024),
        })
    };
    let measured = measured.await;
    // Left behind it would cost a little space in a temporary folder.
    let _ = std::fs::remove_dir_all(&cache);
    measured
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The median and the 99th of 100.
fn quantiles(mut times: Vec<Duration>) -> [u64; 2] {
    times.sort_unstable();
    let at = |part: usize| {
        let place = times.len().saturating_mul(part).checked_div(100).unwrap_or(0).min(times.len().saturating_sub(1));
        times.get(place).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    };
    [at(50), at(99)]
}
