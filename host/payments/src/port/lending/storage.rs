//! Values that plugins keep between calls.
//!
//! Reading goes through [`PluginStorage`]. Writing does not: a hook's answer brings what the plugin wants to keep, and the use
//! case stores it in the changeset of the fact that was decided, so that either both are there or neither is.

use async_trait::async_trait;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::{ItemKey, LoanLabel, PluginName};
use xthonpay_domain::time::Timestamp;

use crate::port::store::StoreError;

/// The longest value, in bytes: a plugin keeps counters, short lists and cached answers, not documents.
pub const VALUE_BYTES_MAX: usize = 64 * 1_024;

/// Where a value belongs: no plugin reads another's, and no merchant's data shows up in a call about another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space {
    /// Whose.
    pub plugin: PluginName,
    /// About whom; `None` for calls about nobody.
    pub merchant: Option<MerchantId>,
    /// Which of the plugin's spaces.
    pub label: LoanLabel,
}

/// A kept value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The bytes as they were put.
    pub value: Vec<u8>,
    /// Drawn anew for every write, so that equal revisions mean the same write.
    pub revision: u64,
    /// When the value runs out; `None` for never.
    pub expires_at: Option<Timestamp>,
}

impl Item {
    /// Whether the value still counts at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

/// What must hold about the stored value when a write is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemExpectation {
    /// Nothing.
    Anything,
    /// There is none.
    Absent,
    /// It has this revision, run out or not.
    Revision(u64),
}

/// A value that shall be kept, or be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemWrite {
    /// Where.
    pub space: Space,
    /// Under which key.
    pub key: ItemKey,
    /// What must hold.
    pub expected: ItemExpectation,
    /// The value after the write; `None` when there shall be none.
    pub becomes: Option<Item>,
}

/// A hook's answer with what the plugin wants to keep because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// The answer.
    pub answer: T,
    /// What to keep, in the same changeset as what the answer brings about; each key at most once.
    pub writes: Vec<ItemWrite>,
}

impl<T> Answered<T> {
    /// An answer of a plugin that keeps nothing.
    pub fn plain(answer: T) -> Self {
        Self { answer, writes: Vec::new() }
    }
}

/// Reads what plugins keep, and minds how much it is.
#[async_trait]
pub trait PluginStorage: Send + Sync {
    /// A value by its key, one that has run out included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn item(&self, space: &Space, key: &ItemKey) -> Result<Option<Item>, StoreError>;

    /// Values of a space whose keys begin with `prefix`, in ascending order of the key's bytes, from the one after `after`;
    /// those that have run out included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn items(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ItemKey, Item)>, StoreError>;

    /// Bytes of all keys and values of a space, as far as it is known: calls at the same time do not see each other's.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn used_bytes(&self, space: &Space, now: Timestamp) -> Result<u64, StoreError>;

    /// A call has ended well, and will have its space use this many bytes more, or less.
    fn note_growth(&self, space: &Space, bytes: i64);

    /// A revision that no other write has.
    fn fresh_revision(&self) -> u64;
}
