//! Places in the feeds of merchants.
//!
//! A place is one number for the whole store, and it grows in the order in which events are committed: whoever puts a group of
//! plans together gives each of their events the next one, in the transaction that makes them. The number of the next place
//! stands in a record of its own, which every such transaction changes from what this process last knew. So the order holds
//! even if a transaction whose outcome was unclear is committed later than expected: either it finds the record changed, or
//! those behind it do. The record costs a row for each transaction and none for each event, however many merchants there are.
//!
//! Places are told to readers only when the commit that took them is acknowledged. What an engine shows before that may be
//! gone after a crash, and its places then go to other events, which a reader who has passed them would never see.
//!
//! Several hosts on one database are not served by this: their places would be in order, but each would learn of the others'
//! events only by making one itself, and their transactions would keep running into one another at the record.

use core::sync::atomic::{AtomicU64, Ordering};

use surrealdb::types::RecordId;
use xthonpay_payments::port::store::StoreError;

use crate::connection::Connection;
use crate::list::List;
use crate::plan::{Change, Effect, Expected, Plan};
use crate::read;
use crate::record::counter::{NextNumber, feed_id};
use crate::record::{Record as _, encode};
use crate::table::Table;

/// The next place, as this process knows it: every place below it is taken for good or will never be.
pub(crate) struct Feed {
    next: AtomicU64,
}

/// The places of a group's events.
pub(super) struct Places {
    next: u64,
    /// Takes them. There is none where nothing is taken.
    pub(super) plan: Option<Plan>,
}

impl Feed {
    /// The feed of a store that was just opened: what is stored there is durable.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, StoreError> {
        Ok(Self { next: AtomicU64::new(stored_next(connection).await?) })
    }

    /// The first place that no reader may see yet.
    pub(crate) fn end(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// The next places for the events of a group, in the order of its plans.
    pub(super) fn places<'a>(&self, plans: impl IntoIterator<Item = &'a Plan>) -> Places {
        let first = self.end();
        let mut next = first;
        let mut entries: Vec<RecordId> = Vec::new();
        for event in plans.into_iter().flat_map(Plan::events) {
            entries.push(List::feed(&event.merchant).event_in_feed(next, &event.id));
            // Lists hold places up to 2^63 - 1, enough for a million events a second over 292 000 years.
            next = next.saturating_add(1);
        }
        let plan = (!entries.is_empty()).then(|| {
            let row = encode(&NextNumber { counter: feed_id(), next });
            let effect = Effect::Row { table: NextNumber::TABLE, row, entries };
            Plan::of_one(feed_id(), Change { expected: Expected::Revision(first), effect })
        });
        Places { next, plan }
    }

    /// The places are taken: the transaction that takes them is acknowledged.
    pub(super) fn advance(&self, taken: &Places) {
        self.next.store(taken.next, Ordering::Release);
    }

    /// Whether a refusal may be due to the places, because the store has moved on without this process. The next ones are
    /// then those that the store knows.
    pub(super) async fn was_behind(&self, connection: &Connection, refused: &Places) -> Result<bool, StoreError> {
        if refused.plan.is_none() {
            return Ok(false);
        }
        let stored = stored_next(connection).await?;
        Ok(self.next.swap(stored, Ordering::AcqRel) != stored)
    }
}

/// The next place in the store.
async fn stored_next(connection: &Connection) -> Result<u64, StoreError> {
    let stored: Option<NextNumber> = read::by_id(connection, feed_id()).await?;
    let missing = || StoreError::Damaged {
        table: Table::Counter.name(),
        reason: "the record of the next place in the feeds is not there".to_owned(),
    };
    stored.map(|stored| stored.next).ok_or_else(missing)
}
