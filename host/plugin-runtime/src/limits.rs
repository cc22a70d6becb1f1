//! The limits of plugins: one table with defaults, bounds and names, and the operator's changes to it.
//!
//! Owns the numbers; `meter`, `admission`, `instance` and the hooks enforce them. `docs/limits.md` shows the same table.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::fault::{Problem, plugin_key};
use crate::hook::Hook;

/// Something that is limited. The unit is part of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// Processor time of the guest in one call, in milliseconds, counted in ticks of 5 ms.
    CpuMs,
    /// Time from the start to the end of one call, in milliseconds, waiting for a free place not counted.
    WallMs,
    /// Linear memory of one call, in MiB.
    MemoryMib,
    /// Linear memories of one call.
    Memories,
    /// Tables of one call.
    Tables,
    /// Elements of all tables of one call.
    TableElements,
    /// Core instances that a component may consist of.
    Instances,
    /// Calls of one plugin that run at the same time.
    ConcurrentCalls,
    /// Calls of one plugin that wait for a free place.
    QueuedCalls,
    /// How long a call waits for a free place, in milliseconds.
    QueueWaitMs,
    /// What one call is told, in KiB.
    InputKib,
    /// What one call answers, in KiB.
    OutputKib,
    /// What may cross from guest to host at once, in KiB: the answer, or the arguments of one capability call.
    CrossingKib,
    /// Calls of capabilities in one call; lines of the log are limited for themselves.
    HostCalls,
    /// Lines of the log in one call.
    LogLines,
    /// Bytes of one line of the log.
    LogLineBytes,
    /// Handles of storage, upstreams, chains and signers that are open at once.
    Handles,
    /// Values that one call may write.
    StorageWrites,
    /// Requests to upstreams in one call.
    HttpRequests,
    /// The body of an upstream's answer, in KiB.
    HttpAnswerKib,
    /// Size of the component's file, in MiB.
    ComponentMib,
}

/// How many limits there are.
const COUNT: usize = 21;

/// A row of the table.
struct Row {
    limit: Limit,
    /// The key in `[plugins.<name>.limits]`.
    key: &'static str,
    /// What is limited, as the beginning of a sentence.
    what: &'static str,
    /// The unit, with a space in front; empty for plain numbers.
    unit: &'static str,
    /// The default for `invoice-rules` and `withdrawal-policy`.
    rules: u64,
    /// The default for `webhook-format`.
    format: u64,
    /// The default for `bot-flow`.
    bot: u64,
    /// The smallest value that leaves a plugin able to answer.
    floor: u64,
    /// The largest value that an operator may set.
    ceiling: u64,
}

/// The table. Rules and policies are asked while a merchant waits, so they get less time and more places than formats, which
/// are asked by a queue; bots answer people, who wait longer. A component in JavaScript has three memories, one
/// in Python 40 core instances and about 19 MiB: they fit. Beyond the ceilings one plugin could starve the host.
const TABLE: [Row; COUNT] = [
    row(Limit::CpuMs, "cpu_ms", "processor time", " ms", [50, 50, 250], 5, 2_000),
    row(Limit::WallMs, "wall_ms", "time of the call", " ms", [250, 500, 10_000], 5, 30_000),
    row(Limit::MemoryMib, "memory_mib", "linear memory", " MiB", [32, 32, 64], 1, 256),
    row(Limit::Memories, "memories", "number of linear memories", "", [4, 4, 4], 1, 4),
    row(Limit::Tables, "tables", "number of tables", "", [8, 8, 8], 1, 64),
    row(Limit::TableElements, "table_elements", "elements of tables", "", [100_000, 100_000, 100_000], 1, 100_000),
    row(Limit::Instances, "instances", "number of core instances", "", [64, 64, 64], 1, 200),
    row(Limit::ConcurrentCalls, "concurrent_calls", "number of calls at once", "", [16, 8, 8], 1, 128),
    row(Limit::QueuedCalls, "queued_calls", "number of waiting calls", "", [64, 256, 256], 0, 1_024),
    row(Limit::QueueWaitMs, "queue_wait_ms", "time in the queue", " ms", [1_000, 5_000, 5_000], 1, 30_000),
    row(Limit::InputKib, "input_kib", "size of the input", " KiB", [256, 256, 64], 1, 4_096),
    row(Limit::OutputKib, "output_kib", "size of the answer", " KiB", [64, 512, 256], 1, 4_096),
    row(Limit::CrossingKib, "crossing_kib", "data that crosses at once", " KiB", [256, 1_024, 2_048], 1, 8_192),
    row(Limit::HostCalls, "host_calls", "number of capability calls", "", [64, 32, 200], 0, 1_000),
    row(Limit::LogLines, "log_lines", "lines of the log", "", [50, 50, 50], 0, 500),
    row(
        Limit::LogLineBytes,
        "log_line_bytes",
        "length of a line of the log",
        " bytes",
        [2_048, 2_048, 2_048],
        64,
        8_192,
    ),
    row(Limit::Handles, "handles", "number of open handles", "", [32, 16, 128], 1, 1_024),
    row(Limit::StorageWrites, "storage_writes", "number of written values", "", [32, 32, 32], 0, 1_000),
    row(Limit::HttpRequests, "http_requests", "number of requests to upstreams", "", [4, 4, 8], 0, 32),
    row(Limit::HttpAnswerKib, "http_answer_kib", "size of an upstream's answer", " KiB", [256, 256, 1_024], 1, 4_096),
    row(Limit::ComponentMib, "component_mib", "size of the component", " MiB", [32, 32, 32], 1, 64),
];

