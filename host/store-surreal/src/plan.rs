//! What a changeset does to each record: one expectation about the stored record, and one final effect.
//!
//! Several writes to one record fold into one change, as if they were made one after the other, so that statements can be
//! grouped by table without regard to their order. A changeset that contradicts itself never reaches the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use surrealdb::types::{RecordId, SurrealValue, Value};
use xthonpay_domain::id::{EventId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_payments::port::lending::storage::{ItemExpectation, ItemWrite};
use xthonpay_payments::port::store::{Changeset, CommitError, Write};

use crate::hot::HotRecord;
use crate::record::balance::StoredBalance;
use crate::record::block::ProcessedBlock;
use crate::record::key_use::KeyUse;
use crate::record::plugin_item::StoredItem;
use crate::record::reservation::{TakenAccount, TakenExternalId};
use crate::record::{
    REVISION, Record, Row, address, attestation, balance, block, cursor, delivery, deposit, encode, endpoint, event,
    invoice,
};
use crate::record::{kept_answer, key, key_use, merchant, plugin_item, posting, reservation, unlist, used_signature};
use crate::table::Table;
use crate::whole::Whole;

/// What must hold about a stored record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    /// There is none.
    Absent,
    /// There is one with this revision.
    Revision(u64),
    /// There is exactly this one.
    Same(Row),
    /// Nothing.
    Anything,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// It is this row, and it stands in these lists for ever, besides those that the row names.
    Row {
        /// Its table.
        table: Table,
        /// The record.
        row: Row,
        /// Entries that never move.
        entries: Vec<RecordId>,
    },
    /// It must be there, stays as it is, and leaves the lists that its row names.
    Unlisted,
    /// It is gone.
    Gone,
}

/// A change of one record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// What must hold.
    pub(crate) expected: Expected,
    /// What becomes of it.
    pub(crate) effect: Effect,
}

/// Changes of different records that are stored as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    changes: BTreeMap<RecordId, Change>,
    events: Vec<NewEvent>,
    hot: Vec<HotRecord>,
}

/// An event that a plan makes, and whose feed it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub(crate) merchant: MerchantId,
    pub(crate) id: EventId,
}

/// A changeset whose writes cannot all hold, whatever is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

impl From<Contradiction> for CommitError {
    fn from(_: Contradiction) -> Self {
        Self::Refused
    }
}

impl Plan {
    /// What a changeset does.
    pub(crate) fn new(changes: &Changeset) -> Result<Self, Contradiction> {
        let mut plan = Self::default();
        changes.writes.iter().try_for_each(|write| plan.write(write))?;
        Ok(plan)
    }

    /// One change of one record.
    pub(crate) fn of_one(id: RecordId, change: Change) -> Self {
        Self { changes: BTreeMap::from([(id, change)]), ..Self::default() }
    }

    /// The events that are made, in the order in which the changeset makes them. Which places in the feed they get is only
    /// known when they are stored, see [`crate::writer`].
    pub(crate) fn events(&self) -> &[NewEvent] {
        &self.events
    }

    /// The records of those that are kept in memory, as the plan leaves them behind; a later one replaces an earlier one.
    pub(crate) fn hot(&self) -> &[HotRecord] {
        &self.hot
    }

    /// The changes.
    pub(crate) fn changes(&self) -> impl ExactSizeIterator<Item = (&RecordId, &Change)> {
        self.changes.iter()
    }

    /// Whether nothing is changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The records that are changed.
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = &RecordId> {
        self.changes.keys()
    }

