//! A node that has a block every so often, and what looking for them costs.

use super::*;

const BLOCK: Duration = Duration::from_millis(450);
const POLL: Duration = Duration::from_millis(250);
/// What a look and what follows from it take.
const WORK: Duration = Duration::from_millis(30);

/// What following a chain for a while came to.
struct Followed {
    blocks: u64,
    looks: u64,
    latest: Duration,
    /// Blocks that were found more than a fifth of a second after they were there.
    late: u64,
}

/// A chain whose block `n` is there `times[n]` after the beginning.
struct Chain {
    begun: Instant,
    times: Vec<Duration>,
}

impl Chain {
    fn new(gaps: impl IntoIterator<Item = Duration>) -> Self {
        let mut at = Duration::ZERO;
        let times = gaps.into_iter().map(|gap| {
            at += gap;
            at
        });
        Self { begun: Instant::now(), times: times.collect() }
    }

    fn there(&self, number: u64) -> Option<Instant> {
        let at = self.times.get(usize::try_from(number).ok()?)?;
        self.begun.checked_add(*at)
    }

    /// Follows the chain from its first block on: each look finds at most one block.
    fn follow(&self, announced_after: Option<Duration>) -> Followed {
        let mut pace = Pace::new(POLL);
        let mut now = self.begun;
        let (mut tip, mut announced) = (0_u64, false);
        let mut followed = Followed { blocks: 0, looks: 0, latest: Duration::ZERO, late: 0 };
        let settled = 40;
        while let Some(next_at) = self.there(tip) {
            let counts = tip >= settled;
            followed.looks += u64::from(counts);
            let looked_at = now;
            now += WORK;
            if next_at <= looked_at {
                tip += 1;
                if counts {
                    let delay = looked_at.duration_since(next_at);
                    followed.blocks += 1;
                    followed.latest = followed.latest.max(delay);
                    followed.late += u64::from(delay > Duration::from_millis(200));
                }
            }
            pace.looked(BlockNumber(tip), announced, looked_at);
            let timer = now + pace.pause(now);
            let told = announced_after.and_then(|after| self.there(tip).map(|at| (at + after).max(now)));
            announced = told.is_some_and(|told| told <= timer);
            now = told.filter(|_| announced).unwrap_or(timer);
        }
        followed
    }
}

/// Pauses that differ by up to `by` in either direction, the same ones every time.
fn uneven(by: Duration) -> impl Iterator<Item = Duration> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let share = u32::try_from((state >> 40) % 2_001).expect("small");
        BLOCK + by * share / 1_000 - by
    })
}

#[test]
fn regular_blocks_are_found_by_little_more_than_one_look_each() {
    let chain = Chain::new(std::iter::repeat_n(BLOCK, 2_000));
    let followed = chain.follow(None);
    // 2 questions a look, and one for finality with every third block: at most 3 for each block.
    assert!(followed.looks * 100 <= followed.blocks * 130, "{} looks for {}", followed.looks, followed.blocks);
    assert!(followed.latest <= Duration::from_millis(150), "{:?}", followed.latest);
}

#[test]
fn blocks_that_waver_are_found_soon() {
    let chain = Chain::new(uneven(Duration::from_millis(60)).take(2_000));
    let followed = chain.follow(None);
    assert!(followed.looks * 10 <= followed.blocks * 18, "{} looks for {}", followed.looks, followed.blocks);
    assert!(followed.latest <= Duration::from_millis(400), "{:?}", followed.latest);
    assert!(followed.late * 50 <= followed.blocks, "{} of {} late", followed.late, followed.blocks);
}

#[test]
fn announced_blocks_need_no_timer() {
    let chain = Chain::new(uneven(Duration::from_millis(60)).take(2_000));
    let followed = chain.follow(Some(Duration::from_millis(2)));
    assert!(followed.looks * 100 <= followed.blocks * 115, "{} looks for {}", followed.looks, followed.blocks);
    assert!(followed.latest <= Duration::from_millis(10), "{:?}", followed.latest);
}

#[test]
fn announcements_that_stop_cost_little_time() {
    let chain = Chain::new(std::iter::repeat_n(BLOCK, 200));
    let mut pace = Pace::new(POLL);
    let mut now = chain.begun;
    for number in 0..60 {
        now = chain.there(number).expect("mined");
        pace.looked(BlockNumber(number + 1), true, now);
    }
    pace.pause(now);
    let wait = pace.pause(now);
    assert!(wait > BLOCK && wait <= BLOCK * 3 / 2, "{wait:?}");
}

#[test]
fn a_chain_without_rhythm_is_looked_at_as_the_config_says() {
    let gaps = (0..400_u32).map(|nth| if nth % 3 == 0 { Duration::from_secs(4) } else { Duration::from_millis(30) });
    let followed = Chain::new(gaps).follow(None);
    assert!(followed.latest <= POLL + WORK, "{:?}", followed.latest);
}

#[test]
fn a_missed_slot_now_and_then_does_not_put_the_looks_out_of_step() {
    let gaps = (0..2_000_u32).map(|nth| if nth % 37 == 0 { BLOCK * 2 } else { BLOCK });
    let followed = Chain::new(gaps).follow(None);
    assert!(followed.looks * 10 <= followed.blocks * 15, "{} looks for {}", followed.looks, followed.blocks);
    assert!(followed.late * 25 <= followed.blocks, "{} of {} late", followed.late, followed.blocks);
}

#[test]
fn who_is_behind_catches_up_although_every_look_finds_a_block() {
    let mut pace = Pace::new(POLL);
    let mut now = Instant::now();
    let mut at_once = 0;
    for number in 0..80 {
        pace.looked(BlockNumber(number), false, now);
        let pause = pace.pause(now);
        at_once += u32::from(pause.is_zero());
        now += pause.max(Duration::from_millis(1));
        // A new block every 450 ms, and six more waiting: there is always one.
    }
    assert!(at_once >= 8, "{at_once} looks at once");
}

#[test]
fn an_announced_block_that_is_not_there_yet_is_looked_for_soon() {
    let mut pace = Pace::new(POLL);
    let mut now = Instant::now();
    for number in 0..30 {
        now += BLOCK;
        pace.looked(BlockNumber(number), true, now);
    }
    pace.pause(now);
    now += BLOCK;
    pace.looked(BlockNumber(29), true, now);
    assert!(pace.pause(now) <= BLOCK / 8);
    // It never comes: the timer takes over.
    now += BLOCK * 2;
    assert!(pace.pause(now) > BLOCK / 8);
}
