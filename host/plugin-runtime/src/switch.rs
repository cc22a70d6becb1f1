//! Which plugins the operator has switched off. A switch outlives the exchange of its plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The switch of one plugin.
#[derive(Default)]
pub(crate) struct Switch(AtomicBool);

impl Switch {
    pub(crate) fn is_off(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set_off(&self, off: bool) {
        self.0.store(off, Ordering::Relaxed);
    }
}

/// The switches of all bound plugins, by name.
#[derive(Default)]
pub(crate) struct Switches(Mutex<BTreeMap<String, Arc<Switch>>>);

impl Switches {
    /// With these plugins off.
    pub(crate) fn with_off(names: &BTreeSet<String>) -> Self {
        let switches = Self::default();
        for name in names {
            switches.of(name).set_off(true);
        }
        switches
    }

    /// The switch of a plugin.
    pub(crate) fn of(&self, plugin: &str) -> Arc<Switch> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(plugin.to_owned()).or_default())
    }
}