    fn write(&mut self, write: &Write) -> Result<(), Contradiction> {
        match write {
            Write::CreateMerchant(new) => {
                let account = TakenAccount { account: new.account, merchant: new.id.clone() };
                self.create(reservation::account_id(new.account), &account, Vec::new())?;
                self.create(merchant::id(&new.id), new, Vec::new())
            }
            Write::CreateKey(new) => self.create(key::id(&new.id), new.as_ref(), key::entries(new)),
            Write::UpdateKey(next) => self.revise(key::id(&next.id), next.as_ref(), next.revision),
            Write::NoteKeyUse { key, at } => {
                self.put(key_use::id(key), Expected::Anything, &KeyUse { key: key.clone(), at: *at })
            }
            Write::CreateEndpoint(new) => self.create(endpoint::id(&new.id), new.as_ref(), Vec::new()),
            Write::UpdateEndpoint(next) => self.revise(endpoint::id(&next.id), next.as_ref(), next.revision),
            Write::CreateAddress(new) => self.create(address::id(&new.address), new, address::entries(new)),
            Write::CreateInvoice(new) => {
                if let Some(external_id) = new.external_id.clone() {
                    let id = reservation::external_id_id(&new.merchant, &external_id);
                    let (merchant, invoice) = (new.merchant.clone(), new.id.clone());
                    self.create(id, &TakenExternalId { merchant, external_id, invoice }, Vec::new())?;
                }
                self.hot.push(HotRecord::Invoice(Arc::new(Invoice::clone(new))));
                self.create(invoice::id(&new.id), new.as_ref(), invoice::entries(new))
            }
            Write::UpdateInvoice(next) => {
                self.hot.push(HotRecord::Invoice(Arc::new(Invoice::clone(next))));
                self.revise(invoice::id(&next.id), next.as_ref(), next.revision)
            }
            Write::CreateDeposit(new) => self.create(deposit::id(&new.id), new, deposit::entries(new)),
            Write::UpdateDeposit { before, after } => {
                if before.id != after.id {
                    return Err(Contradiction);
                }
                self.put(deposit::id(&after.id), Expected::Same(encode(before.as_ref())), after.as_ref())
            }
            Write::Post(new) => self.create(posting::id(new.id()), new, posting::entries(new)),
            Write::SetBalance { merchant, asset, balance, from_revision } => {
                let revision = from_revision.checked_add(1).ok_or(Contradiction)?;
                let (merchant, asset) = (merchant.clone(), asset.clone());
                self.hot.push(HotRecord::Balance((merchant.clone(), asset.clone()), *balance, revision));
                let next = StoredBalance { merchant, asset, balance: *balance, revision };
                self.begin_or_revise(balance::id(&next.merchant, &next.asset), &next, revision)
            }
            Write::CreateEvent(new) => {
                self.events.push(NewEvent { merchant: new.merchant.clone(), id: new.id.clone() });
                self.create(event::id(&new.id), new, Vec::new())
            }
            Write::MarkRouted(routed) => {
                self.change(event::id(routed), Change { expected: Expected::Anything, effect: Effect::Unlisted })
            }
            Write::CreateDelivery(new) => self.create(delivery::id(&new.id), new.as_ref(), delivery::entries(new)),
            Write::UpdateDelivery(next) => self.revise(delivery::id(&next.id), next.as_ref(), next.revision),
            Write::PutBlock { chain, block } => {
                let processed = ProcessedBlock { chain: chain.clone(), block: *block };
                self.put(block::id(chain, block.number), Expected::Anything, &processed)
            }
            Write::SetCursor(next) => self.begin_or_revise(cursor::id(&next.chain), next, next.revision),
            Write::UseSignature(used) => {
                self.create(used_signature::id(&used.key, &used.signature), used, used_signature::entries(used))
            }
            Write::PutItem(write) => self.put_item(write),
            Write::RecordAttestation(record) => {
                self.create(attestation::id(record.statement.at, &record.id), record.as_ref(), Vec::new())
            }
            Write::KeepAnswer(kept) => {
                let id = kept_answer::id(&kept.merchant, &kept.call, &kept.key);
                self.create(id, kept.as_ref(), kept_answer::entries(kept))
            }
        }
    }

    /// A value of a plugin.
    fn put_item(&mut self, write: &ItemWrite) -> Result<(), Contradiction> {
        let id = plugin_item::id(&write.space, write.key.as_str());
        let expected = match write.expected {
            ItemExpectation::Anything => Expected::Anything,
            ItemExpectation::Absent => Expected::Absent,
            ItemExpectation::Revision(revision) => Expected::Revision(revision),
        };
        let Some(item) = &write.becomes else { return self.change(id, Change { expected, effect: Effect::Gone }) };
        let stored = StoredItem { space: write.space.clone(), key: write.key.clone(), item: item.clone() };
        self.put(id, expected, &stored)
    }

    /// A new record.
    pub(crate) fn create<R: Record>(
        &mut self,
        id: RecordId,
        record: &R,
        entries: Vec<RecordId>,
    ) -> Result<(), Contradiction> {
        let effect = Effect::Row { table: R::TABLE, row: encode(record), entries };
        self.change(id, Change { expected: Expected::Absent, effect })
    }

    /// A record in place of the one that meets an expectation.
    pub(crate) fn put<R: Record>(&mut self, id: RecordId, expected: Expected, record: &R) -> Result<(), Contradiction> {
        let effect = Effect::Row { table: R::TABLE, row: encode(record), entries: Vec::new() };
        self.change(id, Change { expected, effect })
    }

    /// A record is removed, whether it is there or not.
    pub(crate) fn remove(&mut self, id: RecordId) -> Result<(), Contradiction> {
        self.change(id, Change { expected: Expected::Anything, effect: Effect::Gone })
    }

    /// A record whose revision is one above the stored one.
    fn revise<R: Record>(&mut self, id: RecordId, record: &R, revision: u64) -> Result<(), Contradiction> {
        let stored = revision.checked_sub(1).ok_or(Contradiction)?;
        self.put(id, Expected::Revision(stored), record)
    }

    /// A record whose first revision is 1 and every later one is one above the stored one.
    fn begin_or_revise<R: Record>(&mut self, id: RecordId, record: &R, revision: u64) -> Result<(), Contradiction> {
        if revision == 1 { self.create(id, record, Vec::new()) } else { self.revise(id, record, revision) }
    }

