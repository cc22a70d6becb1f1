//! The workspace that guests are built in: a folder below the target directory with links to the sources.
//!
//! Guests share the host's workspace for tests and lints, but not for their own build: their compiler may be too old for the
//! dependencies of the host, and they want a profile of their own. The manifest is made from that of the
//! checkout, so that versions and lints are said once. A workspace inside the workspace is only possible with links: cargo
//! looks for the top of a workspace by the names of folders, not by what they link to.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::fault::Fault;

/// Folders with sources that guests are made of.
const LINKED: [&str; 4] = ["plugins", "examples", "sdk", "wit"];

/// The oldest compiler that builds guests: Debian's. The versions in the lock file are chosen for it.
const RUST_VERSION: &str = "1.85";

/// Tables of the checkout's manifest that hold for guests too.
const SHARED_TABLES: [&str; 3] = ["workspace.package", "workspace.dependencies", "workspace.lints."];

const HEAD: &str = "\
# Made by `cargo xtask plugins` from the manifest of the checkout. Changes here are lost.
[workspace]
resolver = \"3\"
members = [\"plugins/*\", \"examples/plugins/*\"]
# These are written in other languages.
exclude = [\"examples/plugins/form-post\", \"examples/plugins/office-hours\"]
";

/// A plugin is loaded, hashed and compiled again by each host, so its size counts for more than its speed.
const PROFILE: &str = "\
[profile.release]
opt-level = \"s\"
lto = true
codegen-units = 1
panic = \"abort\"
strip = true
overflow-checks = true
";

/// Lays the workspace out below `target`, with the lock file that the checkout has for it at `lock`, and gives its folder.
///
/// # Errors
/// When a file cannot be read or written.
pub(super) fn lay(root: &Path, target: &Path, lock: &str) -> Result<PathBuf, Fault> {
    let folder = target.join("workspace");
    if fs::read_link(folder.join(LINKED[0])).is_ok_and(|linked| linked != root.join(LINKED[0])) {
        // Another checkout used the directory. Its sources have the same names here and may be newer than ours: cargo would
        // take what it built from them for ours.
        fs::remove_dir_all(target).map_err(|error| Fault::file(target, &error))?;
    }
    fs::create_dir_all(&folder).map_err(|error| Fault::file(&folder, &error))?;
    for name in LINKED {
        link(&root.join(name), &folder.join(name))?;
    }
    let theirs = root.join("Cargo.toml");
    let manifest = fs::read_to_string(&theirs).map_err(|error| Fault::file(&theirs, &error))?;
    write_if_changed(&folder.join("Cargo.toml"), &manifest_of_guests(&manifest))?;
    let kept = root.join(lock);
    if kept.exists() {
        let text = fs::read_to_string(&kept).map_err(|error| Fault::file(&kept, &error))?;
        write_if_changed(&folder.join("Cargo.lock"), &text)?;
    }
    Ok(folder)
}

/// Takes the lock file back to the checkout. True when it has changed.
///
/// # Errors
/// When a file cannot be read or written.
pub(super) fn keep_lock(root: &Path, folder: &Path, lock: &str) -> Result<bool, Fault> {
    let made = folder.join("Cargo.lock");
    let text = fs::read_to_string(&made).map_err(|error| Fault::file(&made, &error))?;
    write_if_changed(&root.join(lock), &text)
}

fn manifest_of_guests(theirs: &str) -> String {
    let mut manifest = HEAD.to_owned();
    let mut shared = false;
    for line in theirs.lines() {
        if let Some(table) = line.strip_prefix('[') {
            shared = SHARED_TABLES.iter().any(|name| table.starts_with(name));
            if shared {
                manifest.push('\n');
            }
        }
        if !shared || line.is_empty() {
            continue;
        }
        if line.starts_with("rust-version") {
            manifest.push_str(&format!("rust-version = \"{RUST_VERSION}\"\n"));
        } else {
            manifest.push_str(line);
            manifest.push('\n');
        }
    }
    manifest.push('\n');
    manifest.push_str(PROFILE);
    manifest
}

fn link(to: &Path, at: &Path) -> Result<(), Fault> {
    match symlink(to, at) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Fault::file(at, &error)),
        _ => Ok(()),
    }
}

/// Writes a file unless it holds the text already: cargo looks at the time of the last change.
fn write_if_changed(path: &Path, text: &str) -> Result<bool, Fault> {
    if fs::read_to_string(path).is_ok_and(|current| current == text) {
        return Ok(false);
    }
    fs::write(path, text).map_err(|error| Fault::file(path, &error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "\
[workspace]
members = [\"host/*\"]

[workspace.package]
edition = \"2024\"
rust-version = \"1.95\"

[workspace.dependencies]
xthonpay-sdk = { path = \"sdk/rust\" }

[workspace.lints.rust]
unsafe_code = \"deny\"

[profile.dev]
debug = 1
";

    #[test]
    fn the_manifest_takes_versions_and_lints_from_the_checkout_and_nothing_else() {
        let manifest = manifest_of_guests(THEIRS);
        let expected = format!(
            "{HEAD}
[workspace.package]
edition = \"2024\"
rust-version = \"1.85\"

[workspace.dependencies]
xthonpay-sdk = {{ path = \"sdk/rust\" }}

[workspace.lints.rust]
unsafe_code = \"deny\"

{PROFILE}"
        );
        assert_eq!(manifest, expected);
    }

    #[test]
    fn what_another_checkout_built_is_not_taken_for_ours() {
        let top = std::env::temp_dir().join(format!("xtask-layout-{}", std::process::id()));
        let target = top.join("target");
        let checkout = |name: &str| {
            let root = top.join(name);
            fs::create_dir_all(&root).expect("a temporary folder");
            fs::write(root.join("Cargo.toml"), THEIRS).expect("a temporary file");
            root
        };
        let (ours, theirs) = (checkout("ours"), checkout("theirs"));
        lay(&theirs, &target, "lock").expect("it is laid out");
        fs::write(target.join("built"), "").expect("a temporary file");
        lay(&theirs, &target, "lock").expect("it is laid out again");
        assert!(target.join("built").exists());
        let folder = lay(&ours, &target, "lock").expect("it is laid out for another checkout");
        assert!(!target.join("built").exists());
        assert_eq!(fs::read_link(folder.join("sdk")).expect("it is a link"), ours.join("sdk"));
        fs::remove_dir_all(&top).expect("it was made above");
    }

    #[test]
    fn every_linked_folder_is_part_of_the_checkout() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for name in LINKED {
            assert!(root.join(name).is_dir(), "{name}");
        }
    }
}
