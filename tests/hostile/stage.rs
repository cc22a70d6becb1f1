//! The host under attack: a victim, an attacker, and one plugin that is exchanged.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use xthonpay_tests::BoxError;
use xthonpay_tests::chain::{Anvil, AnvilOptions, Mining, TestChain, anvil_binary};
use xthonpay_tests::client::{MerchantClient, Scheme, now_s};
use xthonpay_tests::guest::Guest;
use xthonpay_tests::host::{HostConfig, HostProcess, PluginEntry};
use xthonpay_tests::places::Places;
use xthonpay_tests::process::resident_kib;

use crate::load::{Victim, p99};
use crate::rows::{Expected, Row};
use crate::verdict::RowOutcome;

/// The name of the plugin that is exchanged.
const SUBJECT: &str = "subject";
/// Blocks are not what matters here.
const BLOCK_TIME: Duration = Duration::from_secs(1);
/// How long the victim is timed without hostile plugins, once before them and once after.
const QUIET: Duration = Duration::from_secs(15);
/// Orders of the attacker in one round: a plugin that fails is left alone after five.
const ORDERS: usize = 12;
/// The pause between two of them.
const ORDER_PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Stage {
    host: HostProcess,
    config: String,
    attacker: MerchantClient,
    victim: Victim,
    foreign_invoice: String,
    quiet: Vec<Duration>,
    times: Vec<Duration>,
    orders: u64,
    harmless: u32,
    // Behind the host, which must end first.
    _anvil: Anvil,
    _folder: TempDir,
}

impl Stage {
    pub(crate) async fn set() -> Result<Self, BoxError> {
        let places = Places::find()?;
        let options = AnvilOptions::new(anvil_binary(&places.tools)?).mining(Mining::Interval(BLOCK_TIME));
        let anvil = Anvil::start(options).await?;
        let usdt = TestChain::connect(anvil.url()).await?.deploy_usdt("Tether USD", "USDT", 18).await?;
        let folder = tempfile::tempdir()?;
        let plugin = PluginEntry::new(SUBJECT, folder.path().join("subject.wasm"));
        let mut config = HostConfig::new(anvil.url(), usdt).with_plugins(vec![plugin], None);
        config.requests_per_minute = 600_000;
        config.failed_requests_per_minute = 600_000;
        let config = format!(
            "{}\n[upstreams.shop]\nbase = 'https://shop.example/v1/'\n",
            config.to_toml().replace("level = \"info\"", "level = \"warn\"")
        );
        let mut host = HostProcess::prepare_in(folder.path(), &places, &config)?;
        install(&host, &config, &Row::good(0))?;
        host.restart().await?;
        let (one, other) = (host.create_merchant("victim").await?, host.create_merchant("attacker").await?);
        let key = host.create_key(&one, "read,write", Scheme::Request, &[]).await?;
        let client = Arc::new(MerchantClient::new(host.base_url(), key)?);
        let key = host.create_key(&other, "read,write", Scheme::Request, &[]).await?;
        let attacker = MerchantClient::new(host.base_url(), key)?;
        let invoice = client.post("/invoices", &json!({"amount": "1", "asset": "USDT"})).await?.data()?;
        let foreign_invoice = invoice["invoice_id"].as_str().ok_or("no invoice")?.to_owned();
        let victim = Victim::begin(&client, &foreign_invoice);
        Ok(Self {
            host,
            config,
            attacker,
            victim,
            foreign_invoice,
            quiet: Vec::new(),
            times: Vec::new(),
            orders: 0,
            harmless: 0,
            _anvil: anvil,
            _folder: folder,
        })
    }

    /// An invoice of the victim.
    pub(crate) fn foreign_invoice(&self) -> &str {
        &self.foreign_invoice
    }

    pub(crate) fn resident_kib(&self) -> Result<u64, BoxError> {
        resident_kib(self.host.pid().ok_or("the host is gone")?)
    }

    /// Times the victim while plugins that do no harm are exchanged and called as the hostile ones are.
    pub(crate) async fn quiet(&mut self) -> Result<(), BoxError> {
        self.order_some().await?;
        self.victim.take().await?;
        let until = Instant::now() + QUIET;
        while Instant::now() < until {
            self.harmless += 1;
            self.round(&Row::good(self.harmless)).await?.map_err(|what| format!("a harmless plugin: {what}"))?;
        }
        self.quiet.extend(self.victim.take().await?);
        Ok(())
    }

    /// The victim's p99 beside harmless plugins, and over all rows.
    pub(crate) fn end(mut self) -> [Duration; 2] {
        [p99(&mut self.quiet), p99(&mut self.times)]
    }

