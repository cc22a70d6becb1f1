//! Tools from the registries of npm and of Python, below the target directory, at the versions that `host/xtask/tools` pins
//! with their hashes.
//!
//! A copy of the pins is kept beside what was installed. As long as both are equal there is nothing to do. Scripts of
//! packages are never run.

use std::fs;
use std::path::{Path, PathBuf};

use super::debian;
use crate::fault::Fault;
use crate::run::{Program, say};
use crate::workspace::Workspace;

/// Where the pins are, relative to the checkout.
const PINS: &str = "host/xtask/tools";

/// The chain node, the Solidity compiler, the second opinion on signatures and the QR codes of the example shop, into `<tools>/node_modules`.
///
/// # Errors
/// When npm is missing and cannot be installed, or does not succeed.
pub(super) fn npm(workspace: &Workspace) -> Result<(), Fault> {
    let tools = workspace.tools();
    let Some(pins) = Pins::unless_installed(workspace, "package-lock.json", "node_modules")? else { return Ok(()) };
    if Program::new("npm").arg("--version").output("").is_err() {
        debian::install(&["nodejs", "npm"])?;
    }
    copy(&workspace.root.join(PINS).join("package.json"), &tools.join("package.json"))?;
    copy(&pins.file, &tools.join("package-lock.json"))?;
    Program::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(&tools)
        .run("check that the npm registry can be reached, then try `cargo xtask setup` again")?;
    pins.installed()
}

/// What calls the API by its document, and the same two in Python, into the virtual environment `<tools>/python`.
///
/// # Errors
/// When Python cannot make such an environment, or pip does not succeed.
pub(super) fn pip(workspace: &Workspace) -> Result<(), Fault> {
    let Some(pins) = Pins::unless_installed(workspace, "requirements.txt", "python")? else { return Ok(()) };
    let folder = workspace.tools().join("python");
    let environment = || Program::new("python3").args(["-m", "venv", "--clear"]).arg(&folder);
    if environment().output("").is_err() {
        // Debian keeps this part of Python's standard library in a package of its own.
        debian::install(&["python3-venv"])?;
        environment().run("install the module `venv` of Python")?;
    }
    Program::new(folder.join("bin").join("python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--requirement"])
        .arg(&pins.file)
        .run("check that the registry of Python's packages can be reached, then try `cargo xtask setup` again")?;
    pins.installed()
}

/// A file with pinned versions, and the copy that says they are installed.
struct Pins {
    file: PathBuf,
    copy: PathBuf,
}

impl Pins {
    /// None when what they pin is installed: the copy is equal, and `product` is there.
    fn unless_installed(workspace: &Workspace, file: &str, product: &str) -> Result<Option<Self>, Fault> {
        let tools = workspace.tools();
        fs::create_dir_all(&tools).map_err(|error| Fault::file(&tools, &error))?;
        let pins = Self { file: workspace.root.join(PINS).join(file), copy: tools.join(format!("installed-{file}")) };
        let wanted = fs::read(&pins.file).map_err(|error| Fault::file(&pins.file, &error))?;
        let product = tools.join(product);
        if product.is_dir() && fs::read(&pins.copy).is_ok_and(|copy| copy == wanted) {
            say(&format!("    {}: up to date", product.display()));
            return Ok(None);
        }
        say(&format!("    installing into {} what {PINS}/{file} names", product.display()));
        Ok(Some(pins))
    }

    fn installed(&self) -> Result<(), Fault> {
        copy(&self.file, &self.copy)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Fault> {
    fs::copy(from, to).map(drop).map_err(|error| Fault::file(to, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of registries' hosts in a lock file would tie every machine to one mirror.
    #[test]
    fn the_lock_file_of_npm_names_no_host_and_a_hash_for_each_package() {
        let lock = include_str!("../../tools/package-lock.json");
        let lock: serde_json::Value = serde_json::from_str(lock).expect("it is JSON");
        let packages = lock["packages"].as_object().expect("it lists packages");
        assert!(packages.len() > 3, "{}", packages.len());
        for (path, package) in packages {
            assert!(package.get("resolved").is_none(), "{path}: run npm with --omit-lockfile-registry-resolved");
            assert!(path.is_empty() || package["integrity"].is_string(), "{path}");
        }
    }

    #[test]
    fn the_requirements_of_pip_name_no_host_and_a_hash_for_each_package() {
        let file = include_str!("../../tools/requirements.txt");
        assert!(!file.contains("://"));
        assert!(file.matches("==").count() > 3);
        for package in file.split("==").skip(1) {
            assert!(package.contains("--hash=sha256:"), "{package}");
        }
    }

    /// The tests run the examples with what the tools install, so both must be the same.
    #[test]
    fn the_examples_pin_what_the_tools_install() {
        let parse = |lock: &str| -> serde_json::Value { serde_json::from_str(lock).expect("it is JSON") };
        let tools = parse(include_str!("../../tools/package-lock.json"));
        let example = parse(include_str!("../../../../examples/merchant-node/package-lock.json"));
        let packages = example["packages"].as_object().expect("it lists packages");
        assert!(packages.contains_key("node_modules/qrcode"));
        for (path, package) in packages {
            assert!(package.get("resolved").is_none(), "{path}: run npm with --omit-lockfile-registry-resolved");
            if !path.is_empty() {
                assert!(package["integrity"].is_string(), "{path}");
                assert_eq!(package["integrity"], tools["packages"][path]["integrity"], "{path}");
            }
        }

        let tools = include_str!("../../tools/requirements.txt");
        let example = include_str!("../../../../examples/merchant-python/requirements.txt");
        let pins: Vec<&str> = example.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(pins.first().is_some_and(|pin| pin.starts_with("segno==")), "{example}");
        assert!(tools.contains(&pins.join("\n")), "{example}");
    }

    #[test]
    fn pins_count_as_installed_only_while_the_copy_is_equal_and_the_product_is_there() {
        let top = std::env::temp_dir().join(format!("xtask-pins-{}", std::process::id()));
        let workspace = Workspace { root: top.clone(), target: top.join("target"), packages: Vec::new() };
        fs::create_dir_all(top.join(PINS)).expect("a temporary folder");
        let write = |text| fs::write(top.join(PINS).join("pins"), text).expect("a temporary file");
        let pending = || Pins::unless_installed(&workspace, "pins", "product").expect("the pins can be read");
        write("1");
        let first = pending().expect("nothing is installed yet");
        first.installed().expect("the copy is written");
        assert!(pending().is_some(), "the product is missing");
        fs::create_dir(workspace.tools().join("product")).expect("a temporary folder");
        assert!(pending().is_none());
        write("2");
        assert!(pending().is_some(), "the pins have changed");
        fs::remove_dir_all(&top).expect("it was made above");
    }
}
