//! The passphrase file: a regular file that only its owner can read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use xthonpay_payments::port::vault::Secret;
use zeroize::Zeroizing;

/// The longest passphrase, in bytes: far above any that a person types or a generator prints.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;
/// Room for the passphrase, a line end of two bytes, and one byte that shows it is too long.
const READ_BYTES_MAX: usize = PASSPHRASE_BYTES_MAX + 3;

/// A passphrase file that is not used.
#[derive(Debug, Error)]
pub enum PassphraseError {
    /// The file cannot be read.
    #[error("passphrase file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// A directory, pipe, socket or device.
    #[error("passphrase file {}: not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Group or others have access.
    #[error("passphrase file {0}: mode {mode:04o} gives others access; run: chmod 600 {0}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing but at most a line end.
    #[error("passphrase file {}: it is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Too long to be a passphrase.
    #[error("passphrase file {}: longer than {PASSPHRASE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are not UTF-8.
    #[error("passphrase file {}: not UTF-8 text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// More than one line, most likely another kind of file.
    #[error("passphrase file {}: it has more than one line", path.display())]
    SeveralLines {
        /// The file.
        path: PathBuf,
    },
}

impl PassphraseError {
    /// Whether the same file may be readable later without being changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::NotAFile { .. }
            | Self::Exposed { .. }
            | Self::Empty { .. }
            | Self::TooLong { .. }
            | Self::NotText { .. }
            | Self::SeveralLines { .. } => false,
        }
    }
}

/// Reads the passphrase in the file at `path`: one line, whose end does not count. Follows symbolic links.
///
/// # Errors
/// [`PassphraseError`] if the file is missing, readable by others, empty, longer than [`PASSPHRASE_BYTES_MAX`], not UTF-8
/// or has several lines.
pub fn read_passphrase_file(path: &Path) -> Result<Secret, PassphraseError> {
    let at = || path.to_owned();
    let io = |source| PassphraseError::Io { path: at(), source };

    // Looked at before it is opened, because opening a pipe waits for its writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(PassphraseError::NotAFile { path: at() });
    }
    let file = File::open(path).map_err(io)?;
    // Asked of the open file, so that it cannot be exchanged in between.
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(PassphraseError::Exposed { path: at(), mode });
    }
    // Room for everything from the start: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(READ_BYTES_MAX + 1));
    file.take(READ_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(io)?;

    let line = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).unwrap_or(&bytes);
    if line.is_empty() {
        Err(PassphraseError::Empty { path: at() })
    } else if line.len() > PASSPHRASE_BYTES_MAX {
        Err(PassphraseError::TooLong { path: at() })
    } else if std::str::from_utf8(line).is_err() {
        Err(PassphraseError::NotText { path: at() })
    } else if line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        Err(PassphraseError::SeveralLines { path: at() })
    } else {
        Ok(Secret::new(line.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], mode: u32) -> Result<Vec<u8>, PassphraseError> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("passphrase");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permitted");
        read_passphrase_file(&path).map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn takes_one_line_without_its_end() {
        for (content, expected) in [
            (b"correct horse".as_slice(), b"correct horse".as_slice()),
            (b"correct horse\n", b"correct horse"),
            (b"correct horse\r\n", b"correct horse"),
            (b" spaces count \n", b" spaces count "),
            ("pässwörd 密\n".as_bytes(), "pässwörd 密".as_bytes()),
        ] {
            assert_eq!(read(content, 0o600).ok().as_deref(), Some(expected));
        }
        assert!(read(b"read only", 0o400).is_ok());
        assert!(read(&[b'x'; 1_024], 0o600).is_ok());
        assert!(read(&[&[b'x'; 1_024], b"\r\n".as_slice()].concat(), 0o600).is_ok());
    }

    #[test]
    fn refuses_what_is_no_passphrase() {
        assert!(matches!(read(b"", 0o600), Err(PassphraseError::Empty { .. })));
        assert!(matches!(read(b"\n", 0o600), Err(PassphraseError::Empty { .. })));
        assert!(matches!(read(b"\r\n", 0o600), Err(PassphraseError::Empty { .. })));
        assert!(matches!(read(&[b'x'; 1_025], 0o600), Err(PassphraseError::TooLong { .. })));
        assert!(matches!(read(&[b'x'; 1_000_000], 0o600), Err(PassphraseError::TooLong { .. })));
        assert!(matches!(read(b"\xff\xfe", 0o600), Err(PassphraseError::NotText { .. })));
        assert!(matches!(read(b"one\ntwo\n", 0o600), Err(PassphraseError::SeveralLines { .. })));
        assert!(matches!(read(b"one\n\n", 0o600), Err(PassphraseError::SeveralLines { .. })));
    }

    #[test]
    fn refuses_a_file_that_others_can_reach_and_names_the_remedy() {
        for mode in [0o604, 0o640, 0o620, 0o601, 0o644, 0o666, 0o777] {
            let refused = read(b"correct horse", mode).expect_err("others have access");
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
            assert!(!refused.to_string().contains("horse"), "{refused}");
        }
    }

    #[test]
    fn follows_links_and_refuses_directories() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, b"correct horse").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permitted");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        assert!(read_passphrase_file(&link).is_ok());
        assert!(matches!(read_passphrase_file(directory.path()), Err(PassphraseError::NotAFile { .. })));
        assert!(matches!(read_passphrase_file(&directory.path().join("none")), Err(PassphraseError::Io { .. })));
    }
}
