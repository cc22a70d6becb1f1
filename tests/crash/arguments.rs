//! The arguments: how many kills, from which seed.

use core::ops::RangeInclusive;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

/// What there is.
pub(crate) const USAGE: &str = "usage: xthonpay-crash [--kills N] [--seed S] [--json]

  --kills N  how often the host is killed (20)
  --seed S   repeats a run's choices; timing is the machine's (a fresh one, which is printed)
  --json     one line of JSON on the standard output, in place of the text";

/// A kill takes about two seconds; a thousand of them half an hour.
const KILLS: RangeInclusive<u32> = 1..=2_000;
const KILLS_DEFAULT: u32 = 20;

/// What the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) kills: u32,
    pub(crate) seed: u64,
    pub(crate) json: bool,
}

impl Arguments {
    /// The arguments of the process, `None` when help is wanted, or what is wrong with them.
    pub(crate) fn read() -> Result<Option<Self>, String> {
        Self::of(std::env::args().skip(1))
    }

    fn of(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        // The standard library seeds its hash tables from the system.
        let seed = RandomState::new().build_hasher().finish();
        let mut arguments = Self { kills: KILLS_DEFAULT, seed, json: false };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" => return Ok(None),
                "--json" => arguments.json = true,
                "--kills" => arguments.kills = kills(words.next())?,
                "--seed" => arguments.seed = seed_in(words.next())?,
                other => return Err(format!("there is no {other}")),
            }
        }
        Ok(Some(arguments))
    }
}

fn kills(word: Option<String>) -> Result<u32, String> {
    let given = word.and_then(|word| word.parse().ok()).filter(|number| KILLS.contains(number));
    given.ok_or_else(|| format!("--kills wants a number from {} to {}", KILLS.start(), KILLS.end()))
}

fn seed_in(word: Option<String>) -> Result<u64, String> {
    word.and_then(|word| word.parse().ok()).ok_or_else(|| "--seed wants a number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<Arguments>, String> {
        Arguments::of(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn takes_its_options() {
        let expected = Arguments { kills: 200, seed: 7, json: true };
        assert_eq!(of("--kills 200 --seed 7 --json"), Ok(Some(expected)));
        assert_eq!(of("--help"), Ok(None));
        assert_eq!(of("").map(|arguments| arguments.map(|arguments| arguments.kills)), Ok(Some(KILLS_DEFAULT)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (line, named) in
            [("--kills 0", "1 to 2000"), ("--kills", "--kills"), ("--seed x", "--seed"), ("fast", "fast")]
        {
            let problem = of(line).expect_err(line);
            assert!(problem.contains(named), "{line}: {problem}");
        }
    }
}
