//! Where capabilities lead: to the host in a component, to the test bench everywhere else. The only place that knows
//! the difference.

#[cfg(target_arch = "wasm32")]
pub(crate) use host::{clock_now, config_entries, config_get, log_write};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testbench::{clock_now, config_entries, config_get, log_write};

#[cfg(target_arch = "wasm32")]
mod host {
    //! The imports of the component.

    pub(crate) use crate::raw::base::xthonpay::host::clock::now as clock_now;
    pub(crate) use crate::raw::base::xthonpay::host::config::{entries as config_entries, get as config_get};
    pub(crate) use crate::raw::base::xthonpay::host::log::write as log_write;
}
