//! From the shape to values that cannot be wrong.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;
use xthonpay_chain_evm::{CatchUp, Checkpoint, EvmChainConfig, FALLBACK_AFTER, FALLBACK_DEPTH_MIN, Finality};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::text::{ChainName, LoanLabel, PluginName, Symbol};
use xthonpay_payments::catalog::{ChainTerms, SIMULATED_CHAIN};
use xthonpay_payments::delivery::schedule::Schedule;
use xthonpay_payments::keys::REQUESTS_PER_MINUTE_MAX;
use xthonpay_plugin_runtime::{HookBindings, PluginConfig};

use super::problems::{ConfigProblem, Problems};
use super::source::PASSPHRASE_VARIABLE;
use super::{
    ChainConfig, Config, LogConfig, LogFormat, PassphraseSource, RateConfig, RateOrigin, ServerConfig, StoreConfig,
    UpstreamSettings, VaultConfig, WebhooksConfig, shape,
};
use crate::duration::duration;

/// Networks that one list may have. Bounds the work per request.
const NETWORKS_MAX: usize = 256;
/// The bounds of `poll_interval`: below, a node is hammered; above, a payment is seen late.
const POLL_INTERVAL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(60));
/// The bounds of every time limit for one request.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(120));
/// The most blocks that finality by depth or `min_confirmations` may ask for: a day of BNB Smart Chain.
const DEPTH_MAX: u64 = 200_000;
/// The bounds of `disable_after`: below, a short outage of a receiver cuts it off; above, it is tried for longer than anybody
/// remembers.
const DISABLE_AFTER: (Duration, Duration) = (Duration::from_secs(3_600), Duration::from_secs(90 * 86_400));
/// Plugins that endpoints may choose among. Each is loaded whether it is chosen or not.
const FORMATS_MAX: usize = 16;

/// Signers that plugins can be granted. Each is a key in memory.
const SIGNERS_MAX: usize = 32;

/// Everything typed, or everything that is wrong. Relative paths are relative to the folder of the file.
pub(super) fn check(shape: shape::Shape, file: PathBuf) -> Result<Config, Vec<ConfigProblem>> {
    let mut problems = Problems::default();
    let folder = file.parent().unwrap_or(Path::new("/"));
    let data_dir = folder.join(&shape.data.dir);
    let server = server(&shape.server, &mut problems);
    let store = store(&shape.store, folder, &data_dir, &mut problems);
    let vault = vault(&shape.vault, folder, &data_dir, &mut problems);
    let chains = chains(shape.chains, &mut problems);
    let plugins = plugins(shape.plugins, folder);
    let webhooks = webhooks(shape.webhooks, &plugins, &mut problems);
    let log = log(shape.log, &mut problems);
    let hooks = hooks(shape.hooks, &plugins, &mut problems);
    let upstreams = upstreams(shape.upstreams, folder, &mut problems);
    let rates = rates(shape.rates, &upstreams, &mut problems);
    let signers = signers(&shape.signing.signers, &mut problems);
    if shape.telegram.enabled {
        problems.add("telegram.enabled", "this version does not serve the bot; set it to false");
    }
    let problems = problems.into_vec();
    match (server, store, vault, webhooks, log) {
        (Some(server), Some(store), Some(vault), Some(webhooks), Some(log)) if problems.is_empty() => Ok(Config {
            file,
            data_dir,
            server,
            allow_timestamp_scheme: shape.auth.allow_timestamp_scheme,
            store,
            vault,
            chains,
            webhooks,
            test_mode: shape.test_mode.enabled,
            upstreams,
            rates,
            signers,
            hooks,
            plugins,
            log,
        }),
        _ => Err(problems),
    }
}

