//! What a run shows, for people and for programs, and whether the claim holds.

use core::time::Duration;
use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::reckoning::Difference;
use crate::tell;

/// A start that takes longer is an outage of its own.
const READY_P99_MAX: Duration = Duration::from_secs(5);

/// How many findings are told one by one.
const FINDINGS_TOLD: usize = 20;

/// The result of a run. The order of the members is that of the output.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    kills: u32,
    /// Final transfers to addresses of ours on the chain.
    deposits: usize,
    lost: usize,
    doubled: usize,
    ready_p99_s: Value,
    #[serde(skip)]
    ready_p99: Duration,
    #[serde(skip)]
    findings: Vec<String>,
    #[serde(skip)]
    seed: u64,
}

impl Verdict {
    pub(crate) fn new(arguments: &Arguments, difference: Difference, mut starts: Vec<Duration>) -> Self {
        starts.sort_unstable();
        let rank = starts.len().saturating_mul(99).div_ceil(100).saturating_sub(1);
        let ready_p99 = starts.get(rank).copied().unwrap_or_default();
        Self {
            kills: arguments.kills,
            deposits: difference.deposits,
            lost: difference.lost,
            doubled: difference.doubled,
            ready_p99_s: seconds(ready_p99),
            ready_p99,
            findings: difference.findings,
            seed: arguments.seed,
        }
    }

    /// Nothing is lost, nothing doubled, nothing else was found, and every start was quick.
    pub(crate) fn holds(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.findings.is_empty() && self.ready_p99 <= READY_P99_MAX
    }

    /// Writes the verdict to the standard output and what was found to the standard error.
    pub(crate) fn print(&self, json: bool) {
        for finding in self.findings.iter().take(FINDINGS_TOLD) {
            tell(&format!("crash: {finding}"));
        }
        let text = if json {
            // Numbers can always be written.
            serde_json::to_string(self).unwrap_or_default()
        } else {
            format!(
                "{} kills, {} deposits: {} lost, {} doubled; ready after {} s (p99); seed {}",
                self.kills, self.deposits, self.lost, self.doubled, self.ready_p99_s, self.seed
            )
        };
        // A reader that has gone away does not want the rest.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// Seconds with three places, as a JSON number.
fn seconds(duration: Duration) -> Value {
    let text = format!("{}.{:03}", duration.as_secs(), duration.subsec_millis());
    // Digits with a point and three more are always a JSON number.
    serde_json::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lost: usize, doubled: usize, slowest_ms: u64) -> Verdict {
        let arguments = Arguments { kills: 2, seed: 1, json: true };
        let difference = Difference { deposits: 9, lost, doubled, findings: Vec::new() };
        Verdict::new(&arguments, difference, vec![Duration::from_millis(200), Duration::from_millis(slowest_ms)])
    }

    #[test]
    fn a_line_of_json_has_the_agreed_members() {
        let line = serde_json::to_string(&verdict(0, 0, 1_250)).expect("numbers");
        assert_eq!(line, r#"{"kills":2,"deposits":9,"lost":0,"doubled":0,"ready_p99_s":1.25}"#);
    }

    #[test]
    fn holds_only_when_nothing_is_wrong() {
        assert!(verdict(0, 0, 5_000).holds());
        assert!(!verdict(1, 0, 200).holds());
        assert!(!verdict(0, 1, 200).holds());
        assert!(!verdict(0, 0, 5_001).holds());
    }
}
