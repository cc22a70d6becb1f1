//! The merchants' REST API.
//!
//! A request passes the edge (request id, log, headers), the door (size, headers, signature, policy) and one handler, which
//! turns texts into domain values, calls a use case of `xthonpay-payments` and shows the result. No rule about money lives
//! here, and no other adapter is known.
//!
//! | module | owns |
//! |---|---|
//! | `policies` | which calls exist and what each of them needs: the one table that everything is mounted from |
//! | `router` | mounting the table; what is not in it is 404 or 405 |
//! | `edge` | what every answer carries, and the log |
//! | `door` | who calls: bounded reading, authentication; which calls were made before |
//! | `client_address` | from where: the walk through trusted proxies |
//! | `routes` | one handler per call |
//! | `json`, `query`, `named`, `cursor` | reading what callers write, strictly |
//! | `metrics` | what monitoring reads |
//! | `openapi` | the document of the API, and its page |
//! | `answer`, `error` | the two shapes of answers; which failure becomes which status and code |
//! | `server` | connections: limits, deadlines, draining |

mod answer;
mod api;
mod client_address;
mod config;
mod cursor;
mod door;
mod edge;
mod error;
mod json;
mod metrics;
mod named;
mod openapi;
mod policies;
mod query;
mod router;
mod routes;
mod server;

pub use api::{Api, ComponentHealth, ComponentsProbe};
pub use client_address::{ForwardedError, client_address};
pub use config::ApiConfig;
pub use policies::{RoutePolicy, policies};
pub use router::router;
pub use server::{ServerLimits, serve};
