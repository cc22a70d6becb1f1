//! The manifest of a plugin: what it is, which capabilities it wants, and which settings it has.
//!
//! It stands beside the component, under the same name with the ending `.toml`. Its author wrote it: what it says is
//! checked here, and grants nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::config::Wasi;
use crate::hook::Hook;
use crate::settings::Declared;

/// The largest manifest that is read: a hundred settings with long explanations fit in it.
const BYTES_MAX: u64 = 64 * 1_024;

/// The longest id: it becomes part of names elsewhere.
const ID_LEN_MAX: usize = 64;

/// The contract that this host serves: every patch of 0.1.
const CONTRACT: (u64, u64) = (0, 1);

/// A manifest that cannot be used.
#[derive(Debug, Error)]
pub enum ManifestFault {
    /// There is no file.
    #[error("its manifest {} is missing: copy the plugin's `plugin.toml` there", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("its manifest {} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// Not a manifest.
    #[error("its manifest {} is not valid: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It belongs to another plugin.
    #[error("the manifest {} is that of `{id}`: rename the table to [plugins.{id}], or correct `file`", path.display())]
    OtherPlugin {
        /// The file.
        path: PathBuf,
        /// The id that it names.
        id: String,
    },
    /// It is made for another contract.
    #[error(
        "it is made for the contract {contract}, and this host serves {}.{}.x: use a build for that contract",
        CONTRACT.0, CONTRACT.1
    )]
    OtherContract {
        /// The contract that the manifest names.
        contract: String,
    },
    /// It is a plugin for another hook.
    #[error("it is made for the hook {world}: bind it in hooks.{world}, or name another plugin in hooks.{hook}")]
    OtherHook {
        /// The hook that it is made for.
        world: Hook,
        /// The hook that it is bound to.
        hook: Hook,
    },
}

impl ManifestFault {
    /// Whether reading the same manifest again may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::Missing { .. }
            | Self::Invalid { .. }
            | Self::OtherPlugin { .. }
            | Self::OtherContract { .. }
            | Self::OtherHook { .. } => false,
        }
    }
}

/// A manifest as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The plugin's name, the same as that of its table in the operator's configuration.
    id: String,
    /// The plugin's own version; for people.
    #[serde(rename = "version")]
    _version: String,
    /// The version of the contract that the plugin was built with.
    contract: String,
    /// The hook that it serves.
    world: String,
    #[serde(default)]
    wants: Wants,
    /// The settings, by key.
    #[serde(default)]
    pub(crate) config: BTreeMap<String, Declared>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Wants {
    /// The capabilities that the plugin uses.
    pub(crate) capabilities: Vec<String>,
    /// How much of WASI it needs.
    pub(crate) wasi: Wasi,
    /// The labels that it opens, by capability, so that a missing grant is found when the plugin is loaded and not in a call.
    pub(crate) labels: BTreeMap<String, Vec<String>>,
}

impl Wants {
    /// Each wish in a word: `log`, `storage.visits`.
    pub(crate) fn words(&self) -> BTreeSet<String> {
        let labels = self.labels.iter();
        let labels =
            labels.flat_map(|(capability, labels)| labels.iter().map(move |label| format!("{capability}.{label}")));
        let wasi = (self.wasi != Wasi::None).then(|| "wasi".to_owned());
        self.capabilities.iter().cloned().chain(labels).chain(wasi).collect()
    }
}

/// Where the manifest of a component is.
#[must_use]
pub fn path_beside(component: &Path) -> PathBuf {
    component.with_extension("toml")
}

impl Manifest {
    /// The id and the hook that the manifest of a component names, and what the component's world may import.
    ///
    /// # Errors
    /// [`ManifestFault`].
    pub(crate) fn peek(component: &Path) -> Result<(String, Hook, Self), ManifestFault> {
        let path = path_beside(component);
        let text = read_bounded(&path)?;
        let manifest: Self = toml::from_str(&text)
            .map_err(|error| ManifestFault::Invalid { path: path.clone(), reason: describe(&error, &text) })?;
        let unknown = || format!("world: `{}` is none of {}", manifest.world.escape_default(), Hook::names());
        let hook =
            Hook::from_name(&manifest.world).ok_or_else(|| ManifestFault::Invalid { path, reason: unknown() })?;
        Ok((manifest.id.clone(), hook, manifest))
    }

    /// Reads the manifest of the component `component`, and checks that it belongs to `plugin` and `hook`.
    ///
    /// # Errors
    /// [`ManifestFault`].
    pub(crate) fn read(component: &Path, plugin: &str, hook: Hook) -> Result<Self, ManifestFault> {
        let path = path_beside(component);
        let text = read_bounded(&path)?;
        let manifest = match toml::from_str::<Self>(&text) {
            Ok(manifest) => manifest,
            Err(error) => return Err(ManifestFault::Invalid { path, reason: describe(&error, &text) }),
        };
        let invalid = |reason| ManifestFault::Invalid { path: path.clone(), reason };
        if !is_id(&manifest.id) {
            let allowed = "lower-case letters, digits and dashes";
            return Err(invalid(format!("id: use 1 to {ID_LEN_MAX} {allowed}")));
        }
        if manifest.id != plugin {
            return Err(ManifestFault::OtherPlugin { path, id: manifest.id });
        }
        let contract = parse_version(&manifest.contract).ok_or_else(|| {
            invalid("contract: write the version of the contract with three numbers, such as \"0.1.0\"".to_owned())
        })?;
        if contract != CONTRACT {
            return Err(ManifestFault::OtherContract { contract: manifest.contract });
        }
        let world = Hook::from_name(&manifest.world).ok_or_else(|| {
            invalid(format!("world: `{}` is none of {}", manifest.world.escape_default(), Hook::names()))
        })?;
        if world != hook {
            return Err(ManifestFault::OtherHook { world, hook });
        }
        for (key, declared) in &manifest.config {
            declared.check(key).map_err(|reason| invalid(format!("config.{}: {reason}", key.escape_default())))?;
        }
        Ok(manifest)
    }