    fn change(&mut self, id: RecordId, next: Change) -> Result<(), Contradiction> {
        let change = match self.changes.remove(&id) {
            Some(earlier) => earlier.then(next)?,
            None => next,
        };
        self.changes.insert(id, change);
        Ok(())
    }
}

impl Change {
    /// Both changes, the second one on top of the first.
    fn then(mut self, next: Self) -> Result<Self, Contradiction> {
        if !next.expected.holds_after(&self.effect) {
            return Err(Contradiction);
        }
        self.effect = match (self.effect, next.effect) {
            (Effect::Row { entries: mut kept, .. }, Effect::Row { table, row, entries }) => {
                kept.extend(entries);
                Effect::Row { table, row, entries: kept }
            }
            (Effect::Row { table, mut row, entries }, Effect::Unlisted) => {
                unlist(&mut row);
                Effect::Row { table, row, entries }
            }
            (Effect::Gone, Effect::Unlisted) => return Err(Contradiction),
            (_, effect) => effect,
        };
        Ok(self)
    }
}

impl Expected {
    fn holds_after(&self, effect: &Effect) -> bool {
        match (self, effect) {
            (Self::Anything, _) | (Self::Absent, Effect::Gone) => true,
            (Self::Revision(revision), Effect::Row { row, .. }) => revision_of(row) == Whole(*revision).into_value(),
            (Self::Same(expected), Effect::Row { row, .. }) => expected == row,
            (Self::Absent | Self::Revision(_) | Self::Same(_), _) => false,
        }
    }
}

fn revision_of(row: &Row) -> Value {
    row.get(REVISION).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{listed, samples};

    fn plan(writes: Vec<Write>) -> Result<Plan, Contradiction> {
        Plan::new(&writes.into_iter().collect())
    }

    fn only(plan: &Plan) -> &Change {
        let mut changes = plan.changes();
        let (_, change) = changes.next().expect("one record");
        assert_eq!(changes.len(), 0, "one record");
        change
    }

    #[test]
    fn consecutive_revisions_fold_into_one_change() {
        let (merchant, asset) = (samples::merchant_id(1), samples::asset());
        let set = |units: u128, from_revision| Write::SetBalance {
            merchant: merchant.clone(),
            asset: asset.clone(),
            balance: samples::balance(units),
            from_revision,
        };
        let folded = plan(vec![set(5, 3), set(7, 4)]).expect("consecutive");
        assert_eq!(only(&folded).expected, Expected::Revision(3));
        let alone = plan(vec![set(7, 4)]).expect("one write");
        assert_eq!(only(&folded).effect, only(&alone).effect);
        assert_eq!(plan(vec![set(5, 3), set(7, 3)]).err(), Some(Contradiction));
        assert_eq!(only(&plan(vec![set(5, 0), set(7, 1)]).expect("consecutive")).expected, Expected::Absent);
    }

    #[test]
    fn a_record_is_made_once() {
        let event = samples::event(1, 1);
        assert_eq!(plan(vec![Write::CreateEvent(event.clone()), Write::CreateEvent(event)]).err(), Some(Contradiction));
    }

    #[test]
    fn an_event_that_is_made_and_routed_at_once_is_in_no_list() {
        let event = samples::event(1, 1);
        let routed = Write::MarkRouted(event.id.clone());
        let folded = plan(vec![Write::CreateEvent(event), routed.clone(), routed]).expect("possible");
        let change = only(&folded);
        assert!(matches!(&change.effect, Effect::Row { row, .. } if listed(row).is_empty()), "{change:?}");
        assert_eq!(change.expected, Expected::Absent);
    }

    #[test]
    fn a_deposit_changes_from_what_the_changeset_made_it() {
        let seen = samples::deposit(1, None);
        let done = seen.finalised().expect("seen");
        let create = Write::CreateDeposit(seen.clone());
        let update = |before: &xthonpay_domain::deposit::Deposit| Write::UpdateDeposit {
            before: Box::new(before.clone()),
            after: Box::new(done.clone()),
        };
        assert!(plan(vec![create.clone(), update(&seen)]).is_ok());
        assert_eq!(plan(vec![create, update(&done)]).err(), Some(Contradiction));
        let other = samples::deposit(2, None);
        assert_eq!(plan(vec![update(&other)]).err(), Some(Contradiction), "two different deposits");
    }

    #[test]
    fn revisions_that_nothing_can_precede_contradict_themselves() {
        let invoice = samples::invoice(1);
        let update = Write::UpdateInvoice(Box::new(xthonpay_domain::invoice::Invoice { revision: 0, ..invoice }));
        assert_eq!(plan(vec![update]).err(), Some(Contradiction));
        let cursor = Write::SetCursor(samples::cursor(0));
        assert_eq!(plan(vec![cursor]).err(), Some(Contradiction));
    }
}
