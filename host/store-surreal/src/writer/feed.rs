//! Places in the feeds of merchants.
//!
//! A place is one number for the whole store, and it grows in the order in which events are committed: whoever puts a group of
//! plans together gives each of their events the next one, in the transaction that makes them. The number of the next place
//! stands in a record of its own, which every such transaction changes from what this process last knew. So the order holds
//! even if a transaction whose outcome was unclear is committed later than expected: either it finds the record changed, or
//! those behind it do. The record costs a row for each transaction and none for each event, however many merchants there are.
//!
//! Two transactions that are stored side by side have a record each, and the places of the second begin behind those of the
//! first. The next place of a store that is opened is the higher of the two. Places of a transaction that was refused beside one
//! that was not are never taken: a feed has an order, and may have holes.
//!
//! Places are told to readers only when the commit that took them is acknowledged, and with it every other one that was under way
//! at the same time. What an engine shows before that may be gone after a crash, and its places then go to other events, which a
//! reader who has passed them would never see.
//!
//! Several hosts on one database are not served by this: their places would be in order, but each would learn of the others'
//! events only by making one itself, and their transactions would keep running into one another at the record.

use core::sync::atomic::{AtomicU64, Ordering};

use surrealdb::types::RecordId;
use xthonpay_payments::port::store::StoreError;

use crate::connection::Connection;
use crate::lane::Lane;
use crate::list::List;
use crate::plan::{Change, Effect, Expected, Plan};
use crate::read;
use crate::record::counter::{NextNumber, feed_id};
use crate::record::{Record as _, encode};
use crate::table::Table;

/// The next place, as this process knows it: every place below it is taken for good or will never be.
pub(crate) struct Feed {
    next: AtomicU64,
    /// What the record of each lane says.
    first: AtomicU64,
    second: AtomicU64,
}

/// The places of the events of one transaction.
pub(super) struct Places {
    lane: Lane,
    /// The place behind them.
    pub(super) next: u64,
    /// Takes them. There is none where nothing is taken.
    pub(super) plan: Option<Plan>,
}

impl Feed {
    /// The feed of a store that was just opened: what is stored there is durable.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, StoreError> {
        let first = stored_next(connection, Lane::First).await?;
        let second = stored_next(connection, Lane::Second).await?;
        let next = AtomicU64::new(first.max(second));
        Ok(Self { next, first: AtomicU64::new(first), second: AtomicU64::new(second) })
    }

    /// The first place that no reader may see yet.
    pub(crate) fn end(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// The places from `first` on for the events of a transaction, in the order of its plans.
    pub(super) fn places<'a>(&self, lane: Lane, first: u64, plans: impl IntoIterator<Item = &'a Plan>) -> Places {
        let mut next = first;
        let mut entries: Vec<RecordId> = Vec::new();
        for event in plans.into_iter().flat_map(Plan::events) {
            entries.push(List::feed(&event.merchant).event_in_feed(next, &event.id));
            // Lists hold places up to 2^63 - 1, enough for a million events a second over 292 000 years.
            next = next.saturating_add(1);
        }
        let plan = (!entries.is_empty()).then(|| {
            let row = encode(&NextNumber { counter: feed_id(lane), next });
            let effect = Effect::Row { table: NextNumber::TABLE, row, entries };
            let expected = Expected::Revision(self.record(lane).load(Ordering::Acquire));
            Plan::of_one(feed_id(lane), Change { expected, effect })
        });
        Places { lane, next, plan }
    }

    /// The places are taken: the transaction that takes them is acknowledged, and none that was under way beside it is in doubt.
    pub(super) fn advance(&self, taken: &Places) {
        if taken.plan.is_some() {
            self.record(taken.lane).store(taken.next, Ordering::Release);
            self.next.fetch_max(taken.next, Ordering::AcqRel);
        }
    }

    /// Whether a refusal may be due to the places, because the store has moved on without this process. The next ones are
    /// then those that the store knows. Looks at the record of its own lane alone: what the other one shows may not be durable yet.
    pub(super) async fn was_behind(&self, connection: &Connection, refused: &Places) -> Result<bool, StoreError> {
        if refused.plan.is_none() {
            return Ok(false);
        }
        let stored = stored_next(connection, refused.lane).await?;
        let was_behind = self.record(refused.lane).swap(stored, Ordering::AcqRel) != stored;
        if was_behind {
            self.next.fetch_max(stored, Ordering::AcqRel);
        }
        Ok(was_behind)
    }

    fn record(&self, lane: Lane) -> &AtomicU64 {
        match lane {
            Lane::First => &self.first,
            Lane::Second => &self.second,
        }
    }
}

/// The next place in the store, as a lane's record has it.
async fn stored_next(connection: &Connection, lane: Lane) -> Result<u64, StoreError> {
    let stored: Option<NextNumber> = read::by_id(connection, feed_id(lane)).await?;
    let missing = || StoreError::Damaged {
        table: Table::Counter.name(),
        reason: "the record of the next place in the feeds is not there".to_owned(),
    };
    stored.map(|stored| stored.next).ok_or_else(missing)
}
