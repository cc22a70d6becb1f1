//! The capability `clock`: the time of the call, which does not move while the call runs.

use crate::bindings::base::xthonpay::host::clock::Host;
use crate::instance::CallState;

impl Host for CallState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.meter.count_host_call()?;
        Ok(self.call.at.as_millis())
    }
}
