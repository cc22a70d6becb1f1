//! What the scanners and the nodes say about themselves, as gauges.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use xthonpay_payments::port::chain::NodeReport;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::scanning::status::{CatchUpProgress, ChainStatus, Health, SharedStatus};
use xthonpay_payments::scanning::watch_set::WatchSet;

/// Reads the views of all scanners at each scrape.
pub(super) struct Chains {
    pub(super) chains: Vec<SharedStatus>,
    pub(super) watch: Arc<WatchSet>,
    pub(super) clock: Arc<dyn Clock>,
}

impl fmt::Debug for Chains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chains").finish_non_exhaustive()
    }
}

impl Collector for Chains {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.clock.now();
        let views: Vec<ChainStatus> = self.chains.iter().map(SharedStatus::get).collect();
        let mut gauge = |name: &str, help: &str, read: &dyn Fn(&ChainStatus) -> Option<u64>| {
            let values = views.iter().filter_map(|view| Some((vec![("chain", view.chain.as_str())], read(view)?)));
            write(&mut encoder, name, help, values)
        };
        let cursor = |view: &ChainStatus| view.cursor.clone();
        gauge("chain_head_block", "The newest block that a node told of", &|view| Some(view.head?.0))?;
        gauge("chain_tip_block", "The newest processed block", &|view| Some(cursor(view)?.tip.number.0))?;
        gauge("chain_finalized_block", "The newest processed block that is final", &|view| {
            Some(cursor(view)?.finalized.number.0)
        })?;
        gauge(
            "chain_lag_blocks",
            "Blocks that a node has and the scanner has not processed",
            &ChainStatus::lag_blocks,
        )?;
        gauge(
            "chain_lag_seconds",
            "How far the time of the newest processed block is behind the host's clock",
            &|view| view.lag_time(now).as_ref().map(Duration::as_secs),
        )?;
        gauge("chain_new_block_age_seconds", "How long no new block has come", &|view| {
            view.since_new_block(now).as_ref().map(Duration::as_secs)
        })?;
        gauge("chain_new_finality_age_seconds", "How long no block has become final", &|view| {
            view.since_new_finality(now).as_ref().map(Duration::as_secs)
        })?;
        gauge("chain_running", "1 while the scanner works, 0 while it starts, fails or is frozen", &|view| {
            Some(u64::from(view.health == Health::Running))
        })?;
        gauge("chain_frozen", "1 while nothing is credited until an operator resumes the chain", &|view| {
            Some(u64::from(matches!(view.health, Health::Frozen { .. })))
        })?;
        gauge("chain_stalled", "1 while new blocks or finality stand still for longer than they may", &|view| {
            Some(u64::from(view.stall(now).is_some()))
        })?;
        gauge("chain_nodes_disagree", "1 while the nodes contradict each other", &|view| {
            Some(u64::from(view.source.disagreement.is_some()))
        })?;
        gauge("chain_finality_by_depth", "1 while blocks become final by their depth alone", &|view| {
            Some(u64::from(view.source.finality_by_depth))
        })?;
        let missed = |view: &ChainStatus| view.catch_up;
        gauge(
            "chain_catch_up_blocks",
            "Blocks that were missed and are processed in runs; absent otherwise",
            &|view| missed(view).as_ref().map(CatchUpProgress::total),
        )?;
        gauge("chain_catch_up_done_blocks", "Of the missed blocks, those that are processed", &|view| {
            missed(view).map(|progress| progress.done)
        })?;
        gauge("chain_catch_up_remaining_seconds", "How long the rest takes if it goes on like this", &|view| {
            missed(view)?.remaining().as_ref().map(Duration::as_secs)
        })?;
        nodes(&mut encoder, &views)?;
        let watched = u64::try_from(self.watch.len()).unwrap_or(u64::MAX);
        write(&mut encoder, "watched_addresses", "Addresses that are watched for payments", [(Vec::new(), watched)])
    }
}

fn nodes(encoder: &mut DescriptorEncoder<'_>, views: &[ChainStatus]) -> Result<(), fmt::Error> {
    let mut gauge = |name: &str, help: &str, read: &dyn Fn(&NodeReport) -> Option<u64>| {
        let nodes = views.iter().flat_map(|view| view.source.nodes.iter().map(move |node| (view.chain.as_str(), node)));
        let values = nodes
            .filter_map(|(chain, node)| Some((vec![("chain", chain), ("node", node.label.as_str())], read(node)?)));
        write(encoder, name, help, values)
    };
    gauge("node_up", "1 while questions are put to the node", &|node| Some(u64::from(node.problem.is_none())))?;
    gauge("node_primary", "1 for the node that is asked first", &|node| Some(u64::from(node.primary)))?;
    gauge("node_head_block", "The newest block that the node told of", &|node| Some(node.head?.0))?;
    gauge("node_finalized_block", "The newest final block that the node told of", &|node| Some(node.finalized?.0))
}

/// One gauge with its series.
fn write<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, u64)>,
) -> Result<(), fmt::Error> {
    let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        let gauge_value = ConstGauge::new(value);
        if labels.is_empty() {
            return gauge_value.encode(gauge);
        }
        gauge_value.encode(gauge.encode_family(&labels)?)?;
    }
    Ok(())
}
