//! The copy in which mistakes are made: the use cases and the domain with the mistakes built in, the doubles that the
//! simulation stands on, and the simulation itself, as a workspace of its own below the target directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::VARIABLE;
use super::table::{Edit, MISTAKES};
use crate::fault::Fault;
use crate::workspace::Workspace;

/// Where the copy stands, below the target directory.
const FOLDER: &str = "mutants";
/// Packages that are copied as they are.
const PACKAGES: [&str; 3] = ["host/domain", "host/payments", "tests/chaos"];
/// The doubles that the simulation stands on. The rest of that package needs programs that the copy does not have.
const DOUBLES: [&str; 12] = [
    "crash_points",
    "gated_store",
    "manual_clock",
    "memory_store",
    "path_addresses",
    "plain_catalog",
    "plain_vault",
    "program",
    "scripted_chain",
    "scripted_nodes",
    "seeded",
    "seeded_random",
];
/// The program in the copy; the real one of the same package has another name.
const PROGRAM: &str = "xthonpay-mutants";
/// Stands for "this mistake is made" in the wrong texts.
const MADE: &str = "MISTAKE";

/// Writes the copy. Files that have not changed keep their time, so that only what changed is compiled again.
///
/// # Errors
/// When a file cannot be read or written, or a mistake no longer finds its place.
pub(super) fn assemble(workspace: &Workspace) -> Result<(), Fault> {
    let (from, to) = (&workspace.root, workspace.target.join(FOLDER));
    let mut written = BTreeSet::new();
    let mut put = |path: &Path, text: &str| -> Result<(), Fault> {
        written.insert(to.join(path));
        write_if_changed(&to.join(path), text)
    };
    for package in PACKAGES {
        put(
            &Path::new(package).join("Cargo.toml"),
            &manifest(package, &read(&from.join(package).join("Cargo.toml"))?),
        )?;
        for file in sources(&from.join(package).join("src"))? {
            let path = file.strip_prefix(from).unwrap_or(&file).to_path_buf();
            put(&path, &with_mistakes(&path, read(&file)?)?)?;
        }
    }
    put(Path::new("host/payments/src/mistake.rs"), &switch())?;
    for name in DOUBLES {
        for file in double(&from.join("tests/support"), name)? {
            put(file.strip_prefix(from).unwrap_or(&file), &read(&file)?)?;
        }
    }
    put(Path::new("tests/Cargo.toml"), DOUBLES_MANIFEST)?;
    put(Path::new("tests/support/lib.rs"), &doubles_root(from))?;
    put(Path::new("Cargo.toml"), &root_manifest(&read(&from.join("Cargo.toml"))?))?;
    let lock = to.join("Cargo.lock");
    if !lock.exists() {
        write_if_changed(&lock, &read(&from.join("Cargo.lock"))?)?;
    }
    remove_others(&to, &written)
}

/// Compiles the copy and tells where the program is.
///
/// # Errors
/// When it does not compile.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf, Fault> {
    let folder = workspace.target.join(FOLDER);
    workspace
        .cargo()
        .within(&folder)
        .args(["build", "--quiet", "--package", "xthonpay-chaos", "--bin", PROGRAM, "--target-dir"])
        .arg(&workspace.target)
        .run("if the compiler names a line in target/mutants, correct the mistake's text in host/xtask/src/mutants/table.rs")?;
    Ok(workspace.target.join("debug").join(PROGRAM))
}

/// The source of a file with every mistake that belongs there.
fn with_mistakes(path: &Path, mut text: String) -> Result<String, Fault> {
    if path == Path::new("host/payments/src/lib.rs") {
        text.push_str("\npub mod mistake;\n");
    }
    for mistake in MISTAKES {
        for Edit { file, right, wrong } in mistake.edits.iter().filter(|edit| Path::new(edit.file) == path) {
            if text.matches(right).count() != 1 {
                return Err(Fault::new(
                    format!("{file}: the mistake `{}` does not find its place: {right}", mistake.name),
                    "the code has changed: correct the text in host/xtask/src/mutants/table.rs",
                ));
            }
            let made = format!("crate::mistake::is_made(\"{}\")", mistake.name);
            text = text.replacen(right, &wrong.replace(MADE, &made), 1);
        }
    }
    Ok(text)
}

