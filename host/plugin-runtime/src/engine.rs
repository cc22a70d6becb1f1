//! The engine that all plugins share: what WebAssembly may do here, the clock of its interruptions, and the cache of
//! compiled code.

use core::convert::Infallible;
use core::time::Duration;
use std::fs::DirBuilder;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;

use thiserror::Error;
use tokio::sync::Semaphore;
use tracing::warn;
use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy, WasmBacktraceDetails,
};

use crate::limits::Limit;

/// How often running guests are interrupted: to count their time, to let other work go on, and to end them.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Stack of a guest. Deep recursion ends here, well before the end of the stack that it shares with host code.
const GUEST_STACK_BYTES: usize = 512 * 1_024;

/// Stack of guest and host code together. The three quarters above the guest's are for capabilities and hooks.
const WHOLE_STACK_BYTES: usize = 2 * 1_024 * 1_024;

/// Guest functions that a trap names: enough to find the place, few enough for a line.
pub(crate) const TRACE_FRAMES_MAX: usize = 5;

/// Calls of all plugins that run at the same time. With the default limits they need at most 4 GiB of linear memory, and
/// plugins use a small part of theirs.
const CALLS_MAX: usize = 128;

/// Bookkeeping of one instance in the engine: the engine's own default. It grows with the functions and modules of a component.
const INSTANCE_BYTES_MAX: usize = 1_024 * 1_024;

/// Bytes of a memory that are overwritten after a call, where giving them back to the kernel would cost more. Most guests touch
/// less than this in a call.
const MEMORY_BYTES_KEPT: usize = 1_024 * 1_024;

/// The same of a table: eight thousand elements.
const TABLE_BYTES_KEPT: usize = 64 * 1_024;

/// Places that keep what their last plugin mapped: more than calls that really run at once on any machine. With the bytes kept
/// of each memory it bounds what an idle host holds, at 64 MiB; in practice it is what the guests touch.
const PLACES_KEPT_WARM: u32 = 64;

/// Compiled code that is kept: about a hundred components.
const CACHE_BYTES_MAX: u64 = 512 * 1_024 * 1_024;

/// Permissions of the cache: the owner alone.
const CACHE_MODE: u32 = 0o700;

/// Permissions that let others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// An engine that cannot be set up.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The folder for compiled code cannot be used.
    #[error("the plugins' cache_dir {} cannot be used: {source}", path.display())]
    CacheIo {
        /// The folder.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// Others could put code there.
    #[error(
        "the plugins' cache_dir {} is writable by others than its owner, and the host runs what it finds there: \
         `chmod 700` it and empty it",
        path.display()
    )]
    CacheExposed {
        /// The folder.
        path: PathBuf,
    },
    /// WebAssembly does not run on this machine, or not with these settings.
    #[error("the WebAssembly engine cannot be set up: {detail}")]
    Engine {
        /// What the runtime says.
        detail: String,
    },
}

impl EngineError {
    /// Whether the same start may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::CacheIo { .. } => true,
            Self::CacheExposed { .. } | Self::Engine { .. } => false,
        }
    }
}

/// The engine with what all plugins share.
pub(crate) struct Sandbox {
    pub(crate) engine: Engine,
    /// Places for running calls of all plugins.
    pub(crate) places: Arc<Semaphore>,
    _ticker: Ticker,
}

impl Sandbox {
    /// Sets up the engine and starts its ticker, which runs until the sandbox is dropped.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) fn new(cache_dir: Option<&Path>) -> Result<Self, EngineError> {
        let cache = cache_dir.map(open_cache).transpose()?;
        let failed = |detail: String| EngineError::Engine { detail };
        let engine = engine(cache.as_ref(), pool()).map_err(|error| failed(format!("{error:#}")))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| failed(error.to_string()))?;
        Ok(Self { engine, places: Arc::new(Semaphore::new(CALLS_MAX)), _ticker: ticker })
    }
}

/// An engine whose instances take turns in a pool. Where the addresses for it cannot be had (a limit of the process, or a kernel
/// with few), each instance gets memory of its own: slower, and the same otherwise.
fn engine(cache: Option<&Cache>, pool: PoolingAllocationConfig) -> wasmtime::Result<Engine> {
    Engine::new(&config(cache.cloned(), InstanceAllocationStrategy::Pooling(pool))).or_else(|error| {
        let reason = format!("{error:#}");
        warn!(reason, "no pool for instances of plugins: each call maps memory of its own, and takes longer");
        Engine::new(&config(cache.cloned(), InstanceAllocationStrategy::OnDemand))
    })
}

fn config(cache: Option<Cache>, instances: InstanceAllocationStrategy) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cache(cache)
        .wasm_component_model(true)
        // The contract has plain functions only; without this no guest reaches the code for streams and tasks.
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(false)
        // Proposals that no supported compiler needs. Threads, garbage collection and exceptions are not even built in.
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .shared_memory(false)
        .allocation_strategy(instances)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(WHOLE_STACK_BYTES)
        .wasm_backtrace_max_frames(NonZeroUsize::new(TRACE_FRAMES_MAX))
        // Names come from the component's name section; line numbers would need its debug information in memory.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

