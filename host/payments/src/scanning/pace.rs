//! When to look for the next block.
//!
//! A node that announces its blocks is looked at when it does; the timer here is for all others, and for announcements that
//! do not come. While blocks come regularly, the next one is awaited where it is due, so that most looks find one: a look
//! that finds nothing costs as much as one that does. Where they do not, there is nothing to predict, and the node is asked
//! as often as the config says. Decides about waiting only; nothing here says what is in a block.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;
use xthonpay_domain::block::BlockNumber;

/// Finds from which the rhythm is told: seven seconds of BNB Smart Chain, short enough to follow a fork that changes it.
const FINDS_MAX: usize = 17;
/// The shortest and the longest of the pauses between finds that count for nothing, on either side: a missed slot, or a block
/// that was looked at late, says nothing about the others.
const OUTLIERS: usize = 2;
/// How far the other pauses may be from their average for the rhythm to count as one.
const UNEVEN_MAX: u32 = 2;
/// What part of the rhythm a look comes earlier after each look that found its block at once. Without it the looks would
/// drift behind the blocks; with it one look in a few finds nothing and shows where the blocks are.
const EARLIER_PART: u32 = 32;
/// Finds at the first look after which the next looks come twice as early each time: blocks that came sooner than expected
/// must not be followed from behind for long.
const EARLIER_AFTER: u32 = 2;
/// What part of the rhythm lies between two looks for a block that is due.
const RETRY_PART: u32 = 8;
/// What part of the rhythm an announcement may be late before the node is looked at without it.
const ANNOUNCEMENT_PART: u32 = 2;
/// Finds at the first look after which the next look comes at once: whoever is some blocks behind finds one each time too.
const AT_ONCE_AFTER: u32 = 8;
/// The shortest pause between two looks. Bounds what announcements without end can cost.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// When a chain's blocks were found, and what that says about the next one.
pub(super) struct Pace {
    /// The longest pause while nothing can be predicted or the next block is late.
    poll_interval: Duration,
    /// The newest blocks and when they were there, the newest last.
    finds: VecDeque<(Instant, BlockNumber)>,
    /// Looks since the newest find.
    missed: u32,
    /// Finds one after the other that needed one look.
    straight: u32,
    /// Whether the newest block was announced.
    announced: bool,
    /// An announced block that the node did not have yet when it was looked at.
    owed_since: Option<Instant>,
}

impl Pace {
    /// Nothing is known yet.
    pub(super) fn new(poll_interval: Duration) -> Self {
        Self { poll_interval, finds: VecDeque::new(), missed: 0, straight: 0, announced: false, owed_since: None }
    }

    /// Forgets the rhythm: blocks that were there already say nothing about it.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.poll_interval);
    }

    /// A look has been made at `at`, because of an announcement or not, and `tip` is the newest block since. What was then done
    /// with the block took its time too, which must not be taken for the block's.
    pub(super) fn looked(&mut self, tip: BlockNumber, announced: bool, at: Instant) {
        let newest = self.finds.back().map(|(_, number)| *number);
        if newest.is_some_and(|newest| tip < newest) {
            return self.forget();
        }
        if newest == Some(tip) {
            self.missed = self.missed.saturating_add(1);
            self.straight = 0;
            if announced {
                self.owed_since = self.owed_since.or(Some(at));
            }
            return;
        }
        let first_look = self.missed == 0;
        // Found at once: it was there before, and nobody knows since when.
        let lead = if first_look && !announced { self.lead() } else { Duration::ZERO };
        self.finds.push_back((at.checked_sub(lead).unwrap_or(at), tip));
        if self.finds.len() > FINDS_MAX {
            self.finds.pop_front();
        }
        self.straight = if first_look { self.straight.saturating_add(1) } else { 0 };
        self.missed = 0;
        self.announced = announced;
        self.owed_since = None;
    }

    /// How long to wait for an announcement before the next look.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let Some((rhythm, (found_at, _))) = self.rhythm().zip(self.finds.back().copied()) else {
            // Whether there is more is not known; a look that found nothing has shown that there is not.
            return if self.missed == 0 && !self.finds.is_empty() { Duration::ZERO } else { self.poll_interval };
        };
        if self.straight >= AT_ONCE_AFTER {
            self.straight = 0;
            return Duration::ZERO;
        }
        let retry = part(rhythm, RETRY_PART).clamp(PAUSE_MIN, self.poll_interval.max(PAUSE_MIN));
        if let Some(owed_since) = self.owed_since {
            if now.saturating_duration_since(owed_since) < rhythm {
                return retry;
            }
            self.owed_since = None;
        }
        let patience = if self.announced { part(rhythm, ANNOUNCEMENT_PART) } else { Duration::ZERO };
        let due = found_at.checked_add(rhythm.saturating_add(patience)).unwrap_or(now);
        let wait = due.saturating_duration_since(now);
        if !wait.is_zero() {
            return wait.max(PAUSE_MIN);
        }
        // The longer it is late, the less a short pause can win.
        let late = part(now.saturating_duration_since(due), UNEVEN_MAX);
        late.clamp(retry, self.poll_interval.max(retry))
    }

    /// How much earlier than it was found a block is taken to have been there.
    fn lead(&self) -> Duration {
        let doublings = self.straight.saturating_sub(EARLIER_AFTER).min(AT_ONCE_AFTER);
        let lead = part(self.rhythm().unwrap_or_default(), EARLIER_PART);
        lead.saturating_mul(2_u32.saturating_pow(doublings))
    }

    /// The average time from one block to the next, as long as they come evenly.
    fn rhythm(&self) -> Option<Duration> {
        if self.finds.len() < FINDS_MAX {
            return None;
        }
        let pairs = self.finds.iter().zip(self.finds.iter().skip(1));
        let mut gaps = pairs.map(|(one, next)| per_block(one, next)).collect::<Option<Vec<_>>>()?;
        gaps.sort_unstable();
        let usual = gaps.get(OUTLIERS..gaps.len().checked_sub(OUTLIERS)?)?;
        let average = usual.iter().sum::<Duration>().checked_div(u32::try_from(usual.len()).ok()?)?;
        let even = part(average, UNEVEN_MAX)..=average.saturating_mul(UNEVEN_MAX);
        usual.iter().all(|gap| even.contains(gap)).then_some(average)
    }
}

/// The time from one find to a later one, for each block between them.
fn per_block(one: &(Instant, BlockNumber), later: &(Instant, BlockNumber)) -> Option<Duration> {
    let blocks = u32::try_from(later.1.0.checked_sub(one.1.0)?).ok()?;
    later.0.saturating_duration_since(one.0).checked_div(blocks)
}

fn part(whole: Duration, parts: u32) -> Duration {
    whole.checked_div(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests;
