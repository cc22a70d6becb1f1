//! Values and state machines of the payment domain.
//!
//! Everything here is pure: no async, no I/O, no clock, no randomness and no serialisation. A value that exists is valid;
//! parsing happens in constructors. Time, randomness and storage arrive through the ports of `xthonpay-payments`.

// Where money is computed, nothing wraps, narrows or is looked up by an index that may not be there.
#![cfg_attr(not(test), warn(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing))]

pub mod access;
pub mod address;
pub mod amount;
pub mod asset;
pub mod block;
pub mod deposit;
pub mod event;
pub mod hash;
pub mod id;
pub mod invoice;
pub mod ledger;
pub mod text;
pub mod time;
pub mod transfer;
