//! Storing a group of plans, and telling its members apart when it does not go through.
//!
//! A group that is large enough is stored as two transactions side by side, each on a core. None of the two is acknowledged before
//! both are settled: an engine whose log is damaged would lose what comes behind the damage.

use std::sync::Arc;

use tokio::time::sleep;
use xthonpay_payments::port::store::{CommitError, StoreError};

use super::feed::{Feed, Places};
use super::presence::{self, Presence};
use super::{Job, pause};
use crate::connection::{Connection, Keeper};
use crate::hot::Hot;
use crate::lane::Lane;
use crate::statements;
use crate::tx::{Outcome, tx};

/// How often a transaction that conflicts with another one is run. A host runs transactions without a common record only, so this
/// is about other hosts on the same server; eight attempts outlast any burst of theirs.
const ATTEMPTS_MAX: u32 = 8;

/// Plans from which on a group is stored as two transactions. With fewer, what each transaction costs by itself outweighs the
/// second core.
const SIDE_BY_SIDE_MIN: usize = 8;

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

/// Plans that are stored as one transaction.
struct Part {
    jobs: Vec<Job>,
    places: Places,
    /// Whether there is no other transaction beside it.
    is_alone: bool,
}

/// Stores the plans of a group and answers each.
///
/// If a transaction does not go through because of one plan, its halves are stored one after the other, and so on, until those
/// plans stand alone that are to blame: the others are stored without them.
pub(super) async fn store(connection: &Arc<Connection>, feed: &Arc<Feed>, hot: &Hot, group: Vec<Job>) {
    let mut waiting = vec![group];
    while let Some(jobs) = waiting.pop() {
        hot.begin(jobs.iter().flat_map(|job| job.plan.hot()));
        let settled = match connection.look_at_space() {
            Ok(()) => store_side_by_side(connection, feed, jobs).await,
            Err(error) => vec![(jobs, GroupResult::Unavailable(error))],
        };
        for (mut jobs, result) in settled {
            let blames_someone = matches!(result, GroupResult::Refused | GroupResult::Failed(_));
            if blames_someone && jobs.len() > 1 {
                hot.forget(jobs.iter().flat_map(|job| job.plan.hot()));
                let second = jobs.split_off(jobs.len().div_ceil(2));
                waiting.push(second);
                waiting.push(jobs);
            } else {
                answer(hot, jobs, &result);
            }
        }
    }
}

/// Tells everybody what became of their plan.
fn answer(hot: &Hot, jobs: Vec<Job>, result: &GroupResult) {
    let records = jobs.iter().flat_map(|job| job.plan.hot());
    match result {
        GroupResult::Stored => hot.stored(records),
        GroupResult::Refused | GroupResult::Failed(_) | GroupResult::Unavailable(_) => hot.forget(records),
    }
    for job in jobs {
        job.finish(match result {
            GroupResult::Stored => Ok(()),
            GroupResult::Refused => Err(CommitError::Refused),
            GroupResult::Failed(error) | GroupResult::Unavailable(error) => Err(error.clone().into()),
        });
    }
}

/// Stores plans as one transaction or as two, and tells of none before all are settled.
async fn store_side_by_side(
    connection: &Arc<Connection>,
    feed: &Arc<Feed>,
    mut jobs: Vec<Job>,
) -> Vec<(Vec<Job>, GroupResult)> {
    // A server settles its transactions by itself, and others may write beside this host.
    let is_alone = connection.keeper() == Keeper::Server || jobs.len() < SIDE_BY_SIDE_MIN;
    let rest = if is_alone { Vec::new() } else { jobs.split_off(jobs.len().div_ceil(2)) };
    let part = |jobs, places| Part { jobs, places, is_alone };
    let places = feed.places(Lane::First, feed.end(), jobs.iter().map(|job| &job.plan));
    let second = (!rest.is_empty()).then(|| {
        let places = feed.places(Lane::Second, places.next, rest.iter().map(|job| &job.plan));
        let (connection, feed, part) = (Arc::clone(connection), Arc::clone(feed), part(rest, places));
        tokio::spawn(async move { store_as_one(&connection, &feed, part).await })
    });
    let first = store_as_one(connection, feed, part(jobs, places)).await;
    let mut settled = vec![first];
    match second {
        None => {}
        Some(second) => match second.await {
            Ok(second) => settled.push(second),
            // Its callers are told by their channels, which have gone with it.
            Err(error) => connection.distrust(&format!("a transaction ended in a defect ({error}): restart the host")),
        },
    }
    let doubt = connection.distrusted().map(|reason| format!("whether the changes are stored is not known: {reason}"));
    let conclude = |(part, result): (Part, GroupResult)| match (result, &doubt) {
        (GroupResult::Stored, Some(doubt)) => (part.jobs, unavailable(doubt.clone())),
        (GroupResult::Stored, None) => {
            feed.advance(&part.places);
            (part.jobs, GroupResult::Stored)
        }
        (result, _) => (part.jobs, result),
    };
    settled.into_iter().map(conclude).collect()
}

/// Stores plans as one transaction.
async fn store_as_one(connection: &Connection, feed: &Feed, mut part: Part) -> (Part, GroupResult) {
    for attempt in 1..=ATTEMPTS_MAX {
        let script = statements::store(part.jobs.iter().map(|job| &job.plan).chain(&part.places.plan));
        let result = match tx(connection, script).await {
            Outcome::Committed => GroupResult::Stored,
            Outcome::Refused => match feed.was_behind(connection, &part.places).await {
                Ok(true) if part.is_alone => {
                    let plans = part.jobs.iter().map(|job| &job.plan);
                    part.places = feed.places(Lane::First, feed.end(), plans);
                    continue;
                }
                // Two at a time cannot choose new places for themselves; their halves are stored with what is known now.
                Ok(_) => GroupResult::Refused,
                Err(error) => GroupResult::Unavailable(error),
            },
            Outcome::Failed(reason) => GroupResult::Failed(StoreError::Unavailable { reason }),
            Outcome::Unknown(reason) => clear_up(connection, &part.jobs, &reason).await,
            Outcome::Conflict => {
                sleep(pause::before_attempt(attempt)).await;
                continue;
            }
        };
        return (part, result);
    }
    (part, unavailable(format!("the same records were changed by others {ATTEMPTS_MAX} times")))
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
