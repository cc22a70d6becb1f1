//! `plugin`: for those who write plugins. Needs no host, no config and no network beyond the registries of the compilers.

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde_json::json;
use xthonpay_plugin_runtime::workbench::{CallReport, Ending, Fixture, Inspection, Workbench, WorkbenchError};
use xthonpay_plugin_tools::{
    Language, Project, TestReport, ToolError, build, call_report_json, fixtures_of, lay_out, measure, pack, test,
};

use super::arguments::{
    BenchPluginArguments, CallPluginArguments, NewPluginArguments, PluginArguments, PluginCommand, TestPluginArguments,
};
use super::{CliError, output};

/// `plugin`.
pub(super) async fn plugin(command: PluginCommand) -> Result<(), CliError> {
    match command {
        PluginCommand::New(asked) => new(&asked),
        PluginCommand::Build(asked) => build_project(&asked),
        PluginCommand::Check(asked) => check(&asked).await,
        PluginCommand::Test(asked) => test_project(&asked).await,
        PluginCommand::Run(asked) => run(&asked).await,
        PluginCommand::Replay(asked) => replay(&asked).await,
        PluginCommand::Bench(asked) => bench(&asked).await,
        PluginCommand::Inspect(asked) => inspect(&asked).await,
        PluginCommand::Package(asked) => package(&asked),
    }
}

fn new(asked: &NewPluginArguments) -> Result<(), CliError> {
    let language = Language::from_name(&asked.lang)
        .ok_or_else(|| CliError::Usage(format!("--lang: `{}` is none of rust, javascript, python", asked.lang)))?;
    let hook = match asked.hook.as_str() {
        "rules" => "invoice-rules",
        "webhook" => "webhook-format",
        "bot" => "bot-flow",
        "policy" => "withdrawal-policy",
        full @ ("invoice-rules" | "webhook-format" | "bot-flow" | "withdrawal-policy") => full,
        other => {
            let known = "invoice-rules, webhook-format, bot-flow, withdrawal-policy";
            return Err(CliError::Usage(format!("--hook: `{other}` is none of {known}")));
        }
    };
    let folder = asked.into.clone().unwrap_or_default().join(&asked.name);
    let laid_out = lay_out(&asked.name, hook, language, &folder)?;
    if asked.json {
        return output::json(&laid_out);
    }
    let mut lines = vec![format!("{}: {} files. Next:", laid_out.folder.display(), laid_out.files)];
    lines.extend(laid_out.next.iter().map(|step| format!("    {step}")));
    output::lines(&lines)
}

fn build_project(asked: &PluginArguments) -> Result<(), CliError> {
    let built = build(&Project::find(&asked.path)?)?;
    if asked.json {
        return output::json(&built);
    }
    let line = format!(
        "{}: {} KiB, sha256 {}, {}.{:01} s",
        built.component.display(),
        built.bytes.div_ceil(1_024),
        built.sha256,
        built.took.as_secs(),
        built.took.subsec_millis() / 100
    );
    output::lines(&[line])
}

/// Where compiled code is kept between commands; nowhere if the user has no such folder.
fn cache() -> Option<PathBuf> {
    let own = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = own.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("xthonpay").join("plugins"))
}

fn workbench() -> Result<Workbench, CliError> {
    Workbench::new(cache().as_deref())
        .or_else(|_| Workbench::new(None))
        .map_err(|error| CliError::Tool(WorkbenchError::from(error).into()))
}

/// The component that a path means.
fn component(path: &Path) -> Result<PathBuf, CliError> {
    if path.extension().is_some_and(|end| end == "wasm") {
        return Ok(path.to_owned());
    }
    let component = Project::find(path)?.component();
    if component.is_file() { Ok(component) } else { Err(ToolError::NotBuilt(component).into()) }
}

