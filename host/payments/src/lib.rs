//! The use cases of the platform and the ports they need.
//!
//! Knows the domain only: no HTTP status, no query language, no RPC, no wasm type. What the world must provide stands in
//! [`port`] as traits; adapters implement them and `xthonpay-app` joins the two.

// Where money is computed, nothing wraps, narrows or is looked up by an index that may not be there.
#![cfg_attr(not(test), warn(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing))]

pub mod access;
pub mod attestation;
pub mod audit;
pub mod balances;
pub mod budgets;
pub mod catalog;
pub mod chain_reader;
pub mod delivery;
pub mod endpoints;
pub mod feed;
pub mod hook_tally;
pub mod invoicing;
pub mod keys;
pub mod merchants;
pub mod plugin_standing;
pub mod plugin_storage;
pub mod port;
pub mod rates;
pub mod reassess;
pub mod rules;
pub mod scanning;
pub mod settlement;
pub mod simulation;
pub mod snapshot;
pub mod wake;
pub mod withdrawal_review;
