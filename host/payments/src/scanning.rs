//! Finding deposits: one block at a time, each block stored with everything found in it or not at all.

mod beginning;
pub mod changes;
pub mod scanner;
pub mod status;
pub mod watch_set;
