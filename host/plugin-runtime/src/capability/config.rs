//! The capability `config`: the plugin's own settings, read-only.

use crate::bindings::base::xthonpay::host::config::Host;
use crate::grant::Capability;
use crate::instance::CallState;

impl Host for CallState {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.ask(Capability::Config, "get")?;
        Ok(self.profile.settings.get(&key).map(str::to_owned))
    }

    fn entries(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        self.ask(Capability::Config, "entries")?;
        Ok(self.profile.settings.entries())
    }
}
