//! A candidate beside the plugin that serves: it is asked the same, its answers are compared and never used.
//!
//! Nothing that it does has an effect: what it stores is thrown away, it may only GET from upstreams, and it cannot sign. It is
//! asked after the answer of the plugin that serves is known, in a task of its own, and left out when too many are under way.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::info;
use wasmtime::Store;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::hook_tally::{FunctionTally, HookOutcome};

use crate::artefact::Digest;
use crate::bindings::base::xthonpay::host::types::HookError;
use crate::fault::CallFault;
use crate::hook::{Ready, Served};
use crate::instance::{Call, CallState, Work};

/// Calls of a candidate that are under way at once: it must not take the processor from those that serve.
const UNDER_WAY_MAX: usize = 2;

/// Differences that are kept, the newest.
const DIFFERENCES_MAX: usize = 20;

/// Characters of an answer that are kept.
const ANSWER_CHARACTERS_MAX: usize = 2_000;

/// An answer of a candidate that is not that of the plugin that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// When, by the host's clock.
    pub at: Timestamp,
    /// Names the fact that was decided.
    pub call_id: String,
    /// What the plugin that serves answered, as JSON.
    pub serving: String,
    /// What the candidate answered.
    pub candidate: String,
}

/// What is known about a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowReport {
    /// The SHA-256 of its component; none of one that did not load.
    pub digest: Option<Digest>,
    /// Why it did not load.
    pub problem: Option<String>,
    /// Calls that it answered as the plugin that serves did.
    pub same: u64,
    /// Calls that it answered otherwise.
    pub differs: u64,
    /// Calls that it was not asked about, as too many were under way.
    pub skipped: u64,
    /// The last differences, the newest first.
    pub differences: Vec<Difference>,
}

/// What came of the calls so far.
#[derive(Default)]
struct Record {
    same: AtomicU64,
    differs: AtomicU64,
    skipped: AtomicU64,
    differences: Mutex<VecDeque<Difference>>,
}

/// A candidate that is loaded, or why it is not.
pub(crate) struct Shadow<H: Served> {
    candidate: Result<Arc<Ready<H>>, String>,
    tallies: BTreeMap<&'static str, Arc<FunctionTally>>,
    places: Arc<Semaphore>,
    record: Arc<Record>,
}

/// A place for one call of a candidate, and its candidate.
pub(crate) struct Twin<H: Served> {
    ready: Arc<Ready<H>>,
    tally: Option<Arc<FunctionTally>>,
    record: Arc<Record>,
    place: OwnedSemaphorePermit,
}

impl<H: Served> Shadow<H> {
    pub(crate) fn new(
        candidate: Result<Ready<H>, String>,
        tallies: BTreeMap<&'static str, Arc<FunctionTally>>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        Self { candidate: candidate.map(Arc::new), tallies, places, record: Arc::default() }
    }

    /// A place to ask the candidate too.
    pub(crate) fn twin(&self, function: &'static str) -> Option<Twin<H>> {
        let ready = Arc::clone(self.candidate.as_ref().ok()?);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.record.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let tally = self.tallies.get(function).cloned();
        Some(Twin { ready, tally, record: Arc::clone(&self.record), place })
    }

    pub(crate) fn report(&self) -> ShadowReport {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let differences = self.record.differences.lock().unwrap_or_else(PoisonError::into_inner);
        ShadowReport {
            digest: self.candidate.as_ref().ok().map(|ready| ready.digest),
            problem: self.candidate.as_ref().err().cloned(),
            same: count(&self.record.same),
            differs: count(&self.record.differs),
            skipped: count(&self.record.skipped),
            differences: differences.iter().rev().cloned().collect(),
        }
    }
}

impl<H: Served> Twin<H> {
    /// Asks the candidate, in a task of its own, and compares with what the plugin that serves `answered`.
    pub(crate) fn ask<R, W>(self, call: Call, answered: String, work: W)
    where
        R: Serialize + Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<CallState>, H::Pre) -> Work<'a, Result<R, HookError>> + Send + 'static,
    {
        let Self { ready, tally, record, place } = self;
        tokio::spawn(async move {
            let linked = ready.linked.clone();
            let started = tokio::time::Instant::now();
            let (ended, traces) = ready.runner.run_traced(call.clone(), move |store| work(store, linked)).await;
            if let Some(tally) = tally {
                tally.note(&traces.used);
                tally.count(
                    ended.as_ref().map_or_else(CallFault::outcome, |_| HookOutcome::Answered),
                    started.elapsed(),
                );
            }
            record.note(&call, &ready.runner.profile().name, answered, told(&ended));
            drop(place);
        });
    }
}

impl Record {
    fn note(&self, call: &Call, plugin: &str, serving: String, candidate: String) {
        if serving == candidate {
            self.same.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.differs.fetch_add(1, Ordering::Relaxed);
        info!(target: "plugin", plugin, id = call.id, "the candidate answers otherwise");
        let short = |text: String| text.chars().take(ANSWER_CHARACTERS_MAX).collect();
        let difference =
            Difference { at: call.at, call_id: call.id.clone(), serving: short(serving), candidate: short(candidate) };
        let mut kept = self.differences.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() >= DIFFERENCES_MAX {
            kept.pop_front();
        }
        kept.push_back(difference);
    }
}

/// How a call ended, as a text to compare: the answer as JSON, or the kind of the failure.
pub(crate) fn told<R: Serialize>(ended: &Result<Result<R, HookError>, CallFault>) -> String {
    match ended {
        Ok(Ok(answer)) => serde_json::to_string(answer).unwrap_or_default(),
        Ok(Err(error)) => serde_json::to_string(error).unwrap_or_default(),
        Err(fault) => format!("failure: {}", fault.outcome().name()),
    }
}
