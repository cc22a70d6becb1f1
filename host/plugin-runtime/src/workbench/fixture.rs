//! Files with calls: what the host tells the plugin, what it lends, and what must come of it. Written in TOML, in the names of the
//! contract.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};

use super::{CallReport, Ending};
use crate::config::ConfigValue;
use crate::limits::LimitsConfig;

/// The largest file that is read.
const BYTES_MAX: u64 = 1_024 * 1_024;

/// The merchant of calls whose file names none.
const MERCHANT: [u8; 16] = [0x11; 16];

/// 2027-01-15T08:00:00Z, the time of calls whose file names none.
const AT_MS: u64 = 1_800_000_000_000;

/// A file that is no call.
#[derive(Debug, Error)]
pub enum FixtureError {
    /// Cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[source] std::io::Error),
    /// Is no TOML, or has an unknown key.
    #[error("{reason}")]
    Shape {
        /// What is wrong.
        reason: String,
    },
    /// Names a function that the hook does not have.
    #[error("function: the hook has no `{function}`; it has {known}")]
    Function {
        /// What is named.
        function: String,
        /// What there is.
        known: String,
    },
    /// A value that the function cannot be called with.
    #[error("{place}: {reason}")]
    Value {
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl FixtureError {
    /// Always `false`: the same file fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// A call from a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fixture {
    /// What it shows; for people.
    #[serde(default)]
    pub about: String,
    /// The function of the hook.
    #[serde(default)]
    pub function: String,
    /// The host's time of the call.
    #[serde(default = "at", deserialize_with = "millis")]
    pub at: Timestamp,
    /// Which try it is.
    #[serde(default = "first")]
    pub attempt: u32,
    /// The merchant of the call; `""` for none.
    #[serde(default = "merchant", deserialize_with = "merchant_text")]
    pub merchant: Option<MerchantId>,
    /// The operator's settings.
    #[serde(default)]
    pub config: BTreeMap<String, ConfigValue>,
    /// Limits other than the defaults.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The parameters by their names.
    #[serde(default)]
    pub input: Value,
    /// What spaces hold, by label and key.
    #[serde(default)]
    pub storage: BTreeMap<String, BTreeMap<String, String>>,
    /// What upstreams answer, by label, in order.
    #[serde(default)]
    pub http: BTreeMap<String, Vec<LaidAnswer>>,
    /// Rates by pair, `bsc:BNB/EUR`.
    #[serde(default)]
    pub rates: BTreeMap<String, String>,
    /// Chains by name.
    #[serde(default)]
    pub chain: BTreeMap<String, LaidChain>,
    /// The purposes of signers, by label.
    #[serde(default)]
    pub signing: BTreeMap<String, Vec<String>>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expected,
}

/// An answer of an upstream.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct LaidAnswer {
    /// Its status; 200 unless it is named.
    pub status: Option<u16>,
    /// Its body.
    pub body: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Why there is none, instead.
    pub unavailable: Option<String>,
}

/// Where a chain stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct LaidChain {
    /// The newest block.
    pub height: u64,
    /// Its time, in milliseconds.
    pub block_time: u64,
    /// The newest final one.
    pub final_height: u64,
    /// The price of a unit of gas, in whole coins.
    pub per_gas: Option<String>,
    /// The payments of invoices, by their ids.
    pub payments: BTreeMap<String, Vec<LaidTransfer>>,
    /// What transactions moved to addresses of the merchant, by their hashes.
    pub transactions: BTreeMap<String, Vec<LaidTransfer>>,
}

/// A transfer on a chain.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "TransferTable")]
pub struct LaidTransfer {
    /// The transfer.
    pub transfer: Transfer,
    /// The block that holds it.
    pub block: u64,
    /// Its time, in milliseconds.
    pub block_time: u64,
    /// Whether that block is final; `None` when the chain's `final-height` decides.
    pub is_final: Option<bool>,
}

/// Decimals with which amounts of files are read: the most that an asset has, so that every amount fits.
pub(super) const DECIMALS: u8 = 18;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TransferTable {
    #[serde(default)]
    tx: String,
    asset: String,
    to: String,
    amount: String,
    block: u64,
    #[serde(default)]
    block_time: u64,
    is_final: Option<bool>,
}

