//! The arguments of a run, each within its bounds.

use core::time::Duration;
use std::ops::RangeInclusive;

const USAGE: &str =
    "usage: raw_rate --directory EMPTY_DIRECTORY [--seconds N] [--warm-up N] [--callers N] [--rows-alone]

  --directory   where the store is made; it stays behind
  --seconds     how long is measured (10)
  --warm-up     how long before that (2)
  --callers     transactions under way at once (64)
  --rows-alone  without the positions in lists that the host stores in place of secondary indexes";

/// A longer run only fills the disk.
const SECONDS: RangeInclusive<u64> = 1..=120;
/// The bound of connections of the host's REST server.
const CALLERS: RangeInclusive<u64> = 1..=512;

/// What the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// An absolute or relative path, as the engine takes it.
    pub(crate) directory: String,
    pub(crate) measured: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) callers: u64,
    pub(crate) rows_alone: bool,
}

impl Arguments {
    /// The arguments of the process, or what is wrong with them.
    pub(crate) fn read() -> Result<Self, String> {
        let mut arguments = Self {
            directory: String::new(),
            measured: Duration::from_secs(10),
            warm_up: Duration::from_secs(2),
            callers: 64,
            rows_alone: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value\n{USAGE}"));
            match word.as_str() {
                "--directory" => arguments.directory = value()?,
                "--seconds" => arguments.measured = Duration::from_secs(number(&word, &value()?, SECONDS)?),
                "--warm-up" => arguments.warm_up = Duration::from_secs(number(&word, &value()?, SECONDS)?),
                "--callers" => arguments.callers = number(&word, &value()?, CALLERS)?,
                "--rows-alone" => arguments.rows_alone = true,
                _ => return Err(format!("unknown argument: {word}\n{USAGE}")),
            }
        }
        if arguments.directory.is_empty() {
            return Err(format!("--directory is missing\n{USAGE}"));
        }
        Ok(arguments)
    }
}

fn number(name: &str, text: &str, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let wanted = || format!("{name} wants a number from {} to {}\n{USAGE}", bounds.start(), bounds.end());
    text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(wanted)
}