/// A row, written once: the defaults of rules, formats and bots, the floor, the ceiling.
const fn row(
    limit: Limit,
    key: &'static str,
    what: &'static str,
    unit: &'static str,
    [rules, format, bot]: [u64; 3],
    floor: u64,
    ceiling: u64,
) -> Row {
    Row { limit, key, what, unit, rules, format, bot, floor, ceiling }
}

impl Limit {
    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.limit == self).expect("a test holds that every limit has its row")
    }

    /// Every limit, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.limit)
    }

    /// The key in `[plugins.<name>.limits]`.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.row().key
    }

    /// The largest value that an operator may set.
    #[must_use]
    pub fn ceiling(self) -> u64 {
        self.row().ceiling
    }

    /// The value when the operator sets none.
    #[must_use]
    pub fn default_for(self, hook: Hook) -> u64 {
        match hook {
            Hook::InvoiceRules | Hook::WithdrawalPolicy => self.row().rules,
            Hook::WebhookFormat => self.row().format,
            Hook::BotFlow => self.row().bot,
        }
    }

    /// What is limited, as the beginning of a sentence.
    pub(crate) fn what(self) -> &'static str {
        self.row().what
    }

    /// The unit of the values, with a space in front; empty for plain numbers.
    pub(crate) fn unit(self) -> &'static str {
        self.row().unit
    }
}

