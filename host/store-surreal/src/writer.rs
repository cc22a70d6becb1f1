//! The writer: many changesets, few transactions.
//!
//! Plans wait in a bounded queue. One task takes them in the order of their arrival and puts several that have no record in
//! common into one group, so that the cost of a transaction and of the wait for the disk is shared. A group is one transaction, or
//! two side by side (see [`group`]). Each plan is acknowledged when its whole group is settled, and the next group begins after
//! that. So a plan is never stored beside another one of the same record, and nothing is acknowledged behind a commit that failed:
//! an engine whose log is damaged would lose it. It is also what lets the order of commits be known, which the feed of events is
//! told in (see [`feed`]).

mod feed;
mod group;
mod pause;
mod presence;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use xthonpay_payments::port::store::{CommitError, StoreError};

use crate::connection::Connection;
use crate::hot::Hot;
use crate::plan::Plan;

pub(crate) use feed::Feed;

/// Plans that wait to be taken up; beyond it, callers wait to hand theirs in. About a second's work at full rate, and far
/// more than the requests that a host serves at once.
const QUEUE_MAX: usize = 1_024;
/// Plans that the writer has taken up and not yet begun to store. Bounds what it must look through for the next group.
const WAITING_MAX: usize = 512;
/// Plans in one group. Larger groups save little more and delay the first of them.
const GROUP_PLANS_MAX: usize = 64;
/// Records in one group, unless a single plan has more. Bounds the memory and the duration of its transactions.
const GROUP_RECORDS_MAX: usize = 512;
/// How often the disk is looked at while there is nothing to store, to notice when it was full in between.
const DISK_LOOK: Duration = Duration::from_secs(1);

/// A plan and whoever waits for it.
struct Job {
    plan: Plan,
    /// Nobody listens when the caller has gone; the plan is stored all the same.
    done: oneshot::Sender<Result<(), CommitError>>,
}

impl Job {
    fn finish(self, result: Result<(), CommitError>) {
        let _ = self.done.send(result);
    }
}

/// Hands plans to the task that stores them.
pub(crate) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the task. It ends when the writer is closed or dropped and everything handed in is stored.
    pub(crate) fn start(connection: Arc<Connection>, feed: Arc<Feed>, hot: Arc<Hot>) -> Self {
        let (queue, incoming) = mpsc::channel(QUEUE_MAX);
        let task = tokio::spawn(run(connection, feed, hot, incoming));
        Self { queue: Mutex::new(Some(queue)), task: Mutex::new(Some(task)) }
    }

    /// Stores a plan. When it returns `Ok`, the plan is committed. A caller that stops waiting does not stop the plan.
    pub(crate) async fn store(&self, plan: Plan) -> Result<(), CommitError> {
        if plan.is_empty() {
            return Ok(());
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (done, stored) = oneshot::channel();
        let unavailable = |reason: &str| StoreError::Unavailable { reason: reason.to_owned() };
        queue
            .ok_or_else(|| unavailable("the store is closed"))?
            .send(Job { plan, done })
            .await
            .map_err(|_| unavailable("the writer has stopped"))?;
        stored.await.map_err(|_| unavailable("the writer failed; whether the changes are stored is not known"))?
    }

    /// Refuses new plans and waits until those handed in are stored.
    pub(crate) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the writer failed while it was closed");
        }
    }
}

/// Stores what comes in until nobody can hand in anything more.
async fn run(connection: Arc<Connection>, feed: Arc<Feed>, hot: Arc<Hot>, mut incoming: mpsc::Receiver<Job>) {
    let mut waiting = VecDeque::new();
    let mut disk_looks = interval(DISK_LOOK);
    disk_looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while waiting.len() < WAITING_MAX
            && let Ok(job) = incoming.try_recv()
        {
            waiting.push_back(job);
        }
        let group = next_group(&mut waiting);
        if group.is_empty() {
            tokio::select! {
                job = incoming.recv() => match job {
                    Some(job) => waiting.push_back(job),
                    None => return,
                },
                // Says what it finds to whoever commits next.
                _ = disk_looks.tick() => drop(connection.look_at_space()),
            }
            continue;
        }
        let storing = {
            let (connection, feed, hot) = (Arc::clone(&connection), Arc::clone(&feed), Arc::clone(&hot));
            tokio::spawn(async move { group::store(&connection, &feed, &hot, group).await })
        };
        if let Err(error) = storing.await {
            connection.distrust(&format!("a transaction ended in a defect ({error}): restart the host"));
        }
    }
}

/// The next plans that have no record in common with one another, or with a plan that stays behind although it came earlier.
#[expect(
    clippy::mutable_key_type,
    reason = "keys are made of texts and numbers; only a regular expression has a cache"
)]
fn next_group(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    let mut group: Vec<Job> = Vec::new();
    let mut size = 0;
    let mut touched = HashSet::new();
    let mut is_full = false;
    let mut left = VecDeque::with_capacity(waiting.len());
    for job in waiting.drain(..) {
        let records = job.plan.records();
        // What came later does not overtake a plan for which there is no room: somebody may rely on the order.
        is_full |= !group.is_empty() && size + records.len() > GROUP_RECORDS_MAX;
        let joins =
            !is_full && group.len() < GROUP_PLANS_MAX && !job.plan.records().any(|record| touched.contains(record));
        // Whether it joins or stays behind: what comes later and touches the same record must wait for it.
        touched.extend(records.cloned());
        if joins {
            size += job.plan.records().len();
            group.push(job);
        } else {
            left.push_back(job);
        }
    }
    *waiting = left;
    group
}

#[cfg(test)]
mod tests;
