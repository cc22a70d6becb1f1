//! What is kept of calls that failed: enough to make the same call again, away from the host.
//!
//! A capture is a file of the workbench: what the plugin was told, its settings, and what it was lent. It stays in memory, the
//! newest of each plugin, and leaves the host only when its operator asks for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use xthonpay_domain::time::Timestamp;

use crate::artefact::Digest;
use crate::bindings::base::xthonpay::host::types::Transfer;
use crate::capability::log::LogLine;
use crate::fault::CallFault;
use crate::instance::{Call, Profile};
use crate::limits::Limit;

/// Captures of one plugin that are kept, the newest.
const CAPTURES_MAX: usize = 50;

/// Plugins with captures: more than can be bound.
const PLUGINS_MAX: usize = 64;

/// Bytes of what was lent that one capture remembers.
const LENT_BYTES_MAX: usize = 256 * 1_024;

/// What a few numbers about a chain take of it, and a transfer.
const CHAIN_FACTS_BYTES: usize = 64;
const TRANSFER_BYTES: usize = 256;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// When, by the host's clock.
    pub at: Timestamp,
    /// The function of the hook.
    pub function: &'static str,
    /// Names the fact that was to be decided.
    pub call_id: String,
    /// The component.
    pub digest: Digest,
    /// How it failed, as in metrics.
    pub kind: &'static str,
    /// What happened and what to change.
    pub failure: String,
    /// What it logged.
    pub lines: Vec<LogLine>,
    /// The call as a file for `xthonpay plugin run` and `replay`. Holds what the merchant wrote into the order.
    pub fixture: String,
}

/// What is noted while a call runs, for whoever waits for it and for the call itself: who gives up waiting still learns what came
/// of it until then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>);

/// What a call was lent and logged so far.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// What it logged.
    pub(crate) lines: Vec<LogLine>,
    storage: BTreeMap<String, BTreeMap<String, String>>,
    http: BTreeMap<String, Vec<toml::Value>>,
    rates: BTreeMap<String, String>,
    chain: BTreeMap<String, toml::Table>,
    bytes: usize,
}

impl Notes {
    /// All of it; later notes begin anew.
    pub(crate) fn take(&self) -> Noted {
        core::mem::take(&mut *self.lock())
    }

    /// A line of the log, which has its own limit.
    pub(crate) fn line(&self, line: LogLine) {
        self.lock().lines.push(line);
    }

    /// A value that was read. What is no text cannot stand in a file, and is left out.
    pub(crate) fn value(&self, label: &str, key: &str, value: &[u8]) {
        let Ok(text) = core::str::from_utf8(value) else { return };
        let mut noted = self.lock();
        if noted.room(key.len().saturating_add(text.len())) {
            noted.storage.entry(label.to_owned()).or_default().insert(key.to_owned(), text.to_owned());
        }
    }

    /// An answer of an upstream, or why there was none.
    pub(crate) fn answer(&self, label: &str, answer: Result<(u16, &[u8]), &str>) {
        let mut noted = self.lock();
        if !noted.room(answer.map_or_else(str::len, |(_, body)| body.len())) {
            return;
        }
        let mut laid_out = toml::Table::new();
        match answer {
            Ok((status, body)) => {
                laid_out.insert("status".to_owned(), i64::from(status).into());
                laid_out.insert("body".to_owned(), String::from_utf8_lossy(body).into_owned().into());
            }
            Err(reason) => drop(laid_out.insert("unavailable".to_owned(), reason.into())),
        }
        noted.http.entry(label.to_owned()).or_default().push(laid_out.into());
    }

    /// A rate.
    pub(crate) fn rate(&self, base: &str, counter: &str, rate: &str) {
        let mut noted = self.lock();
        if noted.room(rate.len()) {
            noted.rates.insert(format!("{base}/{counter}"), rate.to_owned());
        }
    }

