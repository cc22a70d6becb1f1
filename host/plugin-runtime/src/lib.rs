//! Plugins: WebAssembly components that shape invoices and webhooks inside a sandbox.
//!
//! This is the only crate that names wasmtime. It loads the components that the operator's configuration binds to hooks,
//! checks them against the contract in `wit/`, runs every call in an instance of its own under limits, and turns each
//! answer into values of the domain. It serves the port [`Hooks`]; what becomes of an answer, and what happens after a
//! failure, is decided by the use cases with the policy that every failure carries.
//!
//! It reads no configuration file, stores nothing, connects to nobody and holds no secret. A plugin that does not load
//! never keeps the host from starting, unless the operator marked it as required.
//!
//! Where to add things: a capability is a file in `capability/` and its place in `grant`; a hook is a file in `hook/`
//! and its place in `host`.
//!
//! [`Hooks`]: xthonpay_payments::port::hooks::Hooks

mod admission;
mod artefact;
mod bindings;
mod breaker;
mod capability;
mod capture;
mod config;
mod detached;
mod engine;
mod fault;
mod grant;
mod hook;
mod host;
mod instance;
mod limits;
mod loader;
mod loan;
mod manifest;
mod meter;
mod plain_text;
mod policy;
mod report;
mod settings;
mod shadow;
mod signature;
mod switch;
mod usage;
pub mod workbench;

pub use artefact::{ArtefactFault, Digest, DigestError};
pub use capability::log::LogLine;
pub use capture::Capture;
pub use config::{ConfigValue, HookBindings, LastGood, PluginConfig, RuntimeConfig, ShadowConfig, Wasi};
pub use engine::EngineError;
pub use fault::{CallFault, PluginFault, Problem};
pub use hook::Hook;
pub use host::{Exchanged, LoadError, PluginHost, ReloadError};
pub use limits::{Limit, LimitsConfig, UnknownLimit};
pub use loader::About;
pub use manifest::ManifestFault;
pub use manifest::path_beside as manifest_path;
pub use policy::{DraftFailurePolicy, HandleFailurePolicy, OnFailureConfig, PaymentFailurePolicy, RenderFailurePolicy};
pub use report::{PluginDetails, PluginReport, PluginState};
pub use shadow::{Difference, ShadowReport};
pub use signature::{ReleaseKey, ReleaseKeyError, SignatureFault, path_beside as signature_path};