/// The module that tells which mistake is made.
fn switch() -> String {
    format!(
        "//! Which mistake is made.\n\n\
         use std::sync::OnceLock;\n\
         use std::sync::atomic::{{AtomicU64, Ordering}};\n\n\
         /// Whether this one is.\n\
         pub fn is_made(name: &str) -> bool {{\n\
         \x20   static MADE: OnceLock<String> = OnceLock::new();\n\
         \x20   MADE.get_or_init(|| std::env::var(\"{VARIABLE}\").unwrap_or_default()) == name\n\
         }}\n\n\
         /// A text that there was not before.\n\
         pub fn fresh() -> String {{\n\
         \x20   static NEXT: AtomicU64 = AtomicU64::new(0);\n\
         \x20   NEXT.fetch_add(1, Ordering::Relaxed).to_string()\n\
         }}\n"
    )
}

const DOUBLES_MANIFEST: &str = "\
[package]
name = \"xthonpay-tests\"
version.workspace = true
edition.workspace = true

[lib]
path = \"support/lib.rs\"

[dependencies]
xthonpay-domain.workspace = true
xthonpay-payments.workspace = true
async-trait.workspace = true
tokio.workspace = true
";

fn doubles_root(from: &Path) -> String {
    let present = DOUBLES.iter().filter(|name| from.join("tests/support").join(format!("{name}.rs")).exists());
    let modules: Vec<String> = present.map(|name| format!("pub mod {name};\n")).collect();
    format!(
        "//! Doubles of the ports.\n\n{}\n/// Any failure.\npub type BoxError = Box<dyn std::error::Error + Send + Sync>;\n",
        modules.concat()
    )
}

/// The manifest of a package in the copy: without the store of the host, which is not copied, and under another program name.
fn manifest(package: &str, text: &str) -> String {
    let kept = text.lines().filter(|line| !line.starts_with("xthonpay-store-surreal"));
    let mut text: String = kept.map(|line| format!("{line}\n")).collect();
    if package == "tests/chaos" {
        text = text.replace("default = [\"surreal\"]\n", "").replace("[\"dep:xthonpay-store-surreal\"]", "[]");
        text.push_str(&format!("\n[[bin]]\nname = \"{PROGRAM}\"\npath = \"src/main.rs\"\n"));
    }
    text
}

/// The manifest of the workspace, with the copied packages as its only members.
fn root_manifest(text: &str) -> String {
    let rest = text.split_once("\n]\n").map_or(text, |(_, rest)| rest);
    let members = PACKAGES.map(|package| format!("\"{package}\", ")).concat();
    format!("[workspace]\nresolver = \"3\"\nmembers = [{members}\"tests\"]\n{rest}")
}

/// The Rust files below a folder.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| Fault::file(folder, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| Fault::file(folder, &error))?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The files of one double: its own and those in the folder beside it.
fn double(support: &Path, name: &str) -> Result<Vec<PathBuf>, Fault> {
    let (file, folder) = (support.join(format!("{name}.rs")), support.join(name));
    let mut files: Vec<PathBuf> = file.exists().then_some(file).into_iter().collect();
    if folder.is_dir() {
        files.extend(sources(&folder)?);
    }
    Ok(files)
}

fn read(path: &Path) -> Result<String, Fault> {
    fs::read_to_string(path).map_err(|error| Fault::file(path, &error))
}

fn write_if_changed(path: &Path, text: &str) -> Result<(), Fault> {
    if fs::read_to_string(path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    let failed = |error| Fault::file(path, &error);
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    fs::write(path, text).map_err(failed)
}

/// Removes what an earlier copy had and this one has not.
fn remove_others(folder: &Path, written: &BTreeSet<PathBuf>) -> Result<(), Fault> {
    let old = sources(folder)?;
    for path in old.iter().filter(|path| !written.contains(*path)) {
        fs::remove_file(path).map_err(|error| Fault::file(path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn every_mistake_finds_its_place_in_the_source() {
        let files: BTreeSet<&str> = MISTAKES.iter().flat_map(|mistake| mistake.edits).map(|edit| edit.file).collect();
        for file in files {
            let text = fs::read_to_string(root().join(file)).expect("the file is there");
            let wrong = with_mistakes(Path::new(file), text.clone()).unwrap_or_else(|fault| unreachable!("{fault}"));
            assert_ne!(wrong, text, "{file}");
        }
    }

    #[test]
    fn the_copy_has_members_of_its_own() {
        let text =
            root_manifest("[workspace]\nresolver = \"3\"\nmembers = [\n    \"host/*\",\n]\n\n[workspace.package]\n");
        assert!(text.contains("members = [\"host/domain\", ") && text.ends_with("\n[workspace.package]\n"), "{text}");
        let text = manifest(
            "tests/chaos",
            "[features]\ndefault = [\"surreal\"]\nsurreal = [\"dep:xthonpay-store-surreal\"]\n",
        );
        assert!(text.contains("surreal = []") && !text.contains("default"), "{text}");
    }
}
