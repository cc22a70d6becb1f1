//! What goes wrong in a store, on request.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use xthonpay_payments::port::store::{Changeset, StoreError};

/// What goes wrong with one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store says that it is unavailable, and stored nothing.
    NothingStored,
    /// The store says that it is unavailable, and stored everything.
    Stored,
    /// The store stored everything and never answers.
    StoredAndSilent,
    /// The store says that the records changed in the meantime.
    Refused,
}

type Judge = Box<dyn FnMut(&Changeset) -> Option<Fault> + Send>;

/// Decides what goes wrong.
#[derive(Default)]
pub struct Faults {
    next: Mutex<VecDeque<Option<Fault>>>,
    judge: Mutex<Option<Judge>>,
    reads_fail: AtomicBool,
    commits: AtomicU64,
    reads: AtomicU64,
}

impl Faults {
    /// Lets the next commits go wrong one after the other; `None` lets one pass.
    pub fn next(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// Asks `judge` at every commit what goes wrong.
    pub fn when(&self, judge: impl FnMut(&Changeset) -> Option<Fault> + Send + 'static) {
        *self.judge.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(judge));
    }

    /// Lets reads fail, or no more.
    pub fn fail_reads(&self, fail: bool) {
        self.reads_fail.store(fail, Ordering::SeqCst);
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.judge.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.fail_reads(false);
    }

    /// Commits so far, whatever came of them.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Reads so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    pub(super) fn at_commit(&self, changes: &Changeset) -> Option<Fault> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let queued = self.next.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        queued.flatten().or_else(|| {
            let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
            judge.as_mut().and_then(|judge| judge(changes))
        })
    }

    pub(super) fn at_read(&self) -> Result<(), StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.reads_fail.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
    }
}

pub(super) fn unavailable() -> StoreError {
    StoreError::Unavailable { reason: "scripted".to_owned() }
}
