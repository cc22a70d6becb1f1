//! The capabilities that this version lends to plugins, one file each.
//!
//! A file implements the interface for the state of a call and owns its bounds. Which plugin gets which is decided by
//! `grant`.

mod clock;
mod config;
pub(crate) mod log;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::base::xthonpay::host;
use crate::grant::Capability;
use crate::instance::CallState;

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
        Capability::Rates | Capability::Storage | Capability::Http | Capability::Chain | Capability::Signing => {
            Err(wasmtime::Error::msg(format!("the capability `{capability}` is not served")))
        }
    }
}

/// Makes the shared types available. They have no functions.
///
/// # Errors
/// The engine's, when they are linked already.
pub(crate) fn link_types(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    host::types::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

impl host::types::Host for CallState {}
