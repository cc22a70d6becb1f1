//! The API against real use cases on a store in memory, through the whole stack of layers; connections over real sockets.

mod authentication;
mod bad_input;
mod doubles;
mod failures;
mod health;
mod invoices;
mod listing;
mod metrics;
mod proxies;
mod rescan;
mod server;
mod tenants;
mod world;
