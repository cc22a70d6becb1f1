//! `status`: how the running host is doing.

use super::arguments::Asked;
use super::{CliError, output};
use crate::admin::client::AdminClient;
use crate::admin::protocol::{self, CatchUpLine, ChainReport, NodeLine, PluginLine, Status};
use crate::config::Config;

/// `status`.
pub(super) async fn status(asked: &Asked) -> Result<(), CliError> {
    let config = Config::load(&asked.deployment.config)?;
    let client = AdminClient::connect(&config.admin_socket()).await?;
    let status: Status = client.get(protocol::STATUS).await?;
    if asked.json {
        output::json(&status)?;
    } else {
        output::lines(&status_lines(&status))?;
    }
    if status.ready { Ok(()) } else { Err(CliError::HostEnded(format!("not ready: {}", status.reasons.join("; ")))) }
}

fn status_lines(status: &Status) -> Vec<String> {
    let ready = if status.ready { "ready" } else { "not ready" };
    let mut lines = vec![
        format!("xthonpay {} on {}: {ready}", status.version, status.listen),
        format!("addresses watched: {}", status.addresses),
    ];
    lines.extend(status.chains.iter().flat_map(chain_lines));
    lines.extend(status.plugins.iter().map(plugin_line));
    lines
}

fn chain_lines(chain: &ChainReport) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let reason = chain.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let stalled = chain.stalled.as_ref().map_or_else(String::new, |stall| format!(", stalled: {stall}"));
    let mut lines = vec![format!(
        "chain {}: {}{reason}, block {} of {}, final {}, {} blocks and {} s behind{stalled}",
        chain.chain,
        chain.health,
        number(chain.tip),
        number(chain.head),
        number(chain.finalized),
        number(chain.lag_blocks),
        number(chain.lag_seconds)
    )];
    if let Some(progress) = &chain.catch_up {
        let left = progress.seconds_left.map_or_else(String::new, |left| format!(", {left} s left"));
        let CatchUpLine { done, total, blocks_per_second, .. } = progress;
        lines.push(format!("  catching up: {done} of {total} blocks, {blocks_per_second} a second{left}"));
    }
    if let Some(disagreement) = &chain.disagreement {
        lines.push(format!("  the nodes contradict each other: {disagreement}"));
    }
    if chain.finality_by_depth {
        lines.push("  finality of the nodes stands still; blocks become final by their depth".to_owned());
    }
    lines.extend(chain.nodes.iter().map(node_line));
    lines
}

fn node_line(node: &NodeLine) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let primary = if node.primary { ", asked first" } else { "" };
    let level = node.verified_by.as_ref().map_or_else(String::new, |level| format!(", verified by {level}"));
    let problem = node.problem.as_ref().map_or_else(String::new, |problem| format!(": {problem}"));
    format!("  {}: block {}, final {}{primary}{level}{problem}", node.node, number(node.head), number(node.finalized))
}

pub(super) fn plugin_line(plugin: &PluginLine) -> String {
    let hook = plugin.hook.as_ref().map_or_else(String::new, |hook| format!(" on {hook}"));
    let reason = plugin.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("plugin {}{hook}: {}{reason}", plugin.name, plugin.state)
}
