//! What one call may use, and what it has used.
//!
//! Memory and tables are asked for by the engine, time by its ticks, the rest by the capabilities.

use thiserror::Error;
use tokio::task::yield_now;
use tokio::time::Instant;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use crate::engine::TICK;
use crate::limits::{Limit, Limits};

/// A limit that a call ran into. Travels through the engine as the cause of a trap.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("limit {}", limit.key())]
pub(crate) struct LimitHit {
    pub(crate) limit: Limit,
    /// What was wanted or used, in the limit's unit, where it is known.
    pub(crate) used: Option<u64>,
}

/// Counts what one call uses of the machine.
pub(crate) struct Meter {
    memory: Gauge,
    table: Gauge,
    memories_max: usize,
    tables_max: usize,
    instances_max: usize,
    host_calls: usize,
    host_calls_max: usize,
    refused: Option<LimitHit>,
}

/// A sum over all memories or tables of a call.
struct Gauge {
    limit: Limit,
    used: usize,
    max: usize,
    /// The growth that was granted last, taken back when the engine cannot carry it out.
    granted: usize,
}

impl Gauge {
    fn new(limit: Limit, max: usize) -> Self {
        Self { limit, used: 0, max, granted: 0 }
    }

    /// Grants the growth, or tells how much would be used with it.
    fn grow(&mut self, current: usize, desired: usize) -> Result<(), usize> {
        self.granted = desired.saturating_sub(current);
        let wanted = self.used.saturating_add(self.granted);
        if wanted > self.max {
            return Err(wanted);
        }
        self.used = wanted;
        Ok(())
    }

    fn take_back(&mut self) {
        self.used = self.used.saturating_sub(self.granted);
        self.granted = 0;
    }
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: Gauge::new(Limit::MemoryMib, limits.mib(Limit::MemoryMib)),
            table: Gauge::new(Limit::TableElements, limits.count(Limit::TableElements)),
            memories_max: limits.count(Limit::Memories),
            tables_max: limits.count(Limit::Tables),
            instances_max: limits.count(Limit::Instances),
            host_calls: 0,
            host_calls_max: limits.count(Limit::HostCalls),
            refused: None,
        }
    }

    /// A growth that was refused. The guest may have lived with it; if the call failed, this is most likely why.
    pub(crate) fn refused(&self) -> Option<LimitHit> {
        self.refused
    }

    /// Linear memory of the call; it never shrinks.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.used
    }

    /// Calls of capabilities so far.
    pub(crate) fn host_calls(&self) -> usize {
        self.host_calls
    }

    /// Counts a call of a capability.
    ///
    /// # Errors
    /// [`LimitHit`] when there were too many.
    pub(crate) fn count_host_call(&mut self) -> Result<(), LimitHit> {
        self.host_calls = self.host_calls.saturating_add(1);
        if self.host_calls > self.host_calls_max {
            return Err(LimitHit { limit: Limit::HostCalls, used: u64::try_from(self.host_calls).ok() });
        }
        Ok(())
    }

    fn note(&mut self, limit: Limit, wanted: usize) {
        let unit = if limit == Limit::MemoryMib { 1_024 * 1_024 } else { 1 };
        self.refused = Some(LimitHit { limit, used: u64::try_from(wanted.div_ceil(unit)).ok() });
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.memory.grow(current, desired).map_err(|wanted| self.note(self.memory.limit, wanted));
        Ok(granted.is_ok())
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.table.grow(current, desired).map_err(|wanted| self.note(self.table.limit, wanted));
        Ok(granted.is_ok())
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.tables_max
    }

    fn memories(&self) -> usize {
        self.memories_max
    }
}

/// The time of one call, counted in ticks of the engine while the guest runs.
pub(crate) struct Stopwatch {
    ticks: u64,
    ticks_max: u64,
    until: Instant,
}

impl Stopwatch {
    /// Starts the time of a call that has to end at `until`.
    pub(crate) fn new(limits: &Limits, until: Instant) -> Self {
        let tick_ms = u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX);
        Self { ticks: 0, ticks_max: limits.get(Limit::CpuMs).div_ceil(tick_ms), until }
    }

    /// A tick passed while the guest ran: lets other work go first, or ends the guest.
    ///
    /// # Errors
    /// [`LimitHit`] when the time is used up.
    pub(crate) fn tick(&mut self) -> Result<UpdateDeadline, LimitHit> {
        // The first tick comes anywhere within its period, so a guest gets its budget and at most one tick more.
        self.ticks = self.ticks.saturating_add(1);
        if self.ticks > self.ticks_max {
            let used = TICK.saturating_mul(u32::try_from(self.ticks).unwrap_or(u32::MAX)).as_millis();
            return Err(LimitHit { limit: Limit::CpuMs, used: u64::try_from(used).ok() });
        }
        if Instant::now() >= self.until {
            return Err(LimitHit { limit: Limit::WallMs, used: None });
        }
        // Tokio's own yield: with the engine's, a loop would keep timers and sockets waiting for many ticks.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(yield_now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Hook;
    use crate::limits::LimitsConfig;

    fn meter(text: &str) -> Meter {
        let config: LimitsConfig = toml::from_str(text).expect("known keys");
        Meter::new(&Limits::resolve("mine", Hook::InvoiceRules, &config, &mut Vec::new()))
    }

    #[test]
    fn adds_up_all_memories() {
        const MIB: usize = 1_024 * 1_024;
        let mut meter = meter("memory_mib = 2");
        assert!(meter.memory_growing(0, MIB, None).expect("answers"));
        assert!(!meter.memory_growing(0, MIB + 65_536, None).expect("answers"), "a second memory");
        assert_eq!(meter.refused(), Some(LimitHit { limit: Limit::MemoryMib, used: Some(3) }));
        assert!(meter.memory_growing(MIB, 2 * MIB, None).expect("answers"), "what is left");
        assert!(!meter.memory_growing(2 * MIB, 2 * MIB + 65_536, None).expect("answers"));
    }

    #[test]
    fn takes_back_what_the_engine_could_not_do() {
        let mut meter = meter("table_elements = 10");
        assert!(meter.table_growing(0, 8, None).expect("answers"));
        meter.table_grow_failed(wasmtime::Error::msg("no memory")).expect("is noted");
        assert!(meter.table_growing(0, 10, None).expect("answers"));
        assert_eq!(meter.refused(), None);
    }

    #[test]
    fn counts_capability_calls() {
        let mut meter = meter("host_calls = 2");
        assert_eq!([meter.count_host_call(), meter.count_host_call()], [Ok(()), Ok(())]);
        assert_eq!(meter.count_host_call(), Err(LimitHit { limit: Limit::HostCalls, used: Some(3) }));
    }
}
