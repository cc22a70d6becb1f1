//! Whether plans whose commit gave no clear answer are stored.

use surrealdb::types::{Array, RecordId, Value, Variables};
use xthonpay_payments::port::store::StoreError;

use crate::connection::{Connection, bind};
use crate::plan::{Effect, Plan};
use crate::read::{list, rows_of};
use crate::record::Row;

/// What the records of plans that were stored together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// All of it is stored.
    Whole,
    /// Nothing is stored.
    Nothing,
    /// Some records are as they were to be and some are not: someone else has changed them since.
    Mixed,
}

const STILL_THERE: &str = "RETURN $ids.filter(|$id| record::exists($id));";
const STILL_LISTED: &str = "RETURN array::flatten($ids.listed).filter(|$id| record::exists($id));";

/// Reads every record of the plans by its id and compares.
pub(super) async fn of<'a>(
    connection: &Connection,
    plans: impl IntoIterator<Item = &'a Plan>,
) -> Result<Presence, StoreError> {
    let (mut rows, mut gone, mut unlisted) = (Vec::new(), Vec::new(), Vec::new());
    for (id, change) in plans.into_iter().flat_map(Plan::changes) {
        match &change.effect {
            Effect::Row { row, .. } => rows.push((id, row)),
            Effect::Gone => gone.push(id),
            Effect::Unlisted => unlisted.push(id),
        }
    }
    let (alike, different) = compare(connection, &rows).await?;
    let there = count(connection, STILL_THERE, &gone).await?;
    let listed = count(connection, STILL_LISTED, &unlisted).await?;
    Ok(match (alike, different + there + listed) {
        (_, 0) => Presence::Whole,
        (0, _) => Presence::Nothing,
        _ => Presence::Mixed,
    })
}

/// How many rows are stored as they are given, and how many are not.
async fn compare(connection: &Connection, rows: &[(&RecordId, &Row)]) -> Result<(usize, usize), StoreError> {
    if rows.is_empty() {
        return Ok((0, 0));
    }
    let stored = rows_of(connection, rows.iter().map(|(id, _)| (*id).clone()).collect()).await?;
    let same =
        |((_, row), stored): &(&(&RecordId, &Row), Value)| matches!(stored, Value::Object(stored) if stored == *row);
    let alike = rows.iter().zip(stored).filter(same).count();
    Ok((alike, rows.len().saturating_sub(alike)))
}

async fn count(connection: &Connection, text: &'static str, ids: &[&RecordId]) -> Result<usize, StoreError> {
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(list(connection.read(text, bind_ids(ids.iter().copied())).await?).len())
}

fn bind_ids<'a>(ids: impl Iterator<Item = &'a RecordId>) -> Variables {
    bind("ids", Array::from(ids.cloned().map(Value::RecordId).collect::<Vec<_>>()))
}
