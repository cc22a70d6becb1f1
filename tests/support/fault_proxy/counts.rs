//! How often the node was asked, and what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// What a node was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// HTTP requests, whatever they held.
    pub requests: u64,
    /// Questions in HTTP requests, by method.
    pub methods: BTreeMap<String, u64>,
    /// WebSocket connections that were opened.
    pub sockets: u64,
    /// Announcements of blocks that were passed on.
    pub heads: u64,
    /// Transfers that never happened and were shown, each time that they were.
    pub lies: u64,
}

impl Counts {
    /// Questions of all methods.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.methods.values().sum()
    }
}

/// Counts that the parts of a proxy share.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedCounts(Arc<Mutex<Counts>>);

impl SharedCounts {
    pub(super) fn get(&self) -> Counts {
        self.with(|counts| counts.clone())
    }

    pub(super) fn reset(&self) {
        self.with(|counts| *counts = Counts::default());
    }

    /// Counts a request with the questions in it.
    pub(super) fn note_request(&self, body: &Value) {
        let single = core::slice::from_ref(body);
        let calls = body.as_array().map_or(single, Vec::as_slice);
        self.with(|counts| {
            counts.requests = counts.requests.saturating_add(1);
            for method in calls.iter().filter_map(|call| call["method"].as_str()) {
                let count = counts.methods.entry(method.to_owned()).or_default();
                *count = count.saturating_add(1);
            }
        });
    }

    pub(super) fn note_socket(&self) {
        self.with(|counts| counts.sockets = counts.sockets.saturating_add(1));
    }

    pub(super) fn note_head(&self) {
        self.with(|counts| counts.heads = counts.heads.saturating_add(1));
    }

    pub(super) fn note_lies(&self, lies: u64) {
        self.with(|counts| counts.lies = counts.lies.saturating_add(lies));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Counts) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
