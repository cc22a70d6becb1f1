//! The values that plugins keep, and how much of them there is.
//!
//! The store holds the values; here stands how many bytes each space uses, counted when it is first asked for, kept up from
//! what calls bring, and counted anew now and then. Counting also removes what has run out: nothing else does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::time::{Duration, Instant};
use xthonpay_domain::text::ItemKey;
use xthonpay_domain::time::Timestamp;

use crate::port::lending::storage::{Item, ItemExpectation, ItemWrite, PluginStorage, Space};
use crate::port::random::{Random, bytes};
use crate::port::store::{Changeset, CommitError, READ_LIMIT_MAX, Store, StoreError, Write};

/// How long a count is believed. Growth is noted in between; what is removed because it ran out is not.
const COUNT_KEPT: Duration = Duration::from_secs(60);
/// Spaces whose use is remembered, about 200 bytes each. Beyond it all are counted anew.
const SPACES_MAX: usize = 10_000;
/// Revisions fit in a signed number of 64 bits: some languages of plugins have no other.
const REVISION_MASK: u64 = i64::MAX.unsigned_abs();

/// What plugins keep, in the store.
pub struct StoredItems {
    store: Arc<dyn Store>,
    random: Arc<dyn Random>,
    used: Mutex<HashMap<Space, Used>>,
}

#[derive(Clone, Copy)]
struct Used {
    bytes: u64,
    counted_at: Instant,
}

impl StoredItems {
    /// The values in a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, random: Arc<dyn Random>) -> Self {
        Self { store, random, used: Mutex::new(HashMap::new()) }
    }

    async fn count(&self, space: &Space, now: Timestamp) -> Result<u64, StoreError> {
        let (mut used, mut after) = (0_u64, None::<String>);
        loop {
            let page = self.store.plugin_items(space, "", after.as_deref(), READ_LIMIT_MAX).await?;
            let is_last = page.len() < READ_LIMIT_MAX;
            after = page.last().map(|(key, _)| key.as_str().to_owned());
            let (live, gone): (Vec<_>, Vec<_>) = page.into_iter().partition(|(_, item)| item.is_live(now));
            used = live.iter().fold(used, |sum, (key, item)| sum.saturating_add(item_bytes(key, item)));
            self.remove(space, gone).await?;
            if is_last {
                return Ok(used);
            }
        }
    }

    /// Removes values that have run out, unless somebody has put new ones in their place.
    async fn remove(&self, space: &Space, gone: Vec<(ItemKey, Item)>) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let removal = |(key, item): (ItemKey, Item)| {
            let expected = ItemExpectation::Revision(item.revision);
            Write::PutItem(Box::new(ItemWrite { space: space.clone(), key, expected, becomes: None }))
        };
        match self.store.commit(gone.into_iter().map(removal).collect::<Changeset>()).await {
            // One of them is alive again: the next count removes the others.
            Ok(()) | Err(CommitError::Refused) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<Space, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a value counts for in its space.
#[must_use]
pub fn item_bytes(key: &ItemKey, item: &Item) -> u64 {
    u64::try_from(key.as_str().len().saturating_add(item.value.len())).unwrap_or(u64::MAX)
}

#[async_trait]
impl PluginStorage for StoredItems {
    async fn item(&self, space: &Space, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        self.store.plugin_item(space, key).await
    }

    async fn items(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        self.store.plugin_items(space, prefix, after, limit).await
    }

    async fn used_bytes(&self, space: &Space, now: Timestamp) -> Result<u64, StoreError> {
        let known = self.remembered().get(space).copied().filter(|used| used.counted_at.elapsed() < COUNT_KEPT);
        if let Some(used) = known {
            return Ok(used.bytes);
        }
        let (bytes, counted_at) = (self.count(space, now).await?, Instant::now());
        let mut remembered = self.remembered();
        if remembered.len() >= SPACES_MAX {
            remembered.clear();
        }
        remembered.insert(space.clone(), Used { bytes, counted_at });
        Ok(bytes)
    }

    fn note_growth(&self, space: &Space, bytes: i64) {
        if let Some(used) = self.remembered().get_mut(space) {
            used.bytes = used.bytes.saturating_add_signed(bytes);
        }
    }

    fn fresh_revision(&self) -> u64 {
        u64::from_be_bytes(bytes(self.random.as_ref())) & REVISION_MASK
    }
}

/// Whether the store would refuse a write now because of what plugins expect of their values.
///
/// # Errors
/// [`StoreError`].
pub async fn are_outdated(store: &dyn Store, writes: &[ItemWrite]) -> Result<bool, StoreError> {
    for write in writes {
        let holds = match write.expected {
            ItemExpectation::Anything => true,
            ItemExpectation::Absent => store.plugin_item(&write.space, &write.key).await?.is_none(),
            ItemExpectation::Revision(revision) => {
                store.plugin_item(&write.space, &write.key).await?.is_some_and(|item| item.revision == revision)
            }
        };
        if !holds {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds what plugins keep to a changeset.
pub fn keep(changes: &mut Changeset, writes: &[ItemWrite]) {
    for write in writes {
        changes.push(Write::PutItem(Box::new(write.clone())));
    }
}
