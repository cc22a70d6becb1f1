//! The host as a process of its own: started from a config file in a folder of its own, killed, stopped and started again
//! on the same data.
//!
//! Dropping it kills the process. Nothing of the host is linked in here.

mod admin;
mod config;

use core::ops::ControlFlow;
use core::time::Duration;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use self::admin::{Merchant, run, run_within};
pub use self::config::{HostConfig, PluginEntry};
use crate::places::Places;
use crate::{BoxError, wait};

/// Starting takes about a second; compiling plugins for the first time on a busy machine takes many more.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Longer than the host's own grace period for requests and deliveries under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(45);

/// Opens the vault of every host under test.
pub const PASSPHRASE: &str = "correct horse battery staple for tests only";

/// How many of the log's last lines a failure shows.
const LOG_LINES_SHOWN: usize = 30;

/// A host and its folder.
pub struct HostProcess {
    binary: PathBuf,
    folder: PathBuf,
    process: Option<Child>,
    base_url: String,
    /// Removed at the end unless the folder belongs to the caller.
    _temporary: Option<TempDir>,
}

impl HostProcess {
    /// A host in a temporary folder, ready to answer.
    ///
    /// # Errors
    /// When it does not become ready; the text holds the end of its log.
    pub async fn start(places: &Places, config: &HostConfig) -> Result<Self, BoxError> {
        let mut host = Self::prepare(places, &config.to_toml())?;
        host.restart().await?;
        Ok(host)
    }

    /// A temporary folder with this config file and a passphrase; nothing is started.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn prepare(places: &Places, config: &str) -> Result<Self, BoxError> {
        let temporary = tempfile::tempdir()?;
        let mut host = Self::prepare_in(temporary.path(), places, config)?;
        host._temporary = Some(temporary);
        Ok(host)
    }

    /// The same in a folder of the caller, which exists and stays.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn prepare_in(folder: &Path, places: &Places, config: &str) -> Result<Self, BoxError> {
        let passphrase = folder.join("passphrase");
        std::fs::write(&passphrase, PASSPHRASE)?;
        // The host refuses a secret that others can read.
        std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o600))?;
        let host = Self {
            binary: places.binary.clone(),
            folder: folder.to_path_buf(),
            process: None,
            base_url: String::new(),
            _temporary: None,
        };
        host.configure(config)?;
        Ok(host)
    }

    /// Replaces the config file; counts from the next start on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, config: &str) -> Result<(), BoxError> {
        Ok(std::fs::write(self.config_file(), config)?)
    }

    /// Starts the process, after killing one that runs, and waits until it is ready.
    ///
    /// # Errors
    /// When it ends early or is not ready in time; the text holds the end of its log.
    pub async fn restart(&mut self) -> Result<(), BoxError> {
        self.kill()?;
        self.spawn()?;
        self.wait_until_ready().await
    }

    /// Starts the process and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self) -> Result<(), BoxError> {
        // An address of an earlier run must not be taken for this one's.
        match std::fs::remove_file(self.address_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let process = without_our_variables(&self.binary)
            .args(["serve", "--config"])
            .arg(self.config_file())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.binary.display()))?;
        self.process = Some(process);
        Ok(())
    }

    /// Waits until the process has written its address and says that it is ready.
    ///
    /// # Errors
    /// When it ends early or is not ready in time; the text holds the end of its log.
    pub async fn wait_until_ready(&mut self) -> Result<(), BoxError> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let address_file = self.address_file();
        let ready = wait::until("the host to be ready", START_TIMEOUT, async || {
            if let Some(status) = self.ended()? {
                return Err(format!("the host ended with {status}").into());
            }
            let Ok(address) = std::fs::read_to_string(&address_file) else {
                return Ok(ControlFlow::Continue("no address yet".to_owned()));
            };
            let base_url = format!("http://{}", address.trim());
            Ok(match http.get(format!("{base_url}/readyz")).send().await {
                Ok(answer) if answer.status().is_success() => ControlFlow::Break(base_url),
                Ok(answer) => ControlFlow::Continue(format!("readyz answers {}", answer.status())),
                Err(error) => ControlFlow::Continue(error.to_string()),
            })
        });
        match ready.await {
            Ok(base_url) => {
                self.base_url = base_url;
                Ok(())
            }
            Err(error) => Err(format!("{error}; the log ends with:\n{}", self.log_end()).into()),
        }
    }

    /// Kills the process as a power cut would (`kill -9`); does nothing when none runs.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<(), BoxError> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Asks the process to end (`SIGTERM`).
    ///
    /// # Errors
    /// When none runs.
    pub fn terminate(&self) -> Result<(), BoxError> {
        let process = self.process.as_ref().ok_or("the host does not run")?;
        Ok(kill_process(Pid::from_child(process), Signal::TERM)?)
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// When it goes on; the text holds the end of its log.
    pub async fn wait_until_ended(&mut self) -> Result<ExitStatus, BoxError> {
        let ended = wait::until("the host to end", STOP_TIMEOUT, async || {
            Ok(self.ended()?.map_or_else(|| ControlFlow::Continue("it runs".to_owned()), ControlFlow::Break))
        });
        let status = ended.await.map_err(|error| format!("{error}; the log ends with:\n{}", self.log_end()))?;
        self.process = None;
        Ok(status)
    }

    /// Asks the process to end and waits until it has done so in order.
    ///
    /// # Errors
    /// When it does not end in time or with another code than 0; the text holds the end of its log.
    pub async fn stop(&mut self) -> Result<(), BoxError> {
        self.terminate()?;
        let status = self.wait_until_ended().await?;
        if status.success() {
            return Ok(());
        }
        Err(format!("the host ended with {status}; the log ends with:\n{}", self.log_end()).into())
    }

    /// How the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, BoxError> {
        match &mut self.process {
            Some(process) => Ok(process.try_wait()?),
            None => Ok(Some(ExitStatus::from_raw(0))),
        }
    }

    /// Where it answers, such as `http://127.0.0.1:40123`; empty before the first start.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The binary that is run.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The folder with everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the host keeps its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The config file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("xthonpay.toml")
    }

    /// What all runs of the process wrote.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("host.log")
    }

    /// The text of the log; empty when there is none.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(LOG_LINES_SHOWN)).copied().collect::<Vec<_>>().join("\n")
    }

    fn address_file(&self) -> PathBuf {
        self.data().join("listen.addr")
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // A process that is gone already needs no killing.
        let _ = self.kill();
    }
}

/// The binary without the variables of the tests: the host reads its config from variables of the same prefix.
fn without_our_variables(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    let ours = |(name, _): (OsString, OsString)| {
        name.to_str().is_some_and(|name| name.starts_with("XTHONPAY_")).then_some(name)
    };
    for name in std::env::vars_os().filter_map(ours) {
        command.env_remove(name);
    }
    command
}
