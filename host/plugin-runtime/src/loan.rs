//! What a plugin is lent: the operator's grants, read, bounded, and joined with what the deployment has to lend.
//!
//! Whether a capability may be linked at all is decided by `grant`; what its functions may do with which label stands here.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use xthonpay_domain::text::{ChainName, LoanLabel, PluginName};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::budgets::Budgets;
use xthonpay_payments::port::lending::Loans;
use xthonpay_payments::port::lending::attestation::Attestor;
use xthonpay_payments::port::lending::chain_reader::ChainReader;
use xthonpay_payments::port::lending::rates::Rates;
use xthonpay_payments::port::lending::storage::PluginStorage;
use xthonpay_payments::port::lending::upstream::{Method, Upstream};

use crate::fault::{Problem, plugin_key};
use crate::grant::Capability;

/// The most labels of one capability that a plugin can be granted: a place each in tables of every call.
const LABELS_MAX: usize = 32;
/// What one space holds when the grant does not say, and at most, in KiB. A space exists for each merchant.
const QUOTA_KIB_DEFAULT: u64 = 1_024;
const QUOTA_KIB_MAX: u64 = 65_536;
/// Requests to one upstream in a minute, and signatures with one signer, when the grant does not say.
const PER_MINUTE_DEFAULT: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// The longest word of a purpose.
const PURPOSE_BYTES_MAX: usize = 64;

/// A granted space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpaceGrant {
    pub(crate) quota_bytes: u64,
}

/// A granted upstream.
pub(crate) struct UpstreamGrant {
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) methods: BTreeSet<Method>,
    /// How paths begin that may be asked for; empty for any.
    pub(crate) paths: Vec<String>,
    per_minute: NonZeroU32,
}

/// A granted signer.
pub(crate) struct SignerGrant {
    pub(crate) attestor: Arc<dyn Attestor>,
    pub(crate) purposes: BTreeSet<String>,
    per_minute: NonZeroU32,
}

/// Everything that one plugin is lent.
pub(crate) struct Borrowed {
    pub(crate) plugin: Option<PluginName>,
    pub(crate) storage: Option<Arc<dyn PluginStorage>>,
    pub(crate) spaces: BTreeMap<LoanLabel, SpaceGrant>,
    pub(crate) upstreams: BTreeMap<LoanLabel, UpstreamGrant>,
    pub(crate) chains: BTreeMap<ChainName, Arc<dyn ChainReader>>,
    pub(crate) signers: BTreeMap<LoanLabel, SignerGrant>,
    pub(crate) rates: Option<Arc<dyn Rates>>,
    budgets: Budgets<(Capability, LoanLabel)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpaceTable {
    #[serde(default = "quota")]
    quota_kib: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamTable {
    upstream: Option<String>,
    methods: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default = "per_minute")]
    per_minute: NonZeroU32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignerTable {
    signer: Option<String>,
    purposes: Vec<String>,
    #[serde(default = "per_minute")]
    per_minute: NonZeroU32,
}

fn quota() -> u64 {
    QUOTA_KIB_DEFAULT
}

fn per_minute() -> NonZeroU32 {
    PER_MINUTE_DEFAULT
}

/// Reads the grants of one plugin and notes what is wrong with them.
struct Reader<'a> {
    plugin: &'a str,
    loans: &'a Loans,
    problems: &'a mut Vec<Problem>,
}

impl Borrowed {
    /// What the operator grants a plugin, as far as the deployment has it. Everything else is noted as a problem.
    pub(crate) fn resolve(
        plugin: &str,
        grants: &BTreeMap<String, toml::Value>,
        loans: &Loans,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut reader = Reader { plugin, loans, problems };
        let grant = |capability: Capability| grants.get(capability.name());
        let mut borrowed = Self::nothing(plugin);
        if let Some(value) = grant(Capability::Storage) {
            borrowed.storage = reader.lent(Capability::Storage, loans.storage.clone());
            borrowed.spaces = reader.labels(Capability::Storage, value, Reader::space);
        }
        if let Some(value) = grant(Capability::Http) {
            borrowed.upstreams = reader.labels(Capability::Http, value, Reader::upstream);
        }
        if let Some(value) = grant(Capability::Chain) {
            borrowed.chains = reader.chains(value);
        }
        if let Some(value) = grant(Capability::Signing) {
            borrowed.signers = reader.labels(Capability::Signing, value, Reader::signer);
        }
        if let Some(value) = grant(Capability::Rates) {
            borrowed.rates = reader.rates(value);
        }
        borrowed
    }

    /// Nothing at all.
    pub(crate) fn nothing(plugin: &str) -> Self {
        Self {
            plugin: plugin.parse().ok(),
            storage: None,
            spaces: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            chains: BTreeMap::new(),
            signers: BTreeMap::new(),
            rates: None,
            budgets: Budgets::new(),
        }
    }

    /// Whether a label of a capability is granted.
    pub(crate) fn has(&self, capability: Capability, label: &str) -> bool {
        match capability {
            Capability::Storage => self.spaces.keys().any(|granted| granted.as_str() == label),
            Capability::Http => self.upstreams.keys().any(|granted| granted.as_str() == label),
            Capability::Signing => self.signers.keys().any(|granted| granted.as_str() == label),
            Capability::Chain => self.chains.keys().any(|granted| granted.as_str() == label),
            Capability::Log | Capability::Clock | Capability::Config | Capability::Rates => false,
        }
    }

    /// Spends one request of an upstream's budget; `false` when it is spent.
    pub(crate) fn may_send(&self, label: &LoanLabel, grant: &UpstreamGrant, now: Timestamp) -> bool {
        self.budgets.spend(&(Capability::Http, label.clone()), grant.per_minute, now).is_ok()
    }

