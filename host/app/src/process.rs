//! What the process may leak to the machine: nothing. No core dumps, and no other process of the user may read its memory.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Files that only their owner can reach, unless a call says otherwise.
const OWNER_ONLY: u32 = 0o077;

/// Locks the process down. Called first, before any secret is read.
///
/// # Errors
/// When the system refuses; a host that holds keys must not run then.
pub(crate) fn lock_down() -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(OWNER_ONLY));
    Ok(())
}
