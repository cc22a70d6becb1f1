//! Numbers that are handed out once, the probe, and forgetting what is no longer needed.
//!
//! All of it goes through the writer like every other change.

use surrealdb::types::{RecordId, RecordIdKey, Value};
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::store::{CommitError, Counter, StoreError};

use crate::connection::Connection;
use crate::list::List;
use crate::plan::{Contradiction, Expected, Plan};
use crate::read;
use crate::record;
use crate::record::counter::{self, NextNumber, Probe};
use crate::table::{Table, text};
use crate::writer::Writer;

/// How often a number is read again after another host took it first.
const TAKE_ATTEMPTS_MAX: u32 = 64;
/// Rows of one kind that one call forgets. Bounds the transaction.
const FORGET_MAX: usize = 500;
/// Numbers end here: they are handed out as 32 bits.
const NUMBERS: u64 = 1 << 32;

/// Takes numbers that nobody else gets.
pub(crate) async fn take(
    connection: &Connection,
    writer: &Writer,
    counter: &Counter,
    count: u32,
) -> Result<u32, StoreError> {
    let id = counter::id(counter);
    for _ in 0..TAKE_ATTEMPTS_MAX {
        let stored: Option<NextNumber> = read::by_id(connection, id.clone()).await?;
        let first = stored.as_ref().map_or(0, |stored| stored.next);
        let next = first.saturating_add(count.into());
        let taken = u32::try_from(first).ok().filter(|_| next <= NUMBERS).ok_or_else(used_up)?;
        let expected = if stored.is_some() { Expected::Revision(first) } else { Expected::Absent };
        let mut plan = Plan::default();
        plan.put(id.clone(), expected, &NextNumber { counter: id.clone(), next }).map_err(own_contradiction)?;
        match writer.store(plan).await {
            Ok(()) => return Ok(taken),
            Err(CommitError::Refused) => {}
            Err(CommitError::Store(error)) => return Err(error),
        }
    }
    Err(StoreError::Unavailable { reason: "others kept taking numbers of the same counter".to_owned() })
}

/// The next number that [`take`] would give.
pub(crate) async fn next(connection: &Connection, counter: &Counter) -> Result<u32, StoreError> {
    let stored: Option<NextNumber> = read::by_id(connection, counter::id(counter)).await?;
    u32::try_from(stored.map_or(0, |stored| stored.next)).map_err(|_| used_up())
}

fn used_up() -> StoreError {
    StoreError::Damaged { table: Table::Counter.name(), reason: "all numbers of a counter are used up".to_owned() }
}

/// Writes the probe and reads it again.
pub(crate) async fn probe(connection: &Connection, writer: &Writer) -> Result<(), StoreError> {
    let before: Option<Probe> = read::by_id(connection, counter::probe_id()).await?;
    let count = before.map_or(0, |probe| probe.count).wrapping_add(1);
    let mut plan = Plan::default();
    plan.put(counter::probe_id(), Expected::Anything, &Probe { count }).map_err(own_contradiction)?;
    writer.store(plan).await.map_err(not_refused)?;
    match read::by_id::<Probe>(connection, counter::probe_id()).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::Unavailable { reason: "what was just written is not there".to_owned() }),
    }
}

/// Removes used signatures and kept answers that expired before `now`, and blocks of a chain below `keep_from`; returns how
/// many.
pub(crate) async fn forget(
    connection: &Connection,
    writer: &Writer,
    now: Timestamp,
    chain: &ChainName,
    keep_from: BlockNumber,
) -> Result<usize, StoreError> {
    let before = async |list: List| read::ids(connection, list.before(now.as_millis()), FORGET_MAX).await;
    let used = before(List::expiring_signatures()).await?;
    let kept = before(List::expiring_answers()).await?;
    let blocks = read::ids(connection, blocks_below(chain, keep_from), FORGET_MAX).await?;
    let signatures = used.iter().filter_map(|entry| record_at::<2>(entry, Table::UsedSignature));
    let answers = kept.iter().filter_map(|entry| record_at::<3>(entry, Table::KeptAnswer));
    let mut plan = Plan::default();
    for id in signatures.chain(answers).chain([&used, &kept, &blocks].into_iter().flatten().cloned()) {
        plan.remove(id).map_err(own_contradiction)?;
    }
    writer.store(plan).await.map_err(not_refused)?;
    Ok(used.len().saturating_add(kept.len()).saturating_add(blocks.len()))
}

fn blocks_below(chain: &ChainName, keep_from: BlockNumber) -> RecordId {
    let all_of_chain = RecordIdKey::Array(vec![text(chain.as_str())].into());
    let end = record::block::id(chain, keep_from).key;
    read::range_of(Table::Block, core::ops::Bound::Included(all_of_chain), core::ops::Bound::Excluded(end))
}

/// The record that stands at an entry of a list of expiring ones, whose key ends in the `PARTS` of the record's own.
fn record_at<const PARTS: usize>(entry: &RecordId, table: Table) -> Option<RecordId> {
    let RecordIdKey::Array(parts) = &entry.key else { return None };
    let parts: &[Value] = parts;
    let (_, key) = parts.split_last_chunk::<PARTS>()?;
    Some(table.composite(key.to_vec()))
}

/// Each plan here has one change per record.
fn own_contradiction(_: Contradiction) -> StoreError {
    StoreError::Unavailable { reason: "a change contradicts itself".to_owned() }
}

/// These plans expect nothing.
fn not_refused(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        CommitError::Refused => {
            StoreError::Unavailable { reason: "the store refused a change that expects nothing".to_owned() }
        }
    }
}
