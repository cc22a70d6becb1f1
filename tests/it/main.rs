//! End-to-end tests: the real binary, a real EVM node, real plugins and real HTTP, seen from outside.
//!
//! `cargo xtask test` builds what they need. Random tests print their seed; `XTHONPAY_TEST_SEED` repeats one.

mod access;
mod audit;
mod bad_config;
mod bad_input;
mod broken_plugins;
mod cli;
mod demo;
mod expiry;
mod fault_proxy;
mod faults;
mod guest_memory;
mod guide;
mod hostile;
mod internal;
mod keys;
mod lending;
mod liars;
mod nodes;
mod openapi;
mod outages;
mod payments;
mod plugin_cli;
mod plugin_operation;
mod refusal;
mod reorgs;
mod rescan;
mod restart;
mod shops;
mod signatures;
mod swap;
mod test_mode;
mod tutorials;
mod webhooks;
mod world;
