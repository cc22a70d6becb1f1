//! `plugins list` and `plugins reload`: which plugins a running host has, and the exchange of one of them.
//!
//! A reload reads the config anew and takes the plugin's own table from it: file, pin, settings, grants and limits. Which plugin
//! is bound to which hook stays as it was at the start. A version that does not load changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tracing::info;
use xthonpay_plugin_runtime::PluginHost;

use super::protocol::PluginLine;
use super::service::AdminError;
use crate::config::Config;
use crate::host::plugin_report;

/// The path of `plugins list`.
pub const PLUGINS: &str = "/plugins";
/// The path of `plugins reload`.
pub const RELOAD: &str = "/plugins/reload";

/// A plugin to load anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskReload {
    /// The name of its table.
    pub plugin: String,
}

/// A plugin that was exchanged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// How it does now.
    pub plugin: PluginLine,
    /// The SHA-256 of the component that served before; none when none did.
    pub sha256_before: Option<String>,
}

/// The plugins of a running host, and where its config stands.
#[derive(Clone)]
pub struct PluginDoor {
    /// The plugins.
    pub plugins: Arc<PluginHost>,
    /// The config file that the host was started with.
    pub config_file: PathBuf,
}

/// The routes of `plugins`.
pub(super) fn router(door: PluginDoor) -> Router {
    Router::new().route(PLUGINS, get(list)).route(RELOAD, post(reload)).with_state(door)
}

async fn list(State(door): State<PluginDoor>) -> Json<Vec<PluginLine>> {
    Json(door.plugins.report().into_iter().map(plugin_report).collect())
}

async fn reload(State(door): State<PluginDoor>, Json(asked): Json<AskReload>) -> Result<Json<Reloaded>, AdminError> {
    let name = asked.plugin;
    let file = door.config_file.clone();
    let config = spawn_blocking(move || Config::load(&file)).await.map_err(|_| AdminError::Stopping)??;
    let table = config.plugins.get(&name).ok_or_else(|| AdminError::UnknownPlugin(name.clone()))?;
    let sha256_before = door.line(&name).and_then(|line| line.sha256);
    door.plugins.reload(&name, table).await?;
    let plugin = door.line(&name).ok_or_else(|| AdminError::UnknownPlugin(name.clone()))?;
    info!(plugin = name, before = sha256_before, now = plugin.sha256, "plugin exchanged");
    Ok(Json(Reloaded { plugin, sha256_before }))
}

impl PluginDoor {
    fn line(&self, name: &str) -> Option<PluginLine> {
        self.plugins.report().into_iter().find(|report| report.name == name).map(plugin_report)
    }
}
