//! The versions of each plugin that have served, kept in the data folder.
//!
//! At a start the newest of them serves when the file of the config does not load; `plugins rollback` goes back to the one before.
//! What was rolled back from is withdrawn: a restart does not bring it back, the next `plugins reload` does.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;
use xthonpay_plugin_runtime::{Digest, LastGood, PluginConfig, PluginHost, PluginState, manifest_path, signature_path};

use crate::data_dir::replace_file;

/// Versions of one plugin that are kept: the one that serves, the one before, and one more in case that was bad too.
const KEPT_MAX: usize = 3;

/// Versions that cannot be kept, or found again.
#[derive(Debug, Error)]
#[error("kept versions of plugins, {}: {source}", path.display())]
pub struct KeptError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl KeptError {
    /// Always `false`: the operator has to put it right.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// What is kept of one plugin.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Record {
    /// The newest first.
    versions: Vec<String>,
    /// What was rolled back from.
    withdrawn: Option<String>,
}

/// The kept versions of all plugins.
#[derive(Clone, Debug)]
pub struct KeptPlugins {
    folder: PathBuf,
}

impl KeptPlugins {
    /// Those in a folder, which need not exist.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What may serve when the file of the config does not.
    #[must_use]
    pub fn last_good(&self, plugin: &str) -> LastGood {
        let record = self.record(plugin);
        LastGood {
            files: record.versions.iter().map(|version| self.file(plugin, version)).collect(),
            withdrawn: record.withdrawn.and_then(|digest| Digest::try_from(digest).ok()),
        }
    }

    /// The digests of the kept versions, the newest first.
    #[must_use]
    pub fn versions(&self, plugin: &str) -> Vec<String> {
        self.record(plugin).versions
    }

    /// The newest version that is neither this one nor withdrawn.
    #[must_use]
    pub fn before(&self, plugin: &str, serving: Option<&str>) -> Option<PathBuf> {
        let record = self.record(plugin);
        let is_other =
            |version: &&String| Some(version.as_str()) != serving && Some(*version) != record.withdrawn.as_ref();
        record.versions.iter().find(is_other).map(|version| self.file(plugin, version))
    }

