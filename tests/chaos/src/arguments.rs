//! The arguments: how many lives, from which seed, or which single one.

/// What there is.
pub(crate) const USAGE: &str = "usage: xthonpay-chaos [--scenarios N] [--seed S] [--json]
       xthonpay-chaos --replay SEED
       xthonpay-chaos --list-crash-points

  --scenarios N         how many lives (2000)
  --seed S              the seed that the lives are drawn from; a fresh one, which is printed, unless given
  --until-found         stop at the first life that goes wrong
  --json                one line of JSON on the standard output
  --replay SEED         one life again, by its own seed, with everything that went wrong in it
  --list-crash-points   where processes die";

/// How many lives there are unless the caller says it: what the gate has time for.
const SCENARIOS: usize = 2_000;
/// More than a machine does in a day.
const SCENARIOS_MAX: usize = 10_000_000;

/// What the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Run { scenarios: usize, seed: Option<u64>, until_found: bool, json: bool },
    Replay { seed: u64 },
    ListCrashPoints,
    Help,
}

impl Task {
    /// The task of the process, or what is wrong with its arguments.
    pub(crate) fn read() -> Result<Self, String> {
        Self::of(std::env::args().skip(1))
    }

    fn of(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut scenarios, mut seed, mut until_found, mut json) = (SCENARIOS, None, false, false);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--scenarios" => {
                    let given = number(&word, words.next())?;
                    let bounded = usize::try_from(given).ok().filter(|count| (1..=SCENARIOS_MAX).contains(count));
                    scenarios =
                        bounded.ok_or_else(|| format!("--scenarios wants a number from 1 to {SCENARIOS_MAX}"))?;
                }
                "--seed" => seed = Some(number(&word, words.next())?),
                "--until-found" => until_found = true,
                "--json" => json = true,
                "--replay" => return Ok(Self::Replay { seed: number(&word, words.next())? }),
                "--list-crash-points" => return Ok(Self::ListCrashPoints),
                "--help" => return Ok(Self::Help),
                _ => return Err(format!("there is no {word}")),
            }
        }
        Ok(Self::Run { scenarios, seed, until_found, json })
    }
}

fn number(name: &str, word: Option<String>) -> Result<u64, String> {
    word.and_then(|word| word.parse().ok()).ok_or_else(|| format!("{name} wants a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Task, String> {
        Task::of(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_run_has_a_number_of_lives_and_a_seed() {
        let run = Task::Run { scenarios: 7, seed: Some(3), until_found: false, json: true };
        assert_eq!(of("--scenarios 7 --json --seed 3"), Ok(run));
        let run = Task::Run { scenarios: SCENARIOS, seed: None, until_found: true, json: false };
        assert_eq!(of("--until-found"), Ok(run));
        assert_eq!(of("--replay 9"), Ok(Task::Replay { seed: 9 }));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (line, named) in
            [("--scenarios 0", "from 1"), ("--seed", "--seed"), ("--seed x", "--seed"), ("fast", "fast")]
        {
            let problem = of(line).expect_err(line);
            assert!(problem.contains(named), "{line}: {problem}");
        }
    }
}
