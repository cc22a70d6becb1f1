//! The store: the port on one side, the writer and the reading texts on the other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use async_trait::async_trait;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
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
    InvoiceFilter, KeptAnswer, Key, Merchant, OwnAddress, PaymentFilter, READ_LIMIT_MAX, Store, StoreError,
};

use crate::config::SurrealConfig;
use crate::connection::Connection;
use crate::hot::Hot;
use crate::list::{List, position};
use crate::open::{OpenError, open};
use crate::plan::Plan;
use crate::reader::Reader;
use crate::record::balance::StoredBalance;
use crate::record::block::ProcessedBlock;
use crate::record::key_use::{self, KeyUse};
use crate::record::plugin_item::{self, StoredItem};
use crate::record::{address, balance, block, cursor, delivery, deposit, endpoint, event, invoice, kept_answer, key};
use crate::record::{merchant, posting};
use crate::writer::{Feed, Writer};
use crate::{numbers, read};

/// Turns for taking numbers: many more than transactions of takes are ever under way.
const NUMBER_TURNS: usize = 64;

/// Merchants whose deposit address is in memory: a few hundred bytes for each.
const DEPOSIT_ADDRESSES_MAX: usize = 10_000;

/// Durable records in SurrealDB.
///
/// Meant to be shared; closing or dropping it stops it. Must be opened and used within one tokio runtime.
pub struct SurrealStore {
    connection: Arc<Connection>,
    reader: Reader,
    writer: Writer,
    feed: Arc<Feed>,
    hot: Arc<Hot>,
    /// Lets one caller at a time take numbers of a counter, so that those of this process never refuse one another. Some
    /// counters share a turn; those of merchants must not all wait for one, since each take waits for a transaction.
    numbers: [Mutex<()>; NUMBER_TURNS],
    /// The deposit addresses of merchants that asked lately.
    deposit_addresses: Cache<MerchantId, OwnAddress>,
}

impl SurrealStore {
    /// Opens the store, makes what is missing, and brings it to the newest schema.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is held then.
    pub async fn open(config: SurrealConfig) -> Result<Self, OpenError> {
        let connection = Arc::new(open(&config).await?);
        let feed = match Feed::open(&connection).await {
            Ok(feed) => Arc::new(feed),
            Err(error) => {
                // Lets go of the files, so that the next start finds them free.
                connection.close().await;
                return Err(OpenError::Feed(error));
            }
        };
        let hot = Arc::new(Hot::new());
        let writer = Writer::start(Arc::clone(&connection), Arc::clone(&feed), Arc::clone(&hot));
        let reader = Reader::start(Arc::clone(&connection));
        let numbers = [const { Mutex::const_new(()) }; NUMBER_TURNS];
        Ok(Self {
            connection,
            reader,
            writer,
            feed,
            hot,
            numbers,
            deposit_addresses: Cache::new(DEPOSIT_ADDRESSES_MAX),
        })
    }

    /// Why the process must be restarted, if it must: a commit could not be confirmed, so what is read from memory may differ
    /// from what is on disk. Every read and write is refused from then on; after a restart the log says what is true.
    #[must_use]
    pub fn restart_reason(&self) -> Option<&str> {
        self.connection.distrusted()
    }

    /// Refuses new work, finishes what was handed in, and lets go of the files. Later calls fail with
    /// [`StoreError::Unavailable`]. Closing twice is harmless.
    pub async fn close(&self) {
        self.writer.close().await;
        self.connection.close().await;
    }
}

impl SurrealStore {
    /// The turn of a counter.
    fn turn(&self, counter: &Counter) -> &Mutex<()> {
        let mut digest = DefaultHasher::new();
        counter.hash(&mut digest);
        let [first, rest @ ..] = &self.numbers;
        let place = usize::try_from(digest.finish()).unwrap_or_default() % NUMBER_TURNS;
        place.checked_sub(1).and_then(|place| rest.get(place)).unwrap_or(first)
    }
}

#[async_trait]
impl Store for SurrealStore {
    async fn commit(&self, changes: Changeset) -> Result<(), CommitError> {
        self.writer.store(Plan::new(&changes)?).await
    }

    async fn take_numbers(&self, counter: &Counter, count: u32) -> Result<u32, StoreError> {
        let _turn = self.turn(counter).lock().await;
        numbers::take(&self.connection, &self.writer, counter, count).await
    }

    async fn next_number(&self, counter: &Counter) -> Result<u32, StoreError> {
        numbers::next(&self.connection, counter).await
    }

    async fn merchants(&self, after: Option<&MerchantId>, limit: usize) -> Result<Vec<Merchant>, StoreError> {
        read::rows(&self.connection, after.map(merchant::id), limit).await
    }

