//! What is told about plugins: to operators, and to monitoring.

use std::collections::{BTreeMap, BTreeSet};

use xthonpay_payments::hook_tally::HookOutcome;
use xthonpay_payments::plugin_standing::{PluginStanding, Standing};

use crate::artefact::Digest;
use crate::fault::standstill_text;
use crate::hook::{Bound, Hook, Served, State};
use crate::limits::Limit;
use crate::loader::About;
use crate::shadow::{Shadow, ShadowReport};

/// What is known about a configured plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginReport {
    /// The name of its table.
    pub name: String,
    /// The hook that it is bound to; `None` when it is bound to none.
    pub hook: Option<Hook>,
    /// How it does.
    pub state: PluginState,
}

/// How a plugin does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginState {
    /// It is loaded and serves its hook.
    Active {
        /// The SHA-256 of its component.
        digest: Digest,
        /// What it says about itself.
        about: About,
        /// Why it is a version from before that serves, and not the file of the config.
        instead: Option<String>,
    },
    /// It is loaded and failed too often: at least one function of its hook uses the failure policy for a while, or until it
    /// is loaded anew.
    LeftAlone {
        /// The SHA-256 of its component.
        digest: Digest,
        /// What it says about itself.
        about: About,
        /// Which function, and when it is called again.
        reason: String,
    },
    /// The operator switched it off: its hook uses the failure policy.
    SwitchedOff {
        /// The SHA-256 of its component, if it is loaded.
        digest: Option<Digest>,
    },
    /// It is bound and not loaded: its hook uses the failure policy.
    Failed {
        /// Why, and what to do.
        reason: String,
    },
    /// No hook names it, so it is not loaded.
    Unbound,
}

/// A bound plugin in detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginDetails {
    /// How it does.
    pub report: PluginReport,
    /// What its manifest asks for: capabilities, and labels as `capability.label`. None of one that is not loaded.
    pub wants: Vec<String>,
    /// Its limits by key; none of one that is not loaded.
    pub limits: Vec<(Limit, u64)>,
    /// Its functions, and how often each call of them ended in which way since the start.
    pub calls: Vec<(&'static str, Vec<(HookOutcome, u64)>)>,
    /// Failures that are kept for `replay`.
    pub failures: usize,
    /// The candidate beside it.
    pub shadow: Option<ShadowReport>,
}

/// What a bound plugin tells, whichever its hook.
pub(crate) trait Told {
    /// The name of its table.
    fn name(&self) -> &str;

    /// How it does.
    fn report(&self) -> PluginReport;

    /// The same for monitoring.
    fn standing(&self) -> PluginStanding;

    /// Everything that is known about it.
    fn details(&self) -> PluginDetails;
}

impl<H: Served> Told for Bound<H> {
    fn name(&self) -> &str {
        &self.name
    }

    fn report(&self) -> PluginReport {
        let state = match &self.state {
            State::Ready(ready) if self.switch.is_off() => PluginState::SwitchedOff { digest: Some(ready.digest) },
            State::Failed(_) if self.switch.is_off() => PluginState::SwitchedOff { digest: None },
            State::Ready(ready) => {
                let (digest, about) = (ready.digest, ready.about.clone());
                let line = |(function, retry_in)| format!("{function} failed too often; {}", standstill_text(retry_in));
                let reason = ready.left_alone().map(line).collect::<Vec<_>>().join("; ");
                if reason.is_empty() {
                    PluginState::Active { digest, about, instead: self.instead.clone() }
                } else {
                    PluginState::LeftAlone { digest, about, reason }
                }
            }
            State::Failed(reason) => PluginState::Failed { reason: reason.clone() },
        };
        PluginReport { name: self.name.clone(), hook: Some(H::HOOK), state }
    }

    fn standing(&self) -> PluginStanding {
        let ready = match &self.state {
            State::Ready(ready) => Some(ready),
            State::Failed(_) => None,
        };
        let left_alone: BTreeMap<_, _> = ready.into_iter().flat_map(|ready| ready.left_alone()).collect();
        let of = |function: &'static str| match (ready, left_alone.get(function)) {
            _ if self.switch.is_off() => Standing::SwitchedOff,
            (None, _) => Standing::NotLoaded,
            (Some(_), Some(Some(_))) => Standing::Paused,
            (Some(_), Some(None)) => Standing::Quarantined,
            (Some(_), None) => Standing::Serving,
        };
        PluginStanding {
            plugin: self.name.clone(),
            hook: H::HOOK.name(),
            digest: ready.map(|ready| ready.digest.to_string()),
            generation: ready.map_or(0, |ready| ready.generation),
            functions: H::FUNCTIONS.iter().map(|function| (*function, of(function))).collect(),
        }
    }

    fn details(&self) -> PluginDetails {
        let limits = match &self.state {
            State::Ready(ready) => {
                let limits = &ready.runner.profile().limits;
                Limit::all().map(|limit| (limit, limits.get(limit))).collect()
            }
            State::Failed(_) => Vec::new(),
        };
        PluginDetails {
            report: self.report(),
            wants: self.wants().into_iter().collect(),
            limits,
            calls: self
                .tallies
                .iter()
                .map(|(function, tally)| (*function, tally.counts().filter(|(_, count)| *count > 0).collect()))
                .collect(),
            failures: self.captures.len(),
            shadow: self.shadow.as_ref().map(Shadow::report),
        }
    }
}

impl<H: Served> Bound<H> {
    /// The digest of its component, if it is loaded.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match &self.state {
            State::Ready(ready) => Some(ready.digest),
            State::Failed(_) => None,
        }
    }

    /// What its manifest asks for.
    pub(crate) fn wants(&self) -> BTreeSet<String> {
        match &self.state {
            State::Ready(ready) => ready.wants.words(),
            State::Failed(_) => BTreeSet::new(),
        }
    }
}
