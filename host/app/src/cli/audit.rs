//! `audit`: whether the books are right, for people and for scripts.

use std::io::Write as _;
use std::time::Duration;

use xthonpay_payments::audit::{AssetTotals, ChainAudited, Checked, Invariant, Report};

use super::arguments::AuditArguments;
use super::{CliError, output};
use crate::admin::audit::scope;
use crate::admin::client::AdminClient;
use crate::admin::protocol::{self, AskAudit};
use crate::admin::service::AdminError;
use crate::compose::{self, Deployment, StartError};
use crate::config::Config;

/// How long the host may take: an audit of everything reads the whole chain since the first merchant.
const AUDIT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Audits, and tells what was found.
///
/// Whatever keeps the audit from being carried out ends in [`CliError::NotAudited`].
pub(super) async fn audit(asked: AuditArguments) -> Result<(), CliError> {
    let json = asked.asked.json;
    let report = report(asked).await.map_err(|error| CliError::NotAudited(Box::new(error)))?;
    if json {
        output::json(&report)?;
    } else {
        output::lines(&lines(&report))?;
    }
    match (report.breaches.is_empty(), report.complete) {
        (true, true) => Ok(()),
        (false, _) => Err(CliError::AuditFailed),
        (true, false) => Err(CliError::AuditIncomplete),
    }
}

async fn report(asked: AuditArguments) -> Result<Report, CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let body = AskAudit { chain: asked.chain, from: asked.from, full: asked.full, freeze: asked.freeze };
    match AdminClient::running(&config.admin_socket()).await? {
        Some(client) => Ok(client.post_within(protocol::AUDIT, &body, AUDIT_MAX).await?),
        None => alone(&config, &body).await,
    }
}

/// Opens the deployment and audits here.
async fn alone(config: &Config, asked: &AskAudit) -> Result<Report, CliError> {
    let scope = scope(asked)?;
    let sources = compose::chains(config).map_err(StartError::from)?;
    let deployment = Deployment::open(config).await?;
    let audit = deployment.audit(config, sources.into_iter().map(|source| source as _).collect());
    // A progress line that cannot be written is not worth ending for.
    let progress = |sentence: &str| drop(writeln!(std::io::stderr(), "{sentence}"));
    let report = audit.run(&scope, &progress).await;
    deployment.close().await;
    Ok(report.map_err(AdminError::from)?)
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![format!("{:<4}{:<52}{:>10}  {}", "", "checked", "records", "breaches")];
    lines.extend(Invariant::ALL.into_iter().map(|invariant| {
        let breaches = report.breaches_total.get(invariant.name()).copied().unwrap_or_default();
        let records = records(&report.checked, invariant);
        format!("{:<4}{:<52}{records:>10}  {breaches}", invariant.name(), invariant.meaning())
    }));
    lines.extend(report.chains.iter().map(chain_line));
    lines.extend(report.assets.iter().map(asset_line));
    lines.extend(report.not_checked.iter().map(|omission| {
        let word = if omission.failed { "NOT CHECKED" } else { "not checked" };
        format!("{word}: {}", omission.what)
    }));
    let found = report.breaches.iter();
    lines.extend(found.map(|breach| format!("BREACH {} {}: {}", breach.invariant, breach.subject, breach.detail)));
    let total: u64 = report.breaches_total.values().copied().fold(0, u64::saturating_add);
    lines.push(match (total, report.complete) {
        (0, true) => "nothing is wrong".to_owned(),
        (0, false) => "nothing is wrong in what could be checked".to_owned(),
        (total, _) => format!("{total} breaches, {} listed", report.breaches.len()),
    });
    lines
}

/// The records that an invariant is about.
fn records(checked: &Checked, invariant: Invariant) -> u64 {
    match invariant {
        Invariant::Postings => checked.postings,
        Invariant::Balances => checked.balances.saturating_add(checked.suspended),
        Invariant::Deposits => checked.deposits.saturating_add(checked.chain_transfers),
        Invariant::Holdings => checked.holdings,
        Invariant::Events => checked.events,
        Invariant::Cursor => checked.blocks,
    }
}

fn chain_line(chain: &ChainAudited) -> String {
    let read = chain.from.map_or_else(String::new, |from| format!(", blocks {from} to {} read", chain.finalized));
    let frozen = chain.frozen.as_ref().map_or_else(String::new, |reason| format!(", FROZEN: {reason}"));
    format!("chain {}: block {}, final {}{read}{frozen}", chain.chain, chain.tip, chain.finalized)
}

fn asset_line(asset: &AssetTotals) -> String {
    format!(
        "asset {}: {} on addresses, {} deposited, {} in flight, {} unexplained, {} missing, {} set aside (base units)",
        asset.asset,
        asset.on_chain,
        asset.deposited,
        asset.in_flight,
        asset.unexplained,
        asset.missing,
        asset.suspended
    )
}
