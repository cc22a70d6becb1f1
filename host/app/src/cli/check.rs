//! `check`: whether a host with this config would work, without starting one.
//!
//! Opens neither store nor vault: a running host is not disturbed, and nothing is created.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use xthonpay_payments::port::chain::{ChainSource as _, NodeReport, Verification};

use super::arguments::CheckArguments;
use super::status::plugin_line;
use super::{CliError, output};
use crate::admin::protocol::PluginLine;
use crate::compose::{self, StartError};
use crate::config::Config;
use crate::host::plugin_report;
use crate::loans;
use crate::system_clock::SystemClock;

/// How long the nodes of one chain may take to answer.
const NODES_MAX: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Report {
    ok: bool,
    config: Value,
    chains: Vec<ChainLine>,
    plugins: Vec<PluginLine>,
}

#[derive(Serialize)]
struct ChainLine {
    chain: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    nodes: Vec<NodeLine>,
}

#[derive(Serialize)]
struct NodeLine {
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Checks config, plugins and nodes.
pub(super) async fn check(asked: &CheckArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let sources = compose::chains(&config).map_err(StartError::from)?;
    let loans = loans::of_check(&config, Arc::new(SystemClock)).map_err(StartError::from)?;
    let plugins =
        compose::plugins_without_cache(&config, Arc::new(SystemClock), loans).await.map_err(StartError::from)?;
    let plugins: Vec<PluginLine> = plugins.report().into_iter().map(plugin_report).collect();
    let mut chains = Vec::new();
    for source in sources.iter().filter(|_| !asked.offline) {
        let reason = match timeout(NODES_MAX, source.self_check()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the nodes did not answer within {} s", NODES_MAX.as_secs())),
        };
        let nodes = source.report().nodes.into_iter().map(node_line).collect();
        chains.push(ChainLine { chain: source.name().to_string(), ok: reason.is_none(), reason, nodes });
    }
    let ok = chains.iter().all(|chain| chain.ok) && plugins.iter().all(|plugin| plugin.state != "failed");
    let report = Report { ok, config: config.show(), chains, plugins };
    if asked.asked.json {
        output::json(&report)?;
    } else {
        output::lines(&lines(&report))?;
    }
    if ok { Ok(()) } else { Err(CliError::CheckFailed) }
}

fn node_line(node: NodeReport) -> NodeLine {
    NodeLine { node: node.label, verified_by: node.verification.map(Verification::name), problem: node.problem }
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = vec![format!("{:#}", report.config)];
    for chain in &report.chains {
        lines.push(match &chain.reason {
            None => format!("chain {}: the nodes serve it as configured", chain.chain),
            Some(reason) => format!("chain {}: {reason}", chain.chain),
        });
        lines.extend(chain.nodes.iter().map(|node| match (&node.problem, node.verified_by) {
            (Some(problem), _) => format!("  {}: {problem}", node.node),
            (None, Some(level)) => format!("  {}: its blocks are verified by {level}", node.node),
            (None, None) => format!("  {}: not checked", node.node),
        }));
    }
    lines.extend(report.plugins.iter().map(plugin_line));
    lines.push(if report.ok { "nothing to complain about".to_owned() } else { "there are problems".to_owned() });
    lines
}
