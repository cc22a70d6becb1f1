//! Which capability a plugin may use: what its world offers, what its manifest asks for, what the operator grants and what
//! this version serves have to agree with what the component really imports.
//!
//! Links nothing; that is up to `capability`.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::fault::{Problem, plugin_key};
use crate::hook::Hook;

/// The package of the capabilities, as imports name it.
const PACKAGE: &str = "xthonpay:host/";

/// The version of the contract that this host serves, and what versions of the same track start with.
const VERSION_TRACK: &str = "0.1.";

/// The interface of shared types. It has no functions, so that importing it needs no permission.
const TYPES: &str = "types";

/// An interface that the host lends to plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Capability {
    Log,
    Clock,
    Config,
    Rates,
    Storage,
    Http,
    Chain,
    Signing,
}

/// What has to happen before a capability is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Harmless: the manifest has to ask, and nobody has to grant.
    ByDefault,
    /// In the contract, and not served by this version.
    NotServed,
}

impl Capability {
    const ALL: [Self; 8] =
        [Self::Log, Self::Clock, Self::Config, Self::Rates, Self::Storage, Self::Http, Self::Chain, Self::Signing];

    /// The interface's name in the contract, and the word in manifests and grants.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Config => "config",
            Self::Rates => "rates",
            Self::Storage => "storage",
            Self::Http => "http",
            Self::Chain => "chain",
            Self::Signing => "signing",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }

    fn standing(self) -> Standing {
        match self {
            Self::Log | Self::Clock | Self::Config => Standing::ByDefault,
            Self::Rates | Self::Storage | Self::Http | Self::Chain | Self::Signing => Standing::NotServed,
        }
    }

    /// The capabilities that the world of a hook offers.
    fn offered_to(hook: Hook) -> &'static [Self] {
        match hook {
            Hook::InvoiceRules => {
                &[Self::Log, Self::Clock, Self::Config, Self::Rates, Self::Storage, Self::Http, Self::Chain]
            }
            Hook::WebhookFormat => &[Self::Log, Self::Config, Self::Signing],
            Hook::BotFlow => &Self::ALL,
            Hook::WithdrawalPolicy => &[Self::Log, Self::Clock, Self::Config, Self::Storage, Self::Chain],
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The capabilities that a plugin may have linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permitted {
    plugin: String,
    hook: Hook,
    asked: BTreeSet<Capability>,
}

impl Permitted {
    /// What the manifest asks for, as far as the world offers it, this version serves it, and the operator grants it.
    /// Everything else is noted as a problem.
    pub(crate) fn resolve(
        plugin: &str,
        hook: Hook,
        wanted: &[String],
        grants: &BTreeMap<String, toml::Value>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut asked = BTreeSet::new();
        for word in wanted {
            let refusal = match Capability::from_name(word) {
                None => Some(format!("there is no capability `{word}`: correct wants.capabilities in its manifest")),
                Some(capability) if !Capability::offered_to(hook).contains(&capability) => {
                    Some(format!("the manifest wants `{word}`, which no {hook} plugin may use: bind another plugin"))
                }
                Some(capability) if capability.standing() == Standing::NotServed => Some(not_served(word)),
                Some(capability) => {
                    asked.insert(capability);
                    None
                }
            };
            problems.extend(refusal.map(|message| Problem { key: format!("plugins.{plugin}"), message }));
        }
        for word in grants.keys() {
            let message = match Capability::from_name(word).map(Capability::standing) {
                None => "there is no such capability: correct or remove it".to_owned(),
                Some(Standing::ByDefault) => "needs no grant: remove it".to_owned(),
                Some(Standing::NotServed) => "this version of the host does not serve it yet: remove it".to_owned(),
            };
            problems.push(Problem { key: plugin_key(plugin, &format!("grants.{word}")), message });
        }
        Self { plugin: plugin.to_owned(), hook, asked }
    }

    /// The capability of an import, or `None` for the shared types.
    ///
    /// # Errors
    /// What the operator has to do about an import that is refused.
    pub(crate) fn admit(&self, import: &str) -> Result<Option<Capability>, String> {
        let foreign = || {
            let remedy = if import.starts_with("wasi:") {
                "plugins get no WASI: build it for `wasm32-unknown-unknown`, not for a `wasm32-wasi` target"
            } else {
                "the host lends only the interfaces of the contract in wit/: remove the import"
            };
            format!("the component imports `{import}`: {remedy}")
        };
        let (name, version) = import.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')).ok_or_else(foreign)?;
        if !version.starts_with(VERSION_TRACK) {
            return Err(format!(
                "the component imports `{import}`, and this host serves {VERSION_TRACK}x: use a build for that contract"
            ));
        }
        if name == TYPES {
            return Ok(None);
        }
        let capability = Capability::from_name(name).ok_or_else(foreign)?;
        if capability.standing() == Standing::NotServed {
            return Err(format!("the component imports the capability `{name}`: {}", not_served(name)));
        }
        if !Capability::offered_to(self.hook).contains(&capability) {
            return Err(format!(
                "the component imports the capability `{name}`, which the world of {} does not offer: remove the import",
                self.hook
            ));
        }
        if !self.asked.contains(&capability) {
            return Err(format!(
                "the component imports the capability `{name}`, and its manifest does not ask for it: add \"{name}\" to \
                 wants.capabilities in the manifest of {}",
                self.plugin
            ));
        }
        Ok(Some(capability))
    }
}

fn not_served(word: &str) -> String {
    format!("this version of the host does not serve `{word}` yet: use a plugin that works without it")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wit_parser::{Resolve, WorldItem};

    use super::*;

    fn permit(hook: Hook, wanted: &[&str]) -> (Permitted, Vec<Problem>) {
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        let mut problems = Vec::new();
        (Permitted::resolve("mine", hook, &wanted, &BTreeMap::new(), &mut problems), problems)
    }

    #[test]
    fn worlds_offer_what_the_contract_says() {
        let mut contract = Resolve::default();
        contract.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).expect("the contract parses");
        for hook in Hook::ALL {
            let name = format!("{hook}-plugin");
            let (_, world) = contract.worlds.iter().find(|(_, world)| world.name == name).expect("has a world");
            let imports = world.imports.values().filter_map(|item| match item {
                WorldItem::Interface { id, .. } => contract.interfaces[*id].name.as_deref(),
                _ => None,
            });
            let imports: BTreeSet<_> = imports.filter(|import| *import != TYPES).collect();
            let offered = Capability::offered_to(hook).iter().map(|capability| capability.name()).collect();
            assert_eq!(imports, offered, "{name}");
        }
    }

    #[test]
    fn admits_what_was_asked_for_and_the_types() {
        let (permitted, problems) = permit(Hook::InvoiceRules, &["log", "clock"]);
        assert_eq!(problems, []);
        assert_eq!(permitted.admit("xthonpay:host/log@0.1.0"), Ok(Some(Capability::Log)));
        assert_eq!(permitted.admit("xthonpay:host/clock@0.1.7"), Ok(Some(Capability::Clock)));
        assert_eq!(permitted.admit("xthonpay:host/types@0.1.0"), Ok(None));
    }

    #[test]
    fn refuses_every_other_import_with_a_remedy() {
        let (permitted, _) = permit(Hook::WebhookFormat, &["log"]);
        for (import, remedy) in [
            ("wasi:cli/environment@0.2.0", "wasm32-unknown-unknown"),
            ("wasi:http/outgoing-handler@0.2.0", "wasm32-unknown-unknown"),
            ("xthonpay:host/log", "remove the import"),
            ("xthonpay:host/log@0.2.0", "0.1.x"),
            ("xthonpay:host/log@1.0.0", "0.1.x"),
            ("xthonpay:host/keys@0.1.0", "remove the import"),
            ("xthonpay:host/signing@0.1.0", "does not serve `signing` yet"),
            ("xthonpay:host/clock@0.1.0", "does not offer"),
            ("xthonpay:host/config@0.1.0", "add \"config\" to wants.capabilities"),
            ("env", "remove the import"),
        ] {
            let refusal = permitted.admit(import).expect_err(import);
            assert!(refusal.contains(remedy), "{import}: {refusal}");
        }
    }

    #[test]
    fn notes_wishes_and_grants_that_cannot_be_met() {
        let wanted = ["log", "http", "clock", "teleport"].map(str::to_owned);
        let grants = ["http", "log", "teleport"].map(|word| (word.to_owned(), toml::Value::Boolean(true)));
        let mut problems = Vec::new();
        let permitted =
            Permitted::resolve("mine", Hook::WebhookFormat, &wanted, &grants.into_iter().collect(), &mut problems);
        assert_eq!(permitted.asked, BTreeSet::from([Capability::Log]));
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        let grants = ["plugins.mine.grants.http", "plugins.mine.grants.log", "plugins.mine.grants.teleport"];
        assert_eq!(keys, [["plugins.mine"; 3], grants].concat(), "{problems:?}");
    }
}
