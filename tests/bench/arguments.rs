//! The arguments: which benchmark, and how long, each number within its bounds.

use core::ops::RangeInclusive;
use core::time::Duration;

use crate::backfill::BackfillPlan;
use crate::detect::DetectPlan;
use crate::rest::RestPlan;
use crate::rpc::RpcPlan;
use crate::start::StartPlan;
use crate::webhooks::WebhooksPlan;

/// What there is.
pub(crate) const USAGE: &str = "usage: xthonpay-bench NAME [--json] [OPTIONS]

  backfill  old blocks, by logs and verified whole, beside a plain loop
            --seconds N    of every run (5)
            --rounds N     of all kinds of runs (3)
  detect  from a block, and from a payment, until the payment is committed
            --payments N   of each of two runs (100)
  hooks   a call of a plugin, beside the same code called natively
  rest    signed, durable POST /invoices of 64 clients, beside the raw store
            --seconds N    of every run (10)
            --rounds N     of all kinds of runs (3)
            --merchants N  that the clients belong to (8)
  rpc     questions to the node for each block, and memory, with 1, 10,000 and 1,000,000 addresses
            --blocks N     that are counted for each number (60)
  start   from the start of the process to ready, and what an idle host takes
            --rounds N     starts (5)
  webhooks  deliveries a second, and from commit to first byte at 50 events a second
            --seconds N    at that pace (20)
            --events N     as fast as they can be made (4000)

  --json  one line of JSON a figure, in place of the table";

/// Longer runs only fill the disk.
const SECONDS: RangeInclusive<u64> = 1..=120;
/// A run of every kind takes about a minute.
const ROUNDS: RangeInclusive<usize> = 1..=15;
/// One merchant for each client.
const MERCHANTS: RangeInclusive<usize> = 1..=crate::rest::CLIENTS;

/// A payment takes about two seconds. Below a hundred, p99 is the slowest.
const PAYMENTS: RangeInclusive<usize> = 1..=1_000;
/// All of their webhooks are kept in memory.
const EVENTS: RangeInclusive<usize> = 100..=50_000;
/// A block takes 450 ms.
const BLOCKS: RangeInclusive<u64> = 10..=1_000;

/// What the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) benchmark: Benchmark,
    pub(crate) json: bool,
}

/// A benchmark with its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Benchmark {
    Backfill(BackfillPlan),
    Detect(DetectPlan),
    Hooks,
    Rest(RestPlan),
    Rpc(RpcPlan),
    Start(StartPlan),
    Webhooks(WebhooksPlan),
}

impl Arguments {
    /// The arguments of the process, `None` when it has none, or what is wrong with them.
    pub(crate) fn read() -> Result<Option<Self>, String> {
        Self::of(std::env::args().skip(1))
    }

    fn of(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let benchmark = match words.next().as_deref() {
            None | Some("--help") => return Ok(None),
            Some("backfill") => Benchmark::Backfill(BackfillPlan::default()),
            Some("detect") => Benchmark::Detect(DetectPlan::default()),
            Some("hooks") => Benchmark::Hooks,
            Some("rest") => Benchmark::Rest(RestPlan::default()),
            Some("rpc") => Benchmark::Rpc(RpcPlan::default()),
            Some("start") => Benchmark::Start(StartPlan::default()),
            Some("webhooks") => Benchmark::Webhooks(WebhooksPlan::default()),
            Some(other) => return Err(format!("there is no benchmark {other}")),
        };
        let mut arguments = Self { benchmark, json: false };
        while let Some(word) = words.next() {
            arguments.take(&word, &mut words)?;
        }
        Ok(Some(arguments))
    }

    fn take(&mut self, word: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
        match (word, &mut self.benchmark) {
            ("--json", _) => self.json = true,
            ("--seconds", Benchmark::Backfill(plan)) => {
                plan.measured = Duration::from_secs(number(word, words, SECONDS)?);
            }
            ("--rounds", Benchmark::Backfill(plan)) => plan.rounds = number(word, words, ROUNDS)?,
            ("--payments", Benchmark::Detect(plan)) => plan.payments = number(word, words, PAYMENTS)?,
            ("--blocks", Benchmark::Rpc(plan)) => plan.blocks = number(word, words, BLOCKS)?,
            ("--seconds", Benchmark::Rest(plan)) => plan.measured = Duration::from_secs(number(word, words, SECONDS)?),
            ("--rounds", Benchmark::Rest(plan)) => plan.rounds = number(word, words, ROUNDS)?,
            ("--merchants", Benchmark::Rest(plan)) => plan.merchants = number(word, words, MERCHANTS)?,
            ("--rounds", Benchmark::Start(plan)) => plan.rounds = number(word, words, ROUNDS)?,
            ("--seconds", Benchmark::Webhooks(plan)) => {
                plan.measured = Duration::from_secs(number(word, words, SECONDS)?);
            }
            ("--events", Benchmark::Webhooks(plan)) => plan.events = number(word, words, EVENTS)?,
            _ => return Err(format!("this benchmark knows no {word}")),
        }
        Ok(())
    }
}

fn number<T>(name: &str, words: &mut impl Iterator<Item = String>, bounds: RangeInclusive<T>) -> Result<T, String>
where
    T: core::str::FromStr + PartialOrd + core::fmt::Display,
{
    let given = words.next().and_then(|word| word.parse().ok()).filter(|number| bounds.contains(number));
    given.ok_or_else(|| format!("{name} wants a number from {} to {}", bounds.start(), bounds.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<Arguments>, String> {
        Arguments::of(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_benchmark_takes_its_own_options() {
        let plan = RestPlan { measured: Duration::from_secs(3), rounds: 1, merchants: 64 };
        let expected = Arguments { benchmark: Benchmark::Rest(plan), json: true };
        assert_eq!(of("rest --seconds 3 --json --rounds 1 --merchants 64"), Ok(Some(expected)));
        assert_eq!(of("hooks"), Ok(Some(Arguments { benchmark: Benchmark::Hooks, json: false })));
    }

    #[test]
    fn without_a_name_there_is_nothing_to_run() {
        assert_eq!(of(""), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (line, named) in [
            ("speed", "speed"),
            ("hooks --seconds 3", "--seconds"),
            ("rest --seconds", "--seconds"),
            ("rest --seconds 0", "1 to 120"),
            ("backfill --seconds 0", "1 to 120"),
            ("rest --merchants 65", "1 to 64"),
            ("start --rounds many", "--rounds"),
            ("detect --blocks 60", "--blocks"),
            ("detect --payments 0", "1 to 1000"),
            ("rpc --blocks 5", "10 to 1000"),
            ("webhooks --events 5", "100 to 50000"),
            ("webhooks --rounds 5", "--rounds"),
        ] {
            let problem = of(line).expect_err(line);
            assert!(problem.contains(named), "{line}: {problem}");
        }
    }
}
