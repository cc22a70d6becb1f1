//! Calls from files, and whether they end as the files say.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use xthonpay_plugin_runtime::workbench::{CallReport, Ending, Fixture, Workbench, WorkbenchError};

use crate::fault::ToolError;
use crate::project::component_at;

/// The most files of one folder.
const FIXTURES_MAX: usize = 1_000;

/// What came of the files of a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct TestReport {
    /// The component.
    pub component: PathBuf,
    /// How many ended as they should.
    pub passed: usize,
    /// How many did not.
    pub failed: usize,
    /// Each file.
    pub fixtures: Vec<FixtureOutcome>,
}

/// What came of one file.
#[derive(Clone, Debug, Serialize)]
pub struct FixtureOutcome {
    /// The file.
    pub fixture: PathBuf,
    /// What it shows.
    pub about: String,
    /// Whether it ended as it should.
    pub passed: bool,
    /// What differs, or why the call was not made.
    pub problems: Vec<String>,
    /// What it logged.
    pub log: Vec<String>,
}

/// The files of a folder, by name.
///
/// # Errors
/// [`ToolError`].
pub fn fixtures_of(folder: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let io = |source| ToolError::Io { path: folder.to_owned(), source };
    let Ok(entries) = folder.read_dir() else { return Err(ToolError::NoFixtures(folder.to_owned())) };
    let mut files = Vec::new();
    for entry in entries.take(FIXTURES_MAX) {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|end| end == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(ToolError::NoFixtures(folder.to_owned())) } else { Ok(files) }
}

/// Makes the calls of files and compares.
///
/// # Errors
/// [`ToolError`] when the plugin is not there. One that does not load with a file's settings fails that file.
pub async fn test(workbench: &Workbench, path: &Path, fixtures: &[PathBuf]) -> Result<TestReport, ToolError> {
    let component = component_at(path)?;
    let mut report = TestReport { component: component.clone(), passed: 0, failed: 0, fixtures: Vec::new() };
    for file in fixtures {
        let outcome = outcome(workbench, &component, file).await;
        let count = if outcome.passed { &mut report.passed } else { &mut report.failed };
        *count = count.saturating_add(1);
        report.fixtures.push(outcome);
    }
    Ok(report)
}

async fn outcome(workbench: &Workbench, component: &Path, file: &Path) -> FixtureOutcome {
    let mut outcome = FixtureOutcome {
        fixture: file.to_owned(),
        about: String::new(),
        passed: false,
        problems: Vec::new(),
        log: Vec::new(),
    };
    match called(workbench, component, file).await {
        Ok((fixture, report)) => {
            outcome.about.clone_from(&fixture.about);
            outcome.problems = fixture.mismatches(&report).iter().map(ToString::to_string).collect();
            outcome.log =
                report.lines.iter().map(|line| format!("{}: {} {}", line.level, line.text, line.fields)).collect();
            outcome.passed = outcome.problems.is_empty();
        }
        Err(error) => outcome.problems.push(error.to_string()),
    }
    outcome
}

async fn called(workbench: &Workbench, component: &Path, file: &Path) -> Result<(Fixture, CallReport), WorkbenchError> {
    let fixture = Fixture::read(file)?;
    let report = workbench.open(component, fixture.clone()).await?.call().await?;
    Ok((fixture, report))
}

/// A call with everything that is known about it.
#[must_use]
pub fn call_report_json(report: &CallReport) -> Value {
    let ending = match &report.ending {
        Ending::Answer(answer) => json!({"answer": answer}),
        Ending::Failure { kind, text } => json!({"failure": {"kind": kind, "text": text}}),
    };
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    json!({
        "ending": ending,
        "log": report.lines.iter().map(|line| json!({"level": line.level, "text": line.text, "fields": line.fields})).collect::<Vec<_>>(),
        "storage": report.kept,
        "requests": report.requests.iter().map(|(label, method, path)| json!({"upstream": label, "method": method, "path": path})).collect::<Vec<_>>(),
        "instantiate_us": micros(report.instantiate),
        "call_us": micros(report.call),
        "memory_kib": report.memory_bytes.div_ceil(1_024),
        "host_calls": report.host_calls,
    })
}
