//! One call: a place, a store of its own with its limits, the guest's work, and what came of it.
//!
//! The caller's own task carries out the call; most end before they are polled a second time. A caller that gives up, or that
//! is out of time, never drops a guest in the middle of its work: the rest becomes a task of its own, in which the guest ends
//! by itself or at its next tick, and frees its place then.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, debug_span, warn};
use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap, WasmBacktrace};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::time::Timestamp;

use xthonpay_payments::hook_tally::CallUse;
use xthonpay_payments::port::lending::storage::{ItemWrite, Space};

use crate::admission::{Admission, Place};
use crate::bindings::base::xthonpay::host::rates::Quote;
use crate::capability::log::LogBudget;
use crate::capability::storage::Staging;
use crate::capability::wasi::WasiState;
use crate::capture::{Noted, Notes};
use crate::detached::{Panicked, Undroppable};
use crate::engine::{Sandbox, TRACE_FRAMES_MAX};
use crate::fault::{CallFault, plugin_key};
use crate::limits::{Limit, Limits};
use crate::loan::Borrowed;
use crate::meter::{LimitHit, Meter, Stopwatch};
use crate::plain_text::one_line;
use crate::settings::Settings;
use crate::usage::Usage;

/// Bytes of a name or message from the runtime or the guest that are worth showing.
const DETAIL_BYTES_MAX: usize = 300;

/// What all calls of a loaded plugin share.
pub(crate) struct Profile {
    /// The name of its table.
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    pub(crate) borrowed: Borrowed,
    pub(crate) effects: Effects,
}

/// Whether what a plugin does has effects outside its call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Effects {
    /// As it is granted.
    #[default]
    Granted,
    /// None: it reads and does nothing.
    None,
}

/// Which call this is.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The function of the hook.
    pub(crate) function: &'static str,
    /// Names the fact that is decided; the same for a repeated call.
    pub(crate) id: String,
    /// The host's time of the call.
    pub(crate) at: Timestamp,
    /// The merchant that the call is about.
    pub(crate) merchant: Option<MerchantId>,
}

/// What the capabilities know about the call that they serve.
pub(crate) struct CallState {
    pub(crate) profile: Arc<Profile>,
    pub(crate) call: Call,
    pub(crate) meter: Meter,
    pub(crate) usage: Usage,
    pub(crate) log: LogBudget,
    /// What the guest has opened.
    pub(crate) table: ResourceTable,
    /// What it wants to keep.
    pub(crate) staging: Staging,
    /// Requests to upstreams so far.
    pub(crate) requests: u64,
    /// Rates that it was told.
    pub(crate) quotes: Vec<((String, String), Quote)>,
    /// What it was lent and logged so far.
    pub(crate) notes: Notes,
    /// What its output and its random numbers stand at.
    pub(crate) wasi: WasiState,
}

impl CallState {
    /// The state of a call that begins.
    pub(crate) fn new(profile: Arc<Profile>, call: Call) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(profile.limits.count(Limit::Handles));
        Self {
            table,
            staging: Staging::default(),
            requests: 0,
            quotes: Vec::new(),
            notes: Notes::default(),
            wasi: WasiState::default(),
            meter: Meter::new(&profile.limits),
            usage: Usage::default(),
            log: LogBudget::new(&profile.limits),
            profile,
            call,
        }
    }
}

/// What a call left behind.
#[derive(Default)]
pub(crate) struct Traces {
    /// What the guest wanted to keep.
    pub(crate) writes: Vec<ItemWrite>,
    /// How many bytes each space would grow by that.
    pub(crate) growth: Vec<(Space, i64)>,
    /// What it was lent and logged.
    pub(crate) noted: Noted,
    /// Capabilities that it called, as far as they count against the limit.
    pub(crate) host_calls: usize,
    /// What is counted of it.
    pub(crate) used: CallUse,
}

impl Traces {
    /// Those of a call that has not begun.
    fn of_wait(waited: Duration) -> Self {
        Self { used: CallUse { waited, ..CallUse::default() }, ..Self::default() }
    }
}

/// The work of a guest in a fresh store: instantiate, call, return the answer.
pub(crate) type Work<'a, R> = Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send + 'a>>;

/// Runs the calls of one loaded plugin.
pub(crate) struct Runner {
    sandbox: Arc<Sandbox>,
    profile: Arc<Profile>,
    admission: Admission,
}

impl Runner {
    pub(crate) fn new(sandbox: Arc<Sandbox>, profile: Profile) -> Self {
        let admission = Admission::new(&profile.limits, Arc::clone(&sandbox.places));
        Self { sandbox, profile: Arc::new(profile), admission }
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Runs one call within the plugin's limits. May be dropped at any time.
    ///
    /// # Errors
    /// [`CallFault`].
    pub(crate) async fn run<R, W>(&self, call: Call, work: W) -> Result<R, CallFault>
    where
        R: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<CallState>) -> Work<'a, R> + Send + 'static,
    {
        self.run_traced(call, work).await.0
    }