async fn check(asked: &PluginArguments) -> Result<(), CliError> {
    let component = component(&asked.path)?;
    let loaded = workbench()?.open(&component, Fixture::parse("").map_err(CliError::Usage)?).await;
    let about = loaded.map_err(ToolError::from)?.about().clone();
    if asked.json {
        return output::json(
            &json!({"component": component, "loads": true, "name": about.name, "version": about.version}),
        );
    }
    let name = format!("{} {}: {}", about.name, about.version, about.notes);
    output::lines(&[name, "a host that grants what its manifest asks for would load it".to_owned()])
}

async fn test_project(asked: &TestPluginArguments) -> Result<(), CliError> {
    let fixtures = match asked.fixtures.as_slice() {
        [] => fixtures_of(&Project::find(&asked.plugin.path)?.fixtures())?,
        named => named.to_vec(),
    };
    let report = test(&workbench()?, &asked.plugin.path, &fixtures).await?;
    if asked.plugin.json {
        output::json(&report)?;
    } else {
        output::lines(&test_lines(&report))?;
    }
    if report.failed == 0 { Ok(()) } else { Err(CliError::TestsFailed(report.failed)) }
}

fn test_lines(report: &TestReport) -> Vec<String> {
    let mut lines = Vec::new();
    for outcome in &report.fixtures {
        let word = if outcome.passed { "ok" } else { "FAILED" };
        let name = outcome.fixture.file_name().unwrap_or(outcome.fixture.as_os_str()).to_string_lossy();
        lines.push(format!("{word:6} {name}: {}", outcome.about));
        lines.extend(outcome.problems.iter().map(|problem| format!("       {problem}")));
        if !outcome.passed {
            lines.extend(outcome.log.iter().map(|line| format!("       log {line}")));
        }
    }
    lines.push(format!("{} passed, {} failed", report.passed, report.failed));
    lines
}

async fn run(asked: &CallPluginArguments) -> Result<(), CliError> {
    let component = component(&asked.plugin.path)?;
    let fixture = read(&asked.fixture)?;
    let bench = workbench()?.open(&component, fixture.clone()).await.map_err(ToolError::from)?;
    let report = bench.call().await.map_err(|error| fixture_error(&asked.fixture, error))?;
    if asked.plugin.json {
        return output::json(&call_report_json(&report));
    }
    output::lines(&call_lines(&report))
}

async fn replay(asked: &CallPluginArguments) -> Result<(), CliError> {
    let component = component(&asked.plugin.path)?;
    let fixture = read(&asked.fixture)?;
    let Some(failed) = fixture.expect.failure.clone() else {
        let what = format!("{}: it names no failure (expect.failure): use `plugin run`", asked.fixture.display());
        return Err(CliError::Usage(what));
    };
    let bench = workbench()?.open(&component, fixture).await.map_err(ToolError::from)?;
    let report = bench.call().await.map_err(|error| fixture_error(&asked.fixture, error))?;
    let again = matches!(&report.ending, Ending::Failure { kind, .. } if *kind == failed);
    if asked.plugin.json {
        return output::json(&json!({"failed": failed, "fails_again": again, "report": call_report_json(&report)}));
    }
    let mut lines = call_lines(&report);
    lines.push(if again {
        format!("it fails as it did in the host: {failed}")
    } else {
        format!("it does not fail as it did in the host ({failed})")
    });
    output::lines(&lines)
}

fn read(path: &Path) -> Result<Fixture, CliError> {
    Fixture::read(path).map_err(|error| fixture_error(path, error))
}

fn fixture_error(path: &Path, error: xthonpay_plugin_runtime::workbench::FixtureError) -> CliError {
    ToolError::Fixture { path: path.to_owned(), error }.into()
}

