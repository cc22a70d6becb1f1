//! `plugins`: which plugins a running host has, how one does, its last failures, its switch, and its exchange.
//!
//! A reload reads the config anew and takes the plugin's own table from it: file, pin, settings, grants and limits. Which plugin
//! is bound to which hook stays as it was at the start. A version that does not load changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tracing::info;
use xthonpay_payments::hook_tally::HookOutcome;
use xthonpay_plugin_runtime::{Capture, Difference, Exchanged, PluginConfig, PluginHost, ShadowReport};

use super::protocol::PluginLine;
use super::service::AdminError;
use crate::config::Config;
use crate::host::plugin_report;
use crate::kept_plugins::KeptPlugins;
use crate::switches::Switches;

/// The path of `plugins list`.
pub const PLUGINS: &str = "/plugins";
/// The path of `plugins reload`.
pub const RELOAD: &str = "/plugins/reload";
/// The path of `plugins rollback`.
pub const ROLLBACK: &str = "/plugins/rollback";
/// The path of `plugins inspect`.
pub const INSPECT: &str = "/plugins/inspect";
/// The path of `plugins failures`.
pub const FAILURES: &str = "/plugins/failures";
/// The path of `plugins enable` and `plugins disable`.
pub const SWITCH: &str = "/plugins/switch";

/// A plugin to tell about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskPlugin {
    /// The name of its table.
    pub plugin: String,
}

/// A plugin to switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskSwitch {
    /// The name of its table.
    pub plugin: String,
    /// Whether it is asked.
    pub on: bool,
}

/// A bound plugin in detail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginInspection {
    /// How it does.
    pub plugin: PluginLine,
    /// What its manifest asks for: capabilities, and labels as `capability.label`.
    pub wants: Vec<String>,
    /// Its limits by key, in the units of the config.
    pub limits: BTreeMap<String, u64>,
    /// How many calls of each function ended in which way, since the start.
    pub calls: BTreeMap<String, BTreeMap<String, u64>>,
    /// Failures that are kept.
    pub failures: usize,
    /// The SHA-256 of each version that has served and is kept, the newest first.
    pub kept: Vec<String>,
    /// The candidate beside it, `shadow` in its table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowLine>,
}

/// A candidate beside a plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShadowLine {
    /// The SHA-256 of its component.
    pub sha256: Option<String>,
    /// Why it did not load.
    pub problem: Option<String>,
    /// Calls that it answered as the plugin that serves did.
    pub same: u64,
    /// Calls that it answered otherwise.
    pub differs: u64,
    /// Calls that it was not asked about.
    pub skipped: u64,
    /// The last differences, the newest first.
    pub differences: Vec<DifferenceLine>,
}

/// An answer of a candidate that is not that of the plugin that serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DifferenceLine {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Names the fact that was decided.
    pub call_id: String,
    /// What the plugin that serves answered.
    pub serving: String,
    /// What the candidate answered.
    pub candidate: String,
}

/// A call that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailureLine {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The function of the hook.
    pub function: String,
    /// Names the fact that was to be decided.
    pub call_id: String,
    /// The SHA-256 of the component.
    pub sha256: String,
    /// How it failed, as in metrics.
    pub kind: String,
    /// What happened and what to change.
    pub failure: String,
    /// What it logged: level and text.
    pub log: Vec<(String, String)>,
    /// The call as a file for `xthonpay plugin replay`.
    pub fixture: String,
}

/// A plugin to load anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskReload {
    /// The name of its table.
    pub plugin: String,
    /// Whether it may ask for more than the one that serves.
    #[serde(default)]
    pub accept: bool,
}

/// A plugin that was exchanged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// How it does now.
    pub plugin: PluginLine,
    /// The SHA-256 of the component that served before; none when none did.
    pub sha256_before: Option<String>,
    /// What it asks for and the one before did not.
    pub wants_added: Vec<String>,
    /// The reverse.
    pub wants_removed: Vec<String>,
}