    async fn merchant(&self, id: &MerchantId) -> Result<Option<Merchant>, StoreError> {
        read::by_id(&self.reader, merchant::id(id)).await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<Key>, StoreError> {
        read::by_id(&self.reader, key::id(id)).await
    }

    async fn keys(&self, merchant: &MerchantId, after: Option<&KeyId>, limit: usize) -> Result<Vec<Key>, StoreError> {
        read::listed(&self.connection, List::keys_of(merchant).behind(after.map(KeyId::as_str)), limit).await
    }

    async fn key_used_at(&self, key: &KeyId) -> Result<Option<Timestamp>, StoreError> {
        let used: Option<KeyUse> = read::by_id(&self.reader, key_use::id(key)).await?;
        Ok(used.map(|used| used.at))
    }

    async fn endpoint(&self, id: &EndpointId) -> Result<Option<Endpoint>, StoreError> {
        read::by_id(&self.reader, endpoint::id(id)).await
    }

    async fn endpoints_of(&self, merchant: &MerchantId) -> Result<Vec<Endpoint>, StoreError> {
        read::listed(&self.connection, List::endpoints_of(merchant).all(), READ_LIMIT_MAX).await
    }

    async fn endpoints(&self, after: Option<&EndpointId>, limit: usize) -> Result<Vec<Endpoint>, StoreError> {
        read::rows(&self.connection, after.map(endpoint::id), limit).await
    }

    async fn kept_answer(
        &self,
        merchant: &MerchantId,
        call: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        read::by_id(&self.reader, kept_answer::id(merchant, call, key)).await
    }

    async fn invoice(&self, id: &InvoiceId) -> Result<Option<Invoice>, StoreError> {
        let read = read::by_id(&self.reader, invoice::id(id));
        if self.connection.trusts_memory().await { self.hot.invoice(id, read).await } else { read.await }
    }

    async fn invoice_by_external_id(
        &self,
        merchant: &MerchantId,
        external_id: &ExternalId,
    ) -> Result<Option<Invoice>, StoreError> {
        read::invoice_by_external_id(&self.reader, merchant, external_id).await
    }

    async fn invoices(
        &self,
        merchant: &MerchantId,
        filter: &InvoiceFilter,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        read::invoices(&self.connection, &self.reader, merchant, filter, limit).await
    }

    async fn invoices_past_expiry(
        &self,
        chain: &ChainName,
        time: Timestamp,
        after: Option<&(Timestamp, InvoiceId)>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        read::listed(&self.connection, List::expiring(chain).invoices_before(time, after), limit).await
    }

    async fn invoices_awaiting_ruling(
        &self,
        after: Option<&InvoiceId>,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        read::listed(&self.connection, List::awaiting_ruling().behind(after.map(InvoiceId::as_str)), limit).await
    }

    async fn deposit(&self, id: &DepositId) -> Result<Option<Deposit>, StoreError> {
        read::by_id(&self.reader, deposit::id(id)).await
    }

    async fn deposits_of_invoice(&self, id: &InvoiceId) -> Result<Vec<Deposit>, StoreError> {
        read::listed_all(&self.connection, List::payments_for(id).all()).await
    }

    async fn deposits_on(
        &self,
        address: &Address,
        after: Option<&DepositId>,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError> {
        read::listed(&self.connection, List::deposits_on(address).behind(after.map(DepositId::as_str)), limit).await
    }

    async fn seen_deposits(&self, chain: &ChainName) -> Result<Vec<Deposit>, StoreError> {
        read::listed_all(&self.connection, List::seen(chain).all()).await
    }

    async fn deposits(&self, after: Option<&DepositId>, limit: usize) -> Result<Vec<Deposit>, StoreError> {
        read::rows(&self.connection, after.map(deposit::id), limit).await
    }

    async fn suspended_deposits(&self, after: Option<&DepositId>, limit: usize) -> Result<Vec<Deposit>, StoreError> {
        read::listed(&self.connection, List::suspended().behind(after.map(DepositId::as_str)), limit).await
    }

    async fn posting(&self, id: &PostingId) -> Result<Option<Posting>, StoreError> {
        read::by_id(&self.reader, posting::id(id)).await
    }

    async fn postings(&self, after: Option<&PostingId>, limit: usize) -> Result<Vec<Posting>, StoreError> {
        read::rows(&self.connection, after.map(posting::id), limit).await
    }

    async fn balances(
        &self,
        after: Option<&(MerchantId, AssetId)>,
        limit: usize,
    ) -> Result<Vec<(MerchantId, AssetId, Balance)>, StoreError> {
        let after = after.map(|(merchant, asset)| balance::id(merchant, asset));
        let stored: Vec<StoredBalance> = read::rows(&self.connection, after, limit).await?;
        Ok(stored.into_iter().map(|stored| (stored.merchant, stored.asset, stored.balance)).collect())
    }

    async fn event(&self, id: &EventId) -> Result<Option<Event>, StoreError> {
        read::by_id(&self.reader, event::id(id)).await
    }

    async fn feed(
        &self,
        merchant: &MerchantId,
        after: FeedPosition,
        limit: usize,
    ) -> Result<Vec<(FeedPosition, Event)>, StoreError> {
        read::feed(&self.connection, merchant, after, self.feed.end(), limit).await
    }

    async fn payments(
        &self,
        merchant: &MerchantId,
        filter: &PaymentFilter,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError> {
        read::payments(&self.connection, merchant, filter, limit).await
    }

    async fn balance(&self, merchant: &MerchantId, asset: &AssetId) -> Result<(Balance, u64), StoreError> {
        let key = (merchant.clone(), asset.clone());
        let read = async {
            let stored: Option<StoredBalance> = read::by_id(&self.reader, balance::id(merchant, asset)).await?;
            Ok(stored.map_or((Balance::default(), 0), |stored| (stored.balance, stored.revision)))
        };
        if self.connection.trusts_memory().await { self.hot.balance(&key, read).await } else { read.await }
    }

    async fn addresses(&self, after: Option<Address>, limit: usize) -> Result<Vec<OwnAddress>, StoreError> {
        read::rows(&self.connection, after.as_ref().map(address::id), limit).await
    }

    async fn address_list(&self, after: Option<Address>, limit: usize) -> Result<Vec<Address>, StoreError> {
        read::address_list(&self.connection, after, limit).await
    }

    async fn address(&self, address: &Address) -> Result<Option<OwnAddress>, StoreError> {
        read::by_id(&self.reader, address::id(address)).await
    }

    async fn deposit_address(&self, merchant: &MerchantId) -> Result<Option<OwnAddress>, StoreError> {
        // The first of a list that only grows at its end: it never changes, so it is read once.
        if let Some(own) = self.deposit_addresses.get(merchant)
            && self.connection.trusts_memory().await
        {
            return Ok(Some(own));
        }
        let found = read::listed(&self.connection, List::deposit_addresses(merchant).all(), 1).await?.pop();
        if let Some(own) = &found {
            self.deposit_addresses.insert(merchant.clone(), OwnAddress::clone(own));
        }
        Ok(found)
    }

    async fn cursor(&self, chain: &ChainName) -> Result<Option<Cursor>, StoreError> {
        read::by_id(&self.reader, cursor::id(chain)).await
    }

    async fn block(&self, chain: &ChainName, number: BlockNumber) -> Result<Option<BlockRef>, StoreError> {
        let stored: Option<ProcessedBlock> = read::by_id(&self.reader, block::id(chain, number)).await?;
        Ok(stored.map(|stored| stored.block))
    }

    async fn unrouted_events(&self, limit: usize) -> Result<Vec<Event>, StoreError> {
        read::unrouted_events(&self.connection, limit).await
    }

    async fn unrouted_events_behind(
        &self,
        after: &(Timestamp, u64, EventId),
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        read::unrouted_events_behind(&self.connection, after, limit).await
    }

    async fn plugin_item(&self, space: &Space, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        let stored: Option<StoredItem> = read::by_id(&self.reader, plugin_item::id(space, key.as_str())).await?;
        Ok(stored.map(|stored| stored.item))
    }

    async fn plugin_items(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        read::plugin_items(&self.connection, space, prefix, after, limit).await
    }

    async fn attestations(
        &self,
        after: Option<(Timestamp, &str)>,
        limit: usize,
    ) -> Result<Vec<AttestationRecord>, StoreError> {
        read::attestations(&self.connection, after, limit).await
    }

    async fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
        read::by_id(&self.reader, delivery::id(id)).await
    }

    async fn deliveries(
        &self,
        merchant: &MerchantId,
        filter: &DeliveryFilter,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        read::deliveries(&self.connection, merchant, filter, limit).await
    }

    async fn due_deliveries(
        &self,
        now: Timestamp,
        after: Option<&(Timestamp, DeliveryId)>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        read::listed(&self.connection, List::due().due_at(now, after), limit).await
    }

    async fn next_delivery_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let first = read::ids(&self.connection, List::due().all(), 1).await?;
        Ok(first.first().and_then(|entry| position(entry, 1)).map(Timestamp::from_millis))
    }

    async fn forget(&self, now: Timestamp, chain: &ChainName, keep_from: BlockNumber) -> Result<usize, StoreError> {
        numbers::forget(&self.connection, &self.writer, now, chain, keep_from).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        numbers::probe(&self.connection, &self.writer).await
    }
}
