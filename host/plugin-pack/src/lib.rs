//! Owns the step from a core wasm module, as a compiler leaves it, to a component that the host loads.
//!
//! It does not compile anything, does not run anything, and grants nothing. A module that wants WASI is refused
//! here, with the names of what it wants, because the host would refuse it later with less to say.

use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

/// Sections whose name begins like this describe the world of a module; bindings generators write them.
const WORLD_SECTION_PREFIX: &str = "component-type";

/// Module names of imports that belong to WASI, in either of its two generations.
const WASI_MODULE_PREFIXES: [&str; 3] = ["wasi_snapshot_preview1", "wasi_unstable", "wasi:"];

/// Why a module did not become a component.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The input is not wasm, or is cut short.
    #[error("the input is not a WebAssembly module: {0}")]
    NotWasm(#[source] wasmparser::BinaryReaderError),
    /// The input went through this step already.
    #[error("the input is a component already, not a core module: it needs no packing")]
    AlreadyComponent,
    /// The module does not say which world it is made for.
    #[error(
        "the module has no `component-type` section, so its world is unknown: \
         does the plugin call `xthonpay_sdk::register!`, and is it built as a `cdylib`?"
    )]
    WorldMissing,
    /// The module imports WASI.
    #[error(
        "the module imports WASI ({}): build it for `wasm32-unknown-unknown`, not for a `wasm32-wasi` target",
        .0.join(", ")
    )]
    WasiImported(Vec<String>),
    /// The module does not fit the world that it claims.
    #[error("the module does not fit its world: {0}")]
    WorldMismatch(String),
}

impl PackError {
    /// Whether the same input may be packed by a later try. Never: packing depends on the input alone.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotWasm(_)
            | Self::AlreadyComponent
            | Self::WorldMissing
            | Self::WasiImported(_)
            | Self::WorldMismatch(_) => false,
        }
    }
}

/// Makes a component of a core module.
///
/// The result is validated, and equal for equal input. Imports of the world that the module does not use are left
/// out, so that a plugin needs no grants but for what it calls.
///
/// # Errors
/// See [`PackError`]; the message of each says what to do.
pub fn pack(core_module: &[u8]) -> Result<Vec<u8>, PackError> {
    inspect(core_module)?;
    let encode = || ComponentEncoder::default().validate(true).module(core_module)?.encode();
    // The alternate form prints the whole chain of causes; the first alone only names a section.
    encode().map_err(|error| PackError::WorldMismatch(format!("{error:#}")))
}

/// Refuses what the encoder would refuse without telling the cause.
fn inspect(module: &[u8]) -> Result<(), PackError> {
    let mut has_world = false;
    let mut wasi = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(PackError::NotWasm)? {
            Payload::Version { encoding: Encoding::Component, .. } => return Err(PackError::AlreadyComponent),
            Payload::CustomSection(section) => has_world |= section.name().starts_with(WORLD_SECTION_PREFIX),
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(PackError::NotWasm)?;
                    if WASI_MODULE_PREFIXES.iter().any(|prefix| import.module.starts_with(prefix)) {
                        wasi.push(format!("{}::{}", import.module, import.name));
                    }
                }
            }
            _ => {}
        }
    }
    if !wasi.is_empty() {
        return Err(PackError::WasiImported(wasi));
    }
    if !has_world {
        return Err(PackError::WorldMissing);
    }
    Ok(())
}
