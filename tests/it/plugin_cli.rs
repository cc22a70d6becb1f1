//! `xthonpay plugin`, as an author meets it: an empty folder, the binary, and the compilers of three languages.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use xthonpay_tests::BoxError;
use xthonpay_tests::host::run_within;
use xthonpay_tests::places::Places;

use crate::world::Done;

/// Compilers fetch their tools and, for Rust, build a standard library along, all on a busy machine.
const BUILD_TIME_MAX: Duration = Duration::from_secs(600);

/// An author with a folder.
pub(crate) struct Author {
    binary: PathBuf,
    folder: tempfile::TempDir,
}

impl Author {
    pub(crate) fn new() -> Result<Self, BoxError> {
        Ok(Self { binary: Places::find()?.binary, folder: tempfile::tempdir()? })
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Whether a command succeeds, its JSON, and what it says beside.
    pub(crate) async fn asked(&self, arguments: &[&str]) -> Result<(bool, Value, String), BoxError> {
        let output = run_within(BUILD_TIME_MAX, &self.binary, &[&["plugin"], arguments, &["--json"]].concat()).await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Ok((output.status.success(), value, told))
    }

    async fn json(&self, arguments: &[&str]) -> Result<Value, BoxError> {
        let (success, value, told) = self.asked(arguments).await?;
        if success { Ok(value) } else { Err(format!("plugin {}: {told} {value}", arguments.join(" ")).into()) }
    }

    /// New, build, check, test, run, inspect and package, as the tutorial has them.
    async fn walk(&self, hook: &str, language: &str, function: &str) -> Done {
        let (name, folder) = (format!("my-{hook}"), self.folder.path().display().to_string());
        self.json(&["new", &name, "--hook", hook, "--lang", language, "--into", &folder]).await?;
        let project = self.path(&name);
        let (success, _, told) = self.asked(&["check", &project]).await?;
        assert!(!success && told.contains("run `xthonpay plugin build` first"), "{told}");
        let built = self.json(&["build", &project]).await?;
        assert_eq!(self.json(&["check", &project]).await?["loads"], true);
        let tested = self.json(&["test", &project]).await?;
        assert_eq!((&tested["passed"], &tested["failed"]), (&3.into(), &0.into()), "{tested}");
        let fixture = self.first_fixture(&project)?;
        let called = self.json(&["run", &project, "--fixture", &fixture]).await?;
        assert!(called["ending"]["answer"].is_object(), "{function}: {called}");
        let inspected = self.json(&["inspect", &project]).await?;
        assert_eq!((&inspected["hook"], &inspected["sha256"]), (&hook.into(), &built["sha256"]), "{inspected}");
        let imports = inspected["imports"].as_array().ok_or("no imports")?;
        assert!(
            imports.iter().all(|name| name.as_str().is_some_and(|name| name.starts_with("xthonpay:host/"))),
            "{imports:?}"
        );
        let packed = self.json(&["package", &project]).await?;
        assert_eq!(packed["sha256"], built["sha256"]);
        assert!(Path::new(packed["package"].as_str().unwrap_or_default()).is_file());
        let measured = self.json(&["bench", &project, "--fixture", &fixture, "--calls", "20"]).await?;
        assert!(measured["call_us"][0].as_u64().is_some_and(|us| us > 0), "{measured}");
        Ok(())
    }

    fn first_fixture(&self, project: &str) -> Result<String, BoxError> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(Path::new(project).join("fixtures"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        Ok(files.first().ok_or("no fixtures")?.display().to_string())
    }
}

#[tokio::test]
async fn a_plugin_in_rust_from_nothing() -> Done {
    Author::new()?.walk("invoice-rules", "rust", "on-draft").await
}

#[tokio::test]
async fn plugins_in_javascript_from_nothing_for_every_hook() -> Done {
    let author = Author::new()?;
    for (hook, function) in [
        ("invoice-rules", "on-draft"),
        ("webhook-format", "render"),
        ("bot-flow", "handle"),
        ("withdrawal-policy", "review"),
    ] {
        author.walk(hook, "javascript", function).await?;
    }
    Ok(())
}

#[tokio::test]
async fn plugins_in_python_from_nothing() -> Done {
    let author = Author::new()?;
    author.walk("invoice-rules", "python", "on-draft").await?;
    author.walk("bot-flow", "python", "handle").await
}

/// Runs a compiler of a project by hand, without what keeps WASI out.
async fn compiled_with_wasi(project: &str, command: &str) -> Done {
    let line = format!("cd {project} && {command} --output dist/wasi.wasm && cp plugin.toml dist/wasi.toml");
    let output = run_within(BUILD_TIME_MAX, Path::new("/bin/sh"), &["-c", &line]).await?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

#[tokio::test]
async fn wasi_is_refused_by_name_unless_it_is_minimal_and_asked_for() -> Done {
    let author = Author::new()?;
    let folder = author.folder.path().display().to_string();
    author.json(&["new", "wasi", "--hook", "invoice-rules", "--lang", "javascript", "--into", &folder]).await?;
    let project = author.path("wasi");
    let source = Path::new(&project).join("plugin.js");
    let text = std::fs::read_to_string(&source)?;
    let told =
        "log.write(\"info\", `now ${Date.now()} drawn ${Math.random()}`, []);\n    // An option that is none is null.";
    std::fs::write(&source, text.replacen("// An option that is none is null.", told, 1))?;
    author.json(&["build", &project]).await?;
    let qjs = "npx --no-install componentize-qjs --wit wit --world this-plugin --js plugin.js --sync";
    compiled_with_wasi(&project, qjs).await?;
    let component = author.path("wasi/dist/wasi.wasm");
    let (success, _, told) = author.asked(&["check", &component]).await?;
    assert!(!success && told.contains("wasi:cli/environment@0.2.") && told.contains("plugins.wasi.wasi"), "{told}");

    let manifest = Path::new(&project).join("dist/wasi.toml");
    let asking = std::fs::read_to_string(&manifest)?.replacen("[wants]", "[wants]\nwasi = \"minimal\"", 1);
    std::fs::write(&manifest, asking)?;
    assert_eq!(author.json(&["check", &component]).await?["loads"], true);
    let fixture = author.path("wasi/fixtures/setting.toml");
    let mut lines = Vec::new();
    for _ in 0..2 {
        let called = author.json(&["run", &component, "--fixture", &fixture]).await?;
        lines.push(called["log"][0]["text"].as_str().unwrap_or_default().to_owned());
    }
    assert!(lines[0].starts_with("now 1800000000000 drawn 0."), "the time is that of the call: {lines:?}");
    assert_eq!(lines[0], lines[1], "the same call, the same numbers");
    Ok(())
}

/// A folder of the checkout with its links followed, so that nothing is built in the checkout.
fn copy(from: &Path, to: &Path) -> Done {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (entry, name) = (
            entry.as_ref().map_err(ToString::to_string)?.path(),
            entry.as_ref().map_err(ToString::to_string)?.file_name(),
        );
        if ["dist", "node_modules", ".venv"].iter().any(|own| name == *own) {
            continue;
        }
        if entry.metadata()?.is_dir() {
            copy(&entry, &to.join(name))?;
        } else {
            std::fs::copy(&entry, to.join(name))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_examples_in_other_languages_do_what_their_files_say() -> Done {
    let author = Author::new()?;
    for (name, passed) in [("form-post", 4), ("office-hours", 6)] {
        let project = author.path(name);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/plugins").join(name), Path::new(&project))?;
        author.json(&["build", &project]).await?;
        let tested = author.json(&["test", &project]).await?;
        assert_eq!((&tested["passed"], &tested["failed"]), (&passed.into(), &0.into()), "{tested}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_remedy() -> Done {
    let author = Author::new()?;
    let folder = author.folder.path().display().to_string();
    let refused = async |arguments: &[&str], words: &[&str]| -> Done {
        let (success, _, told) = author.asked(arguments).await?;
        assert!(!success, "{arguments:?}");
        for word in words {
            assert!(told.contains(word), "no `{word}` in {told}");
        }
        Ok(())
    };
    refused(&["new", "My Plugin", "--into", &folder], &["lower-case letters"]).await?;
    refused(&["new", "a", "--lang", "cobol", "--into", &folder], &["rust, javascript, python"]).await?;
    refused(&["new", "a", "--hook", "teleport", "--into", &folder], &["withdrawal-policy"]).await?;
    refused(&["build", &folder], &["plugin.toml", "plugin new"]).await?;
    author.json(&["new", "a", "--lang", "js", "--into", &folder]).await?;
    refused(&["new", "a", "--lang", "js", "--into", &folder], &["is there already"]).await?;

    let project = author.path("a");
    author.json(&["build", &project]).await?;
    let fixture = format!("{project}/fixtures/wrong.toml");
    for (text, words) in [
        ("function = 'on-sale'", ["the hook has no `on-sale`", "on-draft, on-payment"]),
        ("functon = 'on-draft'", ["functon", "expected one of"]),
        ("function = 'on-draft'", ["draft: is missing", ""]),
        ("function = 'on-draft'\ninput.draft = { price = 5 }", ["draft.price: `5` is not a table", ""]),
        ("function = 'on-draft'\ninput.darft = {}", ["", "draft"]),
        ("function = 'on-draft'\n[config]\ncolour = 'red'", ["plugins.a.config.colour", "no such setting"]),
    ] {
        std::fs::write(&fixture, text)?;
        refused(&["run", &project, "--fixture", &fixture], &words).await?;
    }
    // A call that ends in a limit says which, how much, and the key.
    let draft = std::fs::read_to_string(author.first_fixture(&project)?)?;
    std::fs::write(&fixture, draft.replacen("[input", "[limits]\nmemory_mib = 1\n[input", 1))?;
    refused(&["run", &project, "--fixture", &fixture], &["plugins.a.limits.memory_mib", "linear memory"]).await?;
    // A file whose expectation does not hold fails the test and shows both sides.
    std::fs::write(&fixture, draft.replace("[expect]", "[expect]\nlog = ['never said']\n#"))?;
    let (success, report, _) = author.asked(&["test", &project]).await?;
    assert!(!success && report["failed"] == 1, "{report}");
    Ok(())
}
