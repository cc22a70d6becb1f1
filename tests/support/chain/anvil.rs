//! The anvil process: started on a free port, ready when it returns, killed when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use super::rpc::{BoxError, Rpc};

/// The chain id of BNB Smart Chain, which the node pretends to be.
pub const CHAIN_ID: u64 = 56;

/// The time between two blocks of BNB Smart Chain.
const BLOCK_TIME: Duration = Duration::from_millis(450);

/// Starting takes a fraction of a second on an idle machine; a busy one gets much more.
const START_TIMEOUT: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// When blocks are mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mining {
    /// One block at each interval, empty or not, as on a real chain.
    Interval(Duration),
    /// One block for each transaction, at once.
    EachTransaction,
    /// Only when the test says so.
    Manual,
}

/// How to start a node.
#[derive(Clone, Debug)]
pub struct AnvilOptions {
    /// The anvil executable itself, as [`anvil_binary`] finds it; not npm's wrapper script, whose child would outlive it.
    pub binary: PathBuf,
    /// When blocks are mined.
    pub mining: Mining,
    /// A fixed port, or 0 for any free one.
    pub port: u16,
    /// Where the node's output goes; a temporary file when absent.
    pub log: Option<PathBuf>,
    /// More arguments for anvil.
    pub args: Vec<String>,
}

impl AnvilOptions {
    /// A node that mines like BNB Smart Chain, every 450 ms, on any free port.
    #[must_use]
    pub fn new(binary: PathBuf) -> Self {
        Self { binary, mining: Mining::Interval(BLOCK_TIME), port: 0, log: None, args: Vec::new() }
    }

    /// The same with another way of mining.
    #[must_use]
    pub fn mining(mut self, mining: Mining) -> Self {
        self.mining = mining;
        self
    }
}

/// The anvil executable of npm's `@foundry-rs/anvil` in a folder that holds `node_modules`.
///
/// # Errors
/// When there is none.
pub fn anvil_binary(tools: &Path) -> Result<PathBuf, BoxError> {
    let scope = tools.join("node_modules").join("@foundry-rs");
    let missing =
        || format!("no anvil in {}: run npm install --prefix {} @foundry-rs/anvil", scope.display(), tools.display());
    for package in std::fs::read_dir(&scope).map_err(|_| missing())? {
        // The executable stands in a package of its own, named after the platform.
        let binary = package?.path().join("bin").join("anvil");
        if binary.is_file() {
            return Ok(binary);
        }
    }
    Err(missing().into())
}

/// A running node. Dropping it kills the process.
#[derive(Debug)]
pub struct Anvil {
    process: Child,
    url: String,
    log: PathBuf,
    /// Holds the log when the caller named no file.
    _folder: Option<TempDir>,
}

impl Anvil {
    /// Starts a node and waits until it answers.
    ///
    /// # Errors
    /// When the process cannot be started, ends early, or does not answer in time; the text names the log.
    pub async fn start(options: AnvilOptions) -> Result<Self, BoxError> {
        let folder = options.log.is_none().then(tempfile::tempdir).transpose()?;
        let log = match (&options.log, &folder) {
            (Some(log), _) => log.clone(),
            (None, Some(folder)) => folder.path().join("anvil.log"),
            (None, None) => return Err("no place for the log".into()),
        };
        let out = File::create(&log)?;
        let process = Command::new(&options.binary)
            .args(arguments(&options))
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()
            .map_err(|error| format!("{}: {error}", options.binary.display()))?;
        let mut anvil = Self { process, url: String::new(), log, _folder: folder };
        anvil.wait_until_ready().await?;
        Ok(anvil)
    }

    /// The node's HTTP address, such as `http://127.0.0.1:40123`; WebSocket is served on the same port.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file with the node's output.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Kills the process, as a crash of the node would; its port stays closed afterwards.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<(), BoxError> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<(), BoxError> {
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("anvil ended with {status}: {}", std::fs::read_to_string(&self.log)?).into());
            }
            // With port 0 the node chooses and says so once it listens.
            let output = std::fs::read_to_string(&self.log)?;
            let address = output.lines().find_map(|line| line.strip_prefix("Listening on "));
            if let Some(address) = address {
                self.url = format!("http://{}", address.trim());
                Rpc::new(&self.url)?.call("eth_chainId", json!([])).await?;
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Err(format!("anvil did not answer in {START_TIMEOUT:?}: {}", std::fs::read_to_string(&self.log)?).into())
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // A process that is gone already needs no killing.
        let _ = self.kill();
    }
}

fn arguments(options: &AnvilOptions) -> Vec<String> {
    let mut arguments: Vec<String> = [
        ("--port", options.port.to_string()),
        ("--chain-id", CHAIN_ID.to_string()),
        ("--block-base-fee-per-gas", "0".to_owned()),
        // Makes `finalized` the block two below the head.
        ("--slots-in-an-epoch", "1".to_owned()),
        ("--gas-limit", "55000000".to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    match options.mining {
        Mining::Interval(interval) => {
            let seconds = format!("{}.{:03}", interval.as_secs(), interval.subsec_millis());
            arguments.extend(["--block-time".to_owned(), seconds]);
        }
        Mining::EachTransaction => {}
        Mining::Manual => arguments.push("--no-mining".to_owned()),
    }
    arguments.extend(options.args.iter().cloned());
    arguments
}
