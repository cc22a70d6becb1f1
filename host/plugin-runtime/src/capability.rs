//! The capabilities that this version lends to plugins, one file each.
//!
//! A file implements the interface for the state of a call and owns its bounds. Which plugin gets which is decided by
//! `grant`.

pub(crate) mod chain;
mod clock;
mod config;
pub(crate) mod http;
pub(crate) mod log;
mod rates;
pub(crate) mod refusal;
pub(crate) mod signing;
pub(crate) mod storage;
pub(crate) mod wasi;

use wasmtime::component::{HasSelf, Linker};
use xthonpay_payments::hook_tally::LoanOutcome;

use crate::bindings::base::xthonpay::host;
use crate::fault::plugin_key;
use crate::grant::Capability;
use crate::instance::CallState;
use crate::limits::Limit;
use crate::meter::LimitHit;
use crate::plain_text::one_line;
use crate::usage;
use refusal::Refusal;

/// Bytes of a label that a guest made up which are worth repeating.
const LABEL_BYTES_SHOWN: usize = 64;

/// Makes a capability available to what is linked next.
///
/// # Errors
/// The engine's, when the capability is linked already.
pub(crate) fn link(capability: Capability, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    type State = HasSelf<CallState>;
    match capability {
        Capability::Log => host::log::add_to_linker::<_, State>(linker, |state| state),
        Capability::Clock => host::clock::add_to_linker::<_, State>(linker, |state| state),
        Capability::Config => host::config::add_to_linker::<_, State>(linker, |state| state),
        Capability::Rates => host::rates::add_to_linker::<_, State>(linker, |state| state),
        Capability::Storage => host::storage::add_to_linker::<_, State>(linker, |state| state),
        Capability::Http => host::http::add_to_linker::<_, State>(linker, |state| state),
        Capability::Chain => host::chain::add_to_linker::<_, State>(linker, |state| state),
        Capability::Signing => host::signing::add_to_linker::<_, State>(linker, |state| state),
    }
}

/// Makes the shared types available. They have no functions.
///
/// # Errors
/// The engine's, when they are linked already.
pub(crate) fn link_types(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    host::types::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

#[cfg(test)]
mod tests;

impl host::types::Host for CallState {
    fn convert_host_error(&mut self, refusal: Refusal) -> wasmtime::Result<host::types::HostError> {
        self.usage.end(refusal.outcome());
        match refusal {
            Refusal::Told(error) => Ok(error),
            Refusal::Trap(error) => Err(error),
        }
    }
}

impl CallState {
    /// Counts the call of a function of a capability.
    ///
    /// # Errors
    /// [`LimitHit`] when there were too many.
    fn ask(&mut self, capability: Capability, function: &'static str) -> Result<(), LimitHit> {
        self.ask_interface(capability.name(), function)
    }

    /// The same for a function of WASI.
    fn ask_wasi(&mut self, function: &'static str) -> Result<(), LimitHit> {
        self.ask_interface(usage::WASI, function)
    }

    fn ask_interface(&mut self, interface: &'static str, function: &'static str) -> Result<(), LimitHit> {
        self.usage.ask(interface, function);
        self.meter.count_host_call().inspect_err(|_| self.usage.end(LoanOutcome::Ended))
    }

    /// A label that the operator did not grant.
    fn not_granted(&self, capability: Capability, label: &str) -> Refusal {
        let label = one_line(label, LABEL_BYTES_SHOWN);
        let key = format!("plugins.{}.grants.{capability}", self.profile.name);
        Refusal::denied("not_granted", format!("`{label}` is not granted to the plugin: see {key}"))
    }

    /// The key that sets a limit of this plugin.
    fn limit_key(&self, limit: Limit) -> String {
        plugin_key(&self.profile.name, &format!("limits.{}", limit.key()))
    }
}
