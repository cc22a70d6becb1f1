//! The host: config in, a running payment platform out.
//!
//! [`config`] reads what the operator decided, [`compose`] joins the adapters to the use cases (the only place that names
//! every adapter), [`host`] runs the result until it is told to stop. [`admin`] and [`cli`] are how an operator speaks to it.
//! Business rules live in `xthonpay-payments`; there is none here.

pub mod admin;
pub mod cli;
pub mod compose;
pub mod config;
pub mod data_dir;
pub mod host;
pub mod kept_plugins;
pub mod loans;

mod duration;
mod logging;
mod plugin_watch;
mod process;
mod switches;
mod system_clock;