    /// Spends one signature of a signer's budget; `false` when it is spent.
    pub(crate) fn may_sign(&self, label: &LoanLabel, grant: &SignerGrant, now: Timestamp) -> bool {
        self.budgets.spend(&(Capability::Signing, label.clone()), grant.per_minute, now).is_ok()
    }
}

impl Reader<'_> {
    fn note(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(Problem { key: plugin_key(self.plugin, &format!("grants.{key}")), message: message.into() });
    }

    fn lent<T>(&mut self, capability: Capability, loan: Option<T>) -> Option<T> {
        if loan.is_none() {
            self.note(capability.name(), "this host has nothing of the kind to lend: remove it");
        }
        loan
    }

    /// A table with an entry for each label.
    fn labels<T: DeserializeOwned, G>(
        &mut self,
        capability: Capability,
        value: &toml::Value,
        read: impl Fn(&mut Self, &str, &LoanLabel, T) -> Option<G>,
    ) -> BTreeMap<LoanLabel, G> {
        let Some(table) = value.as_table() else {
            self.note(capability.name(), "is not a table with an entry for each label");
            return BTreeMap::new();
        };
        if table.len() > LABELS_MAX {
            self.note(capability.name(), format!("has {} labels, more than {LABELS_MAX}", table.len()));
        }
        let mut granted = BTreeMap::new();
        for (word, value) in table.iter().take(LABELS_MAX) {
            let key = format!("{capability}.{word}");
            let label = match word.parse::<LoanLabel>() {
                Ok(label) => label,
                Err(error) => {
                    self.note(&key, format!("a label: {error}"));
                    continue;
                }
            };
            match value.clone().try_into::<T>() {
                Ok(entry) => granted.extend(read(self, &key, &label, entry).map(|grant| (label, grant))),
                Err(error) => self.note(&key, error.message().trim().replace('\n', " ")),
            }
        }
        granted
    }

    fn space(&mut self, key: &str, _: &LoanLabel, table: SpaceTable) -> Option<SpaceGrant> {
        if !(1..=QUOTA_KIB_MAX).contains(&table.quota_kib) {
            self.note(&format!("{key}.quota_kib"), format!("{} is not between 1 and {QUOTA_KIB_MAX}", table.quota_kib));
            return None;
        }
        Some(SpaceGrant { quota_bytes: table.quota_kib.saturating_mul(1_024) })
    }

    fn upstream(&mut self, key: &str, label: &LoanLabel, table: UpstreamTable) -> Option<UpstreamGrant> {
        let mut methods = BTreeSet::new();
        for word in &table.methods {
            match Method::from_name(word) {
                Some(method) => drop(methods.insert(method)),
                None => self.note(
                    &format!("{key}.methods"),
                    format!("`{word}` is none of {}", Method::ALL.map(Method::name).join(", ")),
                ),
            }
        }
        if table.methods.is_empty() {
            self.note(&format!("{key}.methods"), "names no method, so nothing could be asked");
        }
        let name = table.upstream.as_deref().unwrap_or(label.as_str());
        let found =
            self.loans.upstreams.iter().find(|(known, _)| known.as_str() == name).map(|(_, found)| Arc::clone(found));
        if found.is_none() {
            self.note(key, format!("there is no table [upstreams.{name}]: add it, or correct `upstream`"));
        }
        Some(UpstreamGrant { upstream: found?, methods, paths: table.paths, per_minute: table.per_minute })
    }

    fn signer(&mut self, key: &str, label: &LoanLabel, table: SignerTable) -> Option<SignerGrant> {
        let fits = |word: &String| {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !word.is_empty() && word.len() <= PURPOSE_BYTES_MAX && word.bytes().all(allowed)
        };
        if table.purposes.is_empty() || !table.purposes.iter().all(fits) {
            let message =
                format!("names 1 or more words of 1 to {PURPOSE_BYTES_MAX} lower-case letters, digits and dashes");
            self.note(&format!("{key}.purposes"), message);
        }
        let name = table.signer.as_deref().unwrap_or(label.as_str());
        let found =
            self.loans.attestors.iter().find(|(known, _)| known.as_str() == name).map(|(_, found)| Arc::clone(found));
        if found.is_none() {
            self.note(key, format!("`{name}` is not among signing.signers: add it there, or correct `signer`"));
        }
        let purposes = table.purposes.into_iter().collect();
        Some(SignerGrant { attestor: found?, purposes, per_minute: table.per_minute })
    }

    fn chains(&mut self, value: &toml::Value) -> BTreeMap<ChainName, Arc<dyn ChainReader>> {
        let names = match value.clone().try_into::<Vec<String>>() {
            Ok(names) if !names.is_empty() => names,
            _ => {
                self.note("chain", "is not a list of names of chains: [\"bsc\"]");
                return BTreeMap::new();
            }
        };
        let mut granted = BTreeMap::new();
        for name in names {
            match self.loans.chains.iter().find(|(known, _)| known.as_str() == name) {
                Some((known, reader)) => drop(granted.insert(known.clone(), Arc::clone(reader))),
                None => self.note("chain", format!("there is no table [chains.{name}]: add it, or correct the name")),
            }
        }
        granted
    }

    fn rates(&mut self, value: &toml::Value) -> Option<Arc<dyn Rates>> {
        if value.as_bool() != Some(true) {
            self.note("rates", "is not `true`");
            return None;
        }
        let loan = self.loans.rates.clone();
        if loan.is_none() {
            self.note("rates", "there is no table [rates.<name>]: add a source of rates");
        }
        loan
    }
}
