//! The command line: what can be asked of the binary, and how it answers.
//!
//! Results go to standard output, as text for people or, with `--json`, as one JSON object; everything else goes to standard
//! error. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or an audit that was not carried out. No secret is ever an argument.

mod arguments;
mod ask;
mod audit;
mod chain;
mod check;
mod key;
mod merchant;
mod output;
mod plugin;
mod plugins;
mod rescan;
mod routes;
mod serve;
mod signed;
mod status;
mod suspense;

use std::process::ExitCode;

use clap::Parser as _;
use thiserror::Error;
use tokio::runtime::Runtime;

use crate::admin::client::AdminClientError;
use crate::admin::plugin::{RELOAD, ROLLBACK};
use crate::admin::service::AdminError;
use crate::compose::StartError;
use crate::config::ConfigError;
use crate::process;
use arguments::{ChainCommand, Cli, Command, KeyCommand, MerchantCommand, PluginsCommand};

/// The exit code of wrong usage, and of an audit that was not carried out.
const EXIT_NOT_DONE: u8 = 2;

/// A command that failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// The config is not used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The deployment could not be opened or run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The running host refused or did not answer.
    #[error(transparent)]
    Client(#[from] AdminClientError),
    /// The command was refused.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The operating system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The audit found something.
    #[error("the books are not right; what is wrong is listed above")]
    AuditFailed,
    /// The audit found nothing, but not everything could be checked.
    #[error("not everything could be checked; what was not is listed above")]
    AuditIncomplete,
    /// The audit could not be carried out.
    #[error("not audited: {0}")]
    NotAudited(#[source] Box<Self>),
    /// Arguments that make no sense together.
    #[error("{0}")]
    Usage(String),
    /// A rescan that broke off.
    #[error("stopped at block {at}, go on with --from {at}: {source}")]
    RescanStopped {
        /// The first block that was not looked at.
        at: u64,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// A tool for those who write plugins.
    #[error(transparent)]
    Tool(#[from] xthonpay_plugin_tools::ToolError),
    /// Calls of a plugin that did not end as their files say.
    #[error("{0} of the calls did not end as their files say; what differs stands above")]
    TestsFailed(usize),
    /// The check found something.
    #[error("the check found problems; they are listed above")]
    CheckFailed,
    /// The host ended by itself.
    #[error("{0}")]
    HostEnded(String),
}

impl CliError {
    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Config(error) => error.is_transient(),
            Self::Start(error) => error.is_transient(),
            Self::Client(error) => error.is_transient(),
            Self::Admin(error) => error.is_transient(),
            Self::NotAudited(error) => error.is_transient(),
            Self::RescanStopped { source, .. } => source.is_transient(),
            Self::Tool(error) => error.is_transient(),
            Self::Usage(_) | Self::System { .. } | Self::CheckFailed | Self::AuditFailed | Self::TestsFailed(_) => {
                false
            }
            Self::HostEnded(_) | Self::AuditIncomplete => true,
        }
    }
}

impl CliError {
    /// How the process ends. Scripts that audit must tell wrong books from none that were looked at.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotAudited(_) | Self::AuditIncomplete | Self::Usage(_) => ExitCode::from(EXIT_NOT_DONE),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Reads the arguments, carries the command out and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            error.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    process::lock_down().map_err(|source| CliError::System { what: "the process cannot be locked down", source })?;
    let runtime = Runtime::new().map_err(|source| CliError::System { what: "no threads to run on", source })?;
    runtime.block_on(async {
        match command {
            Command::Serve(asked) => serve::serve(&asked.config).await,
            Command::Check(asked) => check::check(&asked).await,
            Command::Audit(asked) => audit::audit(asked).await,
            Command::Chain { command: ChainCommand::Freeze(asked) } => chain::freeze(asked).await,
            Command::Chain { command: ChainCommand::Resume(asked) } => chain::resume(asked).await,
            Command::Rescan(asked) => rescan::rescan(asked).await,
            Command::Suspense(asked) => suspense::suspense(&asked).await,
            Command::Status(asked) => status::status(&asked).await,
            Command::Routes(asked) => routes::routes(&asked),
            Command::Plugin { command } => plugin::plugin(command).await,
            Command::Plugins { command: PluginsCommand::List(asked) } => plugins::list(&asked).await,
            Command::Plugins { command: PluginsCommand::Reload(asked) } => plugins::exchange(asked, RELOAD).await,
            Command::Plugins { command: PluginsCommand::Rollback(asked) } => plugins::exchange(asked, ROLLBACK).await,
            Command::Plugins { command: PluginsCommand::Inspect(asked) } => plugins::inspect(asked).await,
            Command::Plugins { command: PluginsCommand::Enable(asked) } => plugins::switch(asked, true).await,
            Command::Plugins { command: PluginsCommand::Disable(asked) } => plugins::switch(asked, false).await,
            Command::Plugins { command: PluginsCommand::Failures(asked) } => plugins::failures(asked).await,
            Command::Plugins { command: PluginsCommand::Signed(asked) } => signed::signed(&asked).await,
            Command::Merchant { command } => match command {
                MerchantCommand::Create(asked) => merchant::create(asked).await,
                MerchantCommand::List(asked) => merchant::list(&asked).await,
                MerchantCommand::Show(asked) => merchant::show(asked).await,
            },
            Command::Key { command } => match command {
                KeyCommand::Create(asked) => key::create(asked).await,
                KeyCommand::List(asked) => key::list(asked).await,
                KeyCommand::Show(asked) => key::show(asked).await,
                KeyCommand::Update(asked) => key::update(asked).await,
                KeyCommand::Rotate(asked) => key::rotate(asked).await,
                KeyCommand::Revoke(asked) => key::revoke(asked).await,
            },
        }
    })
}
