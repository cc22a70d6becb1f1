//! Why a vault file is not opened or not created, in words that tell the operator what to do.
//!
//! A wrong passphrase and a changed file look alike on purpose: telling them apart would help whoever guesses.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::kdf::KdfParamsError;

/// A vault file that was not opened or created.
#[derive(Debug, Error)]
#[error("vault file {}: {fault}", path.display())]
pub struct VaultOpenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub fault: VaultFault,
}

/// What is wrong with a vault file.
#[derive(Debug, Error)]
pub enum VaultFault {
    /// There is no file, and none may be created.
    #[error("it does not exist: restore it from a backup")]
    Missing,
    /// A file is there already, and it is never replaced.
    #[error("it exists already and is not replaced")]
    Exists,
    /// The file system refuses.
    #[error("{action} failed: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// Not a vault, or cut short.
    #[error(
        "it is damaged ({what}): restore it from a backup. It is not created anew, because another seed could not spend \
         what the old addresses receive"
    )]
    Damaged {
        /// Where the reading stopped.
        what: String,
    },
    /// Written by a newer release.
    #[error("its format {version} is newer than this release reads: start the release that wrote it")]
    Newer {
        /// The format's number.
        version: u32,
    },
    /// The key derivation of the file is not acceptable: the file was changed.
    #[error("{0}. The file was changed: restore it from a backup")]
    Kdf(#[source] KdfParamsError),
    /// The memory for the key derivation cannot be had.
    #[error("unlocking needs {memory_kib} KiB of memory, which the machine does not give")]
    OutOfMemory {
        /// Memory in KiB.
        memory_kib: u32,
    },
    /// The passphrase does not open the file.
    #[error("it does not open: the passphrase is wrong, or the file was changed")]
    DoesNotOpen,
    /// The passphrase is empty.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The opened seed does not derive the address that was noted when it was created.
    #[error(
        "its seed derives another address than when it was created: stop, keep the file, and check the machine's memory \
         and the release"
    )]
    CheckAddress,
    /// The drawn seed is the one in about 2^125 that BIP-32 excludes.
    #[error("the drawn seed cannot be used: try again")]
    UnusableSeed,
}

impl VaultFault {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } | Self::OutOfMemory { .. } | Self::UnusableSeed => true,
            Self::Missing
            | Self::Exists
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Kdf(_)
            | Self::DoesNotOpen
            | Self::EmptyPassphrase
            | Self::CheckAddress => false,
        }
    }

    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    pub(crate) fn at(self, path: &Path) -> VaultOpenError {
        VaultOpenError { path: path.to_owned(), fault: self }
    }
}

impl VaultOpenError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.fault.is_transient()
    }
}