/// The plugins of a running host, and where its config stands.
#[derive(Clone)]
pub struct PluginDoor {
    /// The plugins.
    pub plugins: Arc<PluginHost>,
    /// The config file that the host was started with.
    pub config_file: PathBuf,
    /// Keeps what is switched off; one change at a time.
    pub switches: Arc<Mutex<Switches>>,
    /// Keeps versions that have served.
    pub kept: KeptPlugins,
    /// Held by an exchange: there is one at a time.
    pub exchanges: Arc<Mutex<()>>,
}

/// The routes of `plugins`.
pub(super) fn router(door: PluginDoor) -> Router {
    Router::new()
        .route(PLUGINS, get(list))
        .route(RELOAD, post(reload))
        .route(ROLLBACK, post(rollback))
        .route(INSPECT, post(inspect))
        .route(FAILURES, post(failures))
        .route(SWITCH, post(switch))
        .with_state(door)
}

async fn list(State(door): State<PluginDoor>) -> Json<Vec<PluginLine>> {
    Json(door.plugins.report().into_iter().map(plugin_report).collect())
}

async fn reload(State(door): State<PluginDoor>, Json(asked): Json<AskReload>) -> Result<Json<Reloaded>, AdminError> {
    door.exchange(&asked.plugin, asked.accept).await.map(Json)
}

async fn rollback(State(door): State<PluginDoor>, Json(asked): Json<AskReload>) -> Result<Json<Reloaded>, AdminError> {
    door.roll_back(&asked.plugin, asked.accept).await.map(Json)
}

async fn inspect(
    State(door): State<PluginDoor>,
    Json(asked): Json<AskPlugin>,
) -> Result<Json<PluginInspection>, AdminError> {
    let details = door.plugins.inspect(&asked.plugin)?;
    let counts = |counts: Vec<(HookOutcome, u64)>| {
        counts.into_iter().map(|(outcome, count)| (outcome.name().to_owned(), count)).collect()
    };
    Ok(Json(PluginInspection {
        plugin: plugin_report(details.report),
        wants: details.wants,
        limits: details.limits.into_iter().map(|(limit, value)| (limit.key().to_owned(), value)).collect(),
        calls: details.calls.into_iter().map(|(function, ends)| (function.to_owned(), counts(ends))).collect(),
        failures: details.failures,
        kept: door.kept.versions(&asked.plugin),
        shadow: details.shadow.map(shadow_line),
    }))
}

fn shadow_line(shadow: ShadowReport) -> ShadowLine {
    let line = |difference: Difference| DifferenceLine {
        at: difference.at.as_millis(),
        call_id: difference.call_id,
        serving: difference.serving,
        candidate: difference.candidate,
    };
    ShadowLine {
        sha256: shadow.digest.map(|digest| digest.to_string()),
        problem: shadow.problem,
        same: shadow.same,
        differs: shadow.differs,
        skipped: shadow.skipped,
        differences: shadow.differences.into_iter().map(line).collect(),
    }
}

async fn failures(
    State(door): State<PluginDoor>,
    Json(asked): Json<AskPlugin>,
) -> Result<Json<Vec<FailureLine>>, AdminError> {
    let line = |capture: Capture| FailureLine {
        at: capture.at.as_millis(),
        function: capture.function.to_owned(),
        call_id: capture.call_id,
        sha256: capture.digest.to_string(),
        kind: capture.kind.to_owned(),
        failure: capture.failure,
        log: capture.lines.into_iter().map(|line| (line.level.to_string(), line.text)).collect(),
        fixture: capture.fixture,
    };
    Ok(Json(door.plugins.failures(&asked.plugin)?.into_iter().map(line).collect()))
}

