//! The capability `config`: the plugin's own settings, read-only.

use crate::bindings::base::xthonpay::host::config::Host;
use crate::instance::CallState;

impl Host for CallState {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.meter.count_host_call()?;
        Ok(self.profile.settings.get(&key).map(str::to_owned))
    }

    fn entries(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.meter.count_host_call()?;
        Ok(self.profile.settings.entries())
    }
}
