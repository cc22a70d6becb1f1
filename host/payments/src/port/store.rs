//! Durable records.
//!
//! All writing goes through [`Store::commit`]: a [`Changeset`] is stored as a whole or not at all, and only if every
//! expectation in it holds. Records are created by their id and updated from the revision that was read, so two writers
//! can never both win. Reads see committed data only.

mod filter;
mod records;
mod write;

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::access::KeyId;
use xthonpay_domain::address::Address;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{DeliveryId, DepositId, EndpointId, EventId, InvoiceId, MerchantId, PostingId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::{Balance, Posting};
use xthonpay_domain::text::{ChainName, ExternalId, IdempotencyKey, ItemKey};
use xthonpay_domain::time::Timestamp;

use crate::port::lending::storage::{Item, Space};

pub use filter::{DeliveryFilter, DeliverySelection, FeedPosition, InvoiceFilter, PaymentFilter, PaymentSelection};
pub use records::{
    ATTEMPTS_LOGGED_MAX, AnswerBytes, Attempt, AttestationRecord, Cursor, Delivery, DeliveryState, Endpoint,
    EndpointState, Freeze, KeptAnswer, Key, Merchant, OwnAddress, RetiringSecret, UsedSignature,
};
pub use write::{Changeset, CommitError, Write};

/// The most records that one read returns. Bounds memory per request; callers page.
pub const READ_LIMIT_MAX: usize = 1_000;

/// A store that cannot answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// Cannot be reached, is too busy, or is stopping.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// Holds a record that cannot be: a bug or damage. Nothing is guessed.
    #[error("the store holds a damaged record in {table}: {reason}")]
    Damaged {
        /// Where.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Damaged { .. } => false,
        }
    }
}

/// Numbers that are handed out once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Indices of a merchant's addresses in derivation paths.
    AddressIndex(MerchantId),
}

