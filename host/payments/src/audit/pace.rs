//! How an audit tells what it is doing.

use core::time::Duration;

use tokio::time::Instant;

/// Told what is being done, in one sentence.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Time between two sentences: seldom enough for a log, often enough for a person who waits.
const INTERVAL: Duration = Duration::from_secs(5);

/// Tells at intervals.
pub(super) struct Pace<'a> {
    progress: Progress<'a>,
    told_at: Instant,
}

impl<'a> Pace<'a> {
    pub(super) fn new(progress: Progress<'a>) -> Self {
        Self { progress, told_at: Instant::now() }
    }

    /// Tells, unless something was told a moment ago.
    pub(super) fn tell(&mut self, sentence: impl FnOnce() -> String) {
        if self.told_at.elapsed() >= INTERVAL {
            self.told_at = Instant::now();
            (self.progress)(&sentence());
        }
    }
}
