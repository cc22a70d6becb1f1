//! The arguments, as clap reads them. Their meaning is checked where they are used.

use std::num::NonZeroU32;
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
    /// Hold the books against themselves and against the chains. Exit code 0 when nothing is wrong, 1 when something is, 2 when
    /// not everything could be checked.
    Audit(AuditArguments),
    /// Freeze and resume chains.
    Chain {
        #[command(subcommand)]
        command: ChainCommand,
    },
    /// Look again at a transaction, final blocks or an address, and record deposits that were passed over. Needs a running host.
    Rescan(RescanArguments),
    /// List the deposits that are set aside, such as wrong assets on an invoice's address, with their sums.
    Suspense(Asked),
    /// Tell how the running host is doing. Exit code 0 when it is ready, 1 when it is not.
    Status(Asked),
    /// List every call of the REST server with what it needs: door, scope, and whether it changes something.
    Routes(RoutesArguments),
    /// Write plugins: new projects, builds, tests, measurements and packages. Needs no host and no config.
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// List the plugins of the running host, and exchange one.
    Plugins {
        #[command(subcommand)]
        command: PluginsCommand,
    },
    /// Make and list merchants.
    Merchant {
        #[command(subcommand)]
        command: MerchantCommand,
    },
    /// Make, list, change, replace and revoke API keys.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
}

#[derive(Subcommand)]
pub(super) enum ChainCommand {
    /// Freeze a chain: nothing is credited or withdrawn on it until it is resumed.
    Freeze(FreezeArguments),
    /// Let a frozen chain go on, after the newest block that is remembered here and in the chain that the nodes agree on. Lists
    /// credited deposits whose block left the chain; they stay credited.
    Resume(ResumeArguments),
}

#[derive(Subcommand)]
pub(super) enum PluginCommand {
    /// Make a project from a template, in a folder of the plugin's name.
    New(NewPluginArguments),
    /// Build dist/NAME.wasm, with its manifest beside it. Fetches the compiler of JavaScript or Python when it is not there.
    Build(PluginArguments),
    /// Load the plugin as a host would: imports, exports, types, settings and their check.
    Check(PluginArguments),
    /// Make the calls in fixtures/*.toml and compare what comes of them; exit code 1 when one differs.
    Test(TestPluginArguments),
    /// Make one call and show its answer, its log, what it keeps and what it took.
    Run(CallPluginArguments),
    /// Make a call again that failed in a host, from a file of `xthonpay plugins failures`, and tell whether it fails as it did.
    Replay(CallPluginArguments),
    /// Measure a call: loading, instance and function.
    Bench(BenchPluginArguments),
    /// Show what a component is: hook, digest, imports, exports, capabilities, settings.
    Inspect(PluginArguments),
    /// Pack component, manifest and README into dist/NAME-VERSION.tar.gz, and print the table for an operator's config.
    Package(PluginArguments),
}

/// Which plugin, and the form of the answer.
#[derive(Args)]
pub(super) struct PluginArguments {
    /// The folder of the plugin, or its component.
    #[arg(value_name = "PATH", default_value = ".")]
    pub(super) path: PathBuf,
    /// Answer as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct NewPluginArguments {
    /// The plugin's name: lower-case letters, digits and dashes.
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The hook: invoice-rules, webhook-format, bot-flow or withdrawal-policy (or rules, webhook, bot, policy).
    #[arg(long, value_name = "HOOK", default_value = "invoice-rules")]
    pub(super) hook: String,
    /// The language: rust, javascript or python.
    #[arg(long, value_name = "LANG", default_value = "rust")]
    pub(super) lang: String,
    /// Where the folder is made.
    #[arg(long, value_name = "FOLDER")]
    pub(super) into: Option<PathBuf>,
    /// Answer as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct TestPluginArguments {
    #[command(flatten)]
    pub(super) plugin: PluginArguments,
    /// Only these files.
    #[arg(long = "fixture", value_name = "FILE")]
    pub(super) fixtures: Vec<PathBuf>,
}

#[derive(Args)]
pub(super) struct CallPluginArguments {
    #[command(flatten)]
    pub(super) plugin: PluginArguments,
    /// The file with the call.
    #[arg(long, value_name = "FILE")]
    pub(super) fixture: PathBuf,
}

#[derive(Args)]
pub(super) struct BenchPluginArguments {
    #[command(flatten)]
    pub(super) call: CallPluginArguments,
    /// How many calls are counted.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    pub(super) calls: usize,
}

