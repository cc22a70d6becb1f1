//! The compiler for guests: one that has a standard library for `wasm32-unknown-unknown`, or can build it.
//!
//! The toolchain in use is taken when it has the target. Otherwise Debian's packages do: their compiler is older and ships
//! the sources of its standard library, which cargo then builds along. That needs unstable flags, hence
//! `RUSTC_BOOTSTRAP`; no unstable language feature is used.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::run::Program;

/// The target of all guests: bare wasm, so that a plugin cannot even name a file, a socket or a clock.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld";
/// Where `rust-web-src` puts the sources of the standard library.
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// A way to compile guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// The toolchain in use.
    Active,
    /// Debian's packages.
    Debian,
}

impl Compiler {
    /// The packages that [`Compiler::Debian`] is made of.
    pub(crate) const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld"];

    /// Picks a way that works on this machine.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find() -> Result<Self, Fault> {
        if active_has_target() {
            return Ok(Self::Active);
        }
        if [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_LINKER, DEBIAN_LIBRARY].iter().all(|path| Path::new(path).exists()) {
            return Ok(Self::Debian);
        }
        Err(Fault::new(
            format!("no Rust compiler here can build for {TARGET}"),
            format!(
                "run `rustup target add {TARGET}`, or as root `apt-get install {}`, or `cargo xtask setup`, which tries both",
                Self::DEBIAN_PACKAGES.join(" ")
            ),
        ))
    }

    /// A call of its cargo in a workspace of guests, for a build of [`TARGET`]; the command itself and more flags are still
    /// to be added.
    pub(crate) fn cargo(self, workspace: &Path) -> Program {
        let program = match self {
            Self::Active => Program::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
            Self::Debian => Program::new(DEBIAN_CARGO)
                .args(["-Z", "build-std=std,panic_abort"])
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTC", DEBIAN_RUSTC)
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER)
                // `cargo run` points it at the libraries of its own toolchain, which do not fit this compiler.
                .without_env("LD_LIBRARY_PATH"),
        };
        // Takes the place of RUSTFLAGS: flags meant for the host would do harm here.
        program.within(workspace).env("CARGO_ENCODED_RUSTFLAGS", anonymous(workspace, &cargo_home()))
    }
}

/// Whether the toolchain in use has the target.
fn active_has_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Program::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output("")
        .is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// The flags that keep the builder's folders out of the messages of panics: a plugin tells nothing about the machine that
/// built it.
fn anonymous(workspace: &Path, cargo_home: &Path) -> OsString {
    let mut flags = OsString::new();
    for (folder, name) in [(workspace.to_path_buf(), "."), (cargo_home.join("registry/src"), "crates")] {
        if !flags.is_empty() {
            // Separates flags in this variable, so that they may hold spaces.
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(folder);
        flags.push("=");
        flags.push(name);
    }
    flags
}

fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_kept_out_even_with_a_space_in_them() {
        let flags = anonymous(Path::new("/checkout/target/guest"), Path::new("/home/a b/.cargo"));
        assert_eq!(
            flags.to_string_lossy().split('\u{1f}').collect::<Vec<_>>(),
            [
                "--remap-path-prefix=/checkout/target/guest=.",
                "--remap-path-prefix=/home/a b/.cargo/registry/src=crates"
            ]
        );
    }
}
