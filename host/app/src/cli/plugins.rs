//! `plugins list` and `plugins reload`: asked of the running host. Without one there is nothing to exchange, and `check` tells
//! whether the configured plugins load.

use std::time::Duration;

use super::arguments::{Asked, ReloadArguments};
use super::status::plugin_line;
use super::{CliError, output};
use crate::admin::client::AdminClient;
use crate::admin::plugin::{AskReload, PLUGINS, RELOAD, Reloaded};
use crate::admin::protocol::PluginLine;
use crate::config::Config;

/// How long an exchange may take: the longest compilation, and some.
const RELOAD_MAX: Duration = Duration::from_secs(150);

/// `plugins list`.
pub(super) async fn list(asked: &Asked) -> Result<(), CliError> {
    let config = Config::load(&asked.deployment.config)?;
    let client = AdminClient::connect(&config.admin_socket()).await?;
    let plugins: Vec<PluginLine> = client.get(PLUGINS).await?;
    if asked.json {
        return output::json(&plugins);
    }
    if plugins.is_empty() {
        return output::lines(&["no plugin is configured: every hook is the host's own".to_owned()]);
    }
    output::lines(&plugins.iter().map(line).collect::<Vec<_>>())
}

/// `plugins reload`.
pub(super) async fn reload(asked: ReloadArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let client = AdminClient::connect(&config.admin_socket()).await?;
    let reloaded: Reloaded = client.post_within(RELOAD, &AskReload { plugin: asked.plugin }, RELOAD_MAX).await?;
    if asked.asked.json {
        return output::json(&reloaded);
    }
    let before = reloaded.sha256_before.as_deref();
    let change = match before {
        None => "nothing served before".to_owned(),
        Some(before) if reloaded.plugin.sha256.as_deref() == Some(before) => "the component is the same".to_owned(),
        Some(before) => format!("before: sha256 {before}"),
    };
    output::lines(&[line(&reloaded.plugin), change])
}

fn line(plugin: &PluginLine) -> String {
    let version = plugin.version.as_ref().map_or_else(String::new, |version| format!(", version {version}"));
    let digest = plugin.sha256.as_ref().map_or_else(String::new, |digest| format!(", sha256 {digest}"));
    format!("{}{version}{digest}", plugin_line(plugin))
}
