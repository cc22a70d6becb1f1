//! What the run says: whether each row was contained, and what it cost others.

use core::time::Duration;
use std::io::Write as _;

use serde_json::json;

/// The victim's requests may take a fifth longer than without hostile plugins.
const RATIO_MAX_THOUSANDTHS: u128 = 1_200;
/// A loop may run for two ticks of 5 ms beyond its budget.
const OVERRUN_MAX: Duration = Duration::from_millis(10);
/// Memory that ten thousand traps may leave behind.
const GROWTH_KIB_MAX: u64 = 16 * 1_024;

/// One row.
pub(crate) struct RowOutcome {
    pub(crate) name: &'static str,
    pub(crate) contained: bool,
    /// What was seen.
    pub(crate) what: String,
}

impl RowOutcome {
    pub(crate) fn word(&self) -> &'static str {
        if self.contained { "contained" } else { "NOT CONTAINED" }
    }
}

/// The whole run.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) rows: Vec<RowOutcome>,
    /// The victim's p99 without and with hostile plugins.
    pub(crate) quiet: Duration,
    pub(crate) loaded: Duration,
    /// How much longer a loop ran than its budget.
    pub(crate) longest_overrun: Duration,
    /// Memory of the runtime after ten thousand traps, and of the host after all rows.
    pub(crate) growth_kib: u64,
    pub(crate) host_growth_kib: u64,
}

impl Verdict {
    fn contained(&self) -> usize {
        self.rows.iter().filter(|row| row.contained).count()
    }

    fn ratio_thousandths(&self) -> u128 {
        self.loaded.as_nanos().saturating_mul(1_000).checked_div(self.quiet.as_nanos()).unwrap_or(u128::MAX)
    }

    /// Containment decides; times and memory are aims that a busy machine may miss, and are told.
    pub(crate) fn holds(&self) -> bool {
        self.contained() == self.rows.len()
    }

    pub(crate) fn print(&self, as_json: bool) {
        let ratio = self.ratio_thousandths();
        let ratio_text = format!("{}.{:03}", ratio / 1_000, ratio % 1_000);
        let line = if as_json {
            json!({
                "rows": self.rows.len(),
                "contained": self.contained(),
                "not_contained": self.rows.iter().filter(|row| !row.contained).map(|row| row.name).collect::<Vec<_>>(),
                "rest_p99_ratio": ratio_text.parse::<serde_json::Number>().ok(),
                "rest_p99_us": [self.quiet.as_micros().to_string(), self.loaded.as_micros().to_string()],
                "longest_overrun_ms": self.longest_overrun.as_millis().to_string(),
                "rss_growth_mib": self.growth_kib.div_ceil(1_024),
                "host_rss_growth_mib": self.host_growth_kib.div_ceil(1_024),
            })
            .to_string()
        } else {
            let met = |met: bool| if met { "met" } else { "MISSED" };
            format!(
                "rows: {}, contained: {}\nvictim's p99: {} us beside harmless plugins, {} us beside hostile ones, ratio {ratio_text} (aim 1.2, {})\n\
                 longest overrun of a processor budget: {} ms (aim 10 ms, {})\nmemory after 10,000 traps: {} MiB more (aim 16, {}); \
                 the host after all rows: {} MiB more",
                self.rows.len(),
                self.contained(),
                self.quiet.as_micros(),
                self.loaded.as_micros(),
                met(ratio <= RATIO_MAX_THOUSANDTHS),
                self.longest_overrun.as_millis(),
                met(self.longest_overrun <= OVERRUN_MAX),
                self.growth_kib.div_ceil(1_024),
                met(self.growth_kib <= GROWTH_KIB_MAX),
                self.host_growth_kib.div_ceil(1_024),
            )
        };
        // A reader that has gone away does not want it.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
