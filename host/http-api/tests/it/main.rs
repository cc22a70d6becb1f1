//! The API against real use cases on a store in memory, through the whole stack of layers; connections over real sockets.

mod authentication;
mod bad_input;
mod decisions;
mod doubles;
mod failures;
mod health;
mod idempotency;
mod invoices;
mod listing;
mod metrics;
mod openapi;
mod policy_table;
mod proxies;
mod rates;
mod rescan;
mod server;
mod tenants;
mod test_mode;
mod webhooks;
mod world;
