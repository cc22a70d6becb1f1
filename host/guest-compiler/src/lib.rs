//! The compiler for plugins in Rust: one that has a standard library for `wasm32-unknown-unknown`, or can build it.
//!
//! The toolchain in use is taken when it has the target. Otherwise Debian's packages do: their compiler is older and ships
//! the sources of its standard library, which cargo then builds along. That needs unstable flags, hence
//! `RUSTC_BOOTSTRAP`; no unstable language feature is used. Runs nothing but the question whether the target is there.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of all plugins: bare wasm, so that a plugin cannot even name a file, a socket or a clock.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld";
/// Where `rust-web-src` puts the sources of the standard library.
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";

/// The packages that [`Compiler::Debian`] is made of.
pub const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld"];

/// A way to compile plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// The toolchain in use.
    Active,
    /// Debian's packages.
    Debian,
}

/// No compiler here can build for the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCompiler;

impl NoCompiler {
    /// Whether looking again may find one.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }

    /// What to install.
    #[must_use]
    pub fn remedy(&self) -> String {
        format!("run `rustup target add {TARGET}`, or as root `apt-get install {}`", DEBIAN_PACKAGES.join(" "))
    }
}

impl fmt::Display for NoCompiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no Rust compiler here can build for {TARGET}")
    }
}

impl Error for NoCompiler {}

/// A call of cargo, to which the command itself is still to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The program.
    pub program: OsString,
    /// Arguments in front of the command's own.
    pub args: Vec<OsString>,
    /// Variables of its environment.
    pub env: Vec<(&'static str, OsString)>,
    /// Variables that are kept from it.
    pub without_env: Vec<&'static str>,
}

impl Compiler {
    /// Picks a way that works on this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self, NoCompiler> {
        if active_has_target() {
            return Ok(Self::Active);
        }
        if [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_LINKER, DEBIAN_LIBRARY].iter().all(|path| Path::new(path).exists()) {
            return Ok(Self::Debian);
        }
        Err(NoCompiler)
    }

    /// A call of its cargo in a workspace of plugins, for a build of [`TARGET`].
    #[must_use]
    pub fn call(self, workspace: &Path) -> Call {
        // Takes the place of RUSTFLAGS: flags meant for the host would do harm here.
        let anonymous = ("CARGO_ENCODED_RUSTFLAGS", anonymous(workspace, &cargo_home()));
        match self {
            Self::Active => Call {
                program: env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
                args: Vec::new(),
                env: vec![anonymous],
                without_env: Vec::new(),
            },
            Self::Debian => Call {
                program: DEBIAN_CARGO.into(),
                args: ["-Z", "build-std=std,panic_abort"].map(OsString::from).into(),
                env: vec![
                    ("RUSTC_BOOTSTRAP", "1".into()),
                    ("RUSTC", DEBIAN_RUSTC.into()),
                    ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER.into()),
                    anonymous,
                ],
                // `cargo run` points it at the libraries of its own toolchain, which do not fit this compiler.
                without_env: vec!["LD_LIBRARY_PATH"],
            },
        }
    }
}

/// Whether the toolchain in use has the target.
fn active_has_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let folder = asked.ok().filter(|answer| answer.status.success()).map(|answer| answer.stdout);
    folder.is_some_and(|folder| Path::new(String::from_utf8_lossy(&folder).trim()).is_dir())
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
