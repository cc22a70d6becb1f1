//! The webhook client against listeners on local sockets.
//!
//! What the policy says about texts is tested beside it; here connections are counted and receivers misbehave.

mod answers;
mod guard;
mod receiver;
mod retry_after;
mod targets;
mod tls;
