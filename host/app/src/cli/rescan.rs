//! `rescan`: asks the running host to look at final blocks, a transaction or an address again.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use xthonpay_domain::block::{BlockNumber, BlockRange};

use super::arguments::RescanArguments;
use super::{CliError, output};
use crate::admin::client::AdminClient;
use crate::admin::rescan::{AskRescan, FindingLine, RESCAN, Rescanned, Target};
use crate::config::Config;

/// The most blocks that one command looks at: five days of BNB Smart Chain, which take the better part of an hour.
const BLOCKS_MAX: u64 = 1_000_000;
/// Blocks that the host is asked for at once. Some seconds of work, so that progress shows and little is repeated.
const BLOCKS_AT_ONCE: u64 = 500;
/// How long one part may take on slow nodes.
const PART_MAX: Duration = Duration::from_secs(300);
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Findings that are listed; the rest is counted. Bounds the memory of the command.
const LISTED_MAX: usize = 10_000;

/// What was found, in all parts together.
#[derive(Serialize)]
struct Outcome {
    is_final: bool,
    recorded: u64,
    known: u64,
    awaited: u64,
    refused: u64,
    /// The first of them; those that are known already are listed for a transaction only.
    findings: Vec<FindingLine>,
}

/// `rescan`.
pub(super) async fn rescan(asked: RescanArguments) -> Result<(), CliError> {
    let range = range(&asked)?;
    let config = Config::load(&asked.asked.deployment.config)?;
    let client = AdminClient::connect(&config.admin_socket()).await?;
    let outcome = match range {
        Some(range) => blocks(&client, asked.chain, range).await?,
        None => {
            let target = asked.tx.map(Target::Tx).or(asked.address.map(Target::Address));
            let target =
                target.ok_or_else(|| CliError::Usage("give --tx, --address, or --from and --to".to_owned()))?;
            let mut outcome = Outcome::empty();
            outcome.add(ask(&client, asked.chain, target).await?, true);
            outcome
        }
    };
    if asked.asked.json { output::json(&outcome) } else { output::lines(&outcome.lines()) }
}

/// The run of blocks that is asked for, if one is.
fn range(asked: &RescanArguments) -> Result<Option<BlockRange>, CliError> {
    let Some((from, to)) = asked.from.zip(asked.to) else { return Ok(None) };
    let range = BlockRange::new(BlockNumber(from), BlockNumber(to));
    let range = range.ok_or_else(|| CliError::Usage(format!("--from {from} lies above --to {to}")))?;
    if range.blocks() > BLOCKS_MAX {
        let blocks = range.blocks();
        return Err(CliError::Usage(format!("{blocks} blocks are more than the {BLOCKS_MAX} of one command")));
    }
    Ok(Some(range))
}

/// Looks at a run of blocks in parts, and says how far it came if a part fails.
async fn blocks(client: &AdminClient, chain: Option<String>, range: BlockRange) -> Result<Outcome, CliError> {
    let mut outcome = Outcome::empty();
    let mut told = Instant::now();
    let mut rest = Some(range);
    while let Some(left) = rest {
        let (part, behind) = left.split_first(BLOCKS_AT_ONCE);
        let target = Target::Blocks { from: part.first().0, to: part.last().0 };
        let found = ask(client, chain.clone(), target).await;
        let stopped = |error| CliError::RescanStopped { at: part.first().0, source: Box::new(error) };
        outcome.add(found.map_err(stopped)?, false);
        if told.elapsed() >= PROGRESS_INTERVAL {
            told = Instant::now();
            // A progress line that cannot be written is not worth ending for.
            let line = format!("block {} of {}, {} recorded", part.last(), range.last(), outcome.recorded);
            drop(writeln!(std::io::stderr(), "{line}"));
        }
        rest = behind;
    }
    Ok(outcome)
}

async fn ask(client: &AdminClient, chain: Option<String>, target: Target) -> Result<Rescanned, CliError> {
    Ok(client.post_within(RESCAN, &AskRescan { chain, target }, PART_MAX).await?)
}

impl Outcome {
    fn empty() -> Self {
        Self { is_final: true, recorded: 0, known: 0, awaited: 0, refused: 0, findings: Vec::new() }
    }

    fn add(&mut self, found: Rescanned, list_known: bool) {
        self.is_final &= found.is_final;
        for finding in found.findings {
            let count = match finding.outcome.as_str() {
                "recorded" => &mut self.recorded,
                "awaited" => &mut self.awaited,
                "refused" => &mut self.refused,
                _ => &mut self.known,
            };
            *count = count.saturating_add(1);
            if self.findings.len() < LISTED_MAX && (list_known || finding.outcome != "known") {
                self.findings.push(finding);
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.findings.iter().map(finding_line).collect();
        if !self.is_final {
            lines.push("the block is not final yet: the scanner records what is in it by itself".to_owned());
        }
        let Self { recorded, known, awaited, refused, .. } = self;
        lines.push(format!("recorded {recorded}, known already {known}, awaited {awaited}, refused {refused}"));
        lines
    }
}

fn finding_line(finding: &FindingLine) -> String {
    let transaction = finding.tx_hash.as_deref().unwrap_or("in the balance");
    let owner = finding.invoice_id.as_ref().unwrap_or(&finding.merchant_id);
    let reason = finding.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!(
        "{:<9} {} {} to {} ({owner}), {transaction}{reason}",
        finding.outcome, finding.amount, finding.asset, finding.to_address
    )
}
