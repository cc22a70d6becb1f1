//! Small values that outlive a call, in a space that the operator granted. A space belongs to this plugin and to the merchant of
//! the call. What is written takes effect when the hook returns ok, together with what its answer brings about, and not at all
//! otherwise. In native tests the bench holds the values.

use std::string::String;
use std::vec::Vec;

use crate::backend;
use crate::error::HostError;
pub use crate::raw::base::xthonpay::host::storage::{Item, Page};

/// An opened space.
#[derive(Debug)]
pub struct Space(backend::Space);

impl Space {
    /// Opens the space with this label.
    ///
    /// # Errors
    /// [`HostError::Denied`] when the operator did not grant it.
    pub fn open(label: &str) -> Result<Self, HostError> {
        backend::space_open(label).map(Self)
    }

    /// The value of a key with its revision; none when it is not set or has run out.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for a bad key, [`HostError::Unavailable`].
    pub fn get(&self, key: &str) -> Result<Option<Item>, HostError> {
        backend::space_get(&self.0, key)
    }

    /// Sets a key, whatever it held before. With `ttl_s` the value runs out after that many seconds.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for a bad key, [`HostError::OverLimit`] for size, number or quota.
    pub fn put(&self, key: &str, value: &[u8], ttl_s: Option<u32>) -> Result<(), HostError> {
        backend::space_put(&self.0, key, value, ttl_s)
    }

    /// Sets a key if its revision is still `expected` (none: if it is not set). False when someone else was first: read and
    /// decide again. If the key changes between this answer and the end of the call, the host repeats the whole call.
    ///
    /// # Errors
    /// As [`Space::put`].
    pub fn swap(&self, key: &str, expected: Option<u64>, value: &[u8]) -> Result<bool, HostError> {
        backend::space_swap(&self.0, key, expected, value)
    }

    /// Removes a key, whether it is there or not.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for a bad key, [`HostError::OverLimit`].
    pub fn remove(&self, key: &str) -> Result<(), HostError> {
        backend::space_remove(&self.0, key)
    }

    /// Keys that begin with `prefix`, after the key `after`, at most `max` and at most 100.
    ///
    /// # Errors
    /// [`HostError::Invalid`] for a bad prefix, [`HostError::Unavailable`].
    pub fn scan(&self, prefix: &str, after: Option<&str>, max: u32) -> Result<Page, HostError> {
        backend::space_scan(&self.0, prefix, after, max)
    }

    /// The value of a key as text; none also when it is no text.
    ///
    /// # Errors
    /// As [`Space::get`].
    pub fn text(&self, key: &str) -> Result<Option<String>, HostError> {
        Ok(self.get(key)?.and_then(|item| String::from_utf8(item.value).ok()))
    }

    /// Adds to the number that a key holds, exactly, also when other calls count at the same time. Returns the new number. What
    /// is there and is no number counts as 0.
    ///
    /// # Errors
    /// As [`Space::put`].
    pub fn count(&self, key: &str, more: u64) -> Result<u64, HostError> {
        let before = self.get(key)?;
        let number = before.as_ref().and_then(|item| core::str::from_utf8(&item.value).ok()?.parse::<u64>().ok());
        let next = number.unwrap_or(0).saturating_add(more);
        let text: Vec<u8> = std::format!("{next}").into_bytes();
        // Within one call nobody else is seen to write, so this is never refused; if the store has moved on, the host repeats
        // the call.
        self.swap(key, before.map(|item| item.revision), &text)?;
        Ok(next)
    }
}
