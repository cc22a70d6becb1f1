//! How the plugins of a host do, for the operator's monitoring.

use std::sync::Arc;

/// Whether a function of a plugin is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Serving,
    /// Not for a while: it failed too often.
    Paused,
    /// Only by the operator's hand: it was paused too often.
    Quarantined,
    /// The operator switched it off.
    SwitchedOff,
    /// It is not loaded.
    NotLoaded,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 5] = [Self::Serving, Self::Paused, Self::Quarantined, Self::SwitchedOff, Self::NotLoaded];

    /// The word for monitoring.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Paused => "paused",
            Self::Quarantined => "quarantined",
            Self::SwitchedOff => "switched_off",
            Self::NotLoaded => "not_loaded",
        }
    }
}

/// How a bound plugin does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginStanding {
    /// The name of its table.
    pub plugin: String,
    /// The hook that it is bound to.
    pub hook: &'static str,
    /// The SHA-256 of its component in hex, if it is loaded.
    pub digest: Option<String>,
    /// The how manyth plugin it is that this host has loaded; 0 when it is not loaded. Grows with every exchange.
    pub generation: u64,
    /// Each function of its hook.
    pub functions: Vec<(&'static str, Standing)>,
}

/// Tells how the bound plugins do. Must not block.
pub type PluginsProbe = Arc<dyn Fn() -> Vec<PluginStanding> + Send + Sync>;
