//! The feed: a merchant's events in the order in which they were committed, for those who ask instead of being told.
//!
//! A place in the feed stays what it is: what stands in front of it never changes, and everything new comes behind it. Who keeps
//! the place behind the last event that it worked off misses nothing and sees nothing twice, however long it was away.

use std::collections::BTreeSet;
use std::sync::Arc;

use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{EventId, MerchantId};

use crate::port::store::{FeedPosition, Store, StoreError};

/// Events that are read at once where only some kinds are wanted: a megabyte at most.
const EVENTS_PER_READ: usize = 250;
/// Reads of one call where only some kinds are wanted: 2,000 events are looked through in some ten milliseconds.
const READS_MAX: usize = 8;

/// Kinds without those about endpoints. Where all of these are wanted, hardly anything is looked through in vain.
const EVERYDAY_KINDS: usize = EventKind::ALL.len() - 2;

/// A part of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// The events, oldest first, with their places.
    pub events: Vec<(FeedPosition, Event)>,
    /// The place behind everything that was looked at: where the next page begins.
    pub next: FeedPosition,
    /// Whether the feed goes on behind this page by now.
    pub has_more: bool,
}

/// Reads feeds.
#[derive(Clone)]
pub struct Feed {
    /// Records.
    pub store: Arc<dyn Store>,
}

impl Feed {
    /// At most `limit` of a merchant's events behind a place, of these kinds only.
    ///
    /// A page may hold fewer events than there are, or none, and say that the feed goes on: events of other kinds were looked
    /// through, and the next page begins behind them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(
        &self,
        merchant: &MerchantId,
        after: FeedPosition,
        kinds: &BTreeSet<EventKind>,
        limit: usize,
    ) -> Result<FeedPage, StoreError> {
        // One more than asked for tells whether the feed goes on.
        let few_others = kinds.len() >= EVERYDAY_KINDS;
        let at_once = if few_others { limit.saturating_add(1) } else { EVENTS_PER_READ };
        let mut page = FeedPage { events: Vec::new(), next: after, has_more: true };
        for _ in 0..READS_MAX {
            let read = self.store.feed(merchant, page.next, at_once).await?;
            let is_last = read.len() < at_once;
            for (position, event) in read {
                if page.events.len() >= limit {
                    return Ok(page);
                }
                page.next = position;
                if kinds.contains(&event.kind) {
                    page.events.push((position, event));
                }
            }
            if is_last {
                return Ok(FeedPage { has_more: false, ..page });
            }
        }
        Ok(page)
    }

    /// A merchant's event, or `None` when the merchant has no such event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn event(&self, merchant: &MerchantId, id: &EventId) -> Result<Option<Event>, StoreError> {
        Ok(self.store.event(id).await?.filter(|event| event.merchant == *merchant))
    }
}
