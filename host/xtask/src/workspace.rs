//! Where things stand: the checkout, the target directory, and the packages of the workspace as cargo describes them.
//!
//! Everything built or installed goes below the target directory, wherever `CARGO_TARGET_DIR` puts it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fault::Fault;
use crate::run::Program;

/// The checkout and its packages.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The top folder of the checkout.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// All packages of the workspace, in the order of their names.
    pub(crate) packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its `Cargo.toml`, relative to the checkout.
    pub(crate) manifest: PathBuf,
    /// What it says of itself; empty when it says nothing.
    pub(crate) description: String,
    /// The packages that it names, its own and others'.
    pub(crate) dependencies: Vec<Dependency>,
    /// The file name, without its ending, of the dynamic library that it builds, if it does.
    pub(crate) dynamic_library: Option<String>,
}

/// A package that another one names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The name of the package named.
    pub(crate) name: String,
    /// Only for tests and benches.
    pub(crate) for_tests: bool,
}

/// How optimised the host's own programs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Debug,
    /// Quick to run.
    Release,
}

impl Profile {
    /// What to tell cargo.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Debug => &[],
            Self::Release => &["--release"],
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

impl Workspace {
    /// Asks cargo about the checkout that this program belongs to.
    ///
    /// # Errors
    /// When a manifest is broken.
    pub(crate) fn load() -> Result<Self, Fault> {
        // cargo sets the variable for `cargo xtask`; the place of the build serves a program that is started by hand.
        let own = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&own).join("../..");
        let root = fs::canonicalize(&root).map_err(|error| Fault::file(&root, &error))?;
        let text = Program::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .within(&root)
            .output("correct the Cargo.toml that it names")?;
        Self::from_metadata(root, &text)
    }

    fn from_metadata(root: PathBuf, text: &str) -> Result<Self, Fault> {
        let unreadable = || {
            Fault::new(
                "`cargo metadata` answers in a form that is not known here",
                "use the toolchain of rust-toolchain.toml",
            )
        };
        let metadata: Value = serde_json::from_str(text).map_err(|_| unreadable())?;
        let target = metadata["target_directory"].as_str().map(PathBuf::from).ok_or_else(unreadable)?;
        let described = metadata["packages"].as_array().ok_or_else(unreadable)?;
        let mut packages: Vec<Package> = described.iter().map(|value| Package::from_metadata(&root, value)).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { root, target, packages })
    }

    /// A call of cargo in the checkout.
    pub(crate) fn cargo(&self) -> Program {
        Program::new(cargo()).within(&self.root)
    }

    /// Where the tools of others are installed: `node_modules` and `python` stand in it.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Where built plugins stand, `<name>.wasm` beside `<name>.toml`.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// A program of the host.
    pub(crate) fn program(&self, profile: Profile, name: &str) -> PathBuf {
        self.target.join(profile.folder()).join(name)
    }

    /// What programs of `tests/` are told: where the host, the plugins and the tools stand.
    pub(crate) fn places(&self, profile: Profile) -> [(&'static str, OsString); 3] {
        [
            ("XTHONPAY_BIN", self.program(profile, "xthonpay").into()),
            ("XTHONPAY_PLUGINS", self.plugins().into()),
            ("XTHONPAY_TOOLS", self.tools().into()),
        ]
    }

    /// The packages that build a plugin.
    pub(crate) fn guests(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| {
            let folder = package.folder();
            folder.starts_with("plugins") || folder.starts_with("examples/plugins")
        })
    }
}

impl Package {
    /// The folder of the package, relative to the checkout.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest.parent().unwrap_or(Path::new(""))
    }

    fn from_metadata(root: &Path, value: &Value) -> Self {
        let manifest = Path::new(text(&value["manifest_path"]));
        let targets = items(&value["targets"]);
        Self {
            name: text(&value["name"]).to_owned(),
            manifest: manifest.strip_prefix(root).unwrap_or(manifest).to_path_buf(),
            description: text(&value["description"]).to_owned(),
            dependencies: items(&value["dependencies"]).iter().map(Dependency::from_metadata).collect(),
            dynamic_library: targets
                .iter()
                .find(|target| items(&target["crate_types"]).iter().any(|kind| kind == "cdylib"))
                .map(|target| text(&target["name"]).replace('-', "_")),
        }
    }
}

impl Dependency {
    fn from_metadata(value: &Value) -> Self {
        Self { name: text(&value["name"]).to_owned(), for_tests: value["kind"] == "dev" }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The cargo that runs this program, so that both are of one toolchain.
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "target_directory": "/elsewhere/target",
        "packages": [
            {"name": "zebra", "manifest_path": "/top/plugins/zebra/Cargo.toml", "description": null,
             "dependencies": [{"name": "sdk", "kind": null}, {"name": "proptest", "kind": "dev"}],
             "targets": [{"name": "zebra-rules", "crate_types": ["cdylib", "rlib"]}]},
            {"name": "app", "manifest_path": "/top/host/app/Cargo.toml", "description": "the host",
             "dependencies": [], "targets": [{"name": "app", "crate_types": ["lib"]}]}
        ]
    }"#;

    fn workspace() -> Workspace {
        Workspace::from_metadata(PathBuf::from("/top"), METADATA).expect("it is well formed")
    }

    #[test]
    fn packages_are_read_as_cargo_describes_them() {
        let workspace = workspace();
        let names: Vec<&str> = workspace.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["app", "zebra"]);
        let zebra = &workspace.packages[1];
        assert_eq!(zebra.folder(), Path::new("plugins/zebra"));
        assert_eq!(zebra.dynamic_library.as_deref(), Some("zebra_rules"));
        assert_eq!(zebra.dependencies[1], Dependency { name: "proptest".to_owned(), for_tests: true });
        assert_eq!(zebra.description, "");
    }

    #[test]
    fn only_packages_in_the_folders_of_plugins_are_guests() {
        let workspace = workspace();
        assert_eq!(workspace.guests().map(|guest| guest.name.as_str()).collect::<Vec<_>>(), ["zebra"]);
    }

    #[test]
    fn everything_built_stands_below_the_target_directory() {
        let [(_, binary), (_, plugins), (_, tools)] = workspace().places(Profile::Debug);
        assert_eq!(binary, "/elsewhere/target/debug/xthonpay");
        assert_eq!(plugins, "/elsewhere/target/plugins");
        assert_eq!(tools, "/elsewhere/target/tools");
    }

    #[test]
    fn a_strange_answer_of_cargo_is_a_fault() {
        assert!(Workspace::from_metadata(PathBuf::new(), "{}").is_err());
    }
}