fn server(shape: &shape::Server, problems: &mut Problems) -> Option<ServerConfig> {
    let listen = shape.listen.parse().map_err(|_| "write an address and a port, such as \"127.0.0.1:8080\"");
    let listen = problems.keep("server.listen", listen);
    let public_url = problems.keep("server.public_url", http_url(&shape.public_url));
    let trusted_proxies = networks("server.trusted_proxies", &shape.trusted_proxies, problems);
    let metrics_networks = networks("server.metrics_networks", &shape.metrics_networks, problems);
    let limits = [
        ("server.requests_per_minute", shape.requests_per_minute),
        ("server.failed_requests_per_minute", shape.failed_requests_per_minute),
    ];
    for (key, _) in limits.into_iter().filter(|(_, limit)| limit.get() > REQUESTS_PER_MINUTE_MAX) {
        problems.add(key, format!("write a number from 1 to {REQUESTS_PER_MINUTE_MAX}"));
    }
    Some(ServerConfig {
        listen: listen?,
        public_url: public_url?,
        trusted_proxies,
        metrics_networks,
        requests_per_minute: shape.requests_per_minute,
        failed_requests_per_minute: shape.failed_requests_per_minute,
    })
}

fn store(shape: &shape::Store, folder: &Path, data_dir: &Path, problems: &mut Problems) -> Option<StoreConfig> {
    let endpoint = match shape.endpoint.as_deref() {
        None => Ok(format!("surrealkv://{}", data_dir.join("store").display())),
        Some(endpoint) => store_endpoint(endpoint, folder),
    };
    let endpoint = problems.keep("store.endpoint", endpoint)?;
    let has_password = !shape.password_file.as_os_str().is_empty();
    let login = match (shape.username.is_empty(), has_password) {
        (true, false) => None,
        (false, true) => Some((shape.username.clone(), folder.join(&shape.password_file))),
        _ => {
            problems.add("store.username", "set both store.username and store.password_file, or none of them");
            None
        }
    };
    for (key, value) in [("store.namespace", &shape.namespace), ("store.database", &shape.database)] {
        let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !plain {
            problems.add(key, "use letters, digits, dashes and underscores");
        }
    }
    Some(StoreConfig { endpoint, namespace: shape.namespace.clone(), database: shape.database.clone(), login })
}

/// The endpoint with an absolute path.
fn store_endpoint(endpoint: &str, folder: &Path) -> Result<String, &'static str> {
    if let Some(path) = endpoint.strip_prefix("surrealkv://") {
        if path.is_empty() || path.contains('?') {
            return Err("write surrealkv:// and a folder, without parameters: every write is synced anyway");
        }
        return Ok(format!("surrealkv://{}", folder.join(path).display()));
    }
    let is_server = endpoint.starts_with("ws://") || endpoint.starts_with("wss://");
    if is_server && Url::parse(endpoint).is_ok_and(|url| url.password().is_none() && url.username().is_empty()) {
        Ok(endpoint.to_owned())
    } else {
        Err(
            "write surrealkv://FOLDER, or ws:// or wss:// and a host; credentials go to store.username and store.password_file",
        )
    }
}

fn vault(shape: &shape::Vault, folder: &Path, data_dir: &Path, problems: &mut Problems) -> Option<VaultConfig> {
    let file = shape.file.as_ref().map_or_else(|| data_dir.join("vault.json"), |file| folder.join(file));
    // The systemd credential of this unit, if there is one.
    let credential = env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join("passphrase"));
    let passphrase = if env::var_os(PASSPHRASE_VARIABLE).is_some() {
        PassphraseSource::Variable
    } else if !shape.passphrase_file.as_os_str().is_empty() {
        PassphraseSource::File(folder.join(&shape.passphrase_file))
    } else if let Some(credential) = credential.filter(|file| file.is_file()) {
        PassphraseSource::File(credential)
    } else {
        let reason = format!("name a file (mode 0600) with the vault's passphrase, or set {PASSPHRASE_VARIABLE}");
        problems.add("vault.passphrase_file", reason);
        return None;
    };
    Some(VaultConfig { file, passphrase })
}

