//! The file of a component: from the disk, through its checks, to compiled code.
//!
//! Never runs anything. Compiled code is never read from the file itself, only from the engine's own cache.

use core::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use wasmparser::{Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::fault::plugin_key;
use crate::limits::{Limit, Limits};
use crate::plain_text::one_line;
use crate::signature::{ReleaseKey, SignatureFault};

/// Bytes of a compiler's message that are worth showing.
const DETAIL_BYTES_MAX: usize = 512;

/// Functions of all modules of a component: a component in Python, whose interpreter is the largest there is here, has about
/// thirteen thousand. A hundred thousand empty ones made the compiler take 550 MiB, which the host kept.
const FUNCTIONS_MAX: u64 = 50_000;

/// The SHA-256 of a component.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Digest([u8; 32]);

/// A text that is not a SHA-256.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a SHA-256: write 64 hexadecimal digits")]
pub struct DigestError;

impl DigestError {
    /// Always `false`: the same text fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestError)?;
        Ok(Self(bytes))
    }
}

/// Shows 64 hexadecimal digits in lower case.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A file that does not become a component.
#[derive(Debug, Error)]
pub enum ArtefactFault {
    /// The file system refuses.
    #[error("{} cannot be read: {source}. Correct {key}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
        /// The key that names the file.
        key: String,
    },
    /// There is nothing at the path.
    #[error(
        "{} is missing: build the plugin, put its component there with its manifest NAME.toml beside it, or correct {key}",
        path.display()
    )]
    Missing {
        /// Where the component should be.
        path: PathBuf,
        /// The key that names the file.
        key: String,
    },
    /// A folder, a pipe or a device.
    #[error("{} is not a file. Correct {key}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// The key that names the file.
        key: String,
    },
    /// Larger than allowed.
    #[error(
        "{} is larger than {allowed_mib} MiB: raise {key} (at most {}), or build the plugin smaller", path.display(),
        Limit::ComponentMib.ceiling()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        allowed_mib: u64,
        /// The key that sets it.
        key: String,
    },
    /// Not the bytes that the operator pinned.
    #[error("{} has the SHA-256 {actual}, and {key} asks for another: restore the file, or pin the new one", path.display())]
    OtherDigest {
        /// The file.
        path: PathBuf,
        /// Its digest.
        actual: Digest,
        /// The key of the pin.
        key: String,
    },
    /// Not released by the holder of the key that the operator named.
    #[error("{}: {fault}", path.display())]
    Signature {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        fault: SignatureFault,
    },
    /// Machine code.
    #[error("{} is compiled machine code, which is never loaded: use the component itself", path.display())]
    Precompiled {
        /// The file.
        path: PathBuf,
    },
    /// Not a component, cut short, or one that uses what is switched off.
    #[error("{} is not a component that this host can load: {detail}", path.display())]
    NotAComponent {
        /// The file.
        path: PathBuf,
        /// What the compiler says.
        detail: String,
    },
    /// Compiling it would take memory that nobody needs.
    #[error("{} has {functions} functions, more than {FUNCTIONS_MAX}: build the plugin smaller", path.display())]
    TooManyFunctions {
        /// The file.
        path: PathBuf,
        /// How many it has.
        functions: u64,
    },
    /// Compiling it takes too long.
    #[error("{} was not compiled within {seconds} s: build the plugin smaller", path.display())]
    TooSlow {
        /// The file.
        path: PathBuf,
        /// The limit.
        seconds: u64,
    },
}

impl ArtefactFault {
    /// Whether loading the same file again may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Missing { .. } | Self::TooSlow { .. } => true,
            Self::Signature { fault, .. } => fault.is_transient(),
            Self::NotAFile { .. }
            | Self::TooLarge { .. }
            | Self::OtherDigest { .. }
            | Self::Precompiled { .. }
            | Self::TooManyFunctions { .. }
            | Self::NotAComponent { .. } => false,
        }
    }
}

/// What the operator wants to know about a file before it is compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof {
    /// The digest that it must have.
    pub(crate) sha256: Option<Digest>,
    /// The key that must have signed it.
    pub(crate) minisign: Option<ReleaseKey>,
}

/// A component, compiled and not yet linked to anything.
pub(crate) struct Artefact {
    pub(crate) component: Component,
    pub(crate) digest: Digest,
}

impl Artefact {
    /// Reads, checks and compiles a file. Takes a second and more for large components: not for async threads.
    ///
    /// # Errors
    /// [`ArtefactFault`].
    pub(crate) fn load(
        engine: &Engine,
        plugin: &str,
        path: &Path,
        proof: &Proof,
        limits: &Limits,
    ) -> Result<Self, ArtefactFault> {
        let bytes = read_bounded(plugin, path, limits)?;
        let path = || path.to_owned();
        let actual = Digest::of(&bytes);
        if proof.sha256.is_some_and(|pin| pin != actual) {
            return Err(ArtefactFault::OtherDigest { path: path(), actual, key: plugin_key(plugin, "sha256") });
        }
        if let Some(key) = &proof.minisign {
            key.check(&path(), &bytes).map_err(|fault| ArtefactFault::Signature { path: path(), fault })?;
        }
        if Engine::detect_precompiled(&bytes).is_some() {
            return Err(ArtefactFault::Precompiled { path: path() });
        }
        let functions = functions_in(&bytes);
        if functions > FUNCTIONS_MAX {
            return Err(ArtefactFault::TooManyFunctions { path: path(), functions });
        }
        let component = Component::from_binary(engine, &bytes).map_err(|error| {
            let detail = one_line(&format!("{error:#}"), DETAIL_BYTES_MAX);
            ArtefactFault::NotAComponent { path: path(), detail }
        })?;
        Ok(Self { component, digest: actual })
    }
}

/// Functions that the modules of a component define, as far as it can be read: what cannot is refused by the compiler.
fn functions_in(component: &[u8]) -> u64 {
    let count = |payload: Result<Payload<'_>, _>| match payload {
        Ok(Payload::FunctionSection(functions)) => u64::from(functions.count()),
        _ => 0,
    };
    Parser::new(0).parse_all(component).map(count).fold(0, u64::saturating_add)
}

/// Whether there is a file at all. Asked before anything beside it is looked for, so that the right thing is called missing.
///
/// # Errors
/// [`ArtefactFault`].
pub(crate) fn require_file(plugin: &str, path: &Path) -> Result<(), ArtefactFault> {
    let key = || plugin_key(plugin, "file");
    let fault = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ArtefactFault::Missing { path: path.to_owned(), key: key() },
        _ => ArtefactFault::Io { path: path.to_owned(), source, key: key() },
    };
    if path.metadata().map_err(fault)?.is_file() {
        Ok(())
    } else {
        Err(ArtefactFault::NotAFile { path: path.to_owned(), key: key() })
    }
}

fn read_bounded(plugin: &str, path: &Path, limits: &Limits) -> Result<Vec<u8>, ArtefactFault> {
    let io = |source| ArtefactFault::Io { path: path.to_owned(), source, key: plugin_key(plugin, "file") };
    // Asked before opening: opening a pipe waits for a writer.
    require_file(plugin, path)?;
    let allowed = u64::try_from(limits.mib(Limit::ComponentMib)).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(allowed.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > allowed {
        let key = plugin_key(plugin, "limits.component_mib");
        return Err(ArtefactFault::TooLarge {
            path: path.to_owned(),
            allowed_mib: limits.get(Limit::ComponentMib),
            key,
        });
    }
    Ok(bytes)
}
