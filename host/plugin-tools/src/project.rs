//! The folder of a plugin: its manifest, its language, and where its component is built.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::ToolError;

/// A language with a compiler for components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// Rust, with the SDK.
    Rust,
    /// JavaScript, with componentize-qjs from npm.
    Javascript,
    /// Python, with componentize-py from PyPI.
    Python,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::Rust, Self::Javascript, Self::Python];

    /// The folder of its templates.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Javascript => "javascript",
            Self::Python => "python",
        }
    }

    /// The language of a word, in full or as people shorten it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "rust" | "rs" => Some(Self::Rust),
            "javascript" | "js" => Some(Self::Javascript),
            "python" | "py" => Some(Self::Python),
            _ => None,
        }
    }
}

/// A project: a folder with `plugin.toml`.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder.
    pub folder: PathBuf,
    /// The plugin's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its hook.
    pub world: String,
}

/// What the tools need of a manifest; the runtime reads and checks all of it.
#[derive(Deserialize)]
struct Head {
    id: String,
    version: String,
    world: String,
}

impl Project {
    /// The project in a folder.
    ///
    /// # Errors
    /// [`ToolError::NoProject`], [`ToolError::Manifest`].
    pub fn find(folder: &Path) -> Result<Self, ToolError> {
        let path = folder.join("plugin.toml");
        let Ok(text) = fs::read_to_string(&path) else { return Err(ToolError::NoProject(folder.to_owned())) };
        let head: Head = toml::from_str(&text)
            .map_err(|error| ToolError::Manifest { path, reason: error.to_string().trim().to_owned() })?;
        Ok(Self { folder: folder.to_owned(), id: head.id, version: head.version, world: head.world })
    }

    /// How it is built.
    ///
    /// # Errors
    /// [`ToolError::NoLanguage`].
    pub fn language(&self) -> Result<Language, ToolError> {
        let has = |file: &str| self.folder.join(file).is_file();
        if has("Cargo.toml") {
            Ok(Language::Rust)
        } else if has("package.json") {
            Ok(Language::Javascript)
        } else if has("requirements.txt") {
            Ok(Language::Python)
        } else {
            Err(ToolError::NoLanguage(self.folder.clone()))
        }
    }

    /// Where its component is built; the manifest stands beside it.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        self.folder.join("dist").join(format!("{}.wasm", self.id))
    }

    /// Where its calls are.
    #[must_use]
    pub fn fixtures(&self) -> PathBuf {
        self.folder.join("fixtures")
    }
}

/// The component that a path means: a `.wasm` itself, or what a project builds.
///
/// # Errors
/// [`ToolError`] when there is none.
pub(crate) fn component_at(path: &Path) -> Result<PathBuf, ToolError> {
    let component = if path.extension().is_some_and(|end| end == "wasm") {
        path.to_owned()
    } else {
        Project::find(path)?.component()
    };
    if component.is_file() { Ok(component) } else { Err(ToolError::NotBuilt(component)) }
}
