//! From sources to `dist/NAME.wasm` with its manifest beside it, by the compiler of each language.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use xthonpay_guest_compiler::{Compiler, TARGET};

use crate::fault::ToolError;
use crate::project::{Language, Project};

const NODE: &str = "install Node.js 20 or later, with npm";
const PYTHON: &str = "install Python 3.10 or later, with venv";
const CARGO: &str = "install Rust from your distribution or rustup";

/// A component that was built.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// The component.
    pub component: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, what `sha256` in its table pins.
    pub sha256: String,
    /// How long it took.
    #[serde(skip)]
    pub took: Duration,
}

/// Builds a project. The compilers say what they do on the standard error stream.
///
/// # Errors
/// [`ToolError`]; an older component stays then.
pub fn build(project: &Project) -> Result<Built, ToolError> {
    let started = Instant::now();
    let component = project.component();
    let folder = component.parent().unwrap_or(&project.folder);
    fs::create_dir_all(folder).map_err(|source| ToolError::Io { path: folder.to_owned(), source })?;
    match project.language()? {
        Language::Rust => rust(project, &component)?,
        Language::Javascript => javascript(project, &component)?,
        Language::Python => python(project, &component)?,
    }
    let manifest = component.with_extension("toml");
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ToolError::Io { path, source }
    };
    fs::copy(project.folder.join("plugin.toml"), &manifest).map_err(io(&manifest))?;
    let bytes = fs::read(&component).map_err(io(&component))?;
    Ok(Built {
        sha256: hex::encode(Sha256::digest(&bytes)),
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        component,
        took: started.elapsed(),
    })
}

fn rust(project: &Project, component: &Path) -> Result<(), ToolError> {
    // The compiler keeps this folder out of the component only if it is told all of it.
    let folder = std::path::absolute(&project.folder)
        .map_err(|source| ToolError::Io { path: project.folder.clone(), source })?;
    let call = Compiler::find()?.call(&folder);
    let mut cargo = Command::new(&call.program);
    cargo.args(&call.args).args(["build", "--release", "--target", TARGET]).envs(call.env);
    for name in call.without_env {
        cargo.env_remove(name);
    }
    // A folder of the plugin's own, whatever workspace or variable is around it.
    let absolute = folder.join("target");
    cargo.env("CARGO_TARGET_DIR", &absolute);
    run(cargo, project, "cargo build", CARGO)?;
    let module = absolute.join(TARGET).join("release").join(format!("{}.wasm", project.id.replace('-', "_")));
    let bytes = fs::read(&module).map_err(|source| ToolError::Io { path: module, source })?;
    let packed = xthonpay_plugin_pack::pack(&bytes)?;
    fs::write(component, packed).map_err(|source| ToolError::Io { path: component.to_owned(), source })
}

fn javascript(project: &Project, component: &Path) -> Result<(), ToolError> {
    if !project.folder.join("node_modules").is_dir() {
        let has_lock = project.folder.join("package-lock.json").is_file();
        let mut npm = Command::new("npm");
        npm.args([if has_lock { "ci" } else { "install" }, "--no-audit", "--no-fund"]);
        run(npm, project, "npm install", NODE)?;
    }
    let mut qjs = Command::new("npx");
    qjs.args(["--no-install", "componentize-qjs", "--wit", "wit", "--world", "this-plugin", "--js", "plugin.js"]);
    qjs.args(["--stub-wasi", "--sync", "--output"]).arg(beside(project, component));
    run(qjs, project, "npx componentize-qjs", NODE)
}

fn python(project: &Project, component: &Path) -> Result<(), ToolError> {
    let compiler = project.folder.join(".venv/bin/componentize-py");
    if !compiler.is_file() {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", ".venv"]);
        run(venv, project, "python3 -m venv .venv", PYTHON)?;
        let mut pip = Command::new(".venv/bin/python");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]);
        pip.args(["--requirement", "requirements.txt"]);
        run(in_folder(pip, project, ".venv/bin/python")?, project, "pip install", PYTHON)?;
    }
    let mut py = Command::new(".venv/bin/componentize-py");
    py.args(["--wit-path", "wit", "--world", "this-plugin", "componentize", "--stub-wasi", "app", "--output"]);
    py.arg(beside(project, component));
    run(in_folder(py, project, ".venv/bin/componentize-py")?, project, "componentize-py", PYTHON)
}

/// A program of the project itself: a relative one would be looked for from where we are.
fn in_folder(command: Command, project: &Project, program: &str) -> Result<Command, ToolError> {
    let path = project.folder.join(program);
    let absolute = std::path::absolute(&path).map_err(|source| ToolError::Io { path, source })?;
    let mut moved = Command::new(absolute);
    moved.args(command.get_args());
    Ok(moved)
}

/// The component as it is named from the project's folder.
fn beside(project: &Project, component: &Path) -> PathBuf {
    component.strip_prefix(&project.folder).unwrap_or(component).to_owned()
}

fn run(mut command: Command, project: &Project, line: &str, remedy: &'static str) -> Result<(), ToolError> {
    command.current_dir(&project.folder).stdin(Stdio::null()).stdout(io::stderr());
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|source| ToolError::Program { program, source, remedy })?;
    if status.success() { Ok(()) } else { Err(ToolError::Failed { line: line.to_owned() }) }
}
