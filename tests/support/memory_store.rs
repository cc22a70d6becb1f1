//! The store port in memory: every expectation of every write holds or nothing is stored, and faults happen on request.
//!
//! Keeps nothing; made for tests of the use cases. What a test wants to know besides the port's reads is in [`Tables`].

mod faults;
mod tables;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use xthonpay_domain::access::KeyId;
use xthonpay_domain::address::Address;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{DeliveryId, DepositId, EndpointId, EventId, InvoiceId, MerchantId, PostingId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::{Balance, Posting, PostingKind};
use xthonpay_domain::text::{ChainName, ExternalId, IdempotencyKey, ItemKey};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::storage::{Item, Space};
use xthonpay_payments::port::store::{
    AttestationRecord, Changeset, CommitError, Counter, Cursor, Delivery, DeliveryFilter, DeliverySelection,
    DeliveryState, Endpoint, EndpointState, FeedPosition, InvoiceFilter, KeptAnswer, Key, Merchant, OwnAddress,
    PaymentFilter, PaymentSelection, READ_LIMIT_MAX, Store, StoreError,
};

pub use faults::{Fault, Faults};
pub use tables::Tables;

/// Rows that one call of [`Store::forget`] removes at most: few, so that callers have to call again.
const FORGOTTEN_AT_ONCE: usize = 50;

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    /// What goes wrong.
    pub faults: Faults,
}

impl MemoryStore {
    /// Everything that is stored, as it is now.
    #[must_use]
    pub fn tables(&self) -> Tables {
        self.lock().clone()
    }

    /// Changes records behind the back of the port's rules.
    pub fn tamper(&self, change: impl FnOnce(&mut Tables)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        self.faults.at_read()?;
        Ok(self.lock())
    }
}

/// The first records of a read, within the port's bound.
fn page<'a, T: Clone + 'a>(records: impl IntoIterator<Item = &'a T>, limit: usize) -> Vec<T> {
    records.into_iter().take(limit.min(READ_LIMIT_MAX)).cloned().collect()
}

