//! Durable records.
//!
//! All writing goes through [`Store::commit`]: a [`Changeset`] is stored as a whole or not at all, and only if every
//! expectation in it holds. Records are created by their id and updated from the revision that was read, so two writers
//! can never both win. Reads see committed data only.

use async_trait::async_trait;
use ipnet::IpNet;
use thiserror::Error;
use xthonpay_domain::access::{KeyId, Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{DeliveryId, DepositId, EventId, InvoiceId, MerchantId, PostingId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::assessment::InvoiceState;
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::ledger::{Balance, Posting};
use xthonpay_domain::text::{ChainName, ExternalId, Label};
use xthonpay_domain::time::Timestamp;

use crate::port::vault::Sealed;

/// The most records that one read returns. Bounds memory per request; callers page.
pub const READ_LIMIT_MAX: usize = 1_000;

/// A merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merchant {
    /// Public id.
    pub id: MerchantId,
    /// The hardened account number in the derivation path; unique.
    pub account: u32,
    /// The operator's name for it.
    pub name: Label,
    /// When it was made.
    pub created_at: Timestamp,
    /// Signs the merchant's webhooks.
    pub webhook_secret: Sealed,
}

/// A key without its plain secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Public id.
    pub id: KeyId,
    /// The owner.
    pub merchant: MerchantId,
    /// The owner's name for it.
    pub label: Label,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// How its requests are signed.
    pub scheme: SignatureScheme,
    /// Networks from which it may be used; empty means any.
    pub ip_list: Vec<IpNet>,
    /// Verifies its requests.
    pub secret: Sealed,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub revoked_at: Option<Timestamp>,
}

/// An address of ours and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: Address,
    /// Whose deposits it receives.
    pub merchant: MerchantId,
    /// The invoice that it was made for; `None` for a merchant's deposit address.
    pub invoice: Option<InvoiceId>,
    /// The index in the derivation path, below the merchant's account.
    pub index: u32,
}

/// How far a chain has been processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The chain.
    pub chain: ChainName,
    /// The newest processed block.
    pub tip: BlockRef,
    /// The newest processed block that is final.
    pub finalized: BlockRef,
    /// Set while nothing may be credited or withdrawn on the chain, until an operator resumes it.
    pub frozen: Option<Freeze>,
    /// Grows by one with every change.
    pub revision: u64,
}

/// Why a chain is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// What was found, in one sentence for the operator.
    pub reason: String,
    /// When it was found, by the host's clock.
    pub at: Timestamp,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Has attempts left.
    Pending,
    /// The receiver took it.
    Delivered,
    /// The schedule is exhausted, or the receiver or the address policy refused for good.
    Failed,
}

/// One event going to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Made from event and endpoint, so that routing twice makes one delivery.
    pub id: DeliveryId,
    /// The event, whose id is the `webhook-id`.
    pub event: EventId,
    /// Whose secret signs it.
    pub merchant: MerchantId,
    /// The invoice whose order it keeps.
    pub invoice: Option<InvoiceId>,
    /// Position of the event in its invoice.
    pub sequence: u64,
    /// Where to.
    pub url: CallbackUrl,
    /// Media type of the body.
    pub content_type: String,
    /// Headers from the formatter, in lower case.
    pub headers: Vec<(String, String)>,
    /// The bytes that every attempt sends.
    pub body: Vec<u8>,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next_at: Timestamp,
    /// Status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows by one with every change.
    pub revision: u64,
}

/// A signed request whose signature must not be used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedSignature {
    /// The key.
    pub key: KeyId,
    /// The signature in lower-case hexadecimal.
    pub signature: String,
    /// When the row may be forgotten: after that the timestamp is refused anyway.
    pub expires_at: Timestamp,
}

/// One change with its expectation.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new merchant. Expects that neither id nor account exist.
    CreateMerchant(Merchant),
    /// A new key. Expects that the id does not exist.
    CreateKey(Key),
    /// A new address of ours. Expects that the address does not exist.
    CreateAddress(OwnAddress),
    /// A new invoice. Expects that neither its id nor, if it has one, its `(merchant, external_id)` exist.
    CreateInvoice(Box<Invoice>),
    /// A changed invoice, whose `revision` is one above the stored one. Expects that stored revision.
    UpdateInvoice(Box<Invoice>),
    /// A new deposit. Expects that the id does not exist.
    CreateDeposit(Deposit),
    /// A changed deposit. Expects that the stored one equals `before`.
    UpdateDeposit {
        /// As it was read.
        before: Box<Deposit>,
        /// As it shall be.
        after: Box<Deposit>,
    },
    /// A new posting. Expects that the id does not exist.
    Post(Posting),
    /// A merchant's balance. Expects the stored revision, 0 when there is none yet.
    SetBalance {
        /// Whose.
        merchant: MerchantId,
        /// Of what.
        asset: AssetId,
        /// The balance after the change.
        balance: Balance,
        /// The revision that was read.
        from_revision: u64,
    },
    /// A new event, not yet routed. Expects that the id does not exist.
    CreateEvent(Event),
    /// An event has all its deliveries. Expects that the event exists.
    MarkRouted(EventId),
    /// A new delivery. Expects that the id does not exist.
    CreateDelivery(Box<Delivery>),
    /// A changed delivery, whose `revision` is one above the stored one. Expects that stored revision.
    UpdateDelivery(Box<Delivery>),
    /// A processed block. Replaces the block that was stored at the same height.
    PutBlock {
        /// The chain.
        chain: ChainName,
        /// The block.
        block: BlockRef,
    },
    /// How far a chain is processed; `revision` is one above the stored one, or 1 when there is none yet.
    SetCursor(Cursor),
    /// A signature that is used up. Expects that it was not used before.
    UseSignature(UsedSignature),
}

/// Changes that are stored as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Changeset {
    /// The changes; at least one.
    pub writes: Vec<Write>,
}

impl Changeset {
    /// No change yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a change.
    pub fn push(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// The set with one more change.
    #[must_use]
    pub fn with(mut self, write: Write) -> Self {
        self.push(write);
        self
    }
}

impl FromIterator<Write> for Changeset {
    fn from_iter<I: IntoIterator<Item = Write>>(writes: I) -> Self {
        Self { writes: writes.into_iter().collect() }
    }
}

/// A changeset that was not stored.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommitError {
    /// An expectation does not hold: a record exists already, is gone, or has another revision. Nothing was stored.
    /// Read again and decide anew.
    #[error("the records changed in the meantime")]
    Refused,
    /// The store failed. Nothing was stored, or the store checked that the whole changeset is stored before it said so.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommitError {
    /// Whether the same changeset may be stored later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused => false,
            Self::Store(error) => error.is_transient(),
        }
    }
}

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

/// Which invoices of a merchant to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvoiceFilter {
    /// Only in this state.
    pub state: Option<InvoiceState>,
    /// Only with this external id.
    pub external_id: Option<ExternalId>,
    /// Only created at or after.
    pub created_from: Option<Timestamp>,
    /// Only created before or at.
    pub created_to: Option<Timestamp>,
    /// Only those that come after this one in the list: its creation time and id.
    pub after: Option<(Timestamp, InvoiceId)>,
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

    /// Removes used signatures that expired before `now` and blocks of `chain` below `keep_from`; returns how many rows
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
