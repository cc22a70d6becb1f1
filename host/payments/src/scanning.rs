//! Finding deposits: one block at a time, each block stored with everything found in it or not at all.

pub(crate) mod beginning;
mod catch_up;
pub mod changes;
pub mod freeze;
pub mod internal;
mod pace;
pub mod rescan;
mod rhythm;
pub mod scanner;
pub mod status;
pub mod watch_set;
