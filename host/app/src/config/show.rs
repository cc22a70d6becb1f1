//! The effective config for people and scripts, in the shape of the config file.

use serde_json::{Map, Value, json};
use url::Url;
use xthonpay_chain_evm::{CatchUp, Finality};
use xthonpay_domain::asset::AssetKind;
use xthonpay_plugin_runtime::{ConfigValue, PluginConfig};

use super::{ChainConfig, Config, LogFormat, PassphraseSource, RateConfig, RateOrigin, UpstreamSettings};

pub(super) fn to_json(config: &Config) -> Value {
    let passphrase = match &config.vault.passphrase {
        PassphraseSource::Variable => json!({"variable": super::PASSPHRASE_VARIABLE}),
        PassphraseSource::File(file) => json!({"file": file}),
    };
    let chains: Map<String, Value> =
        config.chains.iter().map(|chain| (chain.evm.name.to_string(), chain_to_json(chain))).collect();
    let plugins: Map<String, Value> =
        config.plugins.iter().map(|(name, plugin)| (name.clone(), plugin_to_json(plugin))).collect();
    json!({
        "data": {"dir": config.data_dir},
        "server": {
            "listen": config.server.listen.to_string(),
            "public_url": config.server.public_url.as_str(),
            "trusted_proxies": texts(&config.server.trusted_proxies),
            "metrics_networks": texts(&config.server.metrics_networks),
            "requests_per_minute": config.server.requests_per_minute,
            "failed_requests_per_minute": config.server.failed_requests_per_minute,
        },
        "auth": {"allow_timestamp_scheme": config.allow_timestamp_scheme},
        "store": {
            "endpoint": config.store.endpoint,
            "namespace": config.store.namespace,
            "database": config.store.database,
            "username": config.store.login.as_ref().map(|(user, _)| user),
            "password_file": config.store.login.as_ref().map(|(_, file)| file),
        },
        "vault": {"file": config.vault.file, "passphrase": passphrase},
        "chains": chains,
        "webhooks": {
            "schedule_ms": config.webhooks.schedule.pauses().iter().map(|pause| millis(*pause)).collect::<Vec<_>>(),
            "allow_networks": texts(&config.webhooks.allow_networks),
            "allow_http": config.webhooks.allow_http,
            "timeout_ms": millis(config.webhooks.timeout),
            "disable_after_ms": millis(config.webhooks.disable_after),
            "formats": texts(&config.webhooks.formats),
        },
        "test_mode": {"enabled": config.test_mode},
        "upstreams": config.upstreams.iter().map(|(name, upstream)| (name.to_string(), upstream_to_json(upstream))).collect::<Map<_, _>>(),
        "rates": config.rates.iter().map(|(name, rate)| (name.to_string(), rate_to_json(rate))).collect::<Map<_, _>>(),
        "signing": {"signers": texts(&config.signers)},
        "hooks": {
            "invoice-rules": config.hooks.invoice_rules,
            "webhook-format": config.hooks.webhook_format,
            "bot-flow": config.hooks.bot_flow,
            "withdrawal-policy": config.hooks.withdrawal_policy,
        },
        "plugins": plugins,
        "log": {
            "format": match config.log.format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            },
            "level": config.log.filter,
        },
    })
}

fn plugin_to_json(plugin: &PluginConfig) -> Value {
    let settings: Map<String, Value> = plugin
        .config
        .iter()
        .map(|(key, value)| {
            let value = match value {
                ConfigValue::Text(text) => json!(text),
                ConfigValue::List(parts) => json!(parts),
            };
            (key.clone(), value)
        })
        .collect();
    json!({
        "file": plugin.file,
        "sha256": plugin.sha256.map(|digest| digest.to_string()),
        "minisign": plugin.minisign.is_some(),
        "watch": plugin.watch,
        "shadow": plugin.shadow.as_ref().map(|shadow| &shadow.file),
        "required": plugin.required,
        "config": settings,
        "grants": plugin.grants.keys().collect::<Vec<_>>(),
    })
}

/// Without the values of headers, which may hold what only the upstream should see.
fn upstream_to_json(upstream: &UpstreamSettings) -> Value {
    json!({
        "base": upstream.base,
        "headers": upstream.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "secret_file": upstream.secret_file,
        "allow_networks": texts(&upstream.allow_networks),
        "allow_http": upstream.allow_http,
        "timeout_ms": millis(upstream.timeout),
    })
}

fn rate_to_json(rate: &RateConfig) -> Value {
    let (base, counter) = (&rate.base, &rate.counter);
    match &rate.origin {
        RateOrigin::Fixed(fixed) => json!({"base": base, "counter": counter, "fixed": fixed}),
        RateOrigin::Fetched { upstream, path, pointer } => json!({
            "base": base, "counter": counter, "upstream": upstream.to_string(), "path": path, "pointer": pointer,
        }),
    }
}

fn chain_to_json(chain: &ChainConfig) -> Value {
    let assets: Map<String, Value> = chain
        .evm
        .assets
        .iter()
        .map(|asset| {
            let kind = match asset.kind {
                AssetKind::Native => json!({"native": true, "decimals": asset.decimals.get()}),
                AssetKind::Token { contract } => {
                    json!({"contract": contract.to_string(), "decimals": asset.decimals.get()})
                }
            };
            (asset.id.symbol.to_string(), kind)
        })
        .collect();
    json!({
        "chain_id": chain.evm.chain_id,
        "nodes": chain.evm.nodes.iter().map(without_credentials).collect::<Vec<_>>(),
        "finality": match chain.evm.finality {
            Finality::Tag => json!("finalized"),
            Finality::Depth(depth) => json!(depth),
        },
        "catch_up": match chain.evm.catch_up {
            CatchUp::Blocks => "blocks",
            CatchUp::Logs => "logs",
        },
        "quorum": chain.evm.quorum,
        "fallback_depth": chain.evm.fallback_depth,
        "checkpoint": chain.evm.checkpoint.map(|block| json!({"number": block.number.0, "hash": block.hash.to_string()})),
        "websockets": chain.evm.websockets.iter().map(websocket_without_credentials).collect::<Vec<_>>(),
        "min_confirmations": chain.terms.min_confirmations,
        "poll_interval_ms": millis(chain.poll_interval),
        "request_timeout_ms": millis(chain.evm.request_timeout),
        "assets": assets,
    })
}

/// Scheme, host and port: user, password, path and query of a node's address may be credentials.
fn without_credentials(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The same for an address whose scheme has no origin of its own.
fn websocket_without_credentials(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