#[derive(Subcommand)]
pub(super) enum PluginsCommand {
    /// List every configured plugin: its hook, how it does, its version and the SHA-256 of its component.
    List(Asked),
    /// Load a plugin anew, from its table in the config file as it stands now, and exchange it without a restart. Calls under way end
    /// on the old version. A version that does not load changes nothing: exit code 1, and the old one serves on.
    Reload(ReloadArguments),
    /// Go back to the version that served before, which the host has kept, also after a restart. `reload` takes the file of the
    /// config again.
    Rollback(ReloadArguments),
    /// Show a plugin in detail: what it asks for, its limits, how its calls ended.
    Inspect(PluginNameArguments),
    /// Ask a plugin again that was switched off.
    Enable(PluginNameArguments),
    /// Switch a plugin off, also after a restart. Its hook uses its failure policy (`on_failure`) from the next call on.
    Disable(PluginNameArguments),
    /// List the last calls of a plugin that failed, the newest first, and save them as files for `xthonpay plugin replay`.
    Failures(FailuresArguments),
    /// List the signers that plugins may be lent, with their public keys, and every statement that was signed with one.
    Signed(Asked),
}

#[derive(Subcommand)]
pub(super) enum MerchantCommand {
    /// Make a merchant. Its webhook secret is shown once.
    Create(CreateMerchantArguments),
    /// List the merchants, test sides included.
    List(Asked),
    /// Show a merchant.
    Show(ShowMerchantArguments),
}

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key. Its secret is shown once.
    Create(CreateKeyArguments),
    /// List a merchant's keys, those too that have ended.
    List(ListKeysArguments),
    /// Show a key. Its secret is not shown.
    Show(KeyArguments),
    /// Change a key: its name, networks, limits, end, daily caps and address book. Takes effect within a second.
    Update(UpdateKeyArguments),
    /// Replace a key by one with the same rights and a fresh secret, which is shown once. The old one ends after an overlap.
    Rotate(RotateKeyArguments),
    /// End a key. Its requests are refused within a second, for ever.
    Revoke(KeyArguments),
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
pub(super) struct AuditArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// Only this chain.
    #[arg(long, value_name = "NAME")]
    pub(super) chain: Option<String>,
    /// From which block on the chain is read; without it, the last 20000 blocks.
    #[arg(long, value_name = "BLOCK", conflicts_with = "full")]
    pub(super) from: Option<u64>,
    /// Read the chain from the first block that can hold a payment.
    #[arg(long)]
    pub(super) full: bool,
    /// Freeze a chain on which money is missing, or more is credited than there is: nothing is credited or withdrawn until it is resumed.
    #[arg(long)]
    pub(super) freeze: bool,
}

#[derive(Args)]
pub(super) struct PluginNameArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The name of its table, `[plugins.NAME]`.
    #[arg(value_name = "NAME")]
    pub(super) plugin: String,
}

#[derive(Args)]
pub(super) struct FailuresArguments {
    #[command(flatten)]
    pub(super) named: PluginNameArguments,
    /// Save each failure as a file in this folder. Such a file holds what the merchant wrote into the order.
    #[arg(long, value_name = "FOLDER")]
    pub(super) save: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct ReloadArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The name of its table, `[plugins.NAME]`.
    #[arg(value_name = "NAME")]
    pub(super) plugin: String,
    /// Take a version that asks for more capabilities or labels than the one that serves.
    #[arg(long)]
    pub(super) accept: bool,
}

#[derive(Args)]
pub(super) struct FreezeArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The chain.
    #[arg(value_name = "NAME")]
    pub(super) chain: String,
    /// Why, in one sentence of at most 200 bytes.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
}

#[derive(Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The chain.
    #[arg(value_name = "NAME")]
    pub(super) chain: String,
    /// Go on after this final block: where none that is remembered is in the chain any more, or to look at more blocks again.
    #[arg(long, value_name = "BLOCK")]
    pub(super) from_block: Option<u64>,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["tx", "from", "address"]))]
pub(super) struct RescanArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The chain; needed where the deployment has several.
    #[arg(long, value_name = "NAME")]
    pub(super) chain: Option<String>,
    /// A transaction: 0x and 64 hexadecimal digits.
    #[arg(long, value_name = "HASH")]
    pub(super) tx: Option<String>,
    /// The first block of a run; at most 1000000 blocks, all of them final.
    #[arg(long, value_name = "BLOCK", requires = "to")]
    pub(super) from: Option<u64>,
    /// The last block of the run.
    #[arg(long, value_name = "BLOCK", requires = "from")]
    pub(super) to: Option<u64>,
    /// An invoice's address: reads its balance in the native coin, for coins that a contract passed on late.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) address: Option<String>,
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
pub(super) struct ShowMerchantArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The merchant's id.
    #[arg(value_name = "ID")]
    pub(super) merchant: String,
}