fn chains(shapes: BTreeMap<String, shape::Chain>, problems: &mut Problems) -> Vec<ChainConfig> {
    if shapes.is_empty() {
        problems.add("chains", "configure at least one chain in a table [chains.NAME]");
    }
    let mut tables: BTreeMap<u64, String> = BTreeMap::new();
    for (name, shape) in &shapes {
        if let Some(other) = tables.insert(shape.chain_id, name.clone()) {
            // Its transfers would be credited once for each table.
            let reason = format!("is the same as chains.{other}.chain_id; name all nodes of a chain in one table");
            problems.add(format!("chains.{name}.chain_id"), reason);
        }
    }
    shapes.into_iter().filter_map(|(name, shape)| chain(&name, shape, problems)).collect()
}

fn chain(name: &str, shape: shape::Chain, problems: &mut Problems) -> Option<ChainConfig> {
    let table = format!("chains.{name}");
    let key = |key: &str| format!("{table}.{key}");
    let parsed_name: Option<ChainName> = problems.keep(&table, name.parse());
    // Also where test mode is off: what is recorded of the simulated chain is in the store still.
    if name == SIMULATED_CHAIN {
        problems.add(&table, "this is the name of the simulated chain of test mode; give the chain another one");
    }
    if shape.nodes.is_empty() {
        problems.add(key("nodes"), "name at least one JSON-RPC node");
    }
    let nodes: Vec<Url> = shape.nodes.iter().filter_map(|node| problems.keep(&key("nodes"), http_url(node))).collect();
    if let Some((first, second)) = EvmChainConfig::same_nodes(&nodes).filter(|_| nodes.len() == shape.nodes.len()) {
        let reason = format!(
            "entries {first} and {second} are the same address, which would count as two nodes; remove one of them"
        );
        problems.add(key("nodes"), reason);
    }
    let finality = match shape.finality {
        shape::Finality::Depth(depth) if (1..=DEPTH_MAX).contains(&depth) => Some(Finality::Depth(depth)),
        shape::Finality::Word(word) if word == "finalized" => Some(Finality::Tag),
        _ => {
            problems.add(key("finality"), format!("write \"finalized\", or a number of blocks from 1 to {DEPTH_MAX}"));
            None
        }
    };
    if !(1..=DEPTH_MAX).contains(&shape.min_confirmations) {
        problems.add(key("min_confirmations"), format!("write a number of blocks from 1 to {DEPTH_MAX}"));
    }
    if shape.chain_id == 0 {
        problems.add(key("chain_id"), "write the number that the nodes answer to eth_chainId, such as 56");
    }
    let catch_up = match shape.catch_up.as_str() {
        "blocks" => Ok(CatchUp::Blocks),
        // A movement of the chain's own coin leaves no log.
        "logs" if shape.assets.values().any(|asset| asset.native) => {
            Err("\"logs\" finds tokens alone, not native assets")
        }
        "logs" => Ok(CatchUp::Logs),
        _ => Err("write \"blocks\" or \"logs\""),
    };
    let catch_up = problems.keep(&key("catch_up"), catch_up);
    let quorum = problems.keep(&key("quorum"), quorum(shape.quorum, shape.nodes.len()));
    if catch_up == Some(CatchUp::Logs) && quorum.is_some_and(|quorum| quorum < 2) {
        let reason = "\"logs\" takes quorum = 2 or more, since a single node can leave out payments unnoticed; name a second \
                      node, or write \"blocks\"";
        problems.add(key("catch_up"), reason);
    }
    let fallback_depth = shape.fallback_depth;
    if fallback_depth.is_some_and(|depth| !(FALLBACK_DEPTH_MIN..=DEPTH_MAX).contains(&depth)) {
        let reason = format!(
            "write a number of blocks from {FALLBACK_DEPTH_MIN} to {DEPTH_MAX}, or leave it out: a block that is less deep \
             may still be replaced"
        );
        problems.add(key("fallback_depth"), reason);
    } else if fallback_depth.is_some() && matches!(finality, Some(Finality::Depth(_))) {
        problems.add(key("fallback_depth"), "is for finality = \"finalized\"; a number of blocks needs no other one");
    }
    let checkpoint = shape.checkpoint.map(|block| {
        let hash = problems.keep(&key("checkpoint.hash"), block.hash.parse());
        hash.map(|hash| Checkpoint { number: BlockNumber(block.number), hash })
    });
    if shape.websockets.len() > shape.nodes.len() {
        problems.add(key("websockets"), "name at most one for each node, in the order of the nodes");
    }
    let websockets = shape.websockets.iter();
    let websockets = websockets.filter_map(|url| problems.keep(&key("websockets"), websocket_url(url))).collect();
    let poll_interval = problems.keep(&key("poll_interval"), duration_within(&shape.poll_interval, POLL_INTERVAL));
    let request_timeout = problems.keep(&key("request_timeout"), duration_within(&shape.request_timeout, TIMEOUT));
    if shape.assets.is_empty() {
        problems.add(key("assets"), format!("configure at least one asset in a table [{table}.assets.SYMBOL]"));
    }
    let name = parsed_name?;
    let assets = shape.assets.into_iter();
    let assets = assets.filter_map(|(symbol, shape)| asset(&name, &symbol, &shape, problems)).collect();
    let evm = EvmChainConfig {
        name,
        chain_id: shape.chain_id,
        nodes,
        assets,
        finality: finality?,
        catch_up: catch_up?,
        quorum: quorum?,
        fallback_depth,
        fallback_after: FALLBACK_AFTER,
        checkpoint: checkpoint.flatten(),
        websockets,
        request_timeout: request_timeout?,
    };
    let terms = ChainTerms { min_confirmations: shape.min_confirmations };
    Some(ChainConfig { evm, terms, poll_interval: poll_interval? })
}

