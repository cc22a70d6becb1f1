//! The config file of a host under test.
//!
//! Names every key that a test depends on; the rest keeps the host's defaults.

use core::fmt::Write as _;
use std::path::PathBuf;

use xthonpay_domain::address::Address;

use crate::chain::CHAIN_ID;

/// The highest rate that a host accepts: every client of a test comes from one address, and makes more requests than a shop.
const NO_LIMIT: u32 = 1_000_000;

/// A plugin of the config file.
#[derive(Clone, Debug)]
pub struct PluginEntry {
    /// Its name in the config.
    pub name: String,
    /// Its component.
    pub file: PathBuf,
    /// More lines of its section, as TOML.
    pub more: String,
}

impl PluginEntry {
    /// A plugin without settings.
    #[must_use]
    pub fn new(name: &str, file: PathBuf) -> Self {
        Self { name: name.to_owned(), file, more: String::new() }
    }

    /// The same with further lines in its section.
    #[must_use]
    pub fn with(mut self, more: &str) -> Self {
        self.more = more.to_owned();
        self
    }
}

/// What a test decides about a host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where REST is served, such as `127.0.0.1:0`.
    pub listen: String,
    /// How many requests a key may make in a minute.
    pub requests_per_minute: u32,
    /// How many requests from one address may be refused in a minute.
    pub failed_requests_per_minute: u32,
    /// The chain's node, the preferred one where there are several.
    pub node_url: String,
    /// Further nodes of the chain.
    pub more_nodes: Vec<String>,
    /// How often the node is asked for a new block, as a TOML value.
    pub poll_interval: String,
    /// More lines of the chain's table, as TOML.
    pub chain_more: String,
    /// The contract of USDT on that chain.
    pub usdt: Address,
    /// When failed deliveries are tried again, as a TOML value.
    pub webhook_schedule: String,
    /// The plugins that decide about invoices, in order.
    pub rules: Vec<PluginEntry>,
    /// The plugin that writes webhooks.
    pub format: Option<PluginEntry>,
    /// Plugins that are known and bound to nothing.
    pub spare: Vec<PluginEntry>,
    /// More lines at the end of the file, as TOML.
    pub more: String,
}

impl HostConfig {
    /// A host without plugins on the chain of this node, which delivers webhooks again after a second, many times.
    #[must_use]
    pub fn new(node_url: &str, usdt: Address) -> Self {
        let retries = ["\"1s\""; 30].join(", ");
        Self {
            listen: "127.0.0.1:0".to_owned(),
            requests_per_minute: NO_LIMIT,
            failed_requests_per_minute: NO_LIMIT,
            node_url: node_url.to_owned(),
            more_nodes: Vec::new(),
            poll_interval: "\"50ms\"".to_owned(),
            chain_more: String::new(),
            usdt,
            webhook_schedule: format!("[\"0s\", {retries}]"),
            rules: Vec::new(),
            format: None,
            spare: Vec::new(),
            more: String::new(),
        }
    }

    /// The same with these plugins.
    #[must_use]
    pub fn with_plugins(mut self, rules: Vec<PluginEntry>, format: Option<PluginEntry>) -> Self {
        (self.rules, self.format) = (rules, format);
        self
    }

    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            r#"[server]
listen = "{listen}"
requests_per_minute = {requests_per_minute}
failed_requests_per_minute = {failed_requests_per_minute}

[log]
format = "json"

[vault]
passphrase_file = "passphrase"

[chains.bsc]
chain_id = {CHAIN_ID}
nodes = [{nodes}]
finality = "finalized"
min_confirmations = 1
poll_interval = {poll}
{chain_more}

[chains.bsc.assets.USDT]
contract = "{usdt}"
decimals = 18

[chains.bsc.assets.BNB]
native = true
decimals = 18

[webhooks]
schedule = {schedule}
allow_networks = ["127.0.0.0/8"]

[hooks]
invoice-rules = [{rules}]
"#,
            listen = self.listen,
            requests_per_minute = self.requests_per_minute,
            failed_requests_per_minute = self.failed_requests_per_minute,
            nodes = quoted(core::iter::once(&self.node_url).chain(&self.more_nodes)),
            poll = self.poll_interval,
            chain_more = self.chain_more,
            usdt = self.usdt,
            schedule = self.webhook_schedule,
            rules = quoted(self.rules.iter().map(|rules| &rules.name)),
        );
        // Writing to a string cannot fail.
        let format_name = self.format.as_ref().map_or("", |format| format.name.as_str());
        let _ = writeln!(text, "webhook-format = \"{format_name}\"");
        for plugin in self.rules.iter().chain(&self.format).chain(&self.spare) {
            let (name, file, more) = (&plugin.name, plugin.file.display(), &plugin.more);
            let _ = writeln!(text, "\n[plugins.{name}]\nfile = \"{file}\"\n{more}");
        }
        text + &self.more
    }
}

/// The entries of a TOML list of texts.
fn quoted<'a>(texts: impl Iterator<Item = &'a String>) -> String {
    texts.map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}
