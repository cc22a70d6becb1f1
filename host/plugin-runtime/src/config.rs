//! What the operator says about plugins: the tables `[hooks]` and `[plugins.<name>]`.
//!
//! Checks the shape only. Whether the values fit a plugin is known when its manifest has been read.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use xthonpay_domain::text::PluginName;

use crate::artefact::Digest;
use crate::limits::LimitsConfig;
use crate::policy::OnFailureConfig;
use crate::signature::ReleaseKey;

/// Everything that the runtime needs to know.
#[derive(Clone, Debug, Default)]
pub struct RuntimeConfig {
    /// The plugins, by the name of their table. A plugin that no hook names is not loaded.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// Which plugin serves which hook.
    pub bindings: HookBindings,
    /// The formats of webhooks that an endpoint may choose besides the bound one: `webhooks.formats`.
    pub formats: Vec<PluginName>,
    /// Where compiled code is kept between starts; `None` compiles at every start. Created if missing, for the owner
    /// alone: whoever can write there decides what runs in the host.
    pub cache_dir: Option<PathBuf>,
    /// Plugins that the operator has switched off.
    pub switched_off: BTreeSet<String>,
    /// What serves in place of a plugin whose file does not load at the start.
    pub last_good: BTreeMap<String, LastGood>,
}

/// Versions of a plugin that have served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastGood {
    /// Their components, the newest first, each with its manifest and signature beside it.
    pub files: Vec<PathBuf>,
    /// A version that the operator went back from: it does not serve, whichever file it is in.
    pub withdrawn: Option<Digest>,
}

/// The table `[hooks]`: names of plugins.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct HookBindings {
    /// The rules for invoices, in the order in which they are asked; empty for the built-in ones.
    pub invoice_rules: Vec<String>,
    /// The format of webhooks; `None` for the built-in one.
    pub webhook_format: Option<String>,
    /// The flow of the bot; `None` for none.
    pub bot_flow: Option<String>,
    /// The policies for withdrawals, in the order in which they are asked; the strictest answer counts.
    pub withdrawal_policy: Vec<String>,
}

/// The table `[plugins.<name>]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// The component. Its manifest is the file beside it with the same name and the ending `.toml`.
    pub file: PathBuf,
    /// The SHA-256 that the component must have; `None` takes any.
    #[serde(default)]
    pub sha256: Option<Digest>,
    /// The key of minisign that must have signed the component, in the file `NAME.wasm.minisig` beside it; `None` asks for no
    /// signature.
    #[serde(default)]
    pub minisign: Option<ReleaseKey>,
    /// Whether the host loads the plugin anew by itself when its file or its manifest changes.
    #[serde(default)]
    pub watch: bool,
    /// A candidate that is asked the same and whose answers are only compared; `None` for none.
    #[serde(default)]
    pub shadow: Option<ShadowConfig>,
    /// Values for the plugin's own settings, as its manifest declares them.
    #[serde(default)]
    pub config: BTreeMap<String, ConfigValue>,
    /// Permissions to use capabilities, by the capability's name. What a grant holds is up to the capability.
    #[serde(default)]
    pub grants: BTreeMap<String, toml::Value>,
    /// Limits that differ from the defaults.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What to do when the plugin fails, where it differs from the defaults.
    #[serde(default)]
    pub on_failure: OnFailureConfig,
    /// Whether the host refuses to start without the plugin.
    #[serde(default)]
    pub required: bool,
    /// Which parts of WASI the plugin gets.
    #[serde(default)]
    pub wasi: Wasi,
}

/// A candidate beside a plugin: settings, grants and limits are the plugin's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowConfig {
    /// Its component, with its manifest beside it.
    pub file: PathBuf,
    /// The SHA-256 that it must have; `None` takes any.
    #[serde(default)]
    pub sha256: Option<Digest>,
    /// The key that must have signed it; that of the plugin where there is none.
    #[serde(default)]
    pub minisign: Option<ReleaseKey>,
}

/// How much of WASI a plugin may import.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Wasi {
    /// Nothing.
    #[default]
    None,
    /// What ordinary toolchains ask for, with nothing behind it: see `docs/grants.md`.
    Minimal,
}

/// A value of a plugin's setting, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigValue {
    /// A boolean, an integer or a string, as the text that the plugin reads.
    Text(String),
    /// A list of such values.
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for ConfigValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConfigValueVisitor)
    }
}

struct ConfigValueVisitor;

impl<'de> Visitor<'de> for ConfigValueVisitor {
    type Value = ConfigValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, an integer, a boolean, or a list of these (write a decimal number as text: \"0.5\")")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Text(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Text(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Text(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<ConfigValue, E> {
        Ok(ConfigValue::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ConfigValue, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = seq.next_element()? {
            match part {
                ConfigValue::Text(part) => parts.push(part),
                ConfigValue::List(_) => return Err(de::Error::custom("a list inside a list")),
            }
        }
        Ok(ConfigValue::List(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(text: &str) -> Result<PluginConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn values_become_the_text_that_plugins_read() {
        let config = plugin(
            "file = 'a.wasm'\nconfig = { text = 'x', whole = -3, flag = true, parts = ['a', 1, false], none = [] }",
        )
        .expect("well formed");
        let text = |text: &str| ConfigValue::Text(text.to_owned());
        assert_eq!(config.config["text"], text("x"));
        assert_eq!(config.config["whole"], text("-3"));
        assert_eq!(config.config["flag"], text("true"));
        let parts = ["a", "1", "false"].map(str::to_owned).to_vec();
        assert_eq!(config.config["parts"], ConfigValue::List(parts));
        assert_eq!(config.config["none"], ConfigValue::List(Vec::new()));
    }

    #[test]
    fn refuses_what_it_cannot_carry_exactly() {
        for value in ["0.5", "1e3", "[['a']]", "{ a = 1 }", "2026-01-01"] {
            assert!(plugin(&format!("file = 'a'\nconfig.x = {value}")).is_err(), "{value}");
        }
        let error = plugin("file = 'a'\nconfig.x = 0.5").expect_err("a float");
        assert!(error.message().contains("write a decimal number as text"), "{error}");
    }

    #[test]
    fn names_unknown_keys() {
        for (text, named) in [
            ("file = 'a'\nfiel = 'b'", "fiel"),
            ("file = 'a'\non_failure = { draft = 'closed' }", "draft"),
            ("file = 'a'\non_failure = { on-draft = 'open' }", "open"),
            ("file = 'a'\nlimits = { cpu = 5 }", "cpu"),
            ("file = 'a'\nwasi = 'all'", "minimal"),
            ("file = 'a'\nsha256 = 'abc'", "64"),
            ("file = 'a'\nminisign = 'abc'", "RW"),
            ("required = true", "file"),
        ] {
            let error = plugin(text).expect_err(text);
            assert!(error.message().contains(named), "{text}: {error}");
        }
        let bindings = toml::from_str::<HookBindings>("webhook_format = 'x'").expect_err("an underscore");
        assert!(bindings.message().contains("webhook_format"), "{bindings}");
    }

    #[test]
    fn reads_bindings() {
        let text = "invoice-rules = ['a', 'b']\nwebhook-format = 'c'";
        let bindings: HookBindings = toml::from_str(text).expect("well formed");
        assert_eq!(bindings.invoice_rules, ["a", "b"]);
        assert_eq!(bindings.webhook_format.as_deref(), Some("c"));
        assert_eq!(toml::from_str::<HookBindings>(""), Ok(HookBindings::default()));
    }
}
