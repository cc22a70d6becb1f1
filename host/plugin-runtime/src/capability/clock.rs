//! The capability `clock`: the time of the call, which does not move while the call runs.

use crate::bindings::base::xthonpay::host::clock::Host;
use crate::grant::Capability;
use crate::instance::CallState;

impl Host for CallState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.ask(Capability::Clock, "now")?;
        Ok(self.call.at.as_millis())
    }
}
