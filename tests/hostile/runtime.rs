//! The runtime alone: how long a loop really runs, and what traps leave behind.

use core::time::Duration;
use std::path::Path;

use tokio::time::Instant;
use xthonpay_plugin_runtime::workbench::{Ending, Fixture, Workbench};
use xthonpay_tests::BoxError;
use xthonpay_tests::guest::Guest;
use xthonpay_tests::process::resident_kib;
use xthonpay_tests::program::tell;

/// The budget of the loop, and how often it runs.
const BUDGET: Duration = Duration::from_millis(50);
const LOOPS: usize = 40;

/// Traps whose traces are looked for, and those before, after which memory counts.
const TRAPS: usize = 10_000;
const TRAPS_BEFORE: usize = 500;

const CALL: &str = "
    function = 'on-draft'
    [input.draft]
    price = { asset = 'bsc:USDT', amount = '1' }
    proposed = { expires-in-s = 900, tolerance-bps = 0, tolerance-amount = '0', confirmations = 0 }
";

/// What was measured.
pub(crate) struct Alone {
    pub(crate) longest_overrun: Duration,
    pub(crate) growth_kib: u64,
}

pub(crate) async fn alone() -> Result<Alone, BoxError> {
    let folder = tempfile::tempdir()?;
    let spin = Guest::rules().function("on-draft", "(loop $for_ever (br $for_ever)) unreachable");
    let bench = open(folder.path(), "spin", &spin).await?;
    let mut longest_overrun = Duration::ZERO;
    for _ in 0..LOOPS {
        let started = Instant::now();
        expect_failure(&bench, "over_limit").await?;
        longest_overrun = longest_overrun.max(started.elapsed().saturating_sub(BUDGET));
    }
    tell(&format!("hostile: a loop ran for {} ms more than its budget at the most", longest_overrun.as_millis()));

    let trap = Guest::rules().function("on-draft", "(drop (memory.grow (i32.const 100))) unreachable");
    let bench = open(folder.path(), "trap", &trap).await?;
    for _ in 0..TRAPS_BEFORE {
        expect_failure(&bench, "trapped").await?;
    }
    let before = resident_kib(std::process::id())?;
    for _ in 0..TRAPS {
        expect_failure(&bench, "trapped").await?;
    }
    let growth_kib = resident_kib(std::process::id())?.saturating_sub(before);
    Ok(Alone { longest_overrun, growth_kib })
}

async fn open(folder: &Path, name: &str, guest: &Guest) -> Result<xthonpay_plugin_runtime::workbench::Bench, BoxError> {
    let component = folder.join(format!("{name}.wasm"));
    std::fs::write(&component, guest.component())?;
    let manifest = format!("id = '{name}'\nversion = '1'\ncontract = '0.1.0'\nworld = 'invoice-rules'\n");
    std::fs::write(folder.join(format!("{name}.toml")), manifest)?;
    Ok(Workbench::new(None)?.open(&component, Fixture::parse(CALL)?).await?)
}

async fn expect_failure(bench: &xthonpay_plugin_runtime::workbench::Bench, wanted: &str) -> Result<(), BoxError> {
    match bench.call().await?.ending {
        Ending::Failure { kind, .. } if kind == wanted => Ok(()),
        other => Err(format!("{wanted} was to come: {other:?}").into()),
    }
}