impl TryFrom<TransferTable> for LaidTransfer {
    type Error = String;

    fn try_from(table: TransferTable) -> Result<Self, String> {
        fn read<T: FromStr<Err: fmt::Display>>(key: &str, text: &str) -> Result<T, String> {
            text.parse().map_err(|error| format!("{key} `{text}`: {error}"))
        }
        let origin = match table.tx.as_str() {
            "" => Origin::Balance { block: BlockNumber(table.block) },
            tx => Origin::Transaction { tx: read("tx", tx)?, nth: 0 },
        };
        let identity = TransferIdentity { asset: read("asset", &table.asset)?, to: read("to", &table.to)?, origin };
        let decimals = Decimals::new(DECIMALS).map_err(|error| error.to_string())?;
        let amount = Amount::parse(&table.amount, decimals);
        let amount = amount.map_err(|error| format!("amount `{}`: {error}", table.amount))?;
        let transfer = Transfer { identity, from: None, amount };
        Ok(Self { transfer, block: table.block, block_time: table.block_time, is_final: table.is_final })
    }
}

/// What must come of a call. What is not named may be anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Expected {
    /// The answer: of tables what is named, everything else exactly.
    pub answer: Option<Value>,
    /// Lines, in order: each is part of one that was logged.
    pub log: Vec<String>,
    /// What is kept, by label and key; `""` for a value that is removed.
    pub storage: BTreeMap<String, BTreeMap<String, String>>,
    /// Requests, in order: `GET v1/price`.
    pub requests: Vec<String>,
    /// A failure: its kind (`over_limit`, `trapped`, `bad_output`), or a part of its text.
    pub failure: Option<String>,
}

fn at() -> Timestamp {
    Timestamp::from_millis(AT_MS)
}

fn first() -> u32 {
    1
}

fn merchant() -> Option<MerchantId> {
    Some(MerchantId::from_random(MERCHANT))
}

fn millis<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    u64::deserialize(deserializer).map(Timestamp::from_millis)
}

fn merchant_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<MerchantId>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}