    /// The same with what the call left behind, whatever came of it; of a call that ran out of time what it was lent and logged by
    /// then.
    pub(crate) async fn run_traced<R, W>(&self, call: Call, work: W) -> (Result<R, CallFault>, Traces)
    where
        R: Send + 'static,
        W: for<'a> FnOnce(&'a mut Store<CallState>) -> Work<'a, R> + Send + 'static,
    {
        let asked = Instant::now();
        let place = self.admission.enter().await;
        let waited = asked.elapsed();
        let place = match place {
            Ok(place) => place,
            Err(hit) => return (Err(self.fault(hit)), Traces::of_wait(waited)),
        };
        let wall = Duration::from_millis(self.profile.limits.get(Limit::WallMs));
        let span =
            debug_span!(target: "plugin", "call", plugin = self.profile.name, function = call.function, id = call.id);
        let store = self.store(call, wall);
        let notes = store.data().notes.clone();
        match timeout(wall, Undroppable::new(drive(store, place, work).instrument(span))).await {
            Ok(Ok((ended, mut left))) => {
                left.used.waited = waited;
                (ended, left)
            }
            Ok(Err(Panicked)) => (Err(CallFault::Host { detail: "a panic" }), Traces::of_wait(waited)),
            // The guest goes on without us until it ends at its next tick.
            Err(_) => {
                let traces = Traces { noted: notes.take(), ..Traces::of_wait(waited) };
                (Err(self.fault(LimitHit { limit: Limit::WallMs, used: None })), traces)
            }
        }
    }

    /// A store for one call, with every limit set.
    fn store(&self, call: Call, wall: Duration) -> Store<CallState> {
        let limits = &self.profile.limits;
        let state = CallState::new(Arc::clone(&self.profile), call);
        let mut store = Store::new(&self.sandbox.engine, state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(limits.kib(Limit::CrossingKib));
        let now = Instant::now();
        let mut stopwatch = Stopwatch::new(limits, now.checked_add(wall).unwrap_or(now));
        store.epoch_deadline_callback(move |_| stopwatch.tick().map_err(Into::into));
        store.set_epoch_deadline(1);
        store.call_hook(|mut context, hook| {
            context.data_mut().usage.turn(hook);
            Ok(())
        });
        store
    }

    /// The fault of a limit that was reached.
    pub(crate) fn fault(&self, hit: LimitHit) -> CallFault {
        limit_fault(&self.profile, hit)
    }
}

/// Carries out the work and tells what came of it. Owns the store and the place to the end.
async fn drive<R, W>(mut store: Store<CallState>, place: Place, work: W) -> (Result<R, CallFault>, Traces)
where
    W: for<'a> FnOnce(&'a mut Store<CallState>) -> Work<'a, R>,
{
    store.data_mut().usage.begin();
    let answer = work(&mut store).await;
    let usage = &mut store.data_mut().usage;
    let (loans, guest) = (usage.take_loans(), usage.guest());
    store.data_mut().flush_output();
    let state = store.data();
    let dropped = state.log.dropped();
    if dropped > 0 {
        warn!(target: "plugin", plugin = state.profile.name, id = state.call.id, dropped, "lines of the log were dropped");
    }
    let answer = answer.map_err(|error| diagnose(&error, state));
    let state = store.data_mut();
    let (writes, growth) = state.staging.take();
    let noted = state.notes.take();
    let [sent_bytes, received_bytes] = state.usage.upstream_bytes();
    let used = CallUse {
        waited: Duration::ZERO,
        instantiated: state.usage.instantiation(),
        guest,
        lent: state.usage.lent(),
        memory_bytes: u64::try_from(state.meter.memory_bytes()).unwrap_or(u64::MAX),
        loans,
        sent_bytes,
        received_bytes,
        dropped_lines: dropped,
    };
    let traces = Traces { writes, growth, noted, host_calls: state.meter.host_calls(), used };
    // What the instance took is free again before its place is: there is enough for as many as there are places.
    drop(store);
    drop(place);
    (answer, traces)
}

fn limit_fault(profile: &Profile, hit: LimitHit) -> CallFault {
    CallFault::Limit {
        limit: hit.limit,
        used: hit.used,
        allowed: profile.limits.get(hit.limit),
        key: limit_key(profile, hit.limit),
    }
}

fn limit_key(profile: &Profile, limit: Limit) -> String {
    plugin_key(&profile.name, &format!("limits.{}", limit.key()))
}

/// Why the work failed: a limit of ours, a trap of the guest's own, or a value that did not cross.
fn diagnose(error: &wasmtime::Error, state: &CallState) -> CallFault {
    let hit = error.downcast_ref::<LimitHit>().copied().or_else(|| state.meter.refused());
    if let Some(hit) = hit {
        return limit_fault(&state.profile, hit);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
        return CallFault::Trap { trap: one_line(&trap.to_string(), DETAIL_BYTES_MAX), frames };
    }
    // The engine has no types for what is left: too many instances, memories or tables, values that are malformed, and
    // more data than may cross. So every limit that can show up like this is named.
    let suspects = [Limit::CrossingKib, Limit::Instances, Limit::Memories, Limit::Tables, Limit::MemoryMib];
    let keys =
        suspects.map(|limit| format!("{} ({})", limit_key(&state.profile, limit), state.profile.limits.get(limit)));
    CallFault::Boundary { detail: one_line(&format!("{error:#}"), DETAIL_BYTES_MAX), keys: keys.to_vec() }
}

/// The innermost functions of the guest, as the end of a sentence.
fn frames(trace: &WasmBacktrace) -> String {
    let names = trace.frames().iter().take(TRACE_FRAMES_MAX).map(|frame| frame.func_name().unwrap_or("?"));
    let names = names.collect::<Vec<_>>().join(", called by ");
    if names.is_empty() { names } else { format!(" in {}", one_line(&names, DETAIL_BYTES_MAX)) }
}
