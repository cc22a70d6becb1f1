//! The simulated chain of test mode.
//!
//! A chain of one node that never fails: blocks in memory, made by whoever simulates payments, read by the same scanner as
//! every other chain. Nothing on it is worth anything.
//!
//! | module | owns |
//! |---|---|
//! | `assets` | what there is on the chain |
//! | `blocks` | the blocks: linking, finality, forks, and how many are kept |
//! | `source` | the answers to a scanner |
//!
//! Only the newest blocks are kept, and none of them outlives the process: after a restart the chain goes on above the block
//! that the scanner had processed last, which counts as final. It knows nothing of invoices and merchants.

// Amounts move here too: nothing wraps, narrows or is looked up by an index that may not be there.
#![cfg_attr(not(test), warn(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod assets;
mod blocks;
mod source;

pub use assets::{PAYER, assets};
pub use source::{Beginning, SimulatedChain};
