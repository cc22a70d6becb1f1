//! New projects from the templates that are built into the program: nothing is fetched.

use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use serde::Serialize;

use crate::fault::ToolError;
use crate::project::Language;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/templates");
static CONTRACT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk/rust/src");
static SDK_README: &str = include_str!("../../../sdk/rust/README.md");

/// Hooks that have templates, by their words.
pub(crate) const HOOKS: [&str; 4] = ["invoice-rules", "webhook-format", "bot-flow", "withdrawal-policy"];

/// Names that a crate in Rust, or a module, cannot have.
const RESERVED: [&str; 42] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "match",
    "mod",
    "move",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "test",
    "true",
    "type",
    "use",
    "xthonpay-sdk",
];

/// Bytes of a plugin's name.
const NAME_BYTES_MAX: usize = 64;

/// A project that was made.
#[derive(Clone, Debug, Serialize)]
pub struct LaidOut {
    /// Its folder.
    pub folder: PathBuf,
    /// How many files it has.
    pub files: usize,
    /// What to do next.
    pub next: Vec<String>,
}

/// Makes a project in a folder that is not there yet.
///
/// # Errors
/// [`ToolError`]; what was written by then stays.
pub fn lay_out(name: &str, hook: &str, language: Language, folder: &Path) -> Result<LaidOut, ToolError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let sound = name.bytes().all(allowed) && name.starts_with(|first: char| first.is_ascii_lowercase());
    if !sound || name.len() > NAME_BYTES_MAX || RESERVED.contains(&name) {
        return Err(ToolError::Name(name.to_owned()));
    }
    if folder.exists() {
        return Err(ToolError::Exists(folder.to_owned()));
    }
    let mut laying = Laying { name, folder, files: 0 };
    let own = format!("{hook}.");
    for file in files(&TEMPLATES, language.name()) {
        let Some(source) = file.path().file_name().and_then(|name| name.to_str()) else { continue };
        match target_of(source, &own, language) {
            Some(target) => laying.write(Path::new(&target), file.contents())?,
            None => continue,
        }
    }
    laying.write(Path::new("plugin.toml"), contents(&format!("manifest/{hook}.plugin.toml")))?;
    for file in files(&TEMPLATES, &format!("fixtures/{hook}")) {
        let target = Path::new("fixtures").join(file.path().file_name().unwrap_or_default());
        laying.write(&target, file.contents())?;
    }
    if language == Language::Rust {
        laying.copy(&CONTRACT, Path::new("xthonpay/wit"))?;
        laying.copy(&SDK, Path::new("xthonpay/sdk/rust/src"))?;
        laying.write(Path::new("xthonpay/sdk/rust/README.md"), SDK_README.as_bytes())?;
    } else {
        laying.copy(&CONTRACT, Path::new("wit"))?;
        laying.write(Path::new("wit/this-plugin.wit"), contents(&format!("wit/{hook}.wit")))?;
    }
    let next =
        [format!("cd {}", folder.display()), "xthonpay plugin build".to_owned(), "xthonpay plugin test".to_owned()];
    Ok(LaidOut { folder: folder.to_owned(), files: laying.files, next: next.to_vec() })
}

/// Where a file of a language's folder goes; `None` for what belongs to another hook.
fn target_of(source: &str, own: &str, language: Language) -> Option<String> {
    let of_a_hook = HOOKS.iter().any(|hook| source.starts_with(&format!("{hook}.")));
    if of_a_hook && !source.starts_with(own) {
        return None;
    }
    Some(match (language, of_a_hook) {
        (Language::Rust, true) if source.ends_with(".test.rs") => "tests/plugin.rs".to_owned(),
        (Language::Rust, true) => "src/lib.rs".to_owned(),
        (Language::Javascript, true) => "plugin.js".to_owned(),
        (Language::Python, true) => "app.py".to_owned(),
        (Language::Rust, false) if source == "sdk.Cargo.toml" => "xthonpay/sdk/rust/Cargo.toml".to_owned(),
        (_, false) => source.to_owned(),
    })
}

fn files<'a>(dir: &'a Dir<'a>, folder: &str) -> Vec<&'a include_dir::File<'a>> {
    dir.get_dir(folder).map(|dir| dir.files().collect()).unwrap_or_default()
}

fn contents(path: &str) -> &'static [u8] {
    TEMPLATES.get_file(path).map(include_dir::File::contents).unwrap_or_default()
}

/// A project in the making.
struct Laying<'a> {
    name: &'a str,
    folder: &'a Path,
    files: usize,
}

