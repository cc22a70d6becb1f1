//! The folder of a deployment, and the lock that lets one process at a time work in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Only the owner: the folder holds the vault, the store and the admin socket.
const MODE: u32 = 0o700;
const LOCK_MODE: u32 = 0o600;

/// A folder that cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// The file system refuses.
    #[error("data folder {}: {source}", path.display())]
    Io {
        /// The folder, or a file in it.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// Another process works in it.
    #[error(
        "data folder {}: another xthonpay process uses it; stop that one, or set another data.dir",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

impl DataDirError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } => false,
            Self::InUse { .. } => true,
        }
    }
}

/// A folder that this process alone works in. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is missing and takes its lock.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn lock(path: &Path) -> Result<Self, DataDirError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(MODE).create(path).map_err(io(path))?;
        let file = path.join("lock");
        let mut options = OpenOptions::new();
        let lock = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(LOCK_MODE)
            .open(&file)
            .map_err(io(&file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(io(&file)(error)),
        }
    }
}

/// Writes a small file so that a reader sees the old or the new text, never half of one.
pub(crate) fn replace_file(path: &Path, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, contents)?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_one_holder_in_at_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("data");
        let first = DataDir::lock(&path).expect("the folder is free");
        assert!(matches!(DataDir::lock(&path), Err(DataDirError::InUse { .. })));
        drop(first);
        assert!(DataDir::lock(&path).is_ok());
    }
}
