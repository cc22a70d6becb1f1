//! A store behind a gate: whatever is written passes through it, before and after, and every read asks it first.
//!
//! The gate may let a call fail, may forge its outcome, or may never let it return, as when the process dies in it. What the
//! store behind it does is its own affair.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OwnedRwLockReadGuard;
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
use xthonpay_payments::port::lending::storage::{Item, Space};
use xthonpay_payments::port::store::{
    AttestationRecord, Changeset, CommitError, Counter, Cursor, Delivery, DeliveryFilter, Endpoint, FeedPosition,
    InvoiceFilter, KeptAnswer, Key, Merchant, OwnAddress, PaymentFilter, Store, StoreError, Write,
};

use crate::crash_points::Boundary;

/// Watches a store.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Before a read.
    ///
    /// # Errors
    /// The read fails with it.
    fn read(&self) -> Result<(), StoreError>;

    /// Before something is stored; may never return.
    async fn before(&self, boundary: Option<Boundary>);

    /// Whether a changeset shall fail, and with what; asked right before it is stored.
    fn refuse(&self, changes: &Changeset) -> Option<CommitError>;

    /// Held while the store has a changeset in hand: it ends that even when the caller has gone away.
    async fn in_hand(&self) -> OwnedRwLockReadGuard<()>;

    /// A changeset is stored, whether or not anybody still waits for the answer.
    fn stored(&self, changes: &Changeset);

    /// The store took a changeset, and its caller does not know it yet; may never return. Gives the outcome that the caller
    /// sees.
    async fn committed(&self, boundary: Option<Boundary>, changes: &Changeset) -> Result<(), CommitError>;

    /// After something else was stored; may never return.
    async fn after(&self, boundary: Boundary);
}

/// A store behind a gate.
pub struct GatedStore {
    inner: Arc<dyn Store>,
    gate: Arc<dyn Gate>,
}

impl GatedStore {
    /// `inner` behind `gate`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, gate: Arc<dyn Gate>) -> Self {
        Self { inner, gate }
    }

    /// A changeset that is handed over is stored, or refused, also when the caller is dropped: as with a store that has a writer
    /// of its own.
    async fn store(&self, changes: Changeset) -> Result<(), CommitError> {
        let (inner, gate) = (Arc::clone(&self.inner), Arc::clone(&self.gate));
        let in_hand = self.gate.in_hand().await;
        let work = async move {
            let outcome = inner.commit(changes.clone()).await;
            if outcome.is_ok() {
                gate.stored(&changes);
            }
            drop(in_hand);
            outcome
        };
        tokio::spawn(work).await.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic()))
    }

    fn read(&self) -> Result<&dyn Store, StoreError> {
        self.gate.read().map(|()| self.inner.as_ref())
    }

    /// The stored cursor of the chain whose cursor a changeset sets.
    async fn cursor_below(&self, changes: &Changeset) -> Option<Cursor> {
        let chain = changes.writes.iter().find_map(|write| match write {
            Write::SetCursor(next) => Some(&next.chain),
            _ => None,
        })?;
        self.inner.cursor(chain).await.ok().flatten()
    }
}

#[async_trait]
impl Store for GatedStore {
    async fn commit(&self, changes: Changeset) -> Result<(), CommitError> {
        let boundary = Boundary::of(&changes, self.cursor_below(&changes).await.as_ref());
        self.gate.before(boundary).await;
        if let Some(error) = self.gate.refuse(&changes) {
            return Err(error);
        }
        self.store(changes.clone()).await?;
        self.gate.committed(boundary, &changes).await
    }

    async fn take_numbers(&self, counter: &Counter, count: u32) -> Result<u32, StoreError> {
        let store = self.read()?;
        let boundary = Boundary::of_numbers(counter);
        self.gate.before(Some(boundary)).await;
        let first = store.take_numbers(counter, count).await?;
        self.gate.after(boundary).await;
        Ok(first)
    }

    async fn next_number(&self, counter: &Counter) -> Result<u32, StoreError> {
        self.read()?.next_number(counter).await
    }

