//! When each key was last used, for its owner to see.
//!
//! Noted in memory on the way of the request and stored by a worker, so no request waits for it. A crash loses the notes of
//! the last minute at most: they say when a key was used, not what it did.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use xthonpay_domain::access::KeyId;
use xthonpay_domain::time::Timestamp;

use crate::port::store::{CommitError, Store, Write};

/// How often the notes are stored: a key that never rests costs the store one row a minute.
const STORED_EVERY: Duration = Duration::from_secs(60);
/// Keys whose use is noted between two times of storing, about 150 bytes each. Further ones are noted the next time.
const KEYS_MAX: usize = 10_000;
/// Notes that are stored in one transaction. Bounds its size.
const NOTES_AT_ONCE: usize = 100;

/// Notes of uses that are not stored yet.
pub struct KeyUses {
    store: Arc<dyn Store>,
    notes: Mutex<HashMap<KeyId, Timestamp>>,
}

impl KeyUses {
    /// No note yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, notes: Mutex::new(HashMap::new()) }
    }

    /// Notes that a key was used.
    pub fn note(&self, key: &KeyId, at: Timestamp) {
        let mut notes = self.notes();
        if let Some(noted) = notes.get_mut(key) {
            *noted = at.max(*noted);
        } else if notes.len() < KEYS_MAX {
            notes.insert(key.clone(), at);
        }
    }

    /// Stores the notes once a minute until `stop` is cancelled. Whoever stops it calls [`KeyUses::flush`] once no request is
    /// under way any more.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(STORED_EVERY)).await.is_some() {
            self.flush().await;
        }
    }

    /// Stores what was noted. What cannot be stored is kept for the next time.
    pub async fn flush(&self) {
        let notes: Vec<(KeyId, Timestamp)> = mem::take(&mut *self.notes()).into_iter().collect();
        let mut chunks = notes.chunks(NOTES_AT_ONCE);
        while let Some(some) = chunks.next() {
            if let Err(error) = self.put(some).await {
                warn!(%error, "the last use of keys is not stored yet");
                let left = some.iter().chain(chunks.flatten());
                left.for_each(|(key, at)| self.note(key, *at));
                return;
            }
        }
    }

    async fn put(&self, notes: &[(KeyId, Timestamp)]) -> Result<(), CommitError> {
        let note = |(key, at): &(KeyId, Timestamp)| Write::NoteKeyUse { key: key.clone(), at: *at };
        self.store.commit(notes.iter().map(note).collect()).await
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<KeyId, Timestamp>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
