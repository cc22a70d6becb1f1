//! What one call uses: whose time it takes, which capabilities it calls and how they end, and what goes to upstreams.
//!
//! The engine tells when the guest hands over to the host and when it goes on. It hands over for capabilities, and also at ticks
//! and to grow a memory; only what a capability was called in counts as lent.

use core::time::Duration;

use tokio::time::Instant;
use tracing::{Span, debug_span};
use wasmtime::CallHook;
use xthonpay_payments::hook_tally::{LoanCounts, LoanOutcome};

/// The interface of calls for WASI, whose own interfaces are not told apart.
pub(crate) const WASI: &str = "wasi";

/// What a call has used so far.
#[derive(Default)]
pub(crate) struct Usage {
    /// When the work began, and how long the instance took.
    begun: Option<Instant>,
    instantiated: Option<Duration>,
    /// The guest has handed over so many times without going on: the host may call the guest to make room for a value.
    depth: usize,
    /// When it handed over, and the capability that it called then.
    handed_over: Option<Instant>,
    asked: Option<Asked>,
    lent: Duration,
    /// Ticks and growth.
    engine: Duration,
    loans: LoanCounts,
    sent_bytes: u64,
    received_bytes: u64,
}

/// A capability while it is called.
struct Asked {
    interface: &'static str,
    outcome: LoanOutcome,
    span: Span,
}

impl Usage {
    /// The work begins.
    pub(crate) fn begin(&mut self) {
        self.begun = Some(Instant::now());
    }

    /// The instance is made.
    pub(crate) fn instantiated(&mut self) {
        self.instantiated = self.begun.map(|begun| begun.elapsed());
        (self.lent, self.engine) = (Duration::ZERO, Duration::ZERO);
    }

    /// How long the instance took, if there was one.
    pub(crate) fn instantiation(&self) -> Option<Duration> {
        self.instantiated
    }

    /// How long the guest itself worked since its instance was made.
    pub(crate) fn guest(&self) -> Duration {
        let Some((begun, instantiated)) = self.begun.zip(self.instantiated) else { return Duration::ZERO };
        begun.elapsed().saturating_sub(instantiated).saturating_sub(self.lent).saturating_sub(self.engine)
    }

    /// How long capabilities worked for it.
    pub(crate) fn lent(&self) -> Duration {
        self.lent
    }

    /// Bytes of bodies that were sent to upstreams, and that they answered.
    pub(crate) fn upstream_bytes(&self) -> [u64; 2] {
        [self.sent_bytes, self.received_bytes]
    }

    /// The guest handed over to the host, or the host is done.
    pub(crate) fn turn(&mut self, hook: CallHook) {
        match hook {
            CallHook::CallingHost => {
                if self.depth == 0 {
                    self.handed_over = Some(Instant::now());
                }
                self.depth = self.depth.saturating_add(1);
            }
            CallHook::ReturningFromHost => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.close();
                }
            }
            // How the host calls the guest: once for the whole, and to make room for values.
            CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
        }
    }

    fn close(&mut self) {
        let took = self.handed_over.take().map(|since| since.elapsed()).unwrap_or_default();
        let Some(Asked { interface, outcome, .. }) = self.asked.take() else {
            self.engine = self.engine.saturating_add(took);
            return;
        };
        self.lent = self.lent.saturating_add(took);
        let count = self.loans.entry((interface, outcome)).or_default();
        *count = count.saturating_add(1);
    }

    /// A function of a capability is called.
    pub(crate) fn ask(&mut self, interface: &'static str, function: &'static str) {
        let span = debug_span!(target: "plugin", "capability", interface, function);
        self.asked = Some(Asked { interface, outcome: LoanOutcome::Done, span });
    }

    /// The span of the capability that is called.
    pub(crate) fn span(&self) -> Span {
        self.asked.as_ref().map_or_else(Span::none, |asked| asked.span.clone())
    }

    /// The capability does not do it.
    pub(crate) fn end(&mut self, outcome: LoanOutcome) {
        if let Some(asked) = &mut self.asked {
            asked.outcome = outcome;
        }
    }

    /// A request went to an upstream, and so much came back.
    pub(crate) fn exchange(&mut self, sent: usize, received: usize) {
        let bytes = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.sent_bytes = self.sent_bytes.saturating_add(bytes(sent));
        self.received_bytes = self.received_bytes.saturating_add(bytes(received));
    }

    /// What was called and how it ended; what the guest never came back from has ended with it.
    pub(crate) fn take_loans(&mut self) -> LoanCounts {
        self.end(LoanOutcome::Ended);
        if self.depth > 0 {
            self.depth = 0;
            self.close();
        }
        core::mem::take(&mut self.loans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_hands_over_for_is_counted_once_and_by_its_end() {
        let mut usage = Usage::default();
        usage.begin();
        usage.instantiated();
        let call = |usage: &mut Usage, outcome: LoanOutcome| {
            usage.turn(CallHook::CallingHost);
            usage.ask("http", "send");
            // The guest makes room for the answer, and a tick passes meanwhile.
            usage.turn(CallHook::CallingWasm);
            usage.turn(CallHook::CallingHost);
            usage.turn(CallHook::ReturningFromHost);
            usage.turn(CallHook::ReturningFromWasm);
            usage.end(outcome);
            usage.turn(CallHook::ReturningFromHost);
        };
        call(&mut usage, LoanOutcome::Done);
        call(&mut usage, LoanOutcome::Denied);
        // A tick of its own is nobody's call.
        usage.turn(CallHook::CallingHost);
        usage.turn(CallHook::ReturningFromHost);
        // A call that the guest does not come back from.
        usage.turn(CallHook::CallingHost);
        usage.ask("storage", "get");
        let counted: Vec<_> = usage.take_loans().into_iter().collect();
        let expected = [
            (("http", LoanOutcome::Done), 1),
            (("http", LoanOutcome::Denied), 1),
            (("storage", LoanOutcome::Ended), 1),
        ];
        assert_eq!(counted, expected);
        assert!(usage.take_loans().is_empty());
    }

    #[test]
    fn an_instance_that_was_not_made_takes_no_time_of_a_guest() {
        let mut usage = Usage::default();
        usage.begin();
        assert_eq!((usage.instantiation(), usage.guest()), (None, Duration::ZERO));
    }
}