    /// Keeps every plugin that serves from the file of its table. One that cannot be kept serves all the same.
    pub fn keep_serving<'a>(
        &self,
        plugins: &PluginHost,
        tables: impl IntoIterator<Item = (&'a String, &'a PluginConfig)>,
    ) {
        let serving = plugins.report();
        for (name, table) in tables {
            let state = serving.iter().find(|report| report.name == *name).map(|report| &report.state);
            let (Some(PluginState::Active { digest, instead: None, .. }), file) = (state, &table.file) else {
                continue;
            };
            if let Err(error) = self.keep(name, file, *digest) {
                warn!(plugin = name, %error, "this version is not kept: a later rollback will not find it");
            }
        }
    }

    /// Keeps the version that now serves from this file. Nothing is withdrawn any more.
    ///
    /// # Errors
    /// [`KeptError`]; then what was kept is kept.
    pub fn keep(&self, plugin: &str, file: &Path, digest: Digest) -> Result<(), KeptError> {
        let (mut record, digest) = (self.record(plugin), digest.to_string());
        let kept = self.file(plugin, &digest);
        let fails = |source| KeptError { path: kept.clone(), source };
        std::fs::create_dir_all(self.folder.join(plugin)).map_err(fails)?;
        let bytes = std::fs::read(file).map_err(fails)?;
        if Digest::of(&bytes).to_string() != digest {
            return Err(fails(io::Error::other("the file has changed since it was loaded")));
        }
        // The component last: what has one has everything.
        for beside in [manifest_path, signature_path] {
            match std::fs::read(beside(file)) {
                Ok(text) => replace_file(&beside(&kept), &text).map_err(fails)?,
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(fails(source)),
            }
        }
        // A start does not write megabytes again that are there already. What was damaged since is written anew.
        if !std::fs::read(&kept).is_ok_and(|there| there == bytes) {
            replace_file(&kept, &bytes).map_err(fails)?;
        }
        record.versions.retain(|version| *version != digest);
        record.versions.insert(0, digest);
        let dropped = record.versions.split_off(record.versions.len().min(KEPT_MAX));
        record.withdrawn = None;
        self.write(plugin, &record)?;
        for version in dropped {
            let old = self.file(plugin, &version);
            for path in [manifest_path(&old), signature_path(&old), old] {
                // What stays behind is found by nobody.
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Withdraws a version, or nothing.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn withdraw(&self, plugin: &str, digest: Option<&str>) -> Result<(), KeptError> {
        let withdrawn = digest.map(str::to_owned);
        self.write(plugin, &Record { withdrawn, ..self.record(plugin) })
    }

    fn file(&self, plugin: &str, digest: &str) -> PathBuf {
        self.folder.join(plugin).join(format!("{digest}.wasm"))
    }

    fn list(&self, plugin: &str) -> PathBuf {
        self.folder.join(plugin).join("versions.json")
    }

    /// What is kept; nothing where the list cannot be read, which disturbs no plugin whose file loads.
    fn record(&self, plugin: &str) -> Record {
        let path = self.list(plugin);
        let Ok(text) = std::fs::read(&path) else { return Record::default() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            warn!(plugin, %error, path = %path.display(), "the list of kept versions cannot be read");
            Record::default()
        })
    }

    fn write(&self, plugin: &str, record: &Record) -> Result<(), KeptError> {
        let path = self.list(plugin);
        let text = serde_json::to_vec(record).map_err(io::Error::from);
        text.and_then(|text| replace_file(&path, &text)).map_err(|source| KeptError { path, source })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_are_kept_with_what_stands_beside_them() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (kept, file) = (KeptPlugins::new(folder.path().join("plugins")), folder.path().join("rules.wasm"));
        assert!(kept.last_good("rules").files.is_empty(), "nothing has served");
        let digests: Vec<_> = (0_u8..5)
            .map(|version| {
                fs::write(&file, [version]).expect("writes");
                fs::write(manifest_path(&file), [b'm', version]).expect("writes");
                kept.keep("rules", &file, Digest::of(&[version])).expect("keeps");
                Digest::of(&[version]).to_string()
            })
            .collect();
        assert_eq!(kept.versions("rules"), [&*digests[4], &*digests[3], &*digests[2]]);
        let newest = kept.last_good("rules").files.remove(0);
        assert_eq!(
            (fs::read(&newest).expect("is there"), fs::read(manifest_path(&newest)).expect("is there")),
            (vec![4], vec![b'm', 4])
        );
        let dropped = kept.file("rules", &digests[1]);
        assert!(!dropped.exists() && !manifest_path(&dropped).exists());

        kept.keep("rules", &file, Digest::of(b"another")).expect_err("the file is not that version");
        assert_eq!(kept.versions("rules").len(), 3);
        let before = kept.before("rules", Some(&digests[4]));
        assert_eq!(before, Some(kept.file("rules", &digests[3])));
        kept.withdraw("rules", Some(&digests[3])).expect("writes");
        assert_eq!(kept.before("rules", Some(&digests[4])), Some(kept.file("rules", &digests[2])));
        assert_eq!(kept.last_good("rules").withdrawn, Some(Digest::of(&[3])));
        kept.keep("rules", &file, Digest::of(&[4])).expect("keeps");
        assert_eq!(kept.last_good("rules").withdrawn, None, "what was asked for again is not withdrawn");

        fs::write(&newest, [9]).expect("writes");
        kept.keep("rules", &file, Digest::of(&[4])).expect("keeps");
        assert_eq!(fs::read(&newest).expect("is there"), vec![4], "damage of the same length is put right");

        fs::write(folder.path().join("plugins/rules/versions.json"), "{").expect("writes");
        assert!(kept.versions("rules").is_empty(), "a list that cannot be read disturbs nobody");
    }
}
