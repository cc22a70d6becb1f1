//! `plugins`: asked of the running host. Without one there is nothing to exchange, and `check` tells
//! whether the configured plugins load.

use std::time::Duration;

use super::arguments::{Asked, FailuresArguments, PluginNameArguments, ReloadArguments};
use super::status::plugin_line;
use super::{CliError, output};
use crate::admin::client::AdminClient;
use crate::admin::plugin::{
    AskPlugin, AskReload, AskSwitch, FAILURES, FailureLine, INSPECT, PLUGINS, PluginInspection, Reloaded, SWITCH,
};
use crate::admin::protocol::PluginLine;
use crate::config::Config;

/// How long an exchange may take: the longest compilation, and some.
const RELOAD_MAX: Duration = Duration::from_secs(150);

/// The running host of a deployment.
async fn client(asked: &Asked) -> Result<AdminClient, CliError> {
    let config = Config::load(&asked.deployment.config)?;
    Ok(AdminClient::connect(&config.admin_socket()).await?)
}

/// `plugins list`.
pub(super) async fn list(asked: &Asked) -> Result<(), CliError> {
    let client = client(asked).await?;
    let plugins: Vec<PluginLine> = client.get(PLUGINS).await?;
    if asked.json {
        return output::json(&plugins);
    }
    if plugins.is_empty() {
        return output::lines(&["no plugin is configured: every hook is the host's own".to_owned()]);
    }
    output::lines(&plugins.iter().map(line).collect::<Vec<_>>())
}

/// `plugins reload` and `plugins rollback`.
pub(super) async fn exchange(asked: ReloadArguments, path: &str) -> Result<(), CliError> {
    let client = client(&asked.asked).await?;
    let question = AskReload { plugin: asked.plugin, accept: asked.accept };
    let reloaded: Reloaded = client.post_within(path, &question, RELOAD_MAX).await?;
    if asked.asked.json {
        return output::json(&reloaded);
    }
    let before = reloaded.sha256_before.as_deref();
    let change = match before {
        None => "nothing served before".to_owned(),
        Some(before) if reloaded.plugin.sha256.as_deref() == Some(before) => "the component is the same".to_owned(),
        Some(before) => format!("before: sha256 {before}"),
    };
    let mut lines = vec![line(&reloaded.plugin), change];
    let more = |what: &str, wants: &[String]| (!wants.is_empty()).then(|| format!("{what}: {}", wants.join(", ")));
    lines.extend(more("asks for more than before", &reloaded.wants_added));
    lines.extend(more("asks no longer for", &reloaded.wants_removed));
    output::lines(&lines)
}

/// `plugins inspect`.
pub(super) async fn inspect(named: PluginNameArguments) -> Result<(), CliError> {
    let client = client(&named.asked).await?;
    let found: PluginInspection = client.post(INSPECT, &AskPlugin { plugin: named.plugin }).await?;
    if named.asked.json {
        return output::json(&found);
    }
    let or_nothing = |words: Vec<String>| if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
    let limits = found.limits.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let mut lines = vec![line(&found.plugin), format!("asks for: {}", or_nothing(found.wants))];
    lines.push(format!("limits: {}", or_nothing(limits)));
    for (function, ends) in &found.calls {
        let ends = ends.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        lines.push(format!("calls of {function} since the start: {}", or_nothing(ends)));
    }
    if let Some(shadow) = &found.shadow {
        let (same, differs, skipped) = (shadow.same, shadow.differs, shadow.skipped);
        let state = shadow.problem.clone().or_else(|| shadow.sha256.clone()).unwrap_or_default();
        lines.push(format!("candidate: {state}: {same} answers the same, {differs} others, {skipped} not asked"));
        for difference in &shadow.differences {
            lines.push(format!("  {} serving:   {}", difference.call_id, difference.serving));
            lines.push(format!("  {} candidate: {}", difference.call_id, difference.candidate));
        }
    }
    lines.push(format!("versions kept: {}", or_nothing(found.kept)));
    lines.push(format!("failures kept: {} (`xthonpay plugins failures {}`)", found.failures, found.plugin.name));
    output::lines(&lines)
}

/// `plugins enable` and `plugins disable`.
pub(super) async fn switch(named: PluginNameArguments, on: bool) -> Result<(), CliError> {
    let client = client(&named.asked).await?;
    let plugin: PluginLine = client.post(SWITCH, &AskSwitch { plugin: named.plugin, on }).await?;
    if named.asked.json { output::json(&plugin) } else { output::lines(&[line(&plugin)]) }
}

/// `plugins failures`.
pub(super) async fn failures(asked: FailuresArguments) -> Result<(), CliError> {
    let (named, save) = (asked.named, asked.save);
    let client = client(&named.asked).await?;
    let failures: Vec<FailureLine> = client.post(FAILURES, &AskPlugin { plugin: named.plugin.clone() }).await?;
    let mut saved = Vec::new();
    if let Some(folder) = save {
        let system = |source| CliError::System { what: "the folder of failures", source };
        std::fs::create_dir_all(&folder).map_err(system)?;
        for (position, failure) in failures.iter().enumerate() {
            let path = folder.join(format!("{}-{}-{position}.toml", named.plugin, failure.at));
            std::fs::write(&path, &failure.fixture).map_err(system)?;
            saved.push(format!("saved: {}", path.display()));
        }
    }
    if named.asked.json {
        return output::json(&failures);
    }
    if failures.is_empty() {
        return output::lines(&["no call of it has failed since the start".to_owned()]);
    }
    let mut lines = Vec::new();
    for failure in &failures {
        lines.push(format!("{} {} ({}): {}", failure.at, failure.call_id, failure.kind, failure.failure));
        lines.extend(failure.log.iter().map(|(level, text)| format!("  log {level}: {text}")));
    }
    lines.extend(saved);
    output::lines(&lines)
}

fn line(plugin: &PluginLine) -> String {
    let version = plugin.version.as_ref().map_or_else(String::new, |version| format!(", version {version}"));
    let digest = plugin.sha256.as_ref().map_or_else(String::new, |digest| format!(", sha256 {digest}"));
    format!("{}{version}{digest}", plugin_line(plugin))
}
