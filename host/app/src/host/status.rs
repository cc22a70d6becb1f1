//! How the host is doing, for `xthonpay status` and for readiness.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt as _;
use xthonpay_http_api::ComponentHealth;
use xthonpay_payments::scanning::status::{ChainStatus, Health, SharedStatus};
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_plugin_runtime::{PluginHost, PluginReport, PluginState};

use super::Joints;
use crate::admin::protocol::{ChainReport, PluginLine, Status};
use crate::admin::server::StatusSource;

/// More than a report of readiness can have.
const REPORT_BYTES_MAX: usize = 256 * 1024;

/// Reads the status of a running host.
pub(super) struct HostStatus {
    router: Router,
    listen: String,
    watch: Arc<WatchSet>,
    chains: Vec<SharedStatus>,
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
            chains: self.chains.iter().map(|chain| chain_report(&chain.get())).collect(),
            plugins: self.plugins.report().into_iter().map(plugin_line).collect(),
        }
    }
}

/// How every plugin does, in the words of readiness.
pub(super) fn plugin_health(plugins: &PluginHost, required: &BTreeSet<String>) -> Vec<ComponentHealth> {
    let bound = plugins.report().into_iter().filter(|report| report.hook.is_some());
    bound
        .map(|report| ComponentHealth {
            required: required.contains(&report.name),
            name: format!("plugin:{}", report.name),
            problem: match report.state {
                PluginState::Failed { reason } => Some(reason),
                PluginState::Active { .. } | PluginState::Unbound => None,
            },
        })
        .collect()
}

/// One plugin, in the words of `status` and `check`.
pub(crate) fn plugin_line(report: PluginReport) -> PluginLine {
    let (state, sha256, version, reason) = match report.state {
        PluginState::Active { digest, about } => ("active", Some(digest.to_string()), Some(about.version), None),
        PluginState::Failed { reason } => ("failed", None, None, Some(reason)),
        PluginState::Unbound => ("unbound", None, None, None),
    };
    let hook = report.hook.map(|hook| hook.to_string());
    PluginLine { name: report.name, hook, state: state.to_owned(), version, sha256, reason }
}

fn chain_report(status: &ChainStatus) -> ChainReport {
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
    }
}
