//! What can go wrong with a plugin: while it is loaded, and during one call. Each in words that tell the operator what to
//! do, with the key to change.
//!
//! Texts that come from a plugin are made plain before they get here.

use core::fmt;
use core::time::Duration;

use thiserror::Error;
use xthonpay_payments::hook_tally::HookOutcome;

use crate::artefact::ArtefactFault;
use crate::breaker::End;
use crate::hook::Hook;
use crate::limits::Limit;
use crate::manifest::ManifestFault;

/// The full name of a key in a plugin's table.
pub(crate) fn plugin_key(plugin: &str, rest: &str) -> String {
    format!("plugins.{plugin}.{rest}")
}

/// Something in the configuration that has to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, from the root of the configuration: `plugins.default-rules.limits.cpu_ms`.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a plugin is not loaded.
#[derive(Debug, Error)]
pub enum PluginFault {
    /// Its manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestFault),
    /// Its file cannot be used.
    #[error(transparent)]
    Artefact(#[from] ArtefactFault),
    /// The operator's configuration does not fit the plugin. All problems at once.
    #[error("{}", list(.0))]
    Config(Vec<Problem>),
    /// It imports what it cannot have. All imports at once.
    #[error("{}", list(.0))]
    Imports(Vec<String>),
    /// It does not export what its hook needs.
    #[error(
        "the component does not export {}, which the hook {hook} needs: name a plugin for this hook in hooks.{hook}, or \
         build the component against the world `{hook}-plugin`", .missing.join(", ")
    )]
    ExportsMissing {
        /// The hook that it is bound to.
        hook: Hook,
        /// The interfaces.
        missing: Vec<String>,
    },
    /// An import or export has another type than the contract says.
    #[error("the component does not fit the contract 0.1: {detail}. Build it again with the contract in wit/")]
    TypeMismatch {
        /// Where they differ.
        detail: String,
    },
    /// It failed when it was asked who it is, or whether it can work with its settings.
    #[error("its function {function} failed: {fault}")]
    Rehearsal {
        /// The function: `describe` or `check-config`.
        function: &'static str,
        /// How.
        #[source]
        fault: CallFault,
    },
}

impl PluginFault {
    /// Whether loading the same plugin again may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Artefact(fault) => fault.is_transient(),
            Self::Manifest(fault) => fault.is_transient(),
            Self::Rehearsal { fault, .. } => fault.is_transient(),
            Self::Config(_) | Self::Imports(_) | Self::ExportsMissing { .. } | Self::TypeMismatch { .. } => false,
        }
    }
}

/// How a call of a plugin failed. "The plugin said no" is not among them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CallFault {
    /// A limit was reached.
    #[error("{what} {used}over the limit of {allowed}{unit}: raise {key} (at most {ceiling}), or let the plugin do less",
        what = limit.what(), unit = limit.unit(), used = used_text(*limit, *used), ceiling = limit.ceiling())]
    Limit {
        /// Which.
        limit: Limit,
        /// What the call wanted or used, in the limit's unit, where it is known.
        used: Option<u64>,
        /// The limit's value.
        allowed: u64,
        /// The key that sets it.
        key: String,
    },
    /// The guest did something that WebAssembly forbids, or gave up.
    #[error(
        "it trapped: {trap}{frames}. This is a defect of the plugin: report it to its author, or bind another plugin"
    )]
    Trap {
        /// What happened.
        trap: String,
        /// Where in the guest, as the end of a sentence; may be empty.
        frames: String,
    },
    /// An instance could not be made, or a value could not cross the boundary.
    #[error(
        "it broke the rules of the boundary: {detail}. Limits that may stand behind it: {}",
        .keys.join(", ")
    )]
    Boundary {
        /// What the runtime says.
        detail: String,
        /// Keys of limits that can show up like this.
        keys: Vec<String>,
    },
    /// The operator switched the plugin off.
    #[error("it is switched off: `xthonpay plugins enable` switches it on")]
    SwitchedOff,
    /// The answer has the right type and a value that the contract forbids.
    #[error("bad output: {what}. This is a defect of the plugin: report it to its author, or bind another plugin")]
    BadOutput {
        /// Which value, and what is wrong with it.
        what: String,
    },
    /// The plugin answered that it cannot answer.
    #[error("it could not answer ({kind}): {code}: {message}")]
    Declined {
        /// The case of `hook-error`.
        kind: &'static str,
        /// The plugin's word for the reason.
        code: String,
        /// The plugin's sentence.
        message: String,
    },
    /// The plugin is not loaded.
    #[error("not loaded: {reason}")]
    NotLoaded {
        /// Why.
        reason: String,
    },
    /// It failed too often, so it was not called.
    #[error("not called: it failed too often; {}", standstill_text(*.retry_in))]
    LeftAlone {
        /// When it is called again; `None` when only loading it anew helps.
        retry_in: Option<Duration>,
    },
    /// The host's own code failed.
    #[error("the call ended inside the host ({detail}): report this defect of the host")]
    Host {
        /// How.
        detail: &'static str,
    },
}

