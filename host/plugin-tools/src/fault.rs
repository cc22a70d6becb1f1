//! What can go wrong with the tools, with what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use xthonpay_guest_compiler::NoCompiler;
use xthonpay_plugin_pack::PackError;
use xthonpay_plugin_runtime::workbench::{FixtureError, WorkbenchError};

/// A command that was not carried out.
#[derive(Debug, Error)]
pub enum ToolError {
    /// The file system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A name that a plugin cannot have.
    #[error(
        "`{0}` is no name for a plugin: use 1 to 64 lower-case letters, digits and dashes, beginning with a letter, \
         and no word that Rust reserves"
    )]
    Name(String),
    /// The folder of a new project holds something.
    #[error("{} is there already: choose another name, or --into another folder", .0.display())]
    Exists(PathBuf),
    /// Not a project.
    #[error("{} holds no plugin: there is no plugin.toml in it; `xthonpay plugin new NAME` makes a project", .0.display())]
    NoProject(PathBuf),
    /// A manifest that cannot be read.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The language cannot be told.
    #[error(
        "{} says in no way how it is built: there is no Cargo.toml, package.json or requirements.txt beside plugin.toml",
        .0.display()
    )]
    NoLanguage(PathBuf),
    /// Nothing is built yet.
    #[error("{} is not there: run `xthonpay plugin build` first", .0.display())]
    NotBuilt(PathBuf),
    /// No compiler for Rust.
    #[error("{0}: {remedy}", remedy = .0.remedy())]
    Compiler(#[from] NoCompiler),
    /// A program that is not installed.
    #[error("`{program}` cannot be started ({source}): {remedy}")]
    Program {
        /// Which.
        program: String,
        /// What the system answered.
        #[source]
        source: io::Error,
        /// What to install.
        remedy: &'static str,
    },
    /// A program that failed; it has said why.
    #[error("`{line}` failed; what it says stands above")]
    Failed {
        /// The call.
        line: String,
    },
    /// The module does not become a component.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The plugin does not load, or a file cannot be used.
    #[error(transparent)]
    Workbench(#[from] WorkbenchError),
    /// A file with a call cannot be used.
    #[error("{}: {error}", path.display())]
    Fixture {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: FixtureError,
    },
    /// There is nothing to test.
    #[error("{} holds no file with a call: write one, such as fixtures/paid.toml", .0.display())]
    NoFixtures(PathBuf),
}

impl ToolError {
    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Failed { .. } => true,
            Self::Workbench(error) => error.is_transient(),
            Self::Name(_)
            | Self::Exists(_)
            | Self::NoProject(_)
            | Self::Manifest { .. }
            | Self::NoLanguage(_)
            | Self::NotBuilt(_)
            | Self::Compiler(_)
            | Self::Program { .. }
            | Self::Pack(_)
            | Self::Fixture { .. }
            | Self::NoFixtures(_) => false,
        }
    }
}
