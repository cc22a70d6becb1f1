//! Support.

pub mod chain;