/// The records of a table behind a key.
fn behind<'a, K: Ord, T>(table: &'a BTreeMap<K, T>, after: Option<&'a K>) -> impl Iterator<Item = &'a T> {
    table.iter().filter(move |(key, _)| after.is_none_or(|after| *key > after)).map(|(_, record)| record)
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, changes: Changeset) -> Result<(), CommitError> {
        match self.faults.at_commit(&changes) {
            None => self.lock().apply(&changes),
            Some(Fault::NothingStored) => Err(faults::unavailable().into()),
            Some(Fault::Stored) => {
                self.lock().apply(&changes)?;
                Err(faults::unavailable().into())
            }
            Some(Fault::StoredAndSilent) => {
                self.lock().apply(&changes)?;
                std::future::pending().await
            }
            Some(Fault::Refused) => Err(CommitError::Refused),
        }
    }

    async fn take_numbers(&self, counter: &Counter, count: u32) -> Result<u32, StoreError> {
        let mut tables = self.read()?;
        let next = tables.counters.entry(counter.clone()).or_default();
        let first = *next;
        *next = next.saturating_add(count);
        Ok(first)
    }

    async fn next_number(&self, counter: &Counter) -> Result<u32, StoreError> {
        Ok(self.read()?.counters.get(counter).copied().unwrap_or_default())
    }

    async fn merchants(&self, after: Option<&MerchantId>, limit: usize) -> Result<Vec<Merchant>, StoreError> {
        Ok(page(behind(&self.read()?.merchants, after), limit))
    }

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, StoreError> {
        Ok(self.read()?.merchants.get(id).cloned())
    }

    async fn key(&self, id: &KeyId) -> Result<Option<Key>, StoreError> {
        Ok(self.read()?.keys.get(id).cloned())
    }

    async fn keys(&self, merchant: &MerchantId, after: Option<&KeyId>, limit: usize) -> Result<Vec<Key>, StoreError> {
        let tables = self.read()?;
        Ok(page(behind(&tables.keys, after).filter(|key| key.merchant == *merchant), limit))
    }

    async fn key_used_at(&self, key: &KeyId) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.read()?.key_uses.get(key).copied())
    }

    async fn endpoint(&self, id: &EndpointId) -> Result<Option<Endpoint>, StoreError> {
        Ok(self.read()?.endpoints.get(id).cloned())
    }

    async fn endpoints_of(&self, merchant: &MerchantId) -> Result<Vec<Endpoint>, StoreError> {
        let tables = self.read()?;
        let wanted = |endpoint: &&Endpoint| endpoint.merchant == *merchant && endpoint.state != EndpointState::Removed;
        let mut found: Vec<&Endpoint> = tables.endpoints.values().filter(wanted).collect();
        found.sort_by_key(|endpoint| (endpoint.created_at, endpoint.id.clone()));
        Ok(page(found, READ_LIMIT_MAX))
    }

    async fn endpoints(&self, after: Option<&EndpointId>, limit: usize) -> Result<Vec<Endpoint>, StoreError> {
        Ok(page(behind(&self.read()?.endpoints, after), limit))
    }

    async fn kept_answer(
        &self,
        merchant: &MerchantId,
        call: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        let id = (merchant.clone(), call.to_owned(), key.to_string());
        Ok(self.read()?.answers.get(&id).cloned())
    }

    async fn invoice(&self, id: &InvoiceId) -> Result<Option<Invoice>, StoreError> {
        Ok(self.read()?.invoices.get(id).cloned())
    }

    async fn invoice_by_external_id(
        &self,
        merchant: &MerchantId,
        external_id: &ExternalId,
    ) -> Result<Option<Invoice>, StoreError> {
        let tables = self.read()?;
        let wanted =
            |invoice: &&Invoice| invoice.merchant == *merchant && invoice.external_id.as_ref() == Some(external_id);
        Ok(tables.invoices.values().find(wanted).cloned())
    }

    async fn invoices(
        &self,
        merchant: &MerchantId,
        filter: &InvoiceFilter,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        let tables = self.read()?;
        let wanted = |invoice: &&Invoice| {
            let place = (invoice.created_at, invoice.id.clone());
            invoice.merchant == *merchant
                && filter.state.is_none_or(|state| invoice.assessment.state == state)
                && filter.external_id.as_ref().is_none_or(|name| invoice.external_id.as_ref() == Some(name))
                && filter.created_from.is_none_or(|from| invoice.created_at >= from)
                && filter.created_to.is_none_or(|to| invoice.created_at <= to)
                && filter.after.as_ref().is_none_or(|after| place < *after)
        };
        let mut found: Vec<&Invoice> = tables.invoices.values().filter(wanted).collect();
        found.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
        Ok(page(found, limit))
    }

    async fn invoices_past_expiry(
        &self,
        chain: &ChainName,
        time: Timestamp,
        after: Option<&(Timestamp, InvoiceId)>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        let tables = self.read()?;
        let place = |invoice: &Invoice| (invoice.terms.expires_at, invoice.id.clone());
        let wanted = |invoice: &&Invoice| {
            invoice.terms.asset.chain == *chain
                && invoice.assessment.state.awaits_expiry()
                && invoice.terms.expires_at < time
                && after.is_none_or(|after| place(invoice) > *after)
        };
        let mut found: Vec<&Invoice> = tables.invoices.values().filter(wanted).collect();
        found.sort_by_key(|invoice| place(invoice));
        Ok(page(found, limit))
    }

    async fn invoices_awaiting_ruling(
        &self,
        after: Option<&InvoiceId>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        let tables = self.read()?;
        let wanted =
            |invoice: &&Invoice| invoice.assessment.awaits_ruling && after.is_none_or(|after| invoice.id > *after);
        Ok(page(tables.invoices.values().filter(wanted), limit))
    }

    async fn deposit(&self, id: &DepositId) -> Result<Option<Deposit>, StoreError> {
        Ok(self.read()?.deposits.get(id).cloned())
    }

    async fn deposits_of_invoice(&self, id: &InvoiceId) -> Result<Vec<Deposit>, StoreError> {
        let tables = self.read()?;
        Ok(tables.deposits.values().filter(|deposit| deposit.invoice.as_ref() == Some(id)).cloned().collect())
    }

    async fn deposits_on(
        &self,
        address: &Address,
        after: Option<&DepositId>,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError> {
        let tables = self.read()?;
        let wanted = |deposit: &&Deposit| deposit.invoice.is_none() && deposit.transfer.identity.to == *address;
        Ok(page(behind(&tables.deposits, after).filter(wanted), limit))
    }

    async fn seen_deposits(&self, chain: &ChainName) -> Result<Vec<Deposit>, StoreError> {
        let tables = self.read()?;
        let wanted =
            |deposit: &&Deposit| deposit.state == DepositState::Seen && deposit.transfer.identity.asset.chain == *chain;
        Ok(tables.deposits.values().filter(wanted).cloned().collect())
    }

    async fn deposits(&self, after: Option<&DepositId>, limit: usize) -> Result<Vec<Deposit>, StoreError> {
        Ok(page(behind(&self.read()?.deposits, after), limit))
    }

    async fn suspended_deposits(&self, after: Option<&DepositId>, limit: usize) -> Result<Vec<Deposit>, StoreError> {
        let tables = self.read()?;
        let suspends = |posting: &Posting, id: &DepositId| {
            posting.kind() == PostingKind::DepositSuspended && posting.cause() == id.as_str()
        };
        let suspended = |deposit: &&Deposit| tables.postings.values().any(|posting| suspends(posting, &deposit.id));
        Ok(page(behind(&tables.deposits, after).filter(suspended), limit))
    }

    async fn posting(&self, id: &PostingId) -> Result<Option<Posting>, StoreError> {
        Ok(self.read()?.postings.get(id).cloned())
    }

    async fn postings(&self, after: Option<&PostingId>, limit: usize) -> Result<Vec<Posting>, StoreError> {
        Ok(page(behind(&self.read()?.postings, after), limit))
    }

    async fn balances(
        &self,
        after: Option<&(MerchantId, AssetId)>,
        limit: usize,
    ) -> Result<Vec<(MerchantId, AssetId, Balance)>, StoreError> {
        let tables = self.read()?;
        let wanted = tables.balances.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        let told = wanted.map(|((merchant, asset), (balance, _))| (merchant.clone(), asset.clone(), *balance));
        Ok(told.take(limit.min(READ_LIMIT_MAX)).collect())
    }

    async fn event(&self, id: &EventId) -> Result<Option<Event>, StoreError> {
        let tables = self.read()?;
        Ok(tables.events.iter().find(|event| event.id == *id).map(|event| Event::clone(event)))
    }

    async fn feed(
        &self,
        merchant: &MerchantId,
        after: FeedPosition,
        limit: usize,
    ) -> Result<Vec<(FeedPosition, Event)>, StoreError> {
        let tables = self.read()?;
        // The order in which they are kept is the order in which they were committed.
        let placed = (1..).map(FeedPosition).zip(&tables.events);
        let wanted = placed.filter(|(position, event)| *position > after && event.merchant == *merchant);
        let page = wanted.take(limit.min(READ_LIMIT_MAX));
        Ok(page.map(|(position, event)| (position, Event::clone(event))).collect())
    }

    async fn payments(
        &self,
        merchant: &MerchantId,
        filter: &PaymentFilter,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError> {
        let tables = self.read()?;
        let place = |deposit: &Deposit| (deposit.block.time, deposit.id.clone());
        let wanted = |deposit: &&Deposit| {
            let selected = match &filter.select {
                PaymentSelection::All => true,
                PaymentSelection::OfInvoice(invoice) => deposit.invoice.as_ref() == Some(invoice),
            };
            deposit.merchant == *merchant
                && selected
                && filter.after.as_ref().is_none_or(|after| place(deposit) < *after)
        };
        let mut found: Vec<&Deposit> = tables.deposits.values().filter(wanted).collect();
        found.sort_by_key(|deposit| Reverse(place(deposit)));
        Ok(page(found, limit))
    }

    async fn balance(&self, merchant: &MerchantId, asset: &AssetId) -> Result<(Balance, u64), StoreError> {
        Ok(self.read()?.balances.get(&(merchant.clone(), asset.clone())).copied().unwrap_or_default())
    }

    async fn addresses(&self, after: Option<Address>, limit: usize) -> Result<Vec<OwnAddress>, StoreError> {
        let tables = self.read()?;
        Ok(page(tables.addresses.values().filter(|own| after.is_none_or(|after| own.address > after)), limit))
    }

    async fn address_list(&self, after: Option<Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        Ok(self.addresses(after, limit).await?.into_iter().map(|own| own.address).collect())
    }

    async fn address(&self, address: &Address) -> Result<Option<OwnAddress>, StoreError> {
        Ok(self.read()?.addresses.get(address).cloned())
    }

    async fn deposit_address(&self, merchant: &MerchantId) -> Result<Option<OwnAddress>, StoreError> {
        let tables = self.read()?;
        let wanted = |own: &&OwnAddress| own.merchant == *merchant && own.invoice.is_none();
        Ok(tables.addresses.values().filter(wanted).min_by_key(|own| own.index).cloned())
    }

    async fn cursor(&self, chain: &ChainName) -> Result<Option<Cursor>, StoreError> {
        Ok(self.read()?.cursors.get(chain).cloned())
    }

    async fn block(&self, chain: &ChainName, number: BlockNumber) -> Result<Option<BlockRef>, StoreError> {
        Ok(self.read()?.blocks.get(&(chain.clone(), number)).copied())
    }

    async fn unrouted_events(&self, limit: usize) -> Result<Vec<Event>, StoreError> {
        let tables = self.read()?;
        Ok(page(
            tables.events.iter().map(AsRef::as_ref).filter(|event: &&Event| !tables.routed.contains(&event.id)),
            limit,
        ))
    }

    async fn unrouted_events_behind(
        &self,
        after: &(Timestamp, u64, EventId),
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let tables = self.read()?;
        let place = |event: &Event| (event.at, event.sequence, event.id.clone());
        let unrouted =
            tables.events.iter().map(AsRef::as_ref).filter(|event: &&Event| !tables.routed.contains(&event.id));
        let mut found: Vec<&Event> = unrouted.filter(|event| place(event) > *after).collect();
        found.sort_by_key(|event| place(event));
        Ok(page(found, limit))
    }

    async fn plugin_item(&self, space: &Space, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        Ok(self.read()?.plugin_items.get(&(space.clone(), key.clone())).cloned())
    }

    async fn plugin_items(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        let tables = self.read()?;
        let wanted = |(place, key): &(Space, ItemKey)| {
            place == space && key.as_str().starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        };
        let found = tables.plugin_items.iter().filter(|(place, _)| wanted(place));
        let found = found.map(|((_, key), item)| (key.clone(), item.clone()));
        Ok(found.take(limit.min(READ_LIMIT_MAX)).collect())
    }

    async fn attestations(
        &self,
        after: Option<(Timestamp, &str)>,
        limit: usize,
    ) -> Result<Vec<AttestationRecord>, StoreError> {
        let after = after.map(|(at, id)| (at, id.to_owned()));
        Ok(page(behind(&self.read()?.attestations, after.as_ref()), limit))
    }

    async fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
        Ok(self.read()?.deliveries.get(id).cloned())
    }

    async fn deliveries(
        &self,
        merchant: &MerchantId,
        filter: &DeliveryFilter,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let tables = self.read()?;
        let place = |delivery: &Delivery| (delivery.created_at, delivery.id.clone());
        let wanted = |delivery: &&Delivery| {
            let selected = match &filter.select {
                DeliverySelection::All => true,
                DeliverySelection::OfEvent(event) => delivery.event == *event,
                DeliverySelection::To(endpoint) => delivery.endpoint.as_ref() == Some(endpoint),
                DeliverySelection::In(state) => delivery.state == *state,
            };
            delivery.merchant == *merchant
                && selected
                && filter.after.as_ref().is_none_or(|after| place(delivery) < *after)
        };
        let mut found: Vec<&Delivery> = tables.deliveries.values().filter(wanted).collect();
        found.sort_by_key(|delivery| Reverse(place(delivery)));
        Ok(page(found, limit))
    }

    async fn due_deliveries(
        &self,
        now: Timestamp,
        after: Option<&(Timestamp, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let tables = self.read()?;
        let place = |delivery: &Delivery| (delivery.next_at, delivery.id.clone());
        let wanted = |delivery: &&Delivery| {
            delivery.state == DeliveryState::Pending
                && delivery.next_at <= now
                && after.is_none_or(|after| place(delivery) > *after)
        };
        let mut found: Vec<&Delivery> = tables.deliveries.values().filter(wanted).collect();
        found.sort_by_key(|delivery| place(delivery));
        Ok(page(found, limit))
    }

    async fn next_delivery_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let tables = self.read()?;
        let pending = tables.deliveries.values().filter(|delivery| delivery.state == DeliveryState::Pending);
        Ok(pending.map(|delivery| delivery.next_at).min())
    }

    async fn forget(&self, now: Timestamp, chain: &ChainName, keep_from: BlockNumber) -> Result<usize, StoreError> {
        Ok(self.read()?.forget(now, chain, keep_from, FORGOTTEN_AT_ONCE))
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.read().map(|_| ())
    }
}