    /// What the plugin asks for, as it is written.
    pub(crate) fn wanted(&self) -> &Wants {
        &self.wants
    }
}

fn read_bounded(path: &Path) -> Result<String, ManifestFault> {
    let fault = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ManifestFault::Missing { path: path.to_owned() },
        io::ErrorKind::InvalidData => {
            ManifestFault::Invalid { path: path.to_owned(), reason: "it is not text".to_owned() }
        }
        _ => ManifestFault::Io { path: path.to_owned(), source },
    };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX.saturating_add(1)).read_to_string(&mut text));
    let bytes = read.map_err(fault)?;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > BYTES_MAX {
        return Err(ManifestFault::Invalid { path: path.to_owned(), reason: format!("more than {BYTES_MAX} bytes") });
    }
    Ok(text)
}

/// The parser's message, with the line that it speaks of.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count());
    let message = error.message().replace('\n', " ");
    line.map_or_else(|| message.clone(), |line| format!("line {}: {message}", line.saturating_add(1)))
}

fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= ID_LEN_MAX && text.bytes().all(allowed)
}

/// Major and minor number of `major.minor.patch`.
fn parse_version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split('.').map(|part| part.parse::<u64>().ok());
    let version = (numbers.next()??, numbers.next()??);
    numbers.next()??;
    numbers.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str = "id = 'mine'\nversion = '1.2.3'\ncontract = '0.1.0'\nworld = 'invoice-rules'\n";

    fn read(text: &str) -> Result<Manifest, ManifestFault> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("mine.toml"), text).expect("writes");
        Manifest::read(&folder.path().join("mine.wasm"), "mine", Hook::InvoiceRules)
    }

    #[test]
    fn reads_every_manifest_of_the_project() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut read = 0;
        for folder in ["plugins", "examples/plugins"] {
            for entry in fs::read_dir(root.join(folder)).expect("has plugins") {
                let path = entry.expect("readable").path().join("plugin.toml");
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let manifest: Manifest = toml::from_str(&text).expect("well formed");
                for (key, declared) in &manifest.config {
                    assert_eq!(declared.check(key), Ok(()), "{}: {key}", path.display());
                }
                read += 1;
            }
        }
        assert!(read >= 4, "only {read}");
    }

    #[test]
    fn takes_every_patch_of_the_contract() {
        for contract in ["0.1.0", "0.1.1", "0.1.27"] {
            assert!(read(&GOOD.replace("0.1.0", contract)).is_ok(), "{contract}");
        }
        for contract in ["0.2.0", "1.0.0", "0.0.1"] {
            let fault = read(&GOOD.replace("0.1.0", contract)).expect_err(contract);
            assert!(matches!(fault, ManifestFault::OtherContract { .. }), "{fault}");
        }
        for contract in ["0.1", "0.1.0.0", "0.1.x", "", "-0.1.0", "0.1.0-rc"] {
            let fault = read(&GOOD.replace("0.1.0", contract)).expect_err(contract);
            assert!(matches!(fault, ManifestFault::Invalid { .. }), "{fault}");
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (change, named) in [
            ("id = 'Mine'", "id"),
            ("id = 'other'", "[plugins.other]"),
            ("world = 'webhook-format'", "hooks.webhook-format"),
            ("world = 'teleport'", "none of invoice-rules"),
            ("colour = 'red'", "line 5: unknown field `colour`"),
            ("wants.capability = []", "unknown field `capability`"),
            ("config.x = { type = 'float' }", "unknown variant `float`"),
            ("config.x = { type = 'integer', default = 'a' }", "config.x"),
            ("config.x = { type = 'choice' }", "config.x"),
        ] {
            let key = change.split(' ').next().expect("has a key");
            let kept: Vec<_> = GOOD.lines().filter(|line| !line.starts_with(&format!("{key} "))).collect();
            let fault = read(&[&kept[..], &[change]].concat().join("\n")).expect_err(change);
            assert!(fault.to_string().contains(named), "{change}: {fault}");
        }
        let long = format!("{GOOD}#{}", "x".repeat(64 * 1_024));
        assert!(read(&long).expect_err("too long").to_string().contains("bytes"));
    }

    #[test]
    fn names_the_path_of_a_missing_manifest() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let component = folder.path().join("mine.wasm");
        let fault = Manifest::read(&component, "mine", Hook::InvoiceRules).expect_err("there is none");
        assert!(fault.to_string().contains(&format!("{}", folder.path().join("mine.toml").display())), "{fault}");
    }
}
