//! Records that were read or written lately, in memory: merchants ask for the same invoice until it is paid, and for their
//! balance.
//!
//! Only beside an engine in this process, which nobody else writes to. While a record is written, readers ask the engine: a
//! transaction shows there at one moment, and whoever saw a part of it must not find an older record here. The writer tells of
//! a transaction's beginning, and of its end before it acknowledges it. A reader that finds nothing leaves a mark before it asks
//! the engine, and what it read is kept only if its mark is still there: a transaction that begins in between takes the mark
//! away. Nobody waits for somebody else's mark, so no reader depends on another one being polled.

use core::hash::Hash;
use core::time::Duration;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use quick_cache::sync::{Cache, GuardResult};
use quick_cache::{UnitWeighter, Weighter};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::Balance;

/// Bytes of invoices that are kept at most, by the estimate of [`ByBytes`]: some fifty thousand of them.
const INVOICE_BYTES_MAX: u64 = 64 * 1_024 * 1_024;
/// Balances that are kept at most, a few hundred bytes each.
const BALANCES_MAX: usize = 20_000;
/// Invoices for which the tables have room at first; they grow.
const INVOICES_EXPECTED: usize = 1_024;
/// What an invoice costs beside its texts: itself, the allocations of its ids, its key, and its place in the tables.
const INVOICE_BYTES: usize = size_of::<Invoice>() + 512;

/// Whose balance, and of what.
pub(crate) type BalanceKey = (MerchantId, AssetId);

/// Records in memory.
pub(crate) struct Hot {
    invoices: Shelf<InvoiceId, Option<Arc<Invoice>>, ByBytes>,
    balances: Shelf<BalanceKey, (Balance, u64), UnitWeighter>,
}

/// A record that a plan leaves behind.
#[derive(Clone, Debug)]
pub(crate) enum HotRecord {
    /// An invoice.
    Invoice(Arc<Invoice>),
    /// A balance with its revision.
    Balance(BalanceKey, Balance, u64),
}

impl Hot {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            invoices: Shelf::new(Cache::with_weighter(INVOICES_EXPECTED, INVOICE_BYTES_MAX, ByBytes)),
            balances: Shelf::new(Cache::new(BALANCES_MAX)),
        }
    }

    /// An invoice: the one in memory, or what `read` finds.
    pub(crate) async fn invoice<E>(
        &self,
        id: &InvoiceId,
        read: impl Future<Output = Result<Option<Invoice>, E>>,
    ) -> Result<Option<Invoice>, E> {
        let read = async { Ok(read.await?.map(Arc::new)) };
        Ok(self.invoices.look_up(id, read).await?.map(Arc::unwrap_or_clone))
    }

    /// A balance with its revision: the one in memory, or what `read` finds.
    pub(crate) async fn balance<E>(
        &self,
        key: &BalanceKey,
        read: impl Future<Output = Result<(Balance, u64), E>>,
    ) -> Result<(Balance, u64), E> {
        self.balances.look_up(key, read).await
    }

    /// These records are about to be written.
    pub(crate) fn begin<'a>(&self, records: impl IntoIterator<Item = &'a HotRecord>) {
        for record in records {
            match record {
                HotRecord::Invoice(invoice) => self.invoices.begin(&invoice.id),
                HotRecord::Balance(key, ..) => self.balances.begin(key),
            }
        }
    }

    /// These records are stored. To be called before anybody is told.
    pub(crate) fn stored<'a>(&self, records: impl Iterator<Item = &'a HotRecord> + Clone) {
        for record in records.clone() {
            match record {
                HotRecord::Invoice(invoice) => self.invoices.keep(&invoice.id, Some(Arc::clone(invoice))),
                HotRecord::Balance(key, balance, revision) => self.balances.keep(key, (*balance, *revision)),
            }
        }
        // A record may be among them twice, and only the last one counts.
        self.end(records);
    }

    /// These records are not stored, or perhaps: nothing is kept of them, not even what readers found since the beginning.
    pub(crate) fn forget<'a>(&self, records: impl Iterator<Item = &'a HotRecord> + Clone) {
        self.begin(records.clone());
        self.end(records);
    }

    fn end<'a>(&self, records: impl Iterator<Item = &'a HotRecord>) {
        for record in records {
            match record {
                HotRecord::Invoice(invoice) => self.invoices.end(&invoice.id),
                HotRecord::Balance(key, ..) => self.balances.end(key),
            }
        }
    }
}

/// The records of one kind.
struct Shelf<K, V, W> {
    kept: Cache<K, V, W>,
    /// What is written now: the records of one transaction.
    writing: RwLock<HashSet<K>>,
}

