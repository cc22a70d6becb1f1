//! The gate of one process: lets it die at a point, lets calls of its store fail, and tells the witness what was stored.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Notify, OwnedRwLockReadGuard, RwLock};
use xthonpay_payments::port::store::{Changeset, CommitError, StoreError, Write};
use xthonpay_tests::crash_points::{Boundary, CrashPoint, Moment};
use xthonpay_tests::gated_store::Gate;
use xthonpay_tests::seeded::Seeded;

use crate::crash_plan::CrashPlan;
use crate::witness::Witness;

/// How often the store fails, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreTrouble {
    /// It stores nothing and says so.
    pub(crate) nothing_stored: u64,
    /// It stores everything and says that it failed.
    pub(crate) stored: u64,
    /// It says that the records changed.
    pub(crate) refused: u64,
    /// A read fails.
    pub(crate) read: u64,
}

/// The gate of one process.
pub(crate) struct ProcessGate {
    witness: Arc<Witness>,
    plan: Option<Arc<CrashPlan>>,
    trouble: StoreTrouble,
    random: Mutex<Seeded>,
    dead: AtomicBool,
    died: Notify,
    /// Read by every changeset that the store has in hand.
    in_hand: Arc<RwLock<()>>,
}

impl ProcessGate {
    /// A gate whose process dies by `plan`, or never.
    pub(crate) fn new(
        witness: Arc<Witness>,
        plan: Option<Arc<CrashPlan>>,
        trouble: StoreTrouble,
        random: Seeded,
    ) -> Self {
        Self {
            witness,
            plan,
            trouble,
            random: Mutex::new(random),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            in_hand: Arc::default(),
        }
    }

    fn chance(&self, percent: u64) -> bool {
        percent > 0 && self.random.lock().unwrap_or_else(PoisonError::into_inner).chance(percent)
    }

    /// Does `work` unless the process dies in it: then `None`, and whatever it had in hand is gone, except for what the store
    /// had already: that is in the store before the next process is.
    pub(crate) async fn survive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.is_dead() {
            return None;
        }
        let done = tokio::select! {
            biased;
            () = self.died.notified() => None,
            done = work => Some(done),
        };
        if done.is_none() {
            drop(self.in_hand.write().await);
        }
        done
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Passes a point, or never comes back.
    pub(crate) async fn pass(&self, boundary: Option<Boundary>, moment: Moment) {
        let strikes = |boundary| self.plan.as_ref().is_some_and(|plan| plan.strikes(CrashPoint { boundary, moment }));
        if boundary.is_some_and(strikes) {
            self.dead.store(true, Ordering::SeqCst);
            self.died.notify_one();
        }
        if self.is_dead() {
            // Also for what went on beside: of a dead process nothing comes through any more.
            std::future::pending::<()>().await;
        }
    }
}

/// A failure of the store.
fn unavailable() -> StoreError {
    StoreError::Unavailable { reason: "scripted".to_owned() }
}

/// Whether the result of an attempt is stored: it is stored again after a pause in real time, which a simulation cannot wait
/// for. Its crash points are passed all the same.
fn is_attempt(changes: &Changeset) -> bool {
    changes.writes.iter().any(|write| matches!(write, Write::UpdateDelivery(_)))
}

/// Whether another writer could have changed what a changeset expects. All others are refused only by what is stored.
fn expects_a_revision(changes: &Changeset) -> bool {
    let expects = |write: &Write| {
        matches!(
            write,
            Write::SetCursor(_) | Write::SetBalance { .. } | Write::UpdateInvoice(_) | Write::UpdateDeposit { .. }
        )
    };
    changes.writes.iter().any(expects)
}

#[async_trait]
impl Gate for ProcessGate {
    fn read(&self) -> Result<(), StoreError> {
        if self.chance(self.trouble.read) { Err(unavailable()) } else { Ok(()) }
    }

    async fn before(&self, boundary: Option<Boundary>) {
        self.pass(boundary, Moment::Before).await;
    }

    fn refuse(&self, changes: &Changeset) -> Option<CommitError> {
        if is_attempt(changes) {
            None
        } else if self.chance(self.trouble.nothing_stored) {
            Some(unavailable().into())
        } else if expects_a_revision(changes) && self.chance(self.trouble.refused) {
            Some(CommitError::Refused)
        } else {
            None
        }
    }

    async fn in_hand(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.in_hand).read_owned().await
    }

    fn stored(&self, changes: &Changeset) {
        self.witness.stored(changes);
    }

    async fn committed(&self, boundary: Option<Boundary>, changes: &Changeset) -> Result<(), CommitError> {
        self.pass(boundary, Moment::After).await;
        if !is_attempt(changes) && self.chance(self.trouble.stored) { Err(unavailable().into()) } else { Ok(()) }
    }

    async fn after(&self, boundary: Boundary) {
        self.pass(Some(boundary), Moment::After).await;
    }
}
