//! What the end-to-end tests and the demo build on: a real chain node, the real host as a process, a merchant's client, and a
//! receiver of webhooks.
//!
//! Talks to the host only as strangers do: by its command line, its config file, HTTP and signals. Signatures are computed
//! here from the published rules, not with the host's code, so that a mistake there cannot hide itself here.
//!
//! Beside them stand doubles of the ports of `xthonpay-payments` (store, chain, clock, randomness), for tests of the use cases
//! alone.

pub mod books;
pub mod canned_node;
pub mod chain;
pub mod client;
pub mod crash_points;
pub mod fault_proxy;
pub mod gated_store;
pub mod guest;
pub mod host;
pub mod manual_clock;
pub mod memory_store;
pub mod path_addresses;
pub mod places;
pub mod plain_catalog;
pub mod plain_vault;
pub mod process;
pub mod program;
pub mod receiver;
pub mod scripted_chain;
pub mod scripted_nodes;
pub mod seeded;
pub mod seeded_random;
pub mod signatures;
pub mod wait;

pub use chain::BoxError;
