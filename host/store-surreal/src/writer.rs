//! The writer: many changesets, few transactions.
//!
//! Plans wait in a bounded queue. One task takes them in the order of their arrival and puts several that have no record in
//! common into one transaction, so that the cost of a transaction and of the wait for the disk is shared. Each is
//! acknowledged when its own transaction is committed. Two plans that touch the same record are never stored at the same
//! time, and the one that came first is stored first.

mod group;
mod pause;
mod presence;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use surrealdb::types::RecordId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinHandle, JoinSet};
use xthonpay_payments::port::store::{CommitError, StoreError};

use crate::connection::Connection;
use crate::plan::Plan;

/// Plans that wait to be taken up; beyond it, callers wait to hand theirs in. About a second's work at full rate, and far
/// more than the requests that a host serves at once.
const QUEUE_MAX: usize = 1_024;
/// Plans that the writer has taken up and not yet begun to store. Bounds what it must look through for the next group.
const WAITING_MAX: usize = 512;
/// Transactions under way at once. While one waits for the disk, another is computed; more than two only share the disk
/// less well (see `docs/throughput.md`).
const LANES: usize = 2;
/// Plans in one transaction. Larger groups save little more and delay the first of them.
const GROUP_PLANS_MAX: usize = 64;
/// Records in one transaction, unless a single plan has more. Bounds the memory and the duration of a transaction.
const GROUP_RECORDS_MAX: usize = 512;

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
    pub(crate) fn start(connection: Arc<Connection>) -> Self {
        let (queue, incoming) = mpsc::channel(QUEUE_MAX);
        let task = tokio::spawn(Dispatcher::new(connection).run(incoming));
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

/// Decides which plans are stored together.
struct Dispatcher {
    connection: Arc<Connection>,
    waiting: VecDeque<Job>,
    lanes: JoinSet<()>,
    /// The records that each lane is changing.
    held: HashMap<Id, Vec<RecordId>>,
    busy: HashSet<RecordId>,
}

impl Dispatcher {
    fn new(connection: Arc<Connection>) -> Self {
        let (waiting, lanes) = (VecDeque::new(), JoinSet::new());
        Self { connection, waiting, lanes, held: HashMap::new(), busy: HashSet::new() }
    }

    async fn run(mut self, mut incoming: mpsc::Receiver<Job>) {
        let mut open = true;
        let mut taken = Vec::new();
        while open || !self.waiting.is_empty() || !self.lanes.is_empty() {
            self.fill_lanes();
            let room = WAITING_MAX.saturating_sub(self.waiting.len());
            tokio::select! {
                count = incoming.recv_many(&mut taken, room), if open && room > 0 => {
                    open = count > 0;
                    self.waiting.extend(taken.drain(..));
                }
                Some(ended) = self.lanes.join_next_with_id(), if !self.lanes.is_empty() => {
                    let lane = match ended {
                        Ok((lane, ())) => lane,
                        Err(error) => {
                            tracing::error!(%error, "a transaction of the writer failed");
                            error.id()
                        }
                    };
                    for record in self.held.remove(&lane).unwrap_or_default() {
                        self.busy.remove(&record);
                    }
                }
            }
        }
    }

    fn fill_lanes(&mut self) {
        while self.lanes.len() < LANES {
            let group = self.next_group();
            if group.is_empty() {
                return;
            }
            let records: Vec<RecordId> = group.iter().flat_map(|job| job.plan.records().cloned()).collect();
            self.busy.extend(records.iter().cloned());
            let connection = Arc::clone(&self.connection);
            let lane = self.lanes.spawn(async move { group::store(&connection, group).await });
            self.held.insert(lane.id(), records);
        }
    }

    /// The next plans that have no record in common with one another, with a lane, or with a plan that stays behind although
    /// it came earlier.
    #[expect(
        clippy::mutable_key_type,
        reason = "keys are made of texts and numbers; only a regular expression has a cache"
    )]
    fn next_group(&mut self) -> Vec<Job> {
        // What waits is shared among the free lanes, so that none is idle while another is overloaded.
        let free = LANES.saturating_sub(self.lanes.len()).max(1);
        let plans_max = self.waiting.len().div_ceil(free).min(GROUP_PLANS_MAX);
        let mut group = Vec::new();
        let mut records = 0;
        let mut passed_over = HashSet::new();
        let mut grouped = HashSet::new();
        let mut left = VecDeque::with_capacity(self.waiting.len());
        for job in self.waiting.drain(..) {
            let size = job.plan.records().len();
            let fits = group.len() < plans_max && (group.is_empty() || records + size <= GROUP_RECORDS_MAX);
            let taken = |record| self.busy.contains(record) || passed_over.contains(record) || grouped.contains(record);
            if fits && !job.plan.records().any(taken) {
                records += size;
                grouped.extend(job.plan.records().cloned());
                group.push(job);
            } else {
                passed_over.extend(job.plan.records().cloned());
                left.push_back(job);
            }
        }
        self.waiting = left;
        group
    }
}

#[cfg(test)]
mod tests;