/// How many nodes must agree. Fewer nodes than that could never.
fn quorum(configured: Option<usize>, nodes: usize) -> Result<usize, String> {
    match configured {
        None => Ok(EvmChainConfig::default_quorum(nodes)),
        Some(quorum) if (1..=nodes).contains(&quorum) => Ok(quorum),
        Some(_) => Err(format!("write a number from 1 to {nodes}, the number of nodes")),
    }
}

fn asset(chain: &ChainName, symbol: &str, shape: &shape::Asset, problems: &mut Problems) -> Option<Asset> {
    let table = format!("chains.{chain}.assets.{symbol}");
    let parsed_symbol: Option<Symbol> = problems.keep(&table, symbol.parse());
    let decimals = problems.keep(&format!("{table}.decimals"), Decimals::new(shape.decimals));
    let kind = match (&shape.contract, shape.native) {
        (None, true) => Some(AssetKind::Native),
        (Some(contract), false) => {
            let contract = contract.parse::<Address>().map_err(|error| error.to_string());
            let contract = contract.and_then(|address| {
                if address == Address::ZERO { Err("the zero address is no contract".to_owned()) } else { Ok(address) }
            });
            problems.keep(&format!("{table}.contract"), contract).map(|contract| AssetKind::Token { contract })
        }
        _ => {
            problems.add(table, "set either `contract` for a token or `native = true` for the chain's own coin");
            None
        }
    };
    Some(Asset { id: AssetId { chain: chain.clone(), symbol: parsed_symbol? }, kind: kind?, decimals: decimals? })
}

