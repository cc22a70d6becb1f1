//! The simulated chain, alone and under the real scanner, rules and ledger.

mod chain;
mod simulation;
mod world;
