//! The settings of a plugin: the operator's values, checked against what the manifest declares, with its defaults filled
//! in. The plugin reads them as text.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::ConfigValue;
use crate::fault::{Problem, plugin_key};

/// The most settings that a plugin may declare.
const KEYS_MAX: usize = 256;

/// The longest value, in bytes: settings are choices and short lists, not documents.
const VALUE_BYTES_MAX: usize = 8_192;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 64;

/// The most digits of a decimal number in front of and behind its point, as the contract has it.
const WHOLE_DIGITS_MAX: usize = 78;
const FRACTION_DIGITS_MAX: usize = 36;

/// A setting that a manifest declares.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declared {
    #[serde(rename = "type")]
    kind: Kind,
    /// The value when the operator sets none, as the plugin reads it.
    default: Option<String>,
    /// The words of a choice.
    #[serde(default)]
    choices: Vec<String>,
    /// What the setting does; for people.
    #[serde(default, rename = "help")]
    _help: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Text,
    Integer,
    Decimal,
    Boolean,
    Choice,
    List,
}

impl Declared {
    /// The value when the operator sets none.
    pub(crate) fn default_text(&self) -> Option<String> {
        self.default.clone()
    }

    /// Whether the declaration makes sense.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, key: &str) -> Result<(), String> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.');
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.bytes().all(allowed) {
            return Err(format!("use 1 to {KEY_BYTES_MAX} lower-case letters, digits, `_`, `-` and `.`"));
        }
        if (self.kind == Kind::Choice) == self.choices.is_empty() {
            return Err("`choices` belongs to the type `choice`, and only to it".to_owned());
        }
        self.default
            .as_deref()
            .map_or(Ok(()), |default| self.judge(default).map_err(|reason| format!("default: {reason}")))
    }

    /// Whether a text is a value of this setting.
    fn judge(&self, text: &str) -> Result<(), String> {
        if text.len() > VALUE_BYTES_MAX {
            return Err(format!("longer than {VALUE_BYTES_MAX} bytes"));
        }
        let fits = match self.kind {
            Kind::Text | Kind::List => true,
            Kind::Integer => text.parse::<i64>().is_ok() && !text.starts_with('+'),
            Kind::Decimal => is_decimal(text),
            Kind::Boolean => matches!(text, "true" | "false"),
            Kind::Choice => self.choices.iter().any(|choice| choice == text),
        };
        if fits { Ok(()) } else { Err(format!("`{}` is not {}", text.escape_debug(), self.expected())) }
    }

    fn expected(&self) -> String {
        match self.kind {
            Kind::Text => "text".to_owned(),
            Kind::Integer => "an integer".to_owned(),
            Kind::Decimal => "a decimal number such as \"0.5\"".to_owned(),
            Kind::Boolean => "true or false".to_owned(),
            Kind::Choice => format!("one of {}", self.choices.join(", ")),
            Kind::List => "a list".to_owned(),
        }
    }

    /// The text of a value that the operator gave.
    fn accept(&self, value: &ConfigValue) -> Result<String, String> {
        let text = match value {
            ConfigValue::Text(text) => text.clone(),
            ConfigValue::List(_) if self.kind != Kind::List => {
                return Err(format!("a list is not {}", self.expected()));
            }
            ConfigValue::List(parts) if parts.iter().any(|part| part.contains(',')) => {
                return Err("a part holds a comma, and the plugin reads the parts joined by commas".to_owned());
            }
            ConfigValue::List(parts) => parts.join(","),
        };
        self.judge(&text).map(|()| text)
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str, most: usize| {
        !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole, WHOLE_DIGITS_MAX) && digits(fraction, FRACTION_DIGITS_MAX),
        None => digits(text, WHOLE_DIGITS_MAX),
    }
}