impl Fixture {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FixtureError`].
    pub fn read(path: &Path) -> Result<Self, FixtureError> {
        let bytes = path.metadata().map_err(FixtureError::Io)?.len();
        if bytes > BYTES_MAX {
            return Err(FixtureError::Shape { reason: format!("{bytes} bytes, more than {BYTES_MAX}") });
        }
        let text = std::fs::read_to_string(path).map_err(FixtureError::Io)?;
        Self::parse(&text).map_err(|reason| FixtureError::Shape { reason })
    }

    /// Reads a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())
    }

    /// A call of nothing, to load a plugin without calling it.
    #[must_use]
    pub(super) fn empty() -> Self {
        Self::parse("").expect("everything has a default")
    }

    /// Everything in which a report differs from what must come.
    #[must_use]
    pub fn mismatches(&self, report: &CallReport) -> Vec<Mismatch> {
        let mut found = Vec::new();
        let expected = &self.expect;
        match (&report.ending, &expected.failure) {
            (Ending::Failure { kind, text }, Some(wanted)) if kind != wanted && !text.contains(wanted.as_str()) => {
                found.push(Mismatch::new("failure", wanted, &format!("{kind}: {text}")));
            }
            (Ending::Failure { .. }, Some(_)) => {}
            (Ending::Failure { kind, text }, None) => {
                found.push(Mismatch::new("answer", "an answer", &format!("a failure, {kind}: {text}")));
            }
            (Ending::Answer(answer), Some(wanted)) => {
                found.push(Mismatch::new("failure", wanted, &format!("the answer {answer}")));
            }
            (Ending::Answer(answer), None) => {
                if let Some(wanted) = &expected.answer {
                    compare("answer", wanted, answer, &mut found);
                }
            }
        }
        let mut lines = report.lines.iter();
        for wanted in &expected.log {
            let said = |line: &&crate::LogLine| format!("{} {}", line.text, line.fields).contains(wanted.as_str());
            if !lines.by_ref().any(|line| said(&line)) {
                let all = report.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join(" | ");
                found.push(Mismatch::new("log", wanted, &all));
                break;
            }
        }
        for (label, values) in &expected.storage {
            for (key, wanted) in values {
                let kept = report.kept.get(label).and_then(|kept| kept.get(key));
                let shown = match kept {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Null) => String::new(),
                    Some(other) => other.to_string(),
                    None => "nothing is kept".to_owned(),
                };
                if shown != *wanted {
                    found.push(Mismatch::new(&format!("storage.{label}.{key}"), wanted, &shown));
                }
            }
        }
        if !expected.requests.is_empty() {
            let made: Vec<String> =
                report.requests.iter().map(|(_, method, path)| format!("{method} {path}")).collect();
            if made != expected.requests {
                found.push(Mismatch::new("requests", &expected.requests.join(", "), &made.join(", ")));
            }
        }
        found
    }
}

/// Something that came otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where.
    pub place: String,
    /// What was to come.
    pub expected: String,
    /// What came.
    pub came: String,
}

impl Mismatch {
    fn new(place: &str, expected: &str, came: &str) -> Self {
        Self { place: place.to_owned(), expected: expected.to_owned(), came: came.to_owned() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, came {}", self.place, self.expected, self.came)
    }
}

/// Compares what is named: of tables the named fields, of lists every element.
fn compare(place: &str, wanted: &Value, came: &Value, found: &mut Vec<Mismatch>) {
    match (wanted, came) {
        (Value::Object(wanted), Value::Object(came)) => {
            for (name, wanted) in wanted {
                let inner = format!("{place}.{name}");
                match came.get(name) {
                    Some(came) => compare(&inner, wanted, came, found),
                    None => found.push(Mismatch::new(&inner, &wanted.to_string(), "nothing")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(came)) if wanted.len() == came.len() => {
            for (at, (wanted, came)) in wanted.iter().zip(came).enumerate() {
                compare(&format!("{place}[{at}]"), wanted, came, found);
            }
        }
        // TOML has no null.
        (Value::String(none), Value::Null) if none == "none" => {}
        _ if same(wanted, came) => {}
        _ => found.push(Mismatch::new(place, &wanted.to_string(), &came.to_string())),
    }
}

/// Numbers are equal by value, whichever way they are written.
fn same(wanted: &Value, came: &Value) -> bool {
    wanted == came || wanted.as_u64().zip(came.as_u64()).is_some_and(|(wanted, came)| wanted == came)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_compared_by_what_is_named() {
        let compared = |wanted: &str, came: &str| {
            let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
            let mut found = Vec::new();
            compare("answer", &value(wanted), &value(came), &mut found);
            found.len()
        };
        for (wanted, came, mismatches) in [
            (r#"{"ok": {}}"#, r#"{"ok": {"a": 1}}"#, 0),
            (r#"{"ok": {"a": 1}}"#, r#"{"ok": {"a": 1, "b": 2}}"#, 0),
            (r#"{"ok": {"a": 2, "c": 1}}"#, r#"{"ok": {"a": 1, "b": 2}}"#, 2),
            (r#"{"ok": "none"}"#, r#"{"ok": null}"#, 0),
            (r#"{"ok": {}}"#, r#"{"ok": null}"#, 1),
            (r#"[1, {"a": 1}]"#, r#"[1, {"a": 1, "b": 2}]"#, 0),
            (r#"[1]"#, r#"[1, 2]"#, 1),
            (r#"{"ok": {}}"#, r#"{"err": {}}"#, 1),
        ] {
            assert_eq!(compared(wanted, came), mismatches, "{wanted} {came}");
        }
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = Fixture::parse("function = 'on-draft'\nexpects = 1").expect_err("a typing error");
        assert!(error.contains("expects"), "{error}");
        let to = "0x1111111111111111111111111111111111111111";
        let chain = |amount: &str| {
            let transfer = format!("{{ asset = 'bsc:USDT', to = '{to}', amount = '{amount}', block = 7 }}");
            Fixture::parse(&format!("[chain.bsc.payments]\ninv_1 = [{transfer}]"))
        };
        assert_eq!(chain("1.5").expect("sound").chain["bsc"].payments["inv_1"][0].block, 7);
        let error = chain("1e3").expect_err("no amount");
        assert!(error.contains("amount `1e3`"), "{error}");
        let fixture = Fixture::parse("function = 'on-draft'\nmerchant = ''").expect("sound");
        assert_eq!((fixture.merchant, fixture.attempt), (None, 1));
    }
}
