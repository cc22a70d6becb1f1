//! Storing a group of plans, and telling its members apart when it does not go through.

use tokio::time::sleep;
use xthonpay_payments::port::store::{CommitError, StoreError};

use super::feed::Feed;
use super::presence::{self, Presence};
use super::{Job, pause};
use crate::connection::Connection;
use crate::hot::Hot;
use crate::statements;
use crate::tx::{Outcome, tx};

/// How often a transaction that conflicts with another one is run. A host runs one at a time, so this is about other hosts on
/// the same server; eight attempts outlast any burst of theirs.
const ATTEMPTS_MAX: u32 = 8;

/// What became of plans that were stored as one transaction.
enum GroupResult {
    /// All are committed.
    Stored,
    /// None is stored: an expectation of one of them does not hold.
    Refused,
    /// None is stored: a statement failed, perhaps because of one of them.
    Failed(StoreError),
    /// The store did not do it, and that is no one's fault.
    Unavailable(StoreError),
}

/// Stores the plans of a group and answers each.
///
/// If the group does not go through because of one plan, its halves are stored one after the other, and so on, until those
/// plans stand alone that are to blame: the others are stored without them.
pub(super) async fn store(connection: &Connection, feed: &Feed, hot: &Hot, group: Vec<Job>) {
    let mut parts = vec![group];
    while let Some(mut part) = parts.pop() {
        hot.begin(part.iter().flat_map(|job| job.plan.hot()));
        let result = match connection.look_at_space() {
            Ok(()) => store_as_one(connection, feed, &part).await,
            Err(error) => GroupResult::Unavailable(error),
        };
        let blames_someone = matches!(result, GroupResult::Refused | GroupResult::Failed(_));
        if blames_someone && part.len() > 1 {
            hot.forget(part.iter().flat_map(|job| job.plan.hot()));
            let second = part.split_off(part.len().div_ceil(2));
            parts.push(second);
            parts.push(part);
            continue;
        }
        let records = part.iter().flat_map(|job| job.plan.hot());
        match result {
            GroupResult::Stored => hot.stored(records),
            GroupResult::Refused | GroupResult::Failed(_) | GroupResult::Unavailable(_) => hot.forget(records),
        }
        for job in part {
            job.finish(match &result {
                GroupResult::Stored => Ok(()),
                GroupResult::Refused => Err(CommitError::Refused),
                GroupResult::Failed(error) | GroupResult::Unavailable(error) => Err(error.clone().into()),
            });
        }
    }
}

async fn store_as_one(connection: &Connection, feed: &Feed, part: &[Job]) -> GroupResult {
    for attempt in 1..=ATTEMPTS_MAX {
        let places = feed.places(part.iter().map(|job| &job.plan));
        let script = statements::store(part.iter().map(|job| &job.plan).chain(&places.plan));
        let result = match tx(connection, script).await {
            Outcome::Committed => GroupResult::Stored,
            Outcome::Refused => match feed.was_behind(connection, &places).await {
                Ok(true) => continue,
                Ok(false) => GroupResult::Refused,
                Err(error) => GroupResult::Unavailable(error),
            },
            Outcome::Failed(reason) => GroupResult::Failed(StoreError::Unavailable { reason }),
            Outcome::Unknown(reason) => clear_up(connection, part, &reason).await,
            Outcome::Conflict => {
                sleep(pause::before_attempt(attempt)).await;
                continue;
            }
        };
        if matches!(result, GroupResult::Stored) {
            feed.advance(&places);
        }
        return result;
    }
    unavailable(format!("the same records were changed by others {ATTEMPTS_MAX} times"))
}

/// Finds out whether plans are stored whose commit gave no clear answer, by reading them. What cannot be found out stays
/// unknown; in a directory this is always so, because there the store is distrusted by now.
async fn clear_up(connection: &Connection, part: &[Job], reason: &str) -> GroupResult {
    let presence = presence::of(connection, part.iter().map(|job| &job.plan)).await;
    tracing::warn!(reason, ?presence, plans = part.len(), "a commit gave no clear answer");
    match presence {
        Ok(Presence::Whole) => GroupResult::Stored,
        Ok(Presence::Nothing) => unavailable(format!("nothing was stored: {reason}")),
        Ok(Presence::Mixed) | Err(_) => unavailable(format!("whether the changes are stored is not known: {reason}")),
    }
}

fn unavailable(reason: String) -> GroupResult {
    GroupResult::Unavailable(StoreError::Unavailable { reason })
}