fn used_text(limit: Limit, used: Option<u64>) -> String {
    used.map_or_else(|| "is ".to_owned(), |used| format!("({used}{}) is ", limit.unit()))
}

/// When a plugin that is left alone is called again, for the operator.
pub(crate) fn standstill_text(retry_in: Option<Duration>) -> String {
    match retry_in {
        None => "it stays so until it is loaded anew: correct or replace it".to_owned(),
        Some(Duration::ZERO) => "it is being tried again".to_owned(),
        Some(time) => format!("it is tried again in {} s", time.as_millis().div_ceil(1_000)),
    }
}

/// The case of `hook-error` after which the host may repeat the call.
pub(crate) const RETRY_LATER: &str = "retry-later";

impl CallFault {
    /// What the end of a call says about the plugin. A queue that is full, an input that is too large, and an answer that
    /// there is none are not its failures.
    pub(crate) fn end(&self) -> End {
        match self {
            Self::Limit { limit, .. } => match limit {
                Limit::ConcurrentCalls | Limit::QueuedCalls | Limit::QueueWaitMs | Limit::InputKib => End::Neither,
                _ => End::Bad,
            },
            Self::Trap { .. } | Self::Boundary { .. } | Self::BadOutput { .. } => End::Bad,
            Self::Declined { .. }
            | Self::NotLoaded { .. }
            | Self::LeftAlone { .. }
            | Self::Host { .. }
            | Self::SwitchedOff => End::Neither,
        }
    }

    /// The same end in the words of monitoring.
    pub(crate) fn outcome(&self) -> HookOutcome {
        match self {
            Self::Limit { .. } => HookOutcome::OverLimit,
            Self::Trap { .. } => HookOutcome::Trapped,
            Self::Boundary { .. } => HookOutcome::BadBoundary,
            Self::BadOutput { .. } => HookOutcome::BadOutput,
            Self::Declined { .. } => HookOutcome::Declined,
            Self::NotLoaded { .. } => HookOutcome::NotLoaded,
            Self::LeftAlone { .. } => HookOutcome::LeftAlone,
            Self::SwitchedOff => HookOutcome::SwitchedOff,
            Self::Host { .. } => HookOutcome::HostFailed,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Limit { limit, .. } => {
                matches!(limit, Limit::WallMs | Limit::ConcurrentCalls | Limit::QueuedCalls | Limit::QueueWaitMs)
            }
            Self::Declined { kind, .. } => *kind == RETRY_LATER,
            // The operator can put it right without the caller changing anything.
            Self::NotLoaded { .. } | Self::LeftAlone { .. } | Self::SwitchedOff => true,
            Self::Trap { .. } | Self::Boundary { .. } | Self::BadOutput { .. } | Self::Host { .. } => false,
        }
    }
}