    /// Something about a chain, in the words of a file.
    pub(crate) fn chain(&self, name: &str, facts: impl IntoIterator<Item = (&'static str, toml::Value)>) {
        let mut noted = self.lock();
        if noted.room(CHAIN_FACTS_BYTES) {
            let known = noted.chain.entry(name.to_owned()).or_default();
            known.extend(facts.into_iter().map(|(key, value)| (key.to_owned(), value)));
        }
    }

    /// Transfers that were shown: the `payments` of an invoice, or those of one of the `transactions`.
    pub(crate) fn transfers(&self, chain: &str, what: &'static str, of: &str, transfers: &[Transfer]) {
        let mut noted = self.lock();
        if !noted.room(transfers.len().saturating_mul(TRANSFER_BYTES)) {
            return;
        }
        let known = noted.chain.entry(chain.to_owned()).or_default();
        let all = known.entry(what).or_insert_with(|| toml::Table::new().into());
        if let Some(all) = all.as_table_mut() {
            all.insert(of.to_owned(), transfers.iter().map(transfer).collect::<Vec<_>>().into());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn room(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes <= LENT_BYTES_MAX
    }
}

fn transfer(shown: &Transfer) -> toml::Value {
    let mut laid_out = toml::Table::new();
    let mut put = |key: &str, value: toml::Value| drop(laid_out.insert(key.to_owned(), value));
    put("tx", shown.tx.clone().into());
    put("asset", shown.asset.clone().into());
    put("to", shown.to.clone().unwrap_or_default().into());
    put("amount", shown.amount.clone().into());
    put("block", whole(shown.block));
    put("block-time", whole(shown.block_time));
    put("is-final", shown.is_final.into());
    laid_out.into()
}

/// A whole number as TOML has it.
pub(crate) fn whole(number: u64) -> toml::Value {
    toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// What is known about a call, in case it fails.
pub(crate) struct Evidence {
    pub(crate) call: Call,
    pub(crate) attempt: u32,
    pub(crate) noted: Noted,
    /// The parameters, made when they are needed.
    pub(crate) input: Box<dyn FnOnce() -> Value + Send>,
}

/// The captures of all plugins, by name.
#[derive(Default)]
pub(crate) struct Captures(Mutex<BTreeMap<String, Arc<Shelf>>>);

/// The captures of one plugin.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<VecDeque<Capture>>);

impl Captures {
    /// Those of a plugin; they outlive its exchange.
    pub(crate) fn of(&self, plugin: &str) -> Arc<Shelf> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= PLUGINS_MAX && !all.contains_key(plugin) {
            return Arc::default();
        }
        Arc::clone(all.entry(plugin.to_owned()).or_default())
    }
}

impl Shelf {
    /// Keeps a call that failed.
    pub(crate) fn keep(&self, evidence: Evidence, digest: Digest, profile: &Profile, fault: &CallFault) {
        let Evidence { call, attempt, mut noted, input } = evidence;
        let capture = Capture {
            at: call.at,
            function: call.function,
            digest,
            kind: fault.outcome().name(),
            failure: fault.to_string(),
            lines: core::mem::take(&mut noted.lines),
            fixture: fixture(&call, attempt, profile, noted, &input(), fault),
            call_id: call.id,
        };
        let mut kept = self.lock();
        while kept.len() >= CAPTURES_MAX {
            kept.pop_front();
        }
        kept.push_back(capture);
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The newest first.
    pub(crate) fn all(&self) -> Vec<Capture> {
        self.lock().iter().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Capture>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fixture(call: &Call, attempt: u32, profile: &Profile, lent: Noted, input: &Value, fault: &CallFault) -> String {
    let mut file = toml::Table::new();
    file.insert("about".to_owned(), format!("{} of {} failed: {fault}", call.id, profile.name).into());
    file.insert("function".to_owned(), call.function.into());
    file.insert("at".to_owned(), whole(call.at.as_millis()));
    file.insert("attempt".to_owned(), whole(attempt.into()));
    let merchant = call.merchant.as_ref().map(ToString::to_string).unwrap_or_default();
    file.insert("merchant".to_owned(), merchant.into());
    let config = profile.settings.entries().into_iter().map(|(key, value)| (key, value.into())).collect();
    file.insert("config".to_owned(), toml::Value::Table(config));
    let limits = Limit::all().map(|limit| (limit.key().to_owned(), whole(profile.limits.get(limit))));
    file.insert("limits".to_owned(), toml::Value::Table(limits.collect()));
    let mut expected = toml::Table::new();
    expected.insert("failure".to_owned(), fault.outcome().name().into());
    file.insert("expect".to_owned(), toml::Value::Table(expected));
    file.insert("input".to_owned(), to_toml(input).unwrap_or_else(|| toml::Value::Table(toml::Table::new())));
    file.extend(laid_out(lent));
    toml::to_string(&file).unwrap_or_default()
}

/// What was lent, as the tables of a file.
fn laid_out(lent: Noted) -> toml::Table {
    let mut file = toml::Table::new();
    let table = |entries: BTreeMap<String, toml::Value>| toml::Value::Table(entries.into_iter().collect());
    let texts =
        |values: BTreeMap<String, String>| table(values.into_iter().map(|(key, text)| (key, text.into())).collect());
    file.insert(
        "storage".to_owned(),
        table(lent.storage.into_iter().map(|(label, values)| (label, texts(values))).collect()),
    );
    file.insert("http".to_owned(), table(lent.http.into_iter().map(|(label, all)| (label, all.into())).collect()));
    file.insert("rates".to_owned(), texts(lent.rates));
    file.insert("chain".to_owned(), table(lent.chain.into_iter().map(|(name, facts)| (name, facts.into())).collect()));
    file
}

/// A file of nothing but what was lent.
#[cfg(test)]
pub(crate) fn file_of(lent: Noted) -> String {
    toml::to_string(&laid_out(lent)).expect("well formed")
}

/// JSON as TOML, which has no null: what is null is left out, and a case without a value is its word.
fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.to_string().into(),
        },
        Value::String(text) => text.clone().into(),
        Value::Array(items) => items.iter().filter_map(to_toml).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let mut only = fields.iter();
            if let (Some((case, Value::Null)), None) = (only.next(), only.next())
                && case.starts_with(|first: char| first.is_ascii_uppercase())
            {
                return Some(case.clone().into());
            }
            let entries = fields.iter().filter_map(|(key, value)| Some((key.clone(), to_toml(value)?)));
            toml::Value::Table(entries.collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::hook::Hook;
    use crate::instance::Effects;
    use crate::limits::{Limits, LimitsConfig};
    use crate::loan::Borrowed;
    use crate::settings::Settings;

    #[test]
    fn json_becomes_toml_without_null() {
        let value = json!({"a": null, "b": [1, "x"], "c": {"Start": null}, "d": {"Text": "y"}, "e": u64::MAX});
        let text = to_toml(&value).map(|value| value.to_string()).unwrap_or_default();
        let table: toml::Table = toml::from_str(&format!("v = {text}")).expect("well formed");
        assert_eq!(table["v"]["c"], "Start".into());
        assert_eq!(table["v"]["d"]["Text"], "y".into());
        assert_eq!(table["v"]["e"], u64::MAX.to_string().into());
        assert!(table["v"].get("a").is_none());
    }

    #[test]
    fn the_newest_are_kept() {
        let shelf = Shelf::default();
        let profile = Profile {
            name: "mine".to_owned(),
            settings: Settings::default(),
            limits: Limits::resolve("mine", Hook::InvoiceRules, &LimitsConfig::default(), &mut Vec::new()),
            borrowed: Borrowed::nothing("mine"),
            effects: Effects::default(),
        };
        for number in 0..CAPTURES_MAX + 5 {
            let call =
                Call { function: "on-draft", id: number.to_string(), at: Timestamp::from_secs(1), merchant: None };
            let input = Box::new(|| json!({"draft": {}}));
            let evidence = Evidence { call, attempt: 1, noted: Noted::default(), input };
            let fault = CallFault::BadOutput { what: "a lie".to_owned() };
            shelf.keep(evidence, Digest::of(b""), &profile, &fault);
        }
        let all = shelf.all();
        assert_eq!((all.len(), all[0].call_id.as_str()), (CAPTURES_MAX, "54"));
        let parsed = crate::workbench::Fixture::parse(&all[0].fixture).expect("a file of the workbench");
        assert_eq!((parsed.function.as_str(), parsed.merchant), ("on-draft", None));
    }
}