fn call_lines(report: &CallReport) -> Vec<String> {
    let mut lines: Vec<String> =
        report.lines.iter().map(|line| format!("log {}: {} {}", line.level, line.text, line.fields)).collect();
    lines.extend(report.requests.iter().map(|(label, method, path)| format!("request to {label}: {method} {path}")));
    for (label, values) in &report.kept {
        lines.extend(values.iter().map(|(key, value)| format!("kept in {label}: {key} = {value}")));
    }
    match &report.ending {
        Ending::Answer(answer) => {
            lines.push("answer".to_owned());
            lines.extend(format!("{answer:#}").lines().map(str::to_owned));
        }
        Ending::Failure { kind, text } => lines.push(format!("failure ({kind}): {text}")),
    }
    lines.push(format!(
        "{} us to make the instance, {} us for the call, {} KiB of memory, {} calls of capabilities",
        report.instantiate.as_micros(),
        report.call.as_micros(),
        report.memory_bytes.div_ceil(1_024),
        report.host_calls
    ));
    lines
}

async fn bench(asked: &BenchPluginArguments) -> Result<(), CliError> {
    let measured = measure(&asked.call.plugin.path, &asked.call.fixture, asked.calls).await?;
    if asked.call.plugin.json {
        return output::json(&measured);
    }
    let [instance_half, instance_most] = measured.instantiate_us;
    let [call_half, call_most] = measured.call_us;
    let [half, most] = measured.total_us;
    output::lines(&[
        format!("loaded in {} ms, again in {} ms", measured.load_ms, measured.load_again_ms),
        format!("instance: p50 {instance_half} us, p99 {instance_most} us"),
        format!("call:     p50 {call_half} us, p99 {call_most} us"),
        format!("together: p50 {half} us, p99 {most} us"),
        format!("memory:   {} KiB in an instance; {} calls", measured.memory_kib, measured.calls),
    ])
}

async fn inspect(asked: &PluginArguments) -> Result<(), CliError> {
    let component = component(&asked.path)?;
    let found = workbench()?.inspect(&component).await.map_err(ToolError::from)?;
    if asked.json {
        return output::json(&json!({
            "component": component,
            "id": found.id,
            "hook": found.hook.name(),
            "sha256": found.digest.to_string(),
            "bytes": found.bytes,
            "imports": found.imports,
            "exports": found.exports,
            "capabilities": found.capabilities,
            "labels": found.labels,
            "settings": found.settings,
            "version": found.about.as_ref().map(|about| &about.version),
        }));
    }
    output::lines(&inspection_lines(&found))
}

fn inspection_lines(found: &Inspection) -> Vec<String> {
    let list = |items: &mut dyn Iterator<Item = &dyn Display>| {
        let joined = items.map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if joined.is_empty() { "none".to_owned() } else { joined }
    };
    let about = found.about.as_ref().map_or_else(
        || "does not load as it is; `xthonpay plugin check` says why".to_owned(),
        |about| format!("{} {}: {}", about.name, about.version, about.notes),
    );
    let mut lines = vec![
        about,
        format!("id {}, hook {}, {} KiB, sha256 {}", found.id, found.hook, found.bytes.div_ceil(1_024), found.digest),
        format!("asks for {}", list(&mut found.capabilities.iter().map(|word| word as &dyn Display))),
        format!("imports  {}", list(&mut found.imports.iter().map(|name| name as &dyn Display))),
        format!("exports  {}", list(&mut found.exports.iter().map(|name| name as &dyn Display))),
    ];
    for (capability, labels) in &found.labels {
        lines.push(format!("opens    {capability}: {}", labels.join(", ")));
    }
    for (key, default) in &found.settings {
        let default =
            default.as_ref().map_or_else(|| "no default".to_owned(), |default| format!("default `{default}`"));
        lines.push(format!("setting  {key}, {default}"));
    }
    lines
}

fn package(asked: &PluginArguments) -> Result<(), CliError> {
    let packed = pack(&Project::find(&asked.path)?)?;
    if asked.json {
        return output::json(&packed);
    }
    let mut lines = vec![format!("{}: {} KiB", packed.package.display(), packed.bytes.div_ceil(1_024))];
    lines.extend(packed.table.lines().map(str::to_owned));
    output::lines(&lines)
}
