//! Installs what the tasks need and the machine lacks. What is there is left alone, so a second run takes a moment.
//!
//! System packages come from Debian when the machine has `apt-get` and we are root; everything else goes below the
//! target directory, at versions pinned in `host/xtask/tools`. Nothing is installed outside of these two places, but for a
//! target that rustup adds to its own toolchain.

mod debian;
mod pinned;

use crate::fault::Fault;
use crate::guest::{self, Compiler, DEBIAN_PACKAGES, TARGET};
use crate::run::{Program, say};
use crate::workspace::Workspace;

/// Brings everything up to date.
///
/// # Errors
/// When something is missing and cannot be installed; the fault says how to install it by hand.
pub(crate) fn setup(workspace: &Workspace) -> Result<(), Fault> {
    guest_compiler()?;
    pinned::npm(workspace)?;
    python()?;
    pinned::pip(workspace)
}

/// Python's standard library checks signatures a second time, and runs the merchant's example.
fn python() -> Result<(), Fault> {
    if Program::new("python3").arg("--version").output("").is_ok() { Ok(()) } else { debian::install(&["python3"]) }
}

/// A compiler for guests: Debian's packages where they can be installed, because that needs one registry alone;
/// rustup's target elsewhere.
fn guest_compiler() -> Result<(), Fault> {
    if let Ok(compiler) = Compiler::find() {
        say(&format!("    compiler for {TARGET}: {compiler:?}"));
        return Ok(());
    }
    if debian::can_install() {
        if let Err(fault) = debian::install(&DEBIAN_PACKAGES) {
            // Other distributions with apt-get do not have these packages.
            say(&format!("    {fault}\n    trying rustup instead"));
        }
        if Compiler::find().is_ok() {
            return Ok(());
        }
    }
    if Program::new("rustup").arg("--version").output("").is_ok() {
        Program::new("rustup")
            .args(["target", "add", TARGET])
            .run("check the network, or install a Rust toolchain that has the target")?;
    }
    guest::find().map(drop)
}
