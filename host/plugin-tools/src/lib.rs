//! What the command line offers to those who write plugins: a new project, a build, the host's own checks, calls from files,
//! measurements, and a package to hand on.
//!
//! Plugins run here on the runtime of the host, with its limits and checks. Compilers are the languages' own: this crate calls
//! them and says what is missing. Nothing here talks to a host, a chain or a network; the compilers of JavaScript and Python fetch
//! their tools from their registries.

mod building;
mod fault;
mod measuring;
mod packing;
mod project;
mod template;
mod testing;

pub use building::{Built, build};
pub use fault::ToolError;
pub use measuring::{Measured, measure};
pub use packing::{Packed, pack};
pub use project::{Language, Project};
pub use template::{LaidOut, lay_out};
pub use testing::{FixtureOutcome, TestReport, call_report_json, fixtures_of, test};
