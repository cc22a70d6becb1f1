//! The arguments, as clap reads them. Their meaning is checked where they are used.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A self-hosted payment platform for stablecoins on EVM chains.
#[derive(Parser)]
#[command(name = "xthonpay", version, propagate_version = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run the host until SIGTERM or Ctrl-C.
    Serve(Deployment),
    /// Check config, plugins and nodes, and print the effective config. Starts and changes nothing.
    Check(CheckArguments),
    /// Tell how the running host is doing. Exit code 0 when it is ready, 1 when it is not.
    Status(Asked),
    /// Make merchants.
    Merchant {
        #[command(subcommand)]
        command: MerchantCommand,
    },
    /// Make API keys.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
}

#[derive(Subcommand)]
pub(super) enum MerchantCommand {
    /// Make a merchant. Its webhook secret is shown once.
    Create(CreateMerchantArguments),
}

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key. Its secret is shown once.
    Create(CreateKeyArguments),
}

/// Which deployment.
#[derive(Args)]
pub(super) struct Deployment {
    /// The config file.
    #[arg(long, value_name = "FILE", default_value = "xthonpay.toml")]
    pub(super) config: PathBuf,
}

/// Which deployment, and the form of the answer.
#[derive(Args)]
pub(super) struct Asked {
    #[command(flatten)]
    pub(super) deployment: Deployment,
    /// Answer as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// Do not ask the nodes.
    #[arg(long)]
    pub(super) offline: bool,
}

#[derive(Args)]
pub(super) struct CreateMerchantArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// A name for people, at most 64 bytes.
    #[arg(long)]
    pub(super) name: String,
}

#[derive(Args)]
pub(super) struct CreateKeyArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The merchant's id.
    #[arg(long, value_name = "ID")]
    pub(super) merchant: String,
    /// A name for people, at most 64 bytes.
    #[arg(long, default_value = "key")]
    pub(super) label: String,
    /// What the key may do, joined by commas: read, write, webhooks.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "read")]
    pub(super) scopes: Vec<String>,
    /// How requests are signed: `request` covers the whole request, `timestamp` the time alone.
    #[arg(long, value_name = "SCHEME", default_value = "request")]
    pub(super) signature: String,
    /// A network (CIDR) from which the key may be used; repeat for more. Without it, any.
    #[arg(long, value_name = "CIDR")]
    pub(super) ip: Vec<String>,
}
