//! Where the parts stand that the tests run: the binary, the shipped plugins, the tools of others.
//!
//! `cargo xtask test` builds them and names the places in the environment; by hand they are looked for below the target
//! directory.

use std::path::{Path, PathBuf};

use crate::BoxError;

/// The host's binary, the folder of built plugins, and the folder with `node_modules`.
#[derive(Clone, Debug)]
pub struct Places {
    /// The `xthonpay` binary.
    pub binary: PathBuf,
    /// Holds `default-rules.wasm` and its like, each beside its `.toml`.
    pub plugins: PathBuf,
    /// Holds `node_modules`.
    pub tools: PathBuf,
}

impl Places {
    /// The places of the environment, or else those below the target directory.
    ///
    /// # Errors
    /// When something is missing; the text says what makes it.
    pub fn find() -> Result<Self, BoxError> {
        let target = target_directory();
        let binary_name = format!("xthonpay{}", std::env::consts::EXE_SUFFIX);
        Ok(Self {
            binary: existing("XTHONPAY_BIN", target.join("debug").join(binary_name))?,
            plugins: existing("XTHONPAY_PLUGINS", target.join("plugins"))?,
            tools: existing("XTHONPAY_TOOLS", target.join("tools"))?,
        })
    }

    /// Python with the pinned packages of the tools.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.tools.join("python").join("bin").join("python")
    }

    /// The built component of a plugin.
    #[must_use]
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.plugins.join(format!("{name}.wasm"))
    }
}

/// The top folder of the checkout.
#[must_use]
pub fn checkout() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// Where cargo builds.
#[must_use]
pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), |folder| checkout().join(folder))
}

fn existing(variable: &str, fallback: PathBuf) -> Result<PathBuf, BoxError> {
    let path = std::env::var_os(variable).map_or(fallback, PathBuf::from);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{} is missing: run `cargo xtask test`, which makes it, or set {variable}", path.display()).into())
}
