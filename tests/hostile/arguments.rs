//! The arguments.

use core::ops::RangeInclusive;

/// What there is.
pub(crate) const USAGE: &str = "usage: xthonpay-hostile [--rounds N] [--json]

  --rounds N  how often each plugin is loaded and called anew (3)
  --json      one line of JSON on the standard output, in place of the text";

const ROUNDS: RangeInclusive<u32> = 1..=100;
const ROUNDS_DEFAULT: u32 = 3;

/// What the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) rounds: u32,
    pub(crate) json: bool,
}

impl Arguments {
    /// The arguments of the process, `None` when help is wanted, or what is wrong with them.
    pub(crate) fn read() -> Result<Option<Self>, String> {
        Self::of(std::env::args().skip(1))
    }

    fn of(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut arguments = Self { rounds: ROUNDS_DEFAULT, json: false };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" => return Ok(None),
                "--json" => arguments.json = true,
                "--rounds" => {
                    let given =
                        words.next().and_then(|word| word.parse().ok()).filter(|number| ROUNDS.contains(number));
                    let wanted = || format!("--rounds wants a number from {} to {}", ROUNDS.start(), ROUNDS.end());
                    arguments.rounds = given.ok_or_else(wanted)?;
                }
                other => return Err(format!("there is no {other}")),
            }
        }
        Ok(Some(arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_usage_promises() {
        let of = |line: &str| Arguments::of(line.split_whitespace().map(str::to_owned));
        assert_eq!(of("--rounds 7 --json"), Ok(Some(Arguments { rounds: 7, json: true })));
        assert_eq!(of("--help"), Ok(None));
        assert!(of("--rounds 0").is_err() && of("--rounds").is_err() && of("--loud").is_err());
    }
}