/// Keeps the switch before it works: what was answered outlives a crash.
async fn switch(State(door): State<PluginDoor>, Json(asked): Json<AskSwitch>) -> Result<Json<PluginLine>, AdminError> {
    let AskSwitch { plugin, on } = asked;
    door.plugins.require_bound(&plugin)?;
    door.switches.lock().await.keep(&plugin, on).map_err(AdminError::Switches)?;
    door.plugins.switch(&plugin, on)?;
    info!(plugin, on, "plugin switched");
    door.line(&plugin).map(Json).ok_or(AdminError::UnknownPlugin(plugin))
}

impl PluginDoor {
    /// Takes the plugin's table from the config as it stands now and exchanges the plugin. May be dropped at any time; then nothing
    /// is exchanged.
    ///
    /// # Errors
    /// [`AdminError`]; the plugin that serves now serves on.
    pub(crate) async fn exchange(&self, name: &str, accept: bool) -> Result<Reloaded, AdminError> {
        let _alone = self.exchanges.lock().await;
        let table = self.table(name).await?;
        let sha256_before = self.line(name).and_then(|line| line.sha256);
        let exchanged = self.plugins.reload(name, &table, accept).await?;
        let (kept, plugins, name) = (self.kept.clone(), Arc::clone(&self.plugins), name.to_owned());
        let tables = [(name.clone(), table)];
        let keep = move || kept.keep_serving(&plugins, tables.iter().map(|(name, table)| (name, table)));
        // The exchange stands, whether its version is kept or not.
        drop(spawn_blocking(keep).await);
        self.exchanged(&name, sha256_before, exchanged)
    }

    /// Exchanges the plugin for the version that served before it, also after a restart. May be dropped at any time; then either
    /// nothing is exchanged, or the next start does it.
    ///
    /// # Errors
    /// [`AdminError`]; the plugin that serves now serves on.
    async fn roll_back(&self, name: &str, accept: bool) -> Result<Reloaded, AdminError> {
        let _alone = self.exchanges.lock().await;
        self.plugins.require_bound(name)?;
        let table = self.table(name).await?;
        let sha256_before = self.line(name).and_then(|line| line.sha256);
        let nothing = || AdminError::NothingBefore(name.to_owned());
        let file = self.kept.before(name, sha256_before.as_deref()).ok_or_else(nothing)?;
        let withdrawn = self.kept.last_good(name).withdrawn.map(|digest| digest.to_string());
        self.kept.withdraw(name, sha256_before.as_deref()).map_err(AdminError::KeptPlugins)?;
        let exchanged = match self.plugins.roll_back(name, &PluginConfig { file, ..table }, accept).await {
            Ok(exchanged) => exchanged,
            Err(error) => {
                self.kept.withdraw(name, withdrawn.as_deref()).map_err(AdminError::KeptPlugins)?;
                return Err(error.into());
            }
        };
        self.exchanged(name, sha256_before, exchanged)
    }

    /// The plugin's table in the config as it stands now.
    async fn table(&self, name: &str) -> Result<PluginConfig, AdminError> {
        let file = self.config_file.clone();
        let mut config = spawn_blocking(move || Config::load(&file)).await.map_err(|_| AdminError::Stopping)??;
        config.plugins.remove(name).ok_or_else(|| AdminError::UnknownPlugin(name.to_owned()))
    }

    fn exchanged(
        &self,
        name: &str,
        sha256_before: Option<String>,
        exchanged: Exchanged,
    ) -> Result<Reloaded, AdminError> {
        let Exchanged { wants_added, wants_removed } = exchanged;
        let plugin = self.line(name).ok_or_else(|| AdminError::UnknownPlugin(name.to_owned()))?;
        info!(plugin = name, before = sha256_before, now = plugin.sha256, "plugin exchanged");
        Ok(Reloaded { plugin, sha256_before, wants_added, wants_removed })
    }

    fn line(&self, name: &str) -> Option<PluginLine> {
        self.plugins.report().into_iter().find(|report| report.name == name).map(plugin_report)
    }
}
