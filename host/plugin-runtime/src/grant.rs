//! Which capability a plugin may use: what its world offers, what its manifest asks for and what the operator grants have to
//! agree with what the component really imports.
//!
//! Links nothing; that is up to `capability`.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::fault::{Problem, plugin_key};
use crate::hook::Hook;
use crate::loan::Borrowed;
use crate::manifest::Wants;

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

    /// Whether the operator has to grant it. The others are harmless: the manifest has to ask, and that is all.
    pub(crate) fn needs_grant(self) -> bool {
        match self {
            Self::Log | Self::Clock | Self::Config => false,
            Self::Rates | Self::Storage | Self::Http | Self::Chain | Self::Signing => true,
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
    /// Grants that the plugin does not ask for.
    pub(crate) unused: Vec<String>,
}

impl Permitted {
    /// What the manifest asks for, as far as the world offers it and the operator grants it. Everything else is noted as a
    /// problem.
    pub(crate) fn resolve(
        plugin: &str,
        hook: Hook,
        wanted: &Wants,
        grants: &BTreeMap<String, toml::Value>,
        borrowed: &Borrowed,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut asked = BTreeSet::new();
        for word in &wanted.capabilities {
            match judge(plugin, hook, word, grants) {
                Ok(capability) => drop(asked.insert(capability)),
                Err(problem) => problems.push(problem),
            }
        }
        for (word, labels) in &wanted.labels {
            match Capability::from_name(word)
                .filter(|capability| capability.needs_grant() && asked.contains(capability))
            {
                Some(capability) => {
                    let missing = labels.iter().filter(|label| !borrowed.has(capability, label));
                    problems.extend(missing.map(|label| missing_label(plugin, capability, label)));
                }
                // Asked for and not granted: told above.
                None if wanted.capabilities.contains(word) => {}
                None => {
                    let message = format!(
                        "wants.labels of its manifest names `{}`, which wants.capabilities does not",
                        word.escape_default()
                    );
                    problems.push(Problem { key: format!("plugins.{plugin}"), message });
                }
            }
        }
        let mut unused = Vec::new();
        for word in grants.keys() {
            let message = match Capability::from_name(word) {
                None => "there is no such capability: correct or remove it",
                Some(capability) if !capability.needs_grant() => "needs no grant: remove it",
                Some(capability) if !asked.contains(&capability) => {
                    unused.push(word.clone());
                    continue;
                }
                Some(_) => continue,
            };
            problems.push(Problem { key: plugin_key(plugin, &format!("grants.{word}")), message: message.to_owned() });
        }
        Self { plugin: plugin.to_owned(), hook, asked, unused }
    }

    /// The capability of an import, or `None` for the shared types.
    ///
    /// # Errors
    /// What the operator has to do about an import that is refused.
    pub(crate) fn admit(&self, import: &str) -> Result<Option<Capability>, String> {
        let foreign = || {
            format!(
                "the component imports `{import}`: the host lends only the interfaces of the contract in wit/: remove the import"
            )
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

/// The capability of a word in a manifest, if the plugin may have it.
fn judge(plugin: &str, hook: Hook, word: &str, grants: &BTreeMap<String, toml::Value>) -> Result<Capability, Problem> {
    let about_plugin = |message| Problem { key: format!("plugins.{plugin}"), message };
    let Some(capability) = Capability::from_name(word) else {
        let word = word.escape_default();
        return Err(about_plugin(format!(
            "there is no capability `{word}`: correct wants.capabilities in its manifest"
        )));
    };
    if !Capability::offered_to(hook).contains(&capability) {
        let message = format!("the manifest wants `{word}`, which no {hook} plugin may use: bind another plugin");
        return Err(about_plugin(message));
    }
    if capability.needs_grant() && !grants.contains_key(word) {
        let message =
            format!("the plugin wants `{word}` and is not granted it: add {}, or bind another plugin", example(word));
        return Err(Problem { key: plugin_key(plugin, &format!("grants.{word}")), message });
    }
    Ok(capability)
}

fn missing_label(plugin: &str, capability: Capability, label: &str) -> Problem {
    let label = label.escape_default();
    let message =
        format!("the plugin wants this {capability} label and is not granted it: add it, or bind another plugin");
    Problem { key: plugin_key(plugin, &format!("grants.{capability}.{label}")), message }
}

/// How a grant looks, for messages.
fn example(word: &str) -> &'static str {
    match word {
        "storage" => "`storage.<label> = {}`",
        "http" => "`http.<label> = { methods = [\"GET\"] }`",
        "chain" => "`chain = [\"<name>\"]`",
        "signing" => "`signing.<label> = { purposes = [\"<word>\"] }`",
        _ => "`rates = true`",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use std::sync::Arc;

    use wit_parser::{Resolve, WorldItem};
    use xthonpay_domain::text::ItemKey;
    use xthonpay_domain::time::Timestamp;
    use xthonpay_payments::port::lending::Loans;
    use xthonpay_payments::port::lending::storage::{Item, PluginStorage, Space};
    use xthonpay_payments::port::store::StoreError;

    use super::*;

    fn permit(hook: Hook, wanted: &[&str]) -> (Permitted, Vec<Problem>) {
        let (permitted, problems) = resolve(hook, &wants(wanted, &[]), "");
        (permitted, problems)
    }

    fn wants(capabilities: &[&str], labels: &[(&str, &[&str])]) -> Wants {
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        let labels = labels.iter().map(|(word, labels)| (word.to_string(), owned(labels))).collect();
        Wants { capabilities: owned(capabilities), labels, ..Wants::default() }
    }

    struct Nothing;

    #[async_trait::async_trait]
    impl PluginStorage for Nothing {
        async fn item(&self, _: &Space, _: &ItemKey) -> Result<Option<Item>, StoreError> {
            Ok(None)
        }

        async fn items(
            &self,
            _: &Space,
            _: &str,
            _: Option<&str>,
            _: usize,
        ) -> Result<Vec<(ItemKey, Item)>, StoreError> {
            Ok(Vec::new())
        }

        async fn used_bytes(&self, _: &Space, _: Timestamp) -> Result<u64, StoreError> {
            Ok(0)
        }

        fn note_growth(&self, _: &Space, _: i64) {}

        fn fresh_revision(&self) -> u64 {
            1
        }
    }

    fn resolve(hook: Hook, wanted: &Wants, grants: &str) -> (Permitted, Vec<Problem>) {
        let grants = toml::from_str(grants).expect("well-formed grants");
        let loans = Loans { storage: Some(Arc::new(Nothing)), ..Loans::default() };
        let mut problems = Vec::new();
        let borrowed = Borrowed::resolve("mine", &grants, &loans, &mut problems);
        let permitted = Permitted::resolve("mine", hook, wanted, &grants, &borrowed, &mut problems);
        (permitted, problems)
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
            ("xthonpay:host/log", "remove the import"),
            ("xthonpay:host/log@0.2.0", "0.1.x"),
            ("xthonpay:host/log@1.0.0", "0.1.x"),
            ("xthonpay:host/keys@0.1.0", "remove the import"),
            ("xthonpay:host/signing@0.1.0", "add \"signing\" to wants.capabilities"),
            ("xthonpay:host/clock@0.1.0", "does not offer"),
            ("xthonpay:host/config@0.1.0", "add \"config\" to wants.capabilities"),
            ("env", "remove the import"),
        ] {
            let refusal = permitted.admit(import).expect_err(import);
            assert!(refusal.contains(remedy), "{import}: {refusal}");
        }
    }

    fn keys(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|problem| problem.key.as_str()).collect()
    }

    #[test]
    fn notes_wishes_and_grants_that_cannot_be_met() {
        let wanted = wants(&["log", "http", "clock", "teleport"], &[]);
        let (permitted, problems) = resolve(Hook::WebhookFormat, &wanted, "log = true\nteleport = true");
        assert_eq!(permitted.asked, BTreeSet::from([Capability::Log]));
        let expected =
            ["plugins.mine", "plugins.mine", "plugins.mine", "plugins.mine.grants.log", "plugins.mine.grants.teleport"];
        assert_eq!(keys(&problems), expected, "{problems:?}");
    }

    /// Each capability: asked and not granted, granted and not asked, both.
    #[test]
    fn a_capability_takes_a_wish_and_a_grant() {
        let sound = [
            ("storage", "storage.s = {}"),
            ("http", "http.u = { methods = ['GET'] }"),
            ("chain", "chain = ['bsc']"),
            ("signing", "signing.k = { purposes = ['receipt'] }"),
            ("rates", "rates = true"),
        ];
        for (word, grant) in sound {
            let (permitted, problems) = resolve(Hook::BotFlow, &wants(&[word], &[]), "");
            assert_eq!(keys(&problems), [format!("plugins.mine.grants.{word}")], "{problems:?}");
            assert!(problems[0].message.contains("add `"), "{problems:?}");
            let import = format!("xthonpay:host/{word}@0.1.0");
            assert!(permitted.admit(&import).is_err(), "asked and not granted: {word}");

            let (permitted, _) = resolve(Hook::BotFlow, &wants(&[], &[]), grant);
            assert_eq!(permitted.unused, [word]);
            let refusal = permitted.admit(&import).expect_err("granted and not asked");
            assert!(refusal.contains("wants.capabilities"), "{refusal}");

            let (permitted, problems) = resolve(Hook::BotFlow, &wants(&[word], &[]), grant);
            let capability = Capability::from_name(word).expect("a capability");
            assert_eq!(permitted.admit(&import), Ok(Some(capability)));
            // Of these only storage is there to be lent.
            assert_eq!(problems.is_empty(), word == "storage", "{word}: {problems:?}");
        }
    }

    #[test]
    fn labels_that_a_plugin_opens_have_to_be_granted() {
        let wanted = wants(&["storage"], &[("storage", &["visits", "notes"])]);
        let (_, problems) = resolve(Hook::InvoiceRules, &wanted, "storage = { visits = {} }");
        assert_eq!(keys(&problems), ["plugins.mine.grants.storage.notes"]);
        let (_, problems) = resolve(Hook::InvoiceRules, &wants(&[], &[("storage", &["visits"])]), "");
        assert!(problems[0].message.contains("wants.capabilities does not"), "{problems:?}");
    }
}
