//! What every plugin tells about itself, whatever its hook.

use std::string::String;
use std::vec::Vec;

pub use crate::raw::base::exports::xthonpay::hooks::plugin::{About, ConfigProblem};
use crate::raw::base::xthonpay::host::types;
pub use crate::raw::base::xthonpay::host::types::{Attrs, Millis};

/// Which call this is; the first argument of every hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Names the fact that is being decided. A repeated call has the same id.
    pub id: String,
    /// The merchant that the call is about; empty when there is none.
    pub merchant_id: String,
    /// The host's time of the call.
    pub at: Millis,
    /// 1 for the first try, counting up.
    pub attempt: u32,
    /// Extra values of later minor versions.
    pub attrs: Attrs,
}

impl From<types::CallInfo> for Call {
    fn from(raw: types::CallInfo) -> Self {
        Self { id: raw.call_id, merchant_id: raw.merchant_id, at: raw.at, attempt: raw.attempt, attrs: raw.attrs }
    }
}

impl About {
    /// Name, version and a sentence.
    pub fn new(name: impl Into<String>, version: impl Into<String>, notes: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), notes: notes.into(), attrs: Vec::new() }
    }
}

impl ConfigProblem {
    /// What is wrong with a key, and what would be right.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), attrs: Vec::new() }
    }
}

/// The value of a key in [`Attrs`], if it is there.
pub fn attr<'a>(attrs: &'a Attrs, key: &str) -> Option<&'a str> {
    attrs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}
