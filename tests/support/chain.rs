//! A real EVM node for tests and demos: anvil, set up to behave like BNB Smart Chain, with contracts and payments.
//!
//! [`Anvil`] owns the process, [`TestChain`] deploys, pays, mines and reorganises through it. Payments are sent by anvil's
//! unlocked development accounts, so no key is handled here. Nothing here may be used outside tests and demos.

mod anvil;
mod call_data;
mod contracts;
mod rpc;
mod test_chain;

pub use anvil::{Anvil, AnvilOptions, CHAIN_ID, Mining, anvil_binary};
pub use call_data::Word;
pub use contracts::{disperse_code, rejecter_code, test_usdt_code};
pub use rpc::{BoxError, Rpc};
pub use test_chain::{Receipt, TestChain};