/// The limits that an operator sets in `[plugins.<name>.limits]`, by key.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "BTreeMap<String, u64>")]
pub struct LimitsConfig(BTreeMap<&'static str, u64>);

/// A key that is not in the table of limits.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("unknown limit `{key}`, expected one of {}", TABLE.map(|row| row.key).join(", "))]
pub struct UnknownLimit {
    /// The key.
    pub key: String,
}

impl UnknownLimit {
    /// Always `false`: the same key fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl TryFrom<BTreeMap<String, u64>> for LimitsConfig {
    type Error = UnknownLimit;

    fn try_from(given: BTreeMap<String, u64>) -> Result<Self, Self::Error> {
        let known =
            |key: String| TABLE.iter().find(|row| row.key == key).map(|row| row.key).ok_or(UnknownLimit { key });
        given.into_iter().map(|(key, value)| Ok((known(key)?, value))).collect::<Result<_, _>>().map(Self)
    }
}

/// The limits of one plugin, each within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits(BTreeMap<Limit, u64>);

impl Limits {
    /// The defaults of a hook with the operator's changes.
    pub(crate) fn resolve(plugin: &str, hook: Hook, config: &LimitsConfig, problems: &mut Vec<Problem>) -> Self {
        let mut limits = BTreeMap::new();
        for row in &TABLE {
            let value = config.0.get(row.key).copied().unwrap_or_else(|| row.limit.default_for(hook));
            if !(row.floor..=row.ceiling).contains(&value) {
                let message = format!("{value} is not between {} and {}", row.floor, row.ceiling);
                problems.push(Problem { key: plugin_key(plugin, &format!("limits.{}", row.key)), message });
            }
            limits.insert(row.limit, value.clamp(row.floor, row.ceiling));
        }
        let limits = Self(limits);
        if limits.get(Limit::OutputKib) > limits.get(Limit::CrossingKib) {
            let key = plugin_key(plugin, "limits.output_kib");
            let message = "an answer crosses at once: raise `crossing_kib` to at least this value".to_owned();
            problems.push(Problem { key, message });
        }
        limits
    }

    /// The same limits with as much wall time as there is: for calls that nobody waits for, on a machine that is busy
    /// starting. Processor time still ends them.
    pub(crate) fn patient(mut self) -> Self {
        self.0.insert(Limit::WallMs, Limit::WallMs.ceiling());
        self
    }

    /// The value in the limit's unit.
    pub(crate) fn get(&self, limit: Limit) -> u64 {
        self.0.get(&limit).copied().expect("`resolve` fills in every limit")
    }

    /// The value as a count for this machine.
    pub(crate) fn count(&self, limit: Limit) -> usize {
        // The ceilings fit everywhere; saturating keeps a limit a limit should one ever not.
        usize::try_from(self.get(limit)).unwrap_or(usize::MAX)
    }

    /// A value in KiB, in bytes.
    pub(crate) fn kib(&self, limit: Limit) -> usize {
        self.count(limit).saturating_mul(1_024)
    }

    /// A value in MiB, in bytes.
    pub(crate) fn mib(&self, limit: Limit) -> usize {
        self.kib(limit).saturating_mul(1_024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> (Limits, Vec<Problem>) {
        let config: LimitsConfig = toml::from_str(text).expect("known keys");
        let mut problems = Vec::new();
        (Limits::resolve("mine", Hook::InvoiceRules, &config, &mut problems), problems)
    }

    #[test]
    fn every_limit_has_one_row_with_sound_bounds() {
        let mut seen = Vec::new();
        for row in &TABLE {
            assert_eq!(row.limit.row().key, row.key, "{} has two rows", row.key);
            for default in [row.rules, row.format, row.bot] {
                assert!((row.floor..=row.ceiling).contains(&default), "{}", row.key);
            }
            assert!(!seen.contains(&row.key), "{}", row.key);
            seen.push(row.key);
        }
        let last = Limit::ComponentMib;
        assert_eq!(last as usize + 1, COUNT, "a limit has no row");
    }

    #[test]
    fn takes_the_operators_values_and_the_defaults_for_the_rest() {
        let (limits, problems) = resolve("cpu_ms = 20\nmemory_mib = 256");
        assert_eq!(problems, []);
        assert_eq!(limits.get(Limit::CpuMs), 20);
        assert_eq!(limits.mib(Limit::MemoryMib), 256 * 1_024 * 1_024);
        assert_eq!(limits.get(Limit::WallMs), 250);
    }

    #[test]
    fn names_every_value_out_of_bounds() {
        let (limits, problems) = resolve("cpu_ms = 2001\nmemory_mib = 0\noutput_kib = 300");
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(
            keys,
            ["plugins.mine.limits.cpu_ms", "plugins.mine.limits.memory_mib", "plugins.mine.limits.output_kib"]
        );
        assert_eq!(limits.get(Limit::CpuMs), 2_000, "never above the ceiling");
    }

    #[test]
    fn the_page_shows_the_same_table() {
        let page = include_str!("../docs/limits.md");
        let shown: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(shown.len(), TABLE.len(), "rows of docs/limits.md");
        for (row, line) in TABLE.iter().zip(shown) {
            let cells =
                [row.rules, row.format, row.bot, row.floor, row.ceiling].map(|value| value.to_string()).join(" | ");
            let unit = row.unit.trim();
            let expected = format!("| `{}` | {unit} | {cells} | {} |", row.key, row.what);
            assert_eq!(line, expected.replace("|  |", "| |"), "docs/limits.md");
        }
    }
}
