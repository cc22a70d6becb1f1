//! The use cases of the platform and the ports they need.
//!
//! Knows the domain only: no HTTP status, no query language, no RPC, no wasm type. What the world must provide stands in
//! [`port`] as traits; adapters implement them and `xthonpay-app` joins the two.

pub mod port;
