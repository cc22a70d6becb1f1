//! What the use cases need from the world, as contracts. Each adapter crate implements one of them.

pub mod bot;
pub mod chain;
pub mod clock;
pub mod egress;
pub mod hooks;
pub mod lending;
pub mod random;
pub mod signer;
pub mod simulation;
pub mod store;
pub mod vault;
