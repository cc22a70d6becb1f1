//! A file that appears whole or not at all, and never replaces another.
//!
//! The bytes go to a temporary file in the same directory and reach the disk; then a hard link gives them their name, which
//! the file system refuses if the name is taken. Renaming was refused because it replaces silently. A crash before the link
//! leaves only the temporary file, a crash after it the complete file; leftovers are sealed like the file itself and are
//! never read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use xthonpay_payments::port::random::{self, Random};

use crate::fault::VaultFault;

/// Far above any vault file; bounds what a wrong path can make the host read.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Only the owner reads and writes.
const OWNER_ONLY: u32 = 0o600;

/// The content of the file at `path`, or `None` if there is none.
///
/// Also makes the name durable: a run that crashed right after [`create`] may have left it in memory only, and addresses
/// given out from now on depend on it.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, VaultFault> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(VaultFault::io("opening")(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(VaultFault::io("reading"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(VaultFault::Damaged { what: format!("longer than {FILE_BYTES_MAX} bytes") });
    }
    sync_directory(path)?;
    Ok(Some(bytes))
}

/// Creates the file at `path` with `bytes`, durable when this returns. [`VaultFault::Exists`] if there is one.
pub(crate) fn create(path: &Path, bytes: &[u8], random: &dyn Random) -> Result<(), VaultFault> {
    let temporary = temporary_path(path, random);
    let published = write_whole(&temporary, bytes).map_err(VaultFault::io("writing beside it")).and_then(|()| {
        fs::hard_link(&temporary, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => VaultFault::Exists,
            _ => VaultFault::io("creating")(error),
        })
    });
    // A leftover is harmless, so failing to remove it is no failure.
    let _ = fs::remove_file(&temporary);
    published?;
    sync_directory(path)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> Result<(), VaultFault> {
    File::open(directory(path))
        .and_then(|directory| directory.sync_all())
        .map_err(VaultFault::io("syncing its directory"))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name that no other run uses, so that racing runs never write to the same temporary file.
fn temporary_path(path: &Path, random: &dyn Random) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique = hex::encode(random::bytes::<8>(random));
    directory(path).join(format!(".{name}.{unique}.tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os_random::OsRandom;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn creates_once_and_never_replaces() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        create(&path, b"first", &OsRandom).expect("created");
        assert!(matches!(create(&path, b"second", &OsRandom), Err(VaultFault::Exists)));
        assert_eq!(read(&path).expect("readable").as_deref(), Some(b"first".as_slice()));
        assert_eq!(fs::metadata(&path).expect("exists").permissions().mode() & 0o777, OWNER_ONLY);
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1, "no leftover");
    }

    #[test]
    fn does_not_replace_a_link_to_nowhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::os::unix::fs::symlink(directory.path().join("nowhere"), &path).expect("linked");
        assert!(read(&path).expect("readable").is_none());
        assert!(matches!(create(&path, b"x", &OsRandom), Err(VaultFault::Exists)));
    }

    #[test]
    fn says_what_failed_where_the_directory_is_missing() {
        let directory = tempfile::tempdir().expect("a directory");
        let created = create(&directory.path().join("missing/file"), b"x", &OsRandom);
        assert!(matches!(created, Err(VaultFault::Io { action: "writing beside it", .. })));
    }

    #[test]
    fn reads_no_more_than_a_vault_can_hold() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, vec![b' '; 64 * 1024 + 1]).expect("written");
        assert!(matches!(read(&path), Err(VaultFault::Damaged { .. })));
    }
}