#[derive(Args)]
pub(super) struct RoutesArguments {
    /// Answer as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args)]
pub(super) struct CreateKeyArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The merchant's id.
    #[arg(long, value_name = "ID")]
    pub(super) merchant: String,
    /// A test key, for the simulated chain. The first one makes the merchant's test side, whose webhook secret is shown once.
    #[arg(long)]
    pub(super) test: bool,
    /// A name for people, at most 64 bytes.
    #[arg(long, default_value = "key")]
    pub(super) label: String,
    /// What the key may do, joined by commas: read, write, webhooks, withdraw.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "read")]
    pub(super) scopes: Vec<String>,
    /// How requests are signed: `request` covers the whole request, `timestamp` the time alone.
    #[arg(long, value_name = "SCHEME", default_value = "request")]
    pub(super) signature: String,
    /// A network (CIDR) from which the key may be used; repeat for more, at most 64. Without it, any.
    #[arg(long, value_name = "CIDR")]
    pub(super) ip: Vec<String>,
    /// Requests a minute; without it, server.requests_per_minute.
    #[arg(long, value_name = "NUMBER")]
    pub(super) requests_per_minute: Option<NonZeroU32>,
    /// After which time the key ends, such as 90d; without it, never.
    #[arg(long, value_name = "DURATION")]
    pub(super) expires_in: Option<String>,
    /// How much of an asset the key may withdraw a day: AMOUNT (of USDT), SYMBOL=AMOUNT or CHAIN:SYMBOL=AMOUNT; repeat for more.
    /// Nothing of assets that are not named.
    #[arg(long, value_name = "CAP")]
    pub(super) daily_withdraw_cap: Vec<String>,
    /// An address to which the key may withdraw; repeat for more, at most 256. Mixed case must carry its checksum.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) withdraw_address: Vec<String>,
}

#[derive(Args)]
pub(super) struct ListKeysArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The merchant's id.
    #[arg(long, value_name = "ID")]
    pub(super) merchant: String,
    /// Its test keys.
    #[arg(long)]
    pub(super) test: bool,
}

#[derive(Args)]
pub(super) struct KeyArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The key's id.
    #[arg(value_name = "ID")]
    pub(super) key: String,
}

#[derive(Args)]
pub(super) struct UpdateKeyArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The key's id.
    #[arg(value_name = "ID")]
    pub(super) key: String,
    /// Another name.
    #[arg(long)]
    pub(super) label: Option<String>,
    /// A network (CIDR) from which the key may be used; repeat for more. They replace those of before.
    #[arg(long, value_name = "CIDR")]
    pub(super) ip: Vec<String>,
    /// The key may be used from anywhere.
    #[arg(long, conflicts_with = "ip")]
    pub(super) any_ip: bool,
    /// Requests a minute.
    #[arg(long, value_name = "NUMBER")]
    pub(super) requests_per_minute: Option<NonZeroU32>,
    /// As many requests a minute as server.requests_per_minute says.
    #[arg(long, conflicts_with = "requests_per_minute")]
    pub(super) default_requests_per_minute: bool,
    /// After which time from now the key ends, such as 90d.
    #[arg(long, value_name = "DURATION")]
    pub(super) expires_in: Option<String>,
    /// The key has no end.
    #[arg(long, conflicts_with = "expires_in")]
    pub(super) never_expires: bool,
    /// A daily cap, written as for `key create`; repeat for more. They replace those of before.
    #[arg(long, value_name = "CAP")]
    pub(super) daily_withdraw_cap: Vec<String>,
    /// The key may withdraw nothing.
    #[arg(long, conflicts_with = "daily_withdraw_cap")]
    pub(super) no_daily_withdraw_caps: bool,
    /// An address to which the key may withdraw; repeat for more. They replace those of before.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) withdraw_address: Vec<String>,
    /// The address book is empty.
    #[arg(long, conflicts_with = "withdraw_address")]
    pub(super) no_withdraw_addresses: bool,
}

#[derive(Args)]
pub(super) struct RotateKeyArguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// The key's id.
    #[arg(value_name = "ID")]
    pub(super) key: String,
    /// How long the old key goes on, from 0s to 30d; without it, a day.
    #[arg(long, value_name = "DURATION")]
    pub(super) overlap: Option<String>,
}