    async fn merchants(&self, after: Option<&MerchantId>, limit: usize) -> Result<Vec<Merchant>, StoreError> {
        self.read()?.merchants(after, limit).await
    }

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, StoreError> {
        self.read()?.merchant(id).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<Key>, StoreError> {
        self.read()?.key(id).await
    }

    async fn keys(&self, merchant: &MerchantId, after: Option<&KeyId>, limit: usize) -> Result<Vec<Key>, StoreError> {
        self.read()?.keys(merchant, after, limit).await
    }

    async fn key_used_at(&self, key: &KeyId) -> Result<Option<Timestamp>, StoreError> {
        self.read()?.key_used_at(key).await
    }

    async fn endpoint(&self, id: &EndpointId) -> Result<Option<Endpoint>, StoreError> {
        self.read()?.endpoint(id).await
    }

    async fn endpoints_of(&self, merchant: &MerchantId) -> Result<Vec<Endpoint>, StoreError> {
        self.read()?.endpoints_of(merchant).await
    }

    async fn endpoints(&self, after: Option<&EndpointId>, limit: usize) -> Result<Vec<Endpoint>, StoreError> {
        self.read()?.endpoints(after, limit).await
    }

    async fn kept_answer(
        &self,
        merchant: &MerchantId,
        call: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        self.read()?.kept_answer(merchant, call, key).await
    }

    async fn invoice(&self, id: &InvoiceId) -> Result<Option<Invoice>, StoreError> {
        self.read()?.invoice(id).await
    }

    async fn invoice_by_external_id(
        &self,
        merchant: &MerchantId,
        external_id: &ExternalId,
    ) -> Result<Option<Invoice>, StoreError> {
        self.read()?.invoice_by_external_id(merchant, external_id).await
    }

    async fn invoices(
        &self,
        merchant: &MerchantId,
        filter: &InvoiceFilter,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        self.read()?.invoices(merchant, filter, limit).await
    }

    async fn invoices_past_expiry(
        &self,
        chain: &ChainName,
        time: Timestamp,
        after: Option<&(Timestamp, InvoiceId)>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        self.read()?.invoices_past_expiry(chain, time, after, limit).await
    }

    async fn invoices_awaiting_ruling(
        &self,
        after: Option<&InvoiceId>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        self.read()?.invoices_awaiting_ruling(after, limit).await
    }

    async fn deposit(&self, id: &DepositId) -> Result<Option<Deposit>, StoreError> {
        self.read()?.deposit(id).await
    }

    async fn deposits_of_invoice(&self, id: &InvoiceId) -> Result<Vec<Deposit>, StoreError> {
        self.read()?.deposits_of_invoice(id).await
    }

    async fn deposits_on(
        &self,
        address: &Address,
        after: Option<&DepositId>,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError> {
        self.read()?.deposits_on(address, after, limit).await
    }

    async fn seen_deposits(&self, chain: &ChainName) -> Result<Vec<Deposit>, StoreError> {
        self.read()?.seen_deposits(chain).await
    }

    async fn deposits(&self, after: Option<&DepositId>, limit: usize) -> Result<Vec<Deposit>, StoreError> {
        self.read()?.deposits(after, limit).await
    }

    async fn suspended_deposits(&self, after: Option<&DepositId>, limit: usize) -> Result<Vec<Deposit>, StoreError> {
        self.read()?.suspended_deposits(after, limit).await
    }

    async fn posting(&self, id: &PostingId) -> Result<Option<Posting>, StoreError> {
        self.read()?.posting(id).await
    }

    async fn postings(&self, after: Option<&PostingId>, limit: usize) -> Result<Vec<Posting>, StoreError> {
        self.read()?.postings(after, limit).await
    }

    async fn balances(
        &self,
        after: Option<&(MerchantId, AssetId)>,
        limit: usize,
    ) -> Result<Vec<(MerchantId, AssetId, Balance)>, StoreError> {
        self.read()?.balances(after, limit).await
    }

    async fn event(&self, id: &EventId) -> Result<Option<Event>, StoreError> {
        self.read()?.event(id).await
    }

    async fn feed(
        &self,
        merchant: &MerchantId,
        after: FeedPosition,
        limit: usize,
    ) -> Result<Vec<(FeedPosition, Event)>, StoreError> {
        self.read()?.feed(merchant, after, limit).await
    }

    async fn payments(
        &self,
        merchant: &MerchantId,
        filter: &PaymentFilter,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError> {
        self.read()?.payments(merchant, filter, limit).await
    }

    async fn balance(&self, merchant: &MerchantId, asset: &AssetId) -> Result<(Balance, u64), StoreError> {
        self.read()?.balance(merchant, asset).await
    }

    async fn addresses(&self, after: Option<Address>, limit: usize) -> Result<Vec<OwnAddress>, StoreError> {
        self.read()?.addresses(after, limit).await
    }

    async fn address_list(&self, after: Option<Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        self.read()?.address_list(after, limit).await
    }

    async fn address(&self, address: &Address) -> Result<Option<OwnAddress>, StoreError> {
        self.read()?.address(address).await
    }

    async fn deposit_address(&self, merchant: &MerchantId) -> Result<Option<OwnAddress>, StoreError> {
        self.read()?.deposit_address(merchant).await
    }

    async fn cursor(&self, chain: &ChainName) -> Result<Option<Cursor>, StoreError> {
        self.read()?.cursor(chain).await
    }

    async fn block(&self, chain: &ChainName, number: BlockNumber) -> Result<Option<BlockRef>, StoreError> {
        self.read()?.block(chain, number).await
    }

    async fn unrouted_events(&self, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read()?.unrouted_events(limit).await
    }

    async fn unrouted_events_behind(
        &self,
        after: &(Timestamp, u64, EventId),
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.read()?.unrouted_events_behind(after, limit).await
    }

    async fn plugin_item(&self, space: &Space, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        self.read()?.plugin_item(space, key).await
    }

    async fn plugin_items(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        self.read()?.plugin_items(space, prefix, after, limit).await
    }

    async fn attestations(
        &self,
        after: Option<(Timestamp, &str)>,
        limit: usize,
    ) -> Result<Vec<AttestationRecord>, StoreError> {
        self.read()?.attestations(after, limit).await
    }

    async fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
        self.read()?.delivery(id).await
    }

    async fn deliveries(
        &self,
        merchant: &MerchantId,
        filter: &DeliveryFilter,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.read()?.deliveries(merchant, filter, limit).await
    }

    async fn due_deliveries(
        &self,
        now: Timestamp,
        after: Option<&(Timestamp, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.read()?.due_deliveries(now, after, limit).await
    }

    async fn next_delivery_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read()?.next_delivery_at().await
    }

    async fn forget(&self, now: Timestamp, chain: &ChainName, keep_from: BlockNumber) -> Result<usize, StoreError> {
        let store = self.read()?;
        self.gate.before(Some(Boundary::Forgetting)).await;
        let gone = store.forget(now, chain, keep_from).await?;
        self.gate.after(Boundary::Forgetting).await;
        Ok(gone)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.read()?.probe().await
    }
}