fn webhooks(
    shape: shape::Webhooks,
    plugins: &BTreeMap<String, PluginConfig>,
    problems: &mut Problems,
) -> Option<WebhooksConfig> {
    let schedule = match shape.schedule {
        shape::Schedule::Preset(name) => match name.as_str() {
            "standard" => Ok(Schedule::standard()),
            "xthon" => Ok(Schedule::xthon()),
            _ => Err("write \"standard\", \"xthon\", or a list of pauses such as [\"0s\", \"5m\"]".to_owned()),
        },
        shape::Schedule::Pauses(pauses) => pauses
            .iter()
            .map(|pause| duration(pause))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|pauses| Schedule::new(pauses).map_err(|error| error.to_string())),
    };
    let schedule = problems.keep("webhooks.schedule", schedule);
    let allow_networks = networks("webhooks.allow_networks", &shape.allow_networks, problems);
    let timeout = problems.keep("webhooks.timeout", duration_within(&shape.timeout, TIMEOUT));
    let disable_after = problems.keep("webhooks.disable_after", duration_within(&shape.disable_after, DISABLE_AFTER));
    let formats = formats(&shape.formats, plugins, problems);
    Some(WebhooksConfig {
        schedule: schedule?,
        allow_networks,
        allow_http: shape.allow_http,
        timeout: timeout?,
        disable_after: disable_after?,
        formats,
    })
}

/// The plugins that endpoints may choose, each once, in the operator's order.
fn formats(names: &[String], plugins: &BTreeMap<String, PluginConfig>, problems: &mut Problems) -> Vec<PluginName> {
    const KEY: &str = "webhooks.formats";
    if names.len() > FORMATS_MAX {
        problems.add(KEY, format!("at most {FORMATS_MAX} plugins"));
    }
    let mut formats: Vec<PluginName> = Vec::new();
    for name in names {
        if !plugins.contains_key(name) {
            problems.add(KEY, format!("names the plugin `{name}`, but there is no table [plugins.{name}]"));
        } else if let Some(format) = problems.keep(KEY, name.parse()) {
            if formats.contains(&format) {
                problems.add(KEY, format!("names the plugin `{name}` more than once"));
            }
            formats.push(format);
        }
    }
    formats
}

fn log(shape: shape::Log, problems: &mut Problems) -> Option<LogConfig> {
    let format = match shape.format.as_str() {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => {
            problems.add("log.format", "write \"text\" or \"json\"");
            None
        }
    };
    if EnvFilter::try_new(&shape.level).is_err() {
        problems.add(
            "log.level",
            "write error, warn, info, debug or trace, or filters such as \"info,xthonpay_payments=debug\"",
        );
    }
    Some(LogConfig { format: format?, filter: shape.level })
}

fn plugins(shapes: BTreeMap<String, PluginConfig>, folder: &Path) -> BTreeMap<String, PluginConfig> {
    let absolute = |mut plugin: PluginConfig| {
        plugin.file = folder.join(&plugin.file);
        if let Some(shadow) = &mut plugin.shadow {
            shadow.file = folder.join(&shadow.file);
        }
        plugin
    };
    shapes.into_iter().map(|(name, plugin)| (name, absolute(plugin))).collect()
}

fn hooks(shape: shape::Hooks, plugins: &BTreeMap<String, PluginConfig>, problems: &mut Problems) -> HookBindings {
    let one = |name: String| Some(name).filter(|name| !name.is_empty());
    let hooks = HookBindings {
        invoice_rules: shape.invoice_rules,
        webhook_format: one(shape.webhook_format),
        bot_flow: one(shape.bot_flow),
        withdrawal_policy: shape.withdrawal_policy,
    };
    let bound = [
        ("hooks.invoice-rules", hooks.invoice_rules.iter().collect::<Vec<_>>()),
        ("hooks.webhook-format", hooks.webhook_format.iter().collect()),
        ("hooks.bot-flow", hooks.bot_flow.iter().collect()),
        ("hooks.withdrawal-policy", hooks.withdrawal_policy.iter().collect()),
    ];
    for (key, names) in bound {
        for name in names.into_iter().filter(|name| !plugins.contains_key(*name)) {
            problems.add(key, format!("names the plugin `{name}`, but there is no table [plugins.{name}]"));
        }
    }
    hooks
}