    /// Loads a hostile plugin and calls it, some rounds.
    pub(crate) async fn row(&mut self, row: &Row, rounds: u32) -> Result<RowOutcome, BoxError> {
        let mut seen = Vec::new();
        for _ in 0..rounds {
            let found = self.round(row).await?;
            self.times.extend(self.victim.take().await?);
            match found {
                Ok(what) => seen.push(what),
                Err(what) => return Ok(RowOutcome { name: row.name, contained: false, what }),
            }
        }
        seen.dedup();
        Ok(RowOutcome { name: row.name, contained: true, what: seen.join("; ") })
    }

    async fn round(&mut self, row: &Row) -> Result<Result<String, String>, BoxError> {
        let before = self.calls().await?;
        install(&self.host, &self.config, row)?;
        let reloaded = self
            .host
            .command_within(Duration::from_secs(200), &["plugins", "reload", SUBJECT, "--accept", "--json"])
            .await?;
        let told = String::from_utf8_lossy(&reloaded.stderr).into_owned();
        match &row.expected {
            Expected::Refused(words) => {
                let missing = words.iter().find(|word| !told.contains(**word));
                self.order_some().await?;
                if reloaded.status.success() {
                    return Ok(Err("it was loaded".to_owned()));
                }
                if let Some(missing) = missing {
                    return Ok(Err(format!("refused without a word about `{missing}`: {told}")));
                }
                Ok(Ok("refused at load".to_owned()))
            }
            Expected::Outcome(wanted) => {
                if !reloaded.status.success() {
                    return Ok(Err(format!("was to be loaded: {told}")));
                }
                self.order_some().await?;
                let after = self.calls().await?;
                let delta: BTreeMap<&str, u64> = after
                    .iter()
                    .map(|(outcome, count)| {
                        (outcome.as_str(), count.saturating_sub(before.get(outcome).copied().unwrap_or(0)))
                    })
                    .filter(|(_, count)| *count > 0)
                    .collect();
                let others = delta.keys().find(|outcome| **outcome != *wanted && **outcome != "left_alone");
                if let Some(other) = others {
                    return Ok(Err(format!("{other} in place of {wanted}: {delta:?}")));
                }
                match delta.get(wanted) {
                    Some(_) => Ok(Ok((*wanted).to_owned())),
                    None => Ok(Err(format!("no call ended as {wanted}: {delta:?}"))),
                }
            }
        }
    }

    /// Orders of the attacker. Whatever the plugin does, the host answers each.
    async fn order_some(&mut self) -> Result<(), BoxError> {
        for _ in 0..ORDERS {
            self.orders += 1;
            let order = json!({"amount": "1", "asset": "USDT", "external_id": format!("order-{}", self.orders)});
            // No two orders are equal, so that equal seconds do no harm.
            let (now, body) = (now_s().to_string(), order.to_string());
            let request = self.attacker.sign_at(&now, "POST", "/invoices", body.as_bytes());
            let answer = self.attacker.send(request).await?;
            if answer.status != 201 {
                return Err(format!("an order was answered with {} {}", answer.status, answer.json()).into());
            }
            sleep(ORDER_PAUSE).await;
        }
        Ok(())
    }

    /// How calls of the plugin ended so far.
    async fn calls(&self) -> Result<BTreeMap<String, u64>, BoxError> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let text = http.get(format!("{}/metrics", self.host.base_url())).send().await?.text().await?;
        let mut calls = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("xthonpay_plugin_calls_total{")) {
            let Some((_, rest)) = line.split_once("outcome=\"") else { continue };
            let Some((outcome, _)) = rest.split_once('"') else { continue };
            let count: u64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
            if line.contains("on-draft") {
                *calls.entry(outcome.to_owned()).or_default() += count;
            }
        }
        Ok(calls)
    }
}

/// Puts the files of a row where the host looks for them.
fn install(host: &HostProcess, config: &str, row: &Row) -> Result<(), BoxError> {
    let folder = host.folder();
    std::fs::write(folder.join("subject.wasm"), &row.component)?;
    std::fs::write(folder.join("subject.toml"), &row.manifest)?;
    let table = format!("[plugins.{SUBJECT}]");
    let with_row = config.replace(&table, &format!("{table}\n{}", row.table));
    host.configure(&with_row)
}

/// What the plugin is called.
pub(crate) fn subject() -> &'static str {
    SUBJECT
}

/// A plugin that does what it should.
pub(crate) fn good() -> Guest {
    Guest::rules()
}
