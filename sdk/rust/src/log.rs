//! Lines for the operator. Never fails; lines over the operator's limits are cut or dropped by the host. Log no
//! secrets and no personal data. In native tests the bench keeps the lines.

use std::string::String;
use std::vec::Vec;

use crate::backend;
pub use crate::raw::base::xthonpay::host::log::Level;

/// Writes a line with fields.
pub fn write(level: Level, text: &str, fields: &[(&str, &str)]) {
    let fields: Vec<(String, String)> =
        fields.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect();
    backend::log_write(level, text, &fields);
}

/// Writes a line that is usually switched off.
pub fn debug(text: &str) {
    write(Level::Debug, text, &[]);
}

/// Writes a line about something normal.
pub fn info(text: &str) {
    write(Level::Info, text, &[]);
}

/// Writes a line about something unusual that was handled.
pub fn warn(text: &str) {
    write(Level::Warn, text, &[]);
}

/// Writes a line about something that an operator should look at.
pub fn error(text: &str) {
    write(Level::Error, text, &[]);
}
