//! The parts that a benchmark runs: programs of the same build as this one, the plugins, a chain node, a host in a folder of
//! its own.
//!
//! `cargo xtask bench` names the places in the environment. By hand, they are looked for around this program, which stands in
//! the folder of its profile in the target directory: a release build never measures a debug host.

use core::time::Duration;
use std::fs::create_dir_all;
use std::path::PathBuf;

use tempfile::TempDir;
use xthonpay_domain::address::Address;
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{Anvil, AnvilOptions, Mining, TestChain, anvil_binary};
use xthonpay_tests::client::{Key, Scheme};
use xthonpay_tests::host::{HostConfig, HostProcess, PluginEntry};
use xthonpay_tests::places::Places;

/// Blocks are not what is measured; they come often enough for the scanner to have some work, as in earnest.
const BLOCK_TIME: Duration = Duration::from_secs(1);

/// The rules and the format that a host gets whose hooks are bound.
pub(crate) const RULES: &str = "default-rules";
pub(crate) const FORMAT: &str = "xthon-json";

/// What makes the host and the program for the raw store, in the profile of this program.
const BUILD: &str = if cfg!(debug_assertions) {
    "cargo build --workspace --bins --examples"
} else {
    "cargo build --release --workspace --bins --examples"
};

/// Whether the hooks of a host have plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hooks {
    Unbound,
    Bound,
}

/// The places of the host, the plugins and the tools.
pub(crate) fn places() -> Result<Places, BoxError> {
    let host = profile_folder()?.join(format!("xthonpay{}", std::env::consts::EXE_SUFFIX));
    Ok(Places {
        binary: existing("XTHONPAY_BIN", host, BUILD)?,
        plugins: plugins()?,
        tools: existing("XTHONPAY_TOOLS", target_folder()?.join("tools"), "cargo xtask setup")?,
    })
}

/// The folder of built plugins, without which nothing else is needed.
pub(crate) fn plugins() -> Result<PathBuf, BoxError> {
    existing("XTHONPAY_PLUGINS", target_folder()?.join("plugins"), "cargo xtask plugins")
}

/// The program that measures the raw store.
pub(crate) fn raw_rate() -> Result<PathBuf, BoxError> {
    existing("XTHONPAY_RAW_RATE", profile_folder()?.join("examples").join("raw_rate"), BUILD)
}

/// The same with the memory allocator of the host.
pub(crate) fn raw_rate_mimalloc() -> Result<PathBuf, BoxError> {
    existing("XTHONPAY_RAW_RATE_MIMALLOC", profile_folder()?.join("examples").join("raw_rate_mimalloc"), BUILD)
}

/// The program that puts addresses into a store.
pub(crate) fn fill_addresses() -> Result<PathBuf, BoxError> {
    existing("XTHONPAY_FILL_ADDRESSES", profile_folder()?.join("examples").join("fill_addresses"), BUILD)
}

/// The program that serves a canned chain.
pub(crate) fn canned_node() -> Result<PathBuf, BoxError> {
    existing("XTHONPAY_CANNED_NODE", profile_folder()?.join("examples").join("canned_node"), BUILD)
}

/// Where cargo puts the programs of one profile.
fn profile_folder() -> Result<PathBuf, BoxError> {
    let own = std::env::current_exe()?;
    Ok(own.parent().ok_or("this program stands in no folder")?.to_path_buf())
}

fn target_folder() -> Result<PathBuf, BoxError> {
    let profile = profile_folder()?;
    Ok(profile.parent().ok_or("this program stands outside of a target directory")?.to_path_buf())
}

fn existing(variable: &str, fallback: PathBuf, made_by: &str) -> Result<PathBuf, BoxError> {
    let path = std::env::var_os(variable).map_or(fallback, PathBuf::from);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{} is missing: run `{made_by}`, or set {variable}", path.display()).into())
}

/// An empty folder on the disk of the target directory, which goes when it is dropped. A temporary folder of the system may
/// be in memory, where syncing costs nothing.
pub(crate) fn folder() -> Result<TempDir, BoxError> {
    let parent = target_folder()?.join("bench");
    create_dir_all(&parent)?;
    Ok(tempfile::tempdir_in(parent)?)
}

/// A chain node with USDT.
pub(crate) struct Chain {
    anvil: Anvil,
    usdt: Address,
}

impl Chain {
    /// Starts the node and deploys the token.
    pub(crate) async fn start(places: &Places) -> Result<Self, BoxError> {
        let options = AnvilOptions::new(anvil_binary(&places.tools)?).mining(Mining::Interval(BLOCK_TIME));
        let anvil = Anvil::start(options).await?;
        let usdt = TestChain::connect(anvil.url()).await?.deploy_usdt("Tether USD", "USDT", 18).await?;
        Ok(Self { anvil, usdt })
    }

    fn config(&self, places: &Places, hooks: Hooks) -> HostConfig {
        let config = HostConfig::new(self.anvil.url(), self.usdt);
        let plugin = |name: &str| PluginEntry::new(name, places.plugin(name));
        match hooks {
            Hooks::Unbound => config,
            Hooks::Bound => config.with_plugins(vec![plugin(RULES)], Some(plugin(FORMAT))),
        }
    }
}

/// A host with an empty store in a folder of its own. Ends and goes, with its folder, when it is dropped.
pub(crate) struct FreshHost {
    pub(crate) process: HostProcess,
    /// Behind the process, which must end before its folder goes.
    _folder: TempDir,
}

impl FreshHost {
    /// Starts a host and waits until it is ready.
    pub(crate) async fn start(places: &Places, chain: &Chain, hooks: Hooks) -> Result<Self, BoxError> {
        let folder = folder()?;
        let config = chain.config(places, hooks).to_toml();
        let mut process = HostProcess::prepare_in(folder.path(), places, &config)?;
        process.restart().await?;
        Ok(Self { process, _folder: folder })
    }

    /// Makes merchants with a key each.
    pub(crate) async fn merchants(&self, count: usize) -> Result<Vec<Key>, BoxError> {
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            let merchant = self.process.create_merchant("Bench").await?;
            keys.push(self.process.create_key(&merchant, "read,write", Scheme::Request, &[]).await?);
        }
        Ok(keys)
    }

    /// The process id.
    pub(crate) fn pid(&self) -> Result<u32, BoxError> {
        Ok(self.process.pid().ok_or("the host does not run")?)
    }
}