fn upstreams(
    shapes: BTreeMap<String, shape::Upstream>,
    folder: &Path,
    problems: &mut Problems,
) -> BTreeMap<LoanLabel, UpstreamSettings> {
    let mut upstreams = BTreeMap::new();
    for (name, shape) in shapes {
        let key = |field: &str| format!("upstreams.{name}.{field}");
        let label = problems.keep(&format!("upstreams.{name}"), name.parse::<LoanLabel>());
        let timeout = problems.keep(&key("timeout"), duration_within(&shape.timeout, TIMEOUT));
        let allow_networks = networks(&key("allow_networks"), &shape.allow_networks, problems);
        if !shape.base.ends_with('/') {
            problems.add(key("base"), "must end in `/`");
        }
        let Some((label, timeout)) = label.zip(timeout) else { continue };
        let settings = UpstreamSettings {
            base: shape.base,
            headers: shape.headers.into_iter().collect(),
            secret_file: shape.secret_file.map(|file| folder.join(file)),
            allow_networks,
            allow_http: shape.allow_http,
            timeout,
        };
        upstreams.insert(label, settings);
    }
    upstreams
}

fn rates(
    shapes: BTreeMap<String, shape::Rate>,
    upstreams: &BTreeMap<LoanLabel, UpstreamSettings>,
    problems: &mut Problems,
) -> BTreeMap<LoanLabel, RateConfig> {
    let mut rates = BTreeMap::new();
    for (name, shape) in shapes {
        let key = format!("rates.{name}");
        let is_name = |text: &str| {
            let is_currency = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
            is_currency || text.parse::<AssetId>().is_ok()
        };
        for (field, text) in [("base", &shape.base), ("counter", &shape.counter)] {
            if !is_name(text) {
                let wanted = "write an asset such as \"bsc:BNB\", or a currency with the three letters of ISO 4217";
                problems.add(format!("{key}.{field}"), wanted);
            }
        }
        let origin = match (shape.fixed, shape.upstream, shape.path, shape.pointer) {
            (Some(fixed), None, None, None) => Ok(RateOrigin::Fixed(fixed)),
            (None, Some(upstream), Some(path), Some(pointer)) if pointer.starts_with('/') => {
                let known = upstreams.keys().find(|known| known.as_str() == upstream).cloned();
                let missing = || format!("there is no table [upstreams.{upstream}]");
                known.ok_or_else(missing).map(|upstream| RateOrigin::Fetched { upstream, path, pointer })
            }
            _ => Err("set either fixed, or upstream, path and pointer (such as \"/price\")".to_owned()),
        };
        let origin = problems.keep(&key, origin);
        let label = problems.keep(&key, name.parse::<LoanLabel>());
        if let Some((label, origin)) = label.zip(origin) {
            rates.insert(label, RateConfig { base: shape.base, counter: shape.counter, origin });
        }
    }
    rates
}

fn signers(names: &[String], problems: &mut Problems) -> Vec<LoanLabel> {
    const KEY: &str = "signing.signers";
    if names.len() > SIGNERS_MAX {
        problems.add(KEY, format!("at most {SIGNERS_MAX} signers"));
    }
    names.iter().filter_map(|name| problems.keep(KEY, name.parse())).collect()
}

fn networks(key: &str, texts: &[String], problems: &mut Problems) -> Vec<IpNet> {
    if texts.len() > NETWORKS_MAX {
        problems.add(key, format!("at most {NETWORKS_MAX} networks"));
    }
    let parse = |text: &String| {
        IpNet::from_str(text).map_err(|_| format!("`{text}` is not a network: write it as CIDR, such as 10.0.0.0/8"))
    };
    texts.iter().filter_map(|text| problems.keep(key, parse(text))).collect()
}

/// The text of the URL is not repeated: it may hold credentials.
fn http_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or("write an http:// or https:// URL")
}

/// The same for WebSockets.
fn websocket_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "ws" | "wss") && url.has_host());
    url.ok_or("write a ws:// or wss:// URL")
}

fn duration_within(text: &str, (min, max): (Duration, Duration)) -> Result<Duration, String> {
    let parsed = duration(text)?;
    if parsed < min || parsed > max { Err(format!("from {min:?} to {max:?}")) } else { Ok(parsed) }
}