/// The settings as the plugin reads them, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// The operator's values and the manifest's defaults. Every value that does not fit is noted.
    pub(crate) fn resolve(
        plugin: &str,
        declared: &BTreeMap<String, Declared>,
        given: &BTreeMap<String, ConfigValue>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        if declared.len() > KEYS_MAX {
            let message = format!("the manifest declares more than {KEYS_MAX} settings");
            problems.push(Problem { key: format!("plugins.{plugin}"), message });
        }
        let mut note = |key: &str, message| {
            problems.push(Problem { key: plugin_key(plugin, &format!("config.{key}")), message });
        };
        let mut settings = BTreeMap::new();
        for (key, setting) in declared {
            settings.extend(setting.default.clone().map(|default| (key.clone(), default)));
        }
        for (key, value) in given {
            match declared.get(key).map(|setting| setting.accept(value)) {
                Some(Ok(text)) => {
                    settings.insert(key.clone(), text);
                }
                Some(Err(reason)) => note(key, reason),
                None if declared.is_empty() => note(key, "the plugin has no settings: remove it".to_owned()),
                None => {
                    let known = declared.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    note(key, format!("the plugin has no such setting; it has {known}"));
                }
            }
        }
        Self(settings)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Every key and its value, sorted by key.
    pub(crate) fn entries(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> BTreeMap<String, Declared> {
        toml::from_str(
            "
            whole = { type = 'integer', default = '3' }
            exact = { type = 'decimal' }
            flag = { type = 'boolean' }
            word = { type = 'choice', choices = ['a', 'b'] }
            parts = { type = 'list', default = '' }
            free = { type = 'text' }
            ",
        )
        .expect("well formed")
    }

    fn resolve(given: &str) -> (Settings, Vec<Problem>) {
        let given = toml::from_str(given).expect("well formed");
        let mut problems = Vec::new();
        (Settings::resolve("mine", &declared(), &given, &mut problems), problems)
    }

    #[test]
    fn fills_in_defaults_and_nothing_else() {
        let (settings, problems) = resolve("");
        assert_eq!(problems, []);
        assert_eq!(settings.entries(), [("parts", ""), ("whole", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(settings.get("exact"), None);
    }

    #[test]
    fn takes_every_type_in_its_own_form_and_as_text() {
        for (key, value, text) in [
            ("whole", "-7", "-7"),
            ("whole", "'12'", "12"),
            ("exact", "5", "5"),
            ("exact", "'0.05'", "0.05"),
            ("flag", "true", "true"),
            ("flag", "'false'", "false"),
            ("word", "'b'", "b"),
            ("parts", "['x', 2]", "x,2"),
            ("parts", "'x,y'", "x,y"),
            ("parts", "[]", ""),
            ("free", "'any thing'", "any thing"),
        ] {
            let (settings, problems) = resolve(&format!("{key} = {value}"));
            assert_eq!(problems, [], "{key} = {value}");
            assert_eq!(settings.get(key), Some(text), "{key} = {value}");
        }
    }

    #[test]
    fn names_every_key_that_does_not_fit() {
        let (_, problems) =
            resolve("whole = 'x'\nexact = '1e3'\nflag = 1\nword = 'c'\nparts = ['a,b']\nfree = ['a']\nnone = 1");
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        let expected = ["exact", "flag", "free", "none", "parts", "whole", "word"];
        assert_eq!(keys, expected.map(|key| format!("plugins.mine.config.{key}")), "{problems:?}");
    }

    #[test]
    fn decimals_are_plain_numbers_within_the_contracts_bounds() {
        for good in ["0", "12", "0.05", "1500.250000", &"9".repeat(78), &format!("0.{}", "1".repeat(36))] {
            assert!(is_decimal(good), "{good}");
        }
        let (whole, fraction) = ("9".repeat(79), format!("0.{}", "1".repeat(37)));
        for bad in ["", ".", ".5", "5.", "-1", "+1", "1e3", "1,5", "１", "1.2.3", &whole, &fraction] {
            assert!(!is_decimal(bad), "{bad}");
        }
    }
}