impl Laying<'_> {
    fn write(&mut self, target: &Path, contents: &[u8]) -> Result<(), ToolError> {
        let path = self.folder.join(target);
        let io = |source| ToolError::Io { path: path.clone(), source };
        fs::create_dir_all(path.parent().unwrap_or(self.folder)).map_err(io)?;
        let filled = match core::str::from_utf8(contents) {
            Ok(text) => {
                let text = text.replace("{{name}}", self.name).replace("{{crate}}", &self.name.replace('-', "_"));
                text.into_bytes()
            }
            Err(_) => contents.to_vec(),
        };
        fs::write(&path, filled).map_err(io)?;
        self.files = self.files.saturating_add(1);
        Ok(())
    }

    /// Every file of a folder, as it is but for links that lead out of it.
    fn copy(&mut self, dir: &Dir<'_>, target: &Path) -> Result<(), ToolError> {
        for entry in dir.entries() {
            match entry {
                DirEntry::Dir(dir) => self.copy(dir, target)?,
                DirEntry::File(file) => {
                    let path = self.folder.join(target).join(file.path());
                    let io = |source| ToolError::Io { path: path.clone(), source };
                    fs::create_dir_all(path.parent().unwrap_or(self.folder)).map_err(io)?;
                    match file.contents_utf8().filter(|_| path.extension().is_some_and(|kind| kind == "md")) {
                        Some(page) => fs::write(&path, without_links_out(page)).map_err(io)?,
                        None => fs::write(&path, file.contents()).map_err(io)?,
                    }
                    self.files = self.files.saturating_add(1);
                }
            }
        }
        Ok(())
    }
}

/// The page with words in the place of links to what is not copied with it.
fn without_links_out(page: &str) -> String {
    let mut kept = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, target)) = rest.split_once("](../") {
        let (lead, words) = before.rsplit_once('[').unwrap_or((before, ""));
        kept.push_str(lead);
        kept.push_str(words);
        rest = target.split_once(')').map_or("", |(_, behind)| behind);
    }
    kept.push_str(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_a_template_in_every_language() {
        for hook in HOOKS {
            for language in Language::ALL {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let project = folder.path().join("my-plugin");
                let laid_out = lay_out("my-plugin", hook, language, &project).expect("a project");
                assert!(laid_out.files > 10, "{hook} {language:?}: {}", laid_out.files);
                let source = match language {
                    Language::Rust => "src/lib.rs",
                    Language::Javascript => "plugin.js",
                    Language::Python => "app.py",
                };
                for file in ["plugin.toml", "README.md", ".gitignore", source] {
                    let text = fs::read_to_string(project.join(file)).unwrap_or_default();
                    assert!(!text.is_empty() && !text.contains("{{name}}"), "{hook} {language:?}: {file}");
                }
                let contract = if language == Language::Rust { "xthonpay/wit" } else { "wit" };
                for page in ["README.md", "REFERENCE.md"] {
                    let text = fs::read_to_string(project.join(contract).join(page)).expect("a page");
                    assert!(text.len() > 1_000 && !text.contains("](../"), "{page} leads out of the project");
                }
                let manifest = fs::read_to_string(project.join("plugin.toml")).expect("a manifest");
                assert!(manifest.contains("id = \"my-plugin\"") && manifest.contains(&format!("world = \"{hook}\"")));
                assert_eq!(fs::read_dir(project.join("fixtures")).expect("calls").count(), 3, "{hook} {language:?}");
            }
        }
    }

    #[test]
    fn the_manifest_of_a_copied_sdk_is_that_of_the_sdk() {
        let workspace: toml::Table = include_str!("../../../Cargo.toml").parse().expect("a manifest");
        let ours: toml::Table = include_str!("../../../sdk/rust/Cargo.toml").parse().expect("a manifest");
        let copied: toml::Table =
            include_str!("../../../sdk/templates/rust/sdk.Cargo.toml").parse().expect("a manifest");
        for table in ["features", "target"] {
            assert_eq!(ours.get(table), copied.get(table), "{table}");
        }
        let field =
            |manifest: &toml::Table, name: &str| manifest.get("package").and_then(|package| package.get(name)).cloned();
        for name in ["name", "description", "readme"] {
            assert_eq!(field(&ours, name), field(&copied, name), "{name}");
        }
        let of_workspace =
            workspace.get("workspace").and_then(|table| table.get("dependencies")).expect("dependencies");
        let dependencies =
            |manifest: &toml::Table| manifest.get("dependencies").and_then(toml::Value::as_table).cloned();
        let mut spelled_out = dependencies(&ours).expect("dependencies");
        for (name, wanted) in &mut spelled_out {
            if wanted.get("workspace").is_some() {
                *wanted = of_workspace.get(name).cloned().expect("the workspace has it");
            }
        }
        assert_eq!(Some(spelled_out), dependencies(&copied));
    }

    #[test]
    fn links_within_stay_and_links_out_become_their_words() {
        let page =
            "As the operator [grants](../host/grants.md), see [rules](rules.md) and\n[hooks](../host/hooks.md#top).";
        assert_eq!(without_links_out(page), "As the operator grants, see [rules](rules.md) and\nhooks.");
        assert_eq!(without_links_out("[no link]"), "[no link]");
    }

    #[test]
    fn names_and_folders_are_checked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["", "My", "a b", "-a", "1a", "a/b", "loop", "test", &"a".repeat(65)] {
            let made = lay_out(name, "invoice-rules", Language::Rust, &folder.path().join("x"));
            assert!(matches!(made, Err(ToolError::Name(_))), "{name}");
        }
        let made = lay_out("a", "invoice-rules", Language::Rust, folder.path());
        assert!(matches!(made, Err(ToolError::Exists(_))));
    }
}
