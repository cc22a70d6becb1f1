//! The directory of an embedded store: made if it is missing, and held by one process at a time.
//!
//! The engine has a lock file of its own. This one is taken first, so that a second host gets a clear message and never
//! touches the engine's files; and it outlives the engine, which closes its files in the background.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::time::sleep;

/// The lock file of this crate.
const LOCK_FILE: &str = "xthonpay.lock";
/// The lock file of the engine.
const ENGINE_LOCK_FILE: &str = "LOCK";
/// Where the engine keeps its log, and how its files end.
const LOG: &str = "wal";
const LOG_SEGMENT: &str = "wal";
/// Where the engine repairs its log.
const UNFINISHED_REPAIR: &str = "wal/repair_temp";
/// Only the owner enters the directory.
const OWNER_ONLY_DIRECTORY: u32 = 0o700;
/// Only the owner reads and writes the file.
const OWNER_ONLY_FILE: u32 = 0o600;
/// How often a lock is looked at that is about to be free.
const LOOK: Duration = Duration::from_millis(10);
/// How often this crate's lock is looked at before it counts as another process's: 1 s in all, time enough for a store of
/// this process that was dropped and not closed.
const LOOKS_MAX: u32 = 100;
/// The same for the engine's lock: 10 s in all. The engine writes its memory to disk when it closes.
const ENGINE_LOOKS_MAX: u32 = 1_000;

/// A directory that cannot be used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Cannot be made or entered, or the lock file in it cannot be made.
    #[error("the store directory {path} cannot be used: {source}. Check that it can be made and written by this user")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the store directory {path} is in use by another process: stop that one, or give this host another store.endpoint"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Its name cannot be handed to the engine.
    #[error("the store directory {path} has a name with \"?\" or with bytes that are not UTF-8: choose another name")]
    Name {
        /// The directory.
        path: PathBuf,
    },
}

impl DirectoryError {
    /// Whether the same directory may be usable later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::InUse { .. } => true,
            Self::Unusable { .. } | Self::Name { .. } => false,
        }
    }
}

/// A directory that this process holds until the value is dropped.
#[derive(Debug)]
pub(crate) struct HeldDirectory {
    path: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

impl HeldDirectory {
    /// Makes the directory if it is missing, and takes it.
    pub(crate) async fn take(path: &Path) -> Result<Self, DirectoryError> {
        let given = path.to_owned();
        let unusable = move |source| DirectoryError::Unusable { path: given.clone(), source };
        DirBuilder::new().recursive(true).mode(OWNER_ONLY_DIRECTORY).create(path).map_err(&unusable)?;
        // The engine is given a path without links, so that both locks are in the same place.
        let path = path.canonicalize().map_err(&unusable)?;
        let lock = lock_file(&path.join(LOCK_FILE), &path).await?;
        let held = Self { path, _lock: lock };
        // A store that this process had open may still be closing in the background.
        held.engine_has_left().await?;
        held.remove_unfinished_repair().map_err(unusable)?;
        Ok(held)
    }

    /// Removes what the engine leaves behind when a repair of its log fails, for example on a full disk: it would take it for
    /// the beginning of the next repair, and fail for ever. The log itself is only replaced by a repair that is finished.
    fn remove_unfinished_repair(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(self.path.join(UNFINISHED_REPAIR)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the engine's log holds anything. An engine that was closed leaves none; one that was killed does.
    pub(crate) fn has_log(&self) -> Result<bool, DirectoryError> {
        let unusable = |source| DirectoryError::Unusable { path: self.path.clone(), source };
        let entries = match std::fs::read_dir(self.path.join(LOG)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(unusable(error)),
        };
        for entry in entries {
            let entry = entry.map_err(unusable)?;
            let is_segment = entry.path().extension().is_some_and(|end| end == LOG_SEGMENT);
            if is_segment && entry.metadata().map_err(unusable)?.len() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The path, without links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path as the engine must be given it.
    pub(crate) fn engine_path(&self) -> Result<&str, DirectoryError> {
        let usable = self.path.to_str().filter(|path| !path.contains('?'));
        usable.ok_or_else(|| DirectoryError::Name { path: self.path.clone() })
    }

    /// Waits until no engine has its files open.
    pub(crate) async fn engine_has_left(&self) -> Result<(), DirectoryError> {
        let unusable = |source| DirectoryError::Unusable { path: self.path.clone(), source };
        for _ in 0..ENGINE_LOOKS_MAX {
            let file = match File::open(self.path.join(ENGINE_LOCK_FILE)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(unusable(error)),
            };
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => sleep(LOOK).await,
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        Err(DirectoryError::InUse { path: self.path.clone() })
    }
}

async fn lock_file(file: &Path, directory: &Path) -> Result<File, DirectoryError> {
    let unusable = |source| DirectoryError::Unusable { path: directory.to_owned(), source };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(OWNER_ONLY_FILE);
    let lock = options.open(file).map_err(unusable)?;
    for _ in 0..LOOKS_MAX {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => sleep(LOOK).await,
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
    Err(DirectoryError::InUse { path: directory.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn is_made_for_the_owner_alone_and_held_by_one() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let path = parent.path().join("a/b");
        let held = HeldDirectory::take(&path).await.expect("free");
        let mode = path.metadata().expect("made").permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY_DIRECTORY);
        let second = HeldDirectory::take(&path).await.expect_err("held");
        assert!(matches!(second, DirectoryError::InUse { .. }) && second.is_transient(), "{second}");
        assert!(second.to_string().contains("a/b"), "{second}");
        drop(held);
        HeldDirectory::take(&path).await.expect("free again");
    }

    #[tokio::test]
    async fn an_unfinished_repair_is_cleared_away() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let repair = parent.path().join(UNFINISHED_REPAIR);
        std::fs::create_dir_all(&repair).expect("a directory");
        std::fs::write(repair.join("00000000000000000000.wal"), b"half").expect("a file");
        HeldDirectory::take(parent.path()).await.expect("free");
        assert!(!repair.exists() && parent.path().join("wal").exists());
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_named() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let path = parent.path().join("taken");
        std::fs::write(&path, b"").expect("a file");
        let refused = HeldDirectory::take(&path).await.expect_err("a file is no directory");
        assert!(matches!(refused, DirectoryError::Unusable { .. }) && !refused.is_transient(), "{refused}");
    }

    #[tokio::test]
    async fn a_name_that_the_engine_would_misread_is_refused() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let held = HeldDirectory::take(&parent.path().join("a?sync=never")).await.expect("free");
        assert!(matches!(held.engine_path(), Err(DirectoryError::Name { .. })));
    }
}
