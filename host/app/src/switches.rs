//! Which plugins the operator has switched off: a file in the data folder, a name a line, so that a restart changes nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::data_dir::replace_file;

/// The file cannot be used.
#[derive(Debug, Error)]
#[error("what is switched off, {}: {source}", path.display())]
pub struct SwitchesError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl SwitchesError {
    /// Always `false`: the operator has to put it right.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// The plugins that are switched off, and their file.
#[derive(Debug)]
pub struct Switches {
    path: PathBuf,
    off: BTreeSet<String>,
}

impl Switches {
    /// Reads the file; without one nothing is off.
    ///
    /// # Errors
    /// [`SwitchesError`].
    pub fn read(path: PathBuf) -> Result<Self, SwitchesError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) if source.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(SwitchesError { path, source }),
        };
        let off = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Self { path, off })
    }

    /// What is off.
    #[must_use]
    pub fn off(&self) -> &BTreeSet<String> {
        &self.off
    }

    /// Keeps whether a plugin is on.
    ///
    /// # Errors
    /// [`SwitchesError`]; then it is as before.
    pub fn keep(&mut self, plugin: &str, on: bool) -> Result<(), SwitchesError> {
        let mut off = self.off.clone();
        let changed = if on { off.remove(plugin) } else { off.insert(plugin.to_owned()) };
        if !changed {
            return Ok(());
        }
        let text: String = off.iter().map(|name| format!("{name}\n")).collect();
        replace_file(&self.path, &text).map_err(|source| SwitchesError { path: self.path.clone(), source })?;
        self.off = off;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_off_after_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("plugins.off");
        let read = || Switches::read(path.clone()).expect("readable");
        assert!(read().off().is_empty(), "no file");
        for (plugin, on) in [("rules", false), ("format", false), ("rules", true), ("bot", true), ("format", false)] {
            read().keep(plugin, on).expect("writable");
        }
        assert_eq!(*read().off(), BTreeSet::from(["format".to_owned()]));
        std::fs::create_dir(folder.path().join("folder")).expect("a folder");
        assert!(Switches::read(folder.path().join("folder")).is_err());
    }
}
