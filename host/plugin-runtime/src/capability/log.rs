//! The capability `log`: lines for the operator, under the target `plugin`, with the plugin's name and the call's id.
//!
//! The contract promises that writing never fails, so lines are cut or dropped here and no call ends for its lines.

use core::fmt::Write as _;

use tracing::{debug, error, info, warn};

use crate::bindings::base::xthonpay::host::log::{Host, Level};
use crate::grant::Capability;
use crate::instance::CallState;
use crate::limits::{Limit, Limits};
use crate::plain_text::one_line;

/// How much one call may write.
pub(crate) struct LogBudget {
    lines_left: u64,
    line_bytes_max: usize,
    dropped: u64,
}

/// A line that a guest has logged, made plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What it says.
    pub text: String,
    /// Its fields, joined.
    pub fields: String,
}

impl LogBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { lines_left: limits.get(Limit::LogLines), line_bytes_max: limits.count(Limit::LogLineBytes), dropped: 0 }
    }

    /// Lines that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a line out of the budget; `false` when there is none left.
    fn take(&mut self) -> bool {
        match self.lines_left.checked_sub(1) {
            Some(left) => {
                self.lines_left = left;
                true
            }
            None => {
                self.dropped = self.dropped.saturating_add(1);
                false
            }
        }
    }
}

impl Host for CallState {
    fn write(&mut self, level: Level, text: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        // Lines have a limit of their own.
        self.usage.ask(Capability::Log.name(), "write");
        if !self.log.take() {
            return Ok(());
        }
        let text = one_line(&text, self.log.line_bytes_max);
        let fields = join(&fields, self.log.line_bytes_max.saturating_sub(text.len()));
        let (plugin, id) = (self.profile.name.as_str(), self.call.id.as_str());
        let level = match level {
            Level::Debug => {
                debug!(target: "plugin", plugin, id, fields, "{text}");
                "debug"
            }
            Level::Info => {
                info!(target: "plugin", plugin, id, fields, "{text}");
                "info"
            }
            Level::Warn => {
                warn!(target: "plugin", plugin, id, fields, "{text}");
                "warn"
            }
            Level::Error => {
                error!(target: "plugin", plugin, id, fields, "{text}");
                "error"
            }
        };
        self.notes.line(LogLine { level, text, fields });
        Ok(())
    }
}

/// The fields as one text: their names are the guest's own, and only the host's fields may look like fields.
fn join(fields: &[(String, String)], bytes_max: usize) -> String {
    let mut joined = String::new();
    for (key, value) in fields {
        if joined.len() > bytes_max {
            break;
        }
        let separator = if joined.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(joined, "{separator}{key}={value}");
    }
    one_line(&joined, bytes_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_fields_within_what_is_left_of_the_line() {
        let fields = [("a", "1"), ("b\n", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(join(&fields, 64), "a=1 b =2");
        assert_eq!(join(&fields, 5), "a=…");
        assert_eq!(join(&[], 5), "");
        assert_eq!(join(&fields, 0), "");
    }
}
