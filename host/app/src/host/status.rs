//! How the host is doing, for `xthonpay status` and for readiness.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt as _;
use xthonpay_domain::time::Timestamp;
use xthonpay_http_api::ComponentHealth;
use xthonpay_payments::port::chain::NodeReport;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::scanning::status::{ChainStatus, Health, SharedStatus, Stall};
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_plugin_runtime::{PluginHost, PluginReport, PluginState};

use super::Joints;
use crate::admin::protocol::{CatchUpLine, ChainReport, NodeLine, PluginLine, Status};
use crate::admin::server::StatusSource;

/// More than a report of readiness can have.
const REPORT_BYTES_MAX: usize = 256 * 1024;

/// Why a plugin that is switched off is not asked.
const SWITCHED_OFF: &str = "switched off by the operator; `xthonpay plugins enable` switches it on";

/// Reads the status of a running host.
pub(super) struct HostStatus {
    router: Router,
    listen: String,
    watch: Arc<WatchSet>,
    chains: Vec<SharedStatus>,
    clock: Arc<dyn Clock>,
    plugins: Arc<PluginHost>,
}

impl HostStatus {
    pub(super) fn new(joints: &Joints<'_>, router: Router) -> Self {
        let listen = joints.parts.rest.local_addr();
        Self {
            router,
            listen: listen.map_or_else(|_| joints.config.server.listen.to_string(), |address| address.to_string()),
            watch: Arc::clone(&joints.deployment.watch),
            chains: joints.chains.clone(),
            clock: Arc::clone(&joints.deployment.clock),
            plugins: Arc::clone(&joints.parts.plugins),
        }
    }

    /// What `/readyz` answers: asked of the same router, so that operator and load balancer never hear different things.
    async fn readiness(&self) -> (bool, Vec<String>) {
        let Ok(request) = Request::get("/readyz").body(Body::empty()) else { return (false, Vec::new()) };
        // The router's error type is empty: it always answers.
        let Ok(answer) = self.router.clone().oneshot(request).await;
        let ready = answer.status().is_success();
        let bytes = to_bytes(answer.into_body(), REPORT_BYTES_MAX).await.unwrap_or_default();
        let report: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let checks = report.pointer("/data/checks").and_then(Value::as_array).cloned().unwrap_or_default();
        let failing = checks.iter().filter(|check| check.get("ok") == Some(&Value::Bool(false)));
        let told = failing.map(|check| {
            let text = |key: &str| check.get(key).and_then(Value::as_str).unwrap_or_default();
            format!("{} {}", text("name"), text("reason"))
        });
        (ready, told.collect())
    }
}

impl StatusSource for HostStatus {
    async fn status(&self) -> Status {
        let (ready, reasons) = self.readiness().await;
        Status {
            ready,
            reasons,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen: self.listen.clone(),
            addresses: self.watch.len(),
            chains: self.chains.iter().map(|chain| chain_report(&chain.get(), self.clock.now())).collect(),
            plugins: self.plugins.report().into_iter().map(plugin_line).collect(),
        }
    }
}

/// How every plugin does, in the words of readiness.
pub(super) fn plugin_health(plugins: &PluginHost, required: &BTreeSet<String>) -> Vec<ComponentHealth> {
    let bound = plugins.report().into_iter().filter(|report| report.hook.is_some());
    bound
        .map(|report| ComponentHealth {
            // A pause is no reason to take no requests: the failure policy is what the operator chose for it.
            required: required.contains(&report.name) && matches!(report.state, PluginState::Failed { .. }),
            name: format!("plugin:{}", report.name),
            problem: match report.state {
                PluginState::Failed { reason } | PluginState::LeftAlone { reason, .. } => Some(reason),
                PluginState::SwitchedOff { .. } => Some(SWITCHED_OFF.to_owned()),
                PluginState::Active { instead, .. } => instead,
                PluginState::Unbound => None,
            },
        })
        .collect()
}

/// One plugin, in the words of `status` and `check`.
pub(crate) fn plugin_line(report: PluginReport) -> PluginLine {
    let (state, sha256, version, reason) = match report.state {
        PluginState::Active { digest, about, instead } => {
            let state = if instead.is_some() { "last-good" } else { "active" };
            (state, Some(digest.to_string()), Some(about.version), instead)
        }
        PluginState::LeftAlone { digest, about, reason } => {
            ("left-alone", Some(digest.to_string()), Some(about.version), Some(reason))
        }
        PluginState::Failed { reason } => ("failed", None, None, Some(reason)),
        PluginState::SwitchedOff { digest } => {
            ("switched-off", digest.map(|digest| digest.to_string()), None, Some(SWITCHED_OFF.to_owned()))
        }
        PluginState::Unbound => ("unbound", None, None, None),
    };
    let hook = report.hook.map(|hook| hook.to_string());
    PluginLine { name: report.name, hook, state: state.to_owned(), version, sha256, reason }
}

fn chain_report(status: &ChainStatus, now: Timestamp) -> ChainReport {
    let (health, reason) = match &status.health {
        Health::Starting => ("starting", None),
        Health::Running => ("running", None),
        Health::Failing { reason } => ("failing", Some(reason.clone())),
        Health::Frozen { reason } => ("frozen", Some(reason.clone())),
    };
    ChainReport {
        chain: status.chain.to_string(),
        health: health.to_owned(),
        reason,
        head: status.head.map(|head| head.0),
        tip: status.cursor.as_ref().map(|cursor| cursor.tip.number.0),
        finalized: status.cursor.as_ref().map(|cursor| cursor.finalized.number.0),
        lag_blocks: status.lag_blocks(),
        lag_seconds: status.lag_time(now).map(|lag| lag.as_secs()),
        seconds_since_block: status.since_new_block(now).map(|since| since.as_secs()),
        seconds_since_finality: status.since_new_finality(now).map(|since| since.as_secs()),
        block_interval_ms: status
            .block_interval
            .map(|interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
        stalled: status.stall(now).map(|stall| match stall {
            Stall::NoNewBlock(_) => "no new block".to_owned(),
            Stall::NoNewFinality(_) => "no new finality".to_owned(),
        }),
        catch_up: status.catch_up.map(|progress| CatchUpLine {
            done: progress.done,
            total: progress.total(),
            blocks_per_second: progress.blocks_per_second(),
            seconds_left: progress.remaining().map(|left| left.as_secs()),
        }),
        quorum: status.source.quorum,
        finality_by_depth: status.source.finality_by_depth,
        disagreement: status.source.disagreement.clone(),
        nodes: status.source.nodes.iter().map(node_line).collect(),
    }
}

fn node_line(node: &NodeReport) -> NodeLine {
    NodeLine {
        node: node.label.clone(),
        primary: node.primary,
        problem: node.problem.clone(),
        verified_by: node.verification.map(|level| level.name().to_owned()),
        head: node.head.map(|head| head.0),
        finalized: node.finalized.map(|finalized| finalized.0),
        announces: node.announces,
    }
}
