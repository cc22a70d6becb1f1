//! How much room the disk of an embedded store has.
//!
//! The engine does not survive a full disk: when it cannot write a record to its log, it goes on behind what it has written
//! of it, and after a crash it drops everything from that place on, whether it was acknowledged or not. So commits are refused
//! while there is still room, and a disk that was full ends the trust in the engine of this process.

use std::path::PathBuf;

/// Commits are refused when less is free: room for the largest group of changesets and for the engine's own small writes.
const COMMIT_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// When less is free, a small write of the engine itself may have failed already.
const ENGINE_BYTES_MIN: u64 = 1024 * 1024;

/// Where the room is looked at.
#[derive(Debug)]
pub(crate) enum Space {
    /// Nowhere: it is not this process that writes, or not to a disk.
    Elsewhere,
    /// On the file system of a directory.
    Of(PathBuf),
    /// In a test.
    #[cfg(test)]
    Pretended(std::sync::Arc<std::sync::atomic::AtomicU64>),
}

/// What the room is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Everything.
    Enough,
    /// Not for commits.
    Scarce {
        /// What is left.
        free_bytes: u64,
    },
    /// Not even for the engine's own writes.
    Exhausted,
}

impl Space {
    /// The room that there is now.
    pub(crate) fn room(&self) -> Room {
        let free_bytes = match self {
            Self::Elsewhere => return Room::Enough,
            Self::Of(directory) => match rustix::fs::statvfs(directory) {
                Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
                // A disk that does not answer this is found out by the next commit.
                Err(error) => {
                    tracing::warn!(%error, "the free space of the store's disk cannot be read");
                    return Room::Enough;
                }
            },
            #[cfg(test)]
            Self::Pretended(bytes) => bytes.load(std::sync::atomic::Ordering::Relaxed),
        };
        judge(free_bytes)
    }
}

fn judge(free_bytes: u64) -> Room {
    match free_bytes {
        0..ENGINE_BYTES_MIN => Room::Exhausted,
        ENGINE_BYTES_MIN..COMMIT_BYTES_MIN => Room::Scarce { free_bytes },
        _ => Room::Enough,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_scarce_before_it_is_exhausted() {
        assert_eq!(judge(0), Room::Exhausted);
        assert_eq!(judge(ENGINE_BYTES_MIN), Room::Scarce { free_bytes: ENGINE_BYTES_MIN });
        assert_eq!(judge(COMMIT_BYTES_MIN - 1), Room::Scarce { free_bytes: COMMIT_BYTES_MIN - 1 });
        assert_eq!(judge(COMMIT_BYTES_MIN), Room::Enough);
    }

    #[test]
    fn the_disk_of_a_directory_answers() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert_ne!(Space::Of(directory.path().to_owned()).room(), Room::Exhausted);
        assert_eq!(Space::Of(directory.path().join("missing")).room(), Room::Enough);
    }
}
