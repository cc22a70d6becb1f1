//! The capability `storage`: values of the plugin about one merchant, under labels that the operator granted.
//!
//! Reads go to the store; writes are staged with the call and become part of the changeset that the hook's answer brings
//! about. A call that fails leaves nothing behind.

use core::time::Duration;
use std::collections::BTreeMap;

use wasmtime::component::Resource;
use xthonpay_domain::text::{ItemKey, LoanLabel};
use xthonpay_payments::plugin_storage::item_bytes;
use xthonpay_payments::port::lending::storage::{
    Item, ItemExpectation, ItemWrite, PluginStorage, Space, VALUE_BYTES_MAX,
};

use super::refusal::Refusal;
use crate::bindings::base::xthonpay::host::storage as wit;
use crate::grant::Capability;
use crate::instance::CallState;
use crate::limits::Limit;

/// The most keys that one look at a space returns.
const SCAN_MAX: u32 = 100;

/// Revisions of values that this call has put. Real ones are below 2^63.
const STAGED_REVISION_BASE: u64 = 1 << 63;

/// A space that the guest has opened.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OpenSpace {
    space: Space,
    quota_bytes: u64,
}

/// What a call wants to keep.
#[derive(Default)]
pub(crate) struct Staging {
    entries: BTreeMap<(LoanLabel, String), Staged>,
    writes: u64,
}

/// A key that the call has written.
struct Staged {
    write: ItemWrite,
    /// What the guest is told as its revision, should it read it again.
    revision: u64,
    bytes_before: u64,
}

impl Staged {
    fn bytes_after(&self) -> u64 {
        self.write.becomes.as_ref().map_or(0, |item| item_bytes(&self.write.key, item))
    }
}

impl Staging {
    /// Everything that was staged, with how many bytes each space grows by it.
    pub(crate) fn take(&mut self) -> (Vec<ItemWrite>, Vec<(Space, i64)>) {
        let mut growth: BTreeMap<Space, i64> = BTreeMap::new();
        for staged in self.entries.values() {
            let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            let grows = signed(staged.bytes_after()).saturating_sub(signed(staged.bytes_before));
            let sum = growth.entry(staged.write.space.clone()).or_default();
            *sum = sum.saturating_add(grows);
        }
        let writes = core::mem::take(&mut self.entries).into_values().map(|staged| staged.write).collect();
        (writes, growth.into_iter().collect())
    }

    fn of(&self, space: &Space, key: &str) -> Option<&Staged> {
        self.entries.get(&(space.label.clone(), key.to_owned()))
    }

    /// What the staged writes of a space add to what it uses, and what they free.
    fn growth_in(&self, space: &Space) -> (u64, u64) {
        let own = self.entries.values().filter(|staged| staged.write.space == *space);
        own.fold((0, 0), |(added, freed), staged| (added + staged.bytes_after(), freed + staged.bytes_before))
    }
}

/// What a guest sees under a key.
struct Seen {
    item: Option<Item>,
    /// What must be in the store for the guest's picture to be right.
    expected: ItemExpectation,
    bytes: u64,
}

impl CallState {
    fn space(&self, handle: &Resource<OpenSpace>) -> Result<(Space, u64), Refusal> {
        let open = self.table.get(handle)?;
        Ok((open.space.clone(), open.quota_bytes))
    }

    fn storage_port(&self) -> Result<std::sync::Arc<dyn PluginStorage>, Refusal> {
        let port = self.profile.borrowed.storage.clone();
        port.ok_or_else(|| Refusal::unavailable("store_unavailable", "the host lends no storage"))
    }

