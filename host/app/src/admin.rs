//! Administrative commands: what an operator asks of a deployment from the same machine.
//!
//! A running host answers them on a socket in its data folder that only its user can open; there is no other authentication,
//! and no network door. When no host runs, the commands open the deployment themselves. Both ways end in the same function of the
//! module that owns the command.

pub mod audit;
pub mod chain;
pub mod client;
pub mod key;
pub mod merchant;
pub mod plugin;
pub mod protocol;
pub mod rescan;
pub mod server;
pub mod service;
pub mod signed;
pub mod suspense;