/// Durable records of one deployment.
///
/// Reads return at most [`READ_LIMIT_MAX`] records, whatever `limit` says. All calls may be dropped at any time; a dropped
/// [`Store::commit`] may or may not have stored its changeset.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a changeset. When it returns `Ok`, the changes are on durable storage.
    ///
    /// # Errors
    /// [`CommitError::Refused`] when an expectation does not hold.
    async fn commit(&self, changes: Changeset) -> Result<(), CommitError>;

    /// Takes `count` consecutive numbers that nobody else gets, durably, and returns the first. Counting starts at 0.
    /// Numbers taken before a crash are lost, never given twice.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn take_numbers(&self, counter: &Counter, count: u32) -> Result<u32, StoreError>;

    /// The next number that [`Store::take_numbers`] would give.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn next_number(&self, counter: &Counter) -> Result<u32, StoreError>;

    /// Merchants in ascending order of the id, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn merchants(&self, after: Option<&MerchantId>, limit: usize) -> Result<Vec<Merchant>, StoreError>;

    /// A merchant by id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, StoreError>;

    /// A key by id, revoked or not.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn key(&self, id: &KeyId) -> Result<Option<Key>, StoreError>;

    /// A merchant's keys, revoked or not, in ascending order of the id, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn keys(&self, merchant: &MerchantId, after: Option<&KeyId>, limit: usize) -> Result<Vec<Key>, StoreError>;

    /// When a key was last used, as far as it was noted.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn key_used_at(&self, key: &KeyId) -> Result<Option<Timestamp>, StoreError>;

    /// An endpoint by id, removed or not.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn endpoint(&self, id: &EndpointId) -> Result<Option<Endpoint>, StoreError>;

    /// A merchant's endpoints that are not removed, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn endpoints_of(&self, merchant: &MerchantId) -> Result<Vec<Endpoint>, StoreError>;

    /// Endpoints, removed or not, in ascending order of the id, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn endpoints(&self, after: Option<&EndpointId>, limit: usize) -> Result<Vec<Endpoint>, StoreError>;

    /// The answer that is kept for a merchant's call under a key.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn kept_answer(
        &self,
        merchant: &MerchantId,
        call: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<KeptAnswer>, StoreError>;

    /// An invoice by id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn invoice(&self, id: &InvoiceId) -> Result<Option<Invoice>, StoreError>;

    /// A merchant's invoice by the merchant's own name.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn invoice_by_external_id(
        &self,
        merchant: &MerchantId,
        external_id: &ExternalId,
    ) -> Result<Option<Invoice>, StoreError>;

    /// A merchant's invoices, newest first (by creation time, then id, both descending).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn invoices(
        &self,
        merchant: &MerchantId,
        filter: &InvoiceFilter,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError>;

    /// Invoices in assets of `chain` that still await their expiry and whose `expires_at` is before `time`, oldest first (by
    /// `expires_at`, then id, both ascending), from the one after `after`, which is the `expires_at` and id of the last one of
    /// the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn invoices_past_expiry(
        &self,
        chain: &ChainName,
        time: Timestamp,
        after: Option<&(Timestamp, InvoiceId)>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError>;

    /// Invoices whose assessment awaits a ruling, in ascending order of the id, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn invoices_awaiting_ruling(
        &self,
        after: Option<&InvoiceId>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError>;

    /// A deposit by id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn deposit(&self, id: &DepositId) -> Result<Option<Deposit>, StoreError>;

    /// Every deposit on an invoice's address, in no particular order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn deposits_of_invoice(&self, id: &InvoiceId) -> Result<Vec<Deposit>, StoreError>;

    /// Deposits on an address that was made for no invoice, in ascending order of the id, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn deposits_on(
        &self,
        address: &Address,
        after: Option<&DepositId>,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError>;

    /// Every deposit of `chain` that is seen and not final, all of them whatever their number.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn seen_deposits(&self, chain: &ChainName) -> Result<Vec<Deposit>, StoreError>;

    /// Deposits in ascending order of the id, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn deposits(&self, after: Option<&DepositId>, limit: usize) -> Result<Vec<Deposit>, StoreError>;

    /// Deposits that a posting has set aside ([`PostingKind::DepositSuspended`](xthonpay_domain::ledger::PostingKind::DepositSuspended)), in ascending order of the id, from the one
    /// after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn suspended_deposits(&self, after: Option<&DepositId>, limit: usize) -> Result<Vec<Deposit>, StoreError>;

    /// A posting by id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn posting(&self, id: &PostingId) -> Result<Option<Posting>, StoreError>;

    /// Postings in ascending order of the id, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn postings(&self, after: Option<&PostingId>, limit: usize) -> Result<Vec<Posting>, StoreError>;

    /// Balances that were ever set, in ascending order of the merchant and, for each, in one fixed order of the assets, from the
    /// one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn balances(
        &self,
        after: Option<&(MerchantId, AssetId)>,
        limit: usize,
    ) -> Result<Vec<(MerchantId, AssetId, Balance)>, StoreError>;

    /// An event by id, routed or not.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn event(&self, id: &EventId) -> Result<Option<Event>, StoreError>;

    /// A merchant's events behind a place in its feed, in the order in which they were committed. Every event up to the last
    /// one returned is on durable storage, and none will ever appear between two of them.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn feed(
        &self,
        merchant: &MerchantId,
        after: FeedPosition,
        limit: usize,
    ) -> Result<Vec<(FeedPosition, Event)>, StoreError>;

    /// A merchant's deposits, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn payments(
        &self,
        merchant: &MerchantId,
        filter: &PaymentFilter,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError>;

    /// A merchant's balance in an asset with its revision; zero with revision 0 when there is none yet.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn balance(&self, merchant: &MerchantId, asset: &AssetId) -> Result<(Balance, u64), StoreError>;

    /// Addresses of ours in ascending order of the address, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn addresses(&self, after: Option<Address>, limit: usize) -> Result<Vec<OwnAddress>, StoreError>;

    /// The same addresses without what they are for: cheaper where there are many and only membership counts.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn address_list(&self, after: Option<Address>, limit: usize) -> Result<Vec<Address>, StoreError>;

    /// What an address of ours is for.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn address(&self, address: &Address) -> Result<Option<OwnAddress>, StoreError>;

    /// A merchant's deposit address: the one that was not made for an invoice.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn deposit_address(&self, merchant: &MerchantId) -> Result<Option<OwnAddress>, StoreError>;

    /// How far a chain is processed, or `None` before the first block.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn cursor(&self, chain: &ChainName) -> Result<Option<Cursor>, StoreError>;

    /// The processed block at a height, if it is still remembered.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn block(&self, chain: &ChainName, number: BlockNumber) -> Result<Option<BlockRef>, StoreError>;

    /// Events that are not routed yet, oldest first and in the order of their sequence within an invoice.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn unrouted_events(&self, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Events that are not routed behind a place among them, in ascending order of that place: time, sequence and id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn unrouted_events_behind(
        &self,
        after: &(Timestamp, u64, EventId),
        limit: usize,
    ) -> Result<Vec<Event>, StoreError>;

    /// A value that a plugin keeps, one that has run out included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn plugin_item(&self, space: &Space, key: &ItemKey) -> Result<Option<Item>, StoreError>;

    /// Values of a space whose keys begin with `prefix`, in ascending order of the key's bytes, from the one after `after`;
    /// those that have run out included.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn plugin_items(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ItemKey, Item)>, StoreError>;

    /// Uses of signers that are lent to plugins, in ascending order of time and id, from the one after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn attestations(
        &self,
        after: Option<(Timestamp, &str)>,
        limit: usize,
    ) -> Result<Vec<AttestationRecord>, StoreError>;

    /// A delivery by id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, StoreError>;

    /// A merchant's deliveries, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn deliveries(
        &self,
        merchant: &MerchantId,
        filter: &DeliveryFilter,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Pending deliveries that are due at `now`, the longest due first (by `next_at`, then id, both ascending), from the one
    /// after `after`, which is the `next_at` and id of the last one of the page before.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due_deliveries(
        &self,
        now: Timestamp,
        after: Option<&(Timestamp, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// When the next pending delivery is due, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn next_delivery_at(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Removes used signatures and kept answers that expired before `now` and blocks of `chain` below `keep_from`; returns how many rows
    /// went. Bounded work: call again while it returns more than zero.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget(&self, now: Timestamp, chain: &ChainName, keep_from: BlockNumber) -> Result<usize, StoreError>;

    /// Writes and reads a probe, to tell whether the store takes writes.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn probe(&self) -> Result<(), StoreError>;
}