    /// The value under a key as this call sees it.
    async fn see(&mut self, space: &Space, key: &ItemKey) -> Result<Seen, Refusal> {
        if let Some(staged) = self.staging.of(space, key.as_str()) {
            let item = staged.write.becomes.clone().map(|item| Item { revision: staged.revision, ..item });
            return Ok(Seen { item, expected: staged.write.expected, bytes: staged.bytes_before });
        }
        let stored = self.storage_port()?.item(space, key).await?;
        let bytes = stored.as_ref().map_or(0, |item| item_bytes(key, item));
        let expected = stored.as_ref().map_or(ItemExpectation::Absent, |item| ItemExpectation::Revision(item.revision));
        Ok(Seen { item: stored.filter(|item| item.is_live(self.call.at)), expected, bytes })
    }

    /// Stages a write, within the budget of the call and the quota of the space.
    async fn stage(
        &mut self,
        (space, quota): (Space, u64),
        key: ItemKey,
        expected: ItemExpectation,
        bytes_before: u64,
        value: Option<(Vec<u8>, Option<u32>)>,
    ) -> Result<(), Refusal> {
        let allowed = self.profile.limits.get(Limit::StorageWrites);
        if self.staging.writes >= allowed {
            let key = self.limit_key(Limit::StorageWrites);
            return Err(Refusal::over_limit("writes", format!("more than {allowed} writes in one call ({key})")));
        }
        let port = self.storage_port()?;
        let at = self.call.at;
        let becomes = match value {
            None => None,
            Some((value, _)) if value.len() > VALUE_BYTES_MAX => {
                return Err(Refusal::over_limit("value_size", format!("a value has at most {VALUE_BYTES_MAX} bytes")));
            }
            Some((value, ttl)) => {
                let expires_at = ttl.map(|secs| at.after(Duration::from_secs(secs.into())));
                Some(Item { value, revision: port.fresh_revision(), expires_at })
            }
        };
        let revision = STAGED_REVISION_BASE.saturating_add(self.staging.writes);
        let write = ItemWrite { space: space.clone(), key: key.clone(), expected, becomes };
        let staged = Staged { write, revision, bytes_before };
        let place = (space.label.clone(), key.as_str().to_owned());
        let (grows, bytes_after) = (staged.bytes_after() > bytes_before, staged.bytes_after());
        let earlier = self.staging.entries.insert(place.clone(), staged);
        if grows {
            let used = port.used_bytes(&space, at).await?;
            let (added, freed) = self.staging.growth_in(&space);
            if used.saturating_add(added).saturating_sub(freed) > quota {
                match earlier {
                    Some(earlier) => drop(self.staging.entries.insert(place, earlier)),
                    None => drop(self.staging.entries.remove(&place)),
                }
                let message = format!(
                    "{bytes_after} bytes more than the quota of {quota} bytes allows (plugins.{}.grants.storage.{}.quota_kib)",
                    self.profile.name, space.label
                );
                return Err(Refusal::over_limit("quota", message));
            }
        }
        self.staging.writes = self.staging.writes.saturating_add(1);
        Ok(())
    }
}

fn key_of(text: &str) -> Result<ItemKey, Refusal> {
    text.parse().map_err(|error| Refusal::invalid("bad_key", format!("the key: {error}")))
}

impl wit::Host for CallState {}

impl wit::HostSpace for CallState {
    async fn open(&mut self, label: String) -> Result<Resource<OpenSpace>, Refusal> {
        self.ask(Capability::Storage, "open")?;
        let borrowed = &self.profile.borrowed;
        let granted = borrowed.spaces.iter().find(|(known, _)| known.as_str() == label);
        let Some(((label, grant), plugin)) = granted.zip(borrowed.plugin.as_ref()) else {
            return Err(self.not_granted(Capability::Storage, &label));
        };
        let space = Space { plugin: plugin.clone(), merchant: self.call.merchant.clone(), label: label.clone() };
        let open = OpenSpace { space, quota_bytes: grant.quota_bytes };
        Ok(self.table.push(open)?)
    }

    async fn get(&mut self, handle: Resource<OpenSpace>, key: String) -> Result<Option<wit::Item>, Refusal> {
        self.ask(Capability::Storage, "get")?;
        let (space, _) = self.space(&handle)?;
        let seen = self.see(&space, &key_of(&key)?).await?;
        if let Some(item) = &seen.item {
            self.notes.value(space.label.as_str(), &key, &item.value);
        }
        let told = |item: Item| wit::Item { value: item.value, revision: item.revision, attrs: Vec::new() };
        Ok(seen.item.map(told))
    }

