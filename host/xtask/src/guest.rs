//! Builds the plugins that are written in Rust: `target/plugins/<name>.wasm` beside `<name>.toml`.
//!
//! Three steps: a workspace of the guests alone is laid out ([`layout`]), a compiler that has a standard library for
//! wasm builds it (`xthonpay-guest-compiler`), and `xthonpay-plugin-pack` makes a component of each module. Cargo decides what is
//! compiled again; a component is packed again when its module or the packer is newer. Nothing else is removed from the
//! folder: components of other languages stand there too.

mod layout;

use std::fs;
use std::path::Path;
use std::time::SystemTime;

pub(crate) use xthonpay_guest_compiler::{Compiler, DEBIAN_PACKAGES, TARGET};

use crate::fault::Fault;
use crate::run::{Program, say};
use crate::workspace::{Package, Profile, Workspace};

/// The host's program that packs.
const PACKER: &str = "xthonpay-plugin-pack";

/// The lock file of the guests, kept apart because they are built by an older compiler than the host.
const LOCK: &str = "host/xtask/guests.lock";

/// What may happen to the lock file of the guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locking {
    /// It is completed when a plugin or a dependency is new.
    Free,
    /// It must be complete, as in the gate.
    Locked,
}

/// Builds all plugins; `profile` is that of the packer, plugins themselves are always optimised.
///
/// # Errors
/// When a plugin does not compile, does not fit its world, or lacks its `plugin.toml`.
pub(crate) fn build(workspace: &Workspace, profile: Profile, locking: Locking) -> Result<(), Fault> {
    let guests: Vec<&Package> = workspace.guests().collect();
    // The whole workspace is selected, so that the packer's dependencies are those of every other build.
    workspace
        .cargo()
        .args(["build", "--workspace", "--bin", PACKER])
        .args(profile.flags())
        .run("correct what the compiler names above")?;
    compile(workspace, locking)?;
    let packer = workspace.program(profile, PACKER);
    fs::create_dir_all(workspace.plugins()).map_err(|error| Fault::file(&workspace.plugins(), &error))?;
    for guest in guests {
        pack(workspace, guest, &packer)?;
    }
    Ok(())
}

/// A compiler for guests.
///
/// # Errors
/// When there is none on this machine.
pub(crate) fn find() -> Result<Compiler, Fault> {
    Compiler::find().map_err(|missing| {
        Fault::new(missing.to_string(), format!("{}, or `cargo xtask setup`, which tries both", missing.remedy()))
    })
}

/// A call of its cargo in a workspace of guests; the command itself is still to be added.
fn cargo(compiler: Compiler, folder: &Path) -> Program {
    let call = compiler.call(folder);
    let program = Program::new(call.program).args(call.args).within(folder).envs(call.env);
    call.without_env.into_iter().fold(program, Program::without_env)
}

fn compile(workspace: &Workspace, locking: Locking) -> Result<(), Fault> {
    let compiler = find()?;
    let target = workspace.target.join("guest");
    let folder = layout::lay(&workspace.root, &target, LOCK)?;
    cargo(compiler, &folder)
        .args(["build", "--workspace", "--release", "--target", TARGET])
        .args((locking == Locking::Locked).then_some("--locked"))
        .env("CARGO_TARGET_DIR", &target)
        .run(
            "correct what the compiler names above; when it is about the lock file, run `cargo xtask plugins` and \
             commit host/xtask/guests.lock",
        )?;
    if layout::keep_lock(&workspace.root, &folder, LOCK)? {
        say(&format!("    {LOCK} has changed: commit it"));
    }
    Ok(())
}

fn pack(workspace: &Workspace, guest: &Package, packer: &Path) -> Result<(), Fault> {
    let folder = workspace.root.join(guest.folder());
    let Some(library) = &guest.dynamic_library else {
        return Err(Fault::new(
            format!("{} builds no plugin", guest.manifest.display()),
            "give it `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`",
        ));
    };
    let settings = folder.join("plugin.toml");
    if !settings.is_file() {
        return Err(Fault::new(
            format!("{} is missing", settings.display()),
            "write it as plugins/default-rules/plugin.toml shows; the host reads it before it runs the plugin",
        ));
    }
    let module = workspace.target.join("guest").join(TARGET).join("release").join(format!("{library}.wasm"));
    let component = workspace.plugins().join(&guest.name).with_extension("wasm");
    if !(newer(&component, &module) && newer(&component, packer)) {
        Program::new(packer).arg(&module).arg(&component).run("correct what it names above")?;
    }
    let copy = component.with_extension("toml");
    fs::copy(&settings, &copy).map_err(|error| Fault::file(&copy, &error))?;
    let size_bytes = fs::metadata(&component).map_err(|error| Fault::file(&component, &error))?.len();
    say(&format!("    {:>8}  {}", kibibytes(size_bytes), component.display()));
    Ok(())
}

/// Whether both exist and the first was written after the second, or at the same moment.
fn newer(one: &Path, other: &Path) -> bool {
    let written = |path: &Path| -> Option<SystemTime> { fs::metadata(path).and_then(|file| file.modified()).ok() };
    matches!((written(one), written(other)), (Some(one), Some(other)) if one >= other)
}

fn kibibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1024);
    format!("{}.{} KiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_up_to_a_tenth() {
        assert_eq!(kibibytes(0), "0.0 KiB");
        assert_eq!(kibibytes(1), "0.1 KiB");
        assert_eq!(kibibytes(1024), "1.0 KiB");
        assert_eq!(kibibytes(79_565), "77.8 KiB");
    }

    #[test]
    fn a_file_that_is_missing_is_never_newer() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let nowhere = here.with_file_name("no such file");
        assert!(newer(&here, &here));
        assert!(!newer(&nowhere, &here));
        assert!(!newer(&here, &nowhere));
    }
}