/// The places for memories, tables and stacks that calls take turns in: mapping fresh ones and giving them back was most of what
/// a call cost, and all calls of the process wait for one another in it (`docs/benchmarks.md`).
///
/// A place is as it was at the beginning before the next call gets it, also after a trap; a test lets one guest leave marks
/// everywhere and another look for them. There is one for whatever the ceilings allow to run at once, which costs addresses
/// only: a memory reserves 4 GiB of them, so that no access needs a check.
fn pool() -> PoolingAllocationConfig {
    let instances = u32::try_from(CALLS_MAX).unwrap_or(u32::MAX);
    let ceiling = |limit: Limit| u32::try_from(limit.ceiling()).unwrap_or(u32::MAX);
    let all = |limit| instances.saturating_mul(ceiling(limit));
    let bytes = |limit: Limit| usize::try_from(limit.ceiling().saturating_mul(1_024 * 1_024)).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_stacks(instances)
        .total_component_instances(instances)
        .total_core_instances(all(Limit::Instances))
        .total_memories(all(Limit::Memories))
        .max_memories_per_module(ceiling(Limit::Memories))
        .max_memory_size(bytes(Limit::MemoryMib))
        .total_tables(all(Limit::Tables))
        .max_tables_per_module(ceiling(Limit::Tables))
        .table_elements(usize::try_from(Limit::TableElements.ceiling()).unwrap_or(usize::MAX))
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .linear_memory_keep_resident(MEMORY_BYTES_KEPT)
        .table_keep_resident(TABLE_BYTES_KEPT)
        .max_unused_warm_slots(PLACES_KEPT_WARM)
        // Only what a call has written is put back, where the kernel (6.7) can tell.
        .pagemap_scan(Enabled::Auto);
    pool
}

fn open_cache(folder: &Path) -> Result<Cache, EngineError> {
    let io = |source| EngineError::CacheIo { path: folder.to_owned(), source };
    let path = absolute(folder).map_err(io)?;
    DirBuilder::new().recursive(true).mode(CACHE_MODE).create(&path).map_err(io)?;
    if path.metadata().map_err(io)?.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(EngineError::CacheExposed { path });
    }
    let mut config = CacheConfig::new();
    config.with_directory(path).with_files_total_size_soft_limit(CACHE_BYTES_MAX);
    Cache::new(config).map_err(|error| EngineError::Engine { detail: format!("{error:#}") })
}

/// The thread that advances the engine's epoch. It ends with the sandbox.
struct Ticker {
    /// Nothing is ever sent: dropping this end wakes the thread and ends it.
    _alive: SyncSender<Infallible>,
}

impl Ticker {
    fn start(engine: Engine) -> io::Result<Self> {
        let (alive, dropped) = sync_channel::<Infallible>(0);
        thread::Builder::new().name("plugin-ticker".to_owned()).spawn(move || {
            while matches!(dropped.recv_timeout(TICK), Err(RecvTimeoutError::Timeout)) {
                engine.increment_epoch();
            }
        })?;
        Ok(Self { _alive: alive })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn makes_the_cache_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep/cache");
        Sandbox::new(Some(&path)).map(drop).expect("sets up");
        let mode = path.metadata().expect("was made").permissions().mode();
        assert_eq!(mode & 0o777, CACHE_MODE);
    }

    #[test]
    fn refuses_a_cache_that_others_can_write() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("sets");
        let error = Sandbox::new(Some(folder.path())).err().expect("is exposed");
        assert!(matches!(error, EngineError::CacheExposed { .. }), "{error}");
    }

    #[test]
    fn does_without_a_pool_where_there_are_no_addresses_for_it() {
        let mut pool = pool();
        // More addresses than a process has.
        pool.total_memories(1_000_000);
        assert!(Engine::new(&config(None, InstanceAllocationStrategy::Pooling(pool.clone()))).is_err());
        let engine = engine(None, pool).expect("sets up without");
        let module = wasmtime::Module::new(&engine, wat::parse_str("(module (memory 1))").expect("well formed"));
        let mut store = wasmtime::Store::new(&engine, ());
        store.set_epoch_deadline(1);
        wasmtime::Instance::new(&mut store, &module.expect("compiles"), &[]).expect("an instance");
    }

    #[test]
    fn the_ticker_ends_with_its_owner() {
        let engine = engine(None, pool()).expect("sets up");
        let ticker = Ticker::start(engine.clone()).expect("starts");
        let weak = engine.weak();
        drop((ticker, engine));
        let ended = (0..200).any(|_| {
            thread::sleep(TICK);
            weak.upgrade().is_none()
        });
        assert!(ended, "the thread still holds the engine");
    }
}