    async fn put(
        &mut self,
        handle: Resource<OpenSpace>,
        key: String,
        value: Vec<u8>,
        ttl_s: Option<u32>,
    ) -> Result<(), Refusal> {
        self.ask(Capability::Storage, "put")?;
        let (space, key) = (self.space(&handle)?, key_of(&key)?);
        let seen = self.see(&space.0, &key).await?;
        // A value that this call has put on a condition keeps its condition.
        let staged = self.staging.of(&space.0, key.as_str()).map(|staged| staged.write.expected);
        let expected = staged.unwrap_or(ItemExpectation::Anything);
        self.stage(space, key, expected, seen.bytes, Some((value, ttl_s))).await
    }

    async fn swap(
        &mut self,
        handle: Resource<OpenSpace>,
        key: String,
        expected: Option<u64>,
        value: Vec<u8>,
    ) -> Result<bool, Refusal> {
        self.ask(Capability::Storage, "swap")?;
        let (space, key) = (self.space(&handle)?, key_of(&key)?);
        let seen = self.see(&space.0, &key).await?;
        if seen.item.as_ref().map(|item| item.revision) != expected {
            return Ok(false);
        }
        self.stage(space, key, seen.expected, seen.bytes, Some((value, None))).await?;
        Ok(true)
    }

    async fn remove(&mut self, handle: Resource<OpenSpace>, key: String) -> Result<(), Refusal> {
        self.ask(Capability::Storage, "remove")?;
        let (space, key) = (self.space(&handle)?, key_of(&key)?);
        let seen = self.see(&space.0, &key).await?;
        let staged = self.staging.of(&space.0, key.as_str()).map(|staged| staged.write.expected);
        let expected = staged.unwrap_or(ItemExpectation::Anything);
        self.stage(space, key, expected, seen.bytes, None).await
    }

    async fn scan(
        &mut self,
        handle: Resource<OpenSpace>,
        prefix: String,
        after: Option<String>,
        max: u32,
    ) -> Result<wit::Page, Refusal> {
        self.ask(Capability::Storage, "scan")?;
        let (space, _) = self.space(&handle)?;
        if !prefix.is_empty() {
            key_of(&prefix)?;
        }
        let max = usize::try_from(max.clamp(1, SCAN_MAX)).unwrap_or(1);
        let port = self.storage_port()?;
        let mut found: BTreeMap<String, bool> = BTreeMap::new();
        // What was read up to here is complete; `None` when nothing is left.
        let mut read_to = after.clone();
        while found.values().filter(|live| **live).count() < max {
            let page = port.items(&space, &prefix, read_to.as_deref(), max).await?;
            let is_last = page.len() < max;
            for (key, item) in page {
                read_to = Some(key.as_str().to_owned());
                found.insert(key.as_str().to_owned(), item.is_live(self.call.at));
            }
            if is_last {
                read_to = None;
                break;
            }
        }
        let in_view = |key: &str| {
            key.starts_with(&prefix)
                && after.as_deref().is_none_or(|after| key > after)
                && read_to.as_deref().is_none_or(|end| key <= end)
        };
        for ((label, key), staged) in &self.staging.entries {
            if *label == space.label && in_view(key) {
                found.insert(key.clone(), staged.write.becomes.is_some());
            }
        }
        let mut keys: Vec<String> = found.into_iter().filter(|(_, live)| *live).map(|(key, _)| key).collect();
        let more = keys.len() > max || read_to.is_some();
        keys.truncate(max);
        let next = keys.last().cloned().or(read_to).filter(|_| more);
        Ok(wit::Page { keys, next, attrs: Vec::new() })
    }

    async fn drop(&mut self, handle: Resource<OpenSpace>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