impl<K, V, W> Shelf<K, V, W>
where
    K: Clone + Eq + Hash,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    fn new(kept: Cache<K, V, W>) -> Self {
        Self { kept, writing: RwLock::default() }
    }

    async fn look_up<E>(&self, key: &K, read: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        if self.writing.read().unwrap_or_else(PoisonError::into_inner).contains(key) {
            return read.await;
        }
        let mark = match self.kept.get_value_or_guard(key, Some(Duration::ZERO)) {
            GuardResult::Value(kept) => return Ok(kept),
            GuardResult::Guard(mark) => Some(mark),
            // Somebody else is reading it.
            GuardResult::Timeout => None,
        };
        let found = read.await?;
        if let Some(mark) = mark {
            // Refused when the record was written meanwhile.
            let _ = mark.insert(found.clone());
        }
        Ok(found)
    }

    /// Sends readers past what is kept, and takes it away.
    fn begin(&self, key: &K) {
        self.writing.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        self.kept.remove(key);
    }

    fn keep(&self, key: &K, value: V) {
        self.kept.insert(key.clone(), value);
    }

    /// Only when the right value is kept, or none: from now on readers find it.
    fn end(&self, key: &K) {
        self.writing.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Weighs invoices by their bytes; that there is none with an id is known at the price of the id.
#[derive(Clone)]
struct ByBytes;

impl Weighter<InvoiceId, Option<Arc<Invoice>>> for ByBytes {
    fn weight(&self, _id: &InvoiceId, invoice: &Option<Arc<Invoice>>) -> u64 {
        let texts = |invoice: &Arc<Invoice>| -> usize {
            let metadata = invoice.metadata.iter().map(|(key, value)| key.as_str().len() + value.as_str().len() + 64);
            let url = invoice.callback_url.as_ref().map_or(0, |url| url.as_str().len());
            metadata.sum::<usize>() + url
        };
        u64::try_from(INVOICE_BYTES + invoice.as_ref().map_or(0, texts)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::poll;
    use tokio::sync::oneshot;

    use super::*;
    use crate::record::samples;

    fn kept(invoice: &Invoice) -> HotRecord {
        HotRecord::Invoice(Arc::new(invoice.clone()))
    }

    /// What is read while the engine would find `found`, and how often it was asked.
    async fn read(hot: &Hot, of: &Invoice, found: Option<&Invoice>) -> (Option<Invoice>, usize) {
        let asked = AtomicUsize::new(0);
        let engine = async {
            asked.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(found.cloned())
        };
        let Ok(invoice) = hot.invoice(&of.id, engine).await;
        (invoice, asked.into_inner())
    }

    fn revisions() -> [Invoice; 2] {
        let first = samples::invoice(1);
        let second = Invoice { revision: first.revision + 1, events: first.events + 1, ..first.clone() };
        [first, second]
    }

    #[tokio::test]
    async fn what_was_read_or_stored_is_not_asked_for_again() {
        let hot = Hot::new();
        let [first, second] = revisions();
        assert_eq!(read(&hot, &first, None).await, (None, 1));
        assert_eq!(read(&hot, &first, Some(&first)).await, (None, 0), "that there is none is known");
        hot.stored([kept(&first)].iter());
        assert_eq!(read(&hot, &first, None).await, (Some(first.clone()), 0));
        hot.forget([kept(&first)].iter());
        assert_eq!(read(&hot, &first, Some(&second)).await, (Some(second.clone()), 1));
        assert_eq!(read(&hot, &first, None).await, (Some(second.clone()), 0));
    }

    #[tokio::test]
    async fn a_read_that_a_write_overtakes_is_not_kept() {
        let [first, second] = revisions();
        for known in [true, false] {
            let hot = Hot::new();
            let (answer, engine) = oneshot::channel();
            let slow = hot.invoice(&first.id, engine);
            tokio::pin!(slow);
            assert!(poll!(&mut slow).is_pending());
            let written = [kept(&second)];
            hot.begin(&written);
            if known {
                hot.stored(written.iter());
            } else {
                hot.forget(written.iter());
            }
            answer.send(Some(first.clone())).expect("it is read");
            assert_eq!(slow.await.expect("an answer"), Some(first.clone()), "begun before the write");
            assert_eq!(read(&hot, &first, Some(&second)).await, (Some(second.clone()), usize::from(!known)));
        }
    }

    /// Whoever has seen another record of the same transaction must not find the older invoice.
    #[tokio::test]
    async fn nobody_is_answered_from_memory_while_a_record_is_written() {
        let [first, second] = revisions();
        for known in [true, false] {
            let hot = Hot::new();
            hot.stored([kept(&first)].iter());
            let written = [kept(&second)];
            hot.begin(&written);
            for found in [&first, &second, &first] {
                assert_eq!(read(&hot, &first, Some(found)).await, (Some(found.clone()), 1));
            }
            if known {
                hot.stored(written.iter());
            } else {
                hot.forget(written.iter());
            }
            assert_eq!(read(&hot, &first, Some(&second)).await, (Some(second.clone()), usize::from(!known)));
            assert!(hot.invoices.writing.read().expect("not poisoned").is_empty());
        }
    }

    #[tokio::test]
    async fn a_reader_that_gives_up_or_fails_leaves_no_mark() {
        let hot = Hot::new();
        let [first, _] = revisions();
        {
            let stuck = hot.invoice(&first.id, core::future::pending::<Result<_, Infallible>>());
            tokio::pin!(stuck);
            assert!(poll!(&mut stuck).is_pending());
            assert_eq!(read(&hot, &first, Some(&first)).await, (Some(first.clone()), 1), "nobody waits for it");
            assert_eq!(read(&hot, &first, Some(&first)).await, (Some(first.clone()), 1));
        }
        assert_eq!(hot.invoice(&first.id, core::future::ready(Err("down"))).await, Err("down"));
        assert_eq!(read(&hot, &first, Some(&first)).await, (Some(first.clone()), 1));
        assert_eq!(read(&hot, &first, None).await, (Some(first.clone()), 0));
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let hot = Hot::new();
        let sample = samples::invoice(1);
        for number in 0..100_000_u128 {
            let id = InvoiceId::from_random(number.to_be_bytes());
            hot.stored([kept(&Invoice { id, ..sample.clone() })].iter());
        }
        assert!(hot.invoices.kept.weight() <= INVOICE_BYTES_MAX, "{}", hot.invoices.kept.weight());
        assert!(hot.invoices.kept.len() > 20_000, "{}", hot.invoices.kept.len());
    }
}
