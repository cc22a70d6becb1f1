//! The record of a plugin, told by hand.

use super::*;

/// A breaker and its time.
struct Story {
    breaker: Breaker,
    now: Instant,
    facts: u32,
}

impl Story {
    fn new() -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(now), now, facts: 0 }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// A call about a fact of its own.
    fn call(&mut self, end: End) -> Option<Standstill> {
        self.facts += 1;
        let fact = self.facts.to_string();
        self.call_about(&fact, end)
    }

    #[track_caller]
    fn call_about(&mut self, fact: &str, end: End) -> Option<Standstill> {
        self.breaker.leave(self.now).expect("may be called").end(end, fact, self.now)
    }

    fn refused(&self) -> Option<Standstill> {
        self.breaker.leave(self.now).err()
    }

    /// Fails until it is stopped; the pause.
    fn fail(&mut self) -> Standstill {
        (0..100).find_map(|_| self.call(End::Bad)).expect("is stopped")
    }

    /// Works well until it is trusted again.
    fn recover(&mut self) {
        (0..TRIALS).for_each(|_| assert_eq!(self.call(End::Good), None));
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn five_failures_in_a_row_stop_the_calls_and_one_success_between_them_does_not() {
    let mut story = Story::new();
    for _ in 0..4 {
        assert_eq!(story.call(End::Bad), None);
    }
    story.call(End::Good);
    for _ in 0..4 {
        assert_eq!(story.call(End::Bad), None);
    }
    assert_eq!(story.call(End::Bad), Some(Standstill::Pause(SECOND)));
    assert_eq!(story.refused(), Some(Standstill::Pause(SECOND)));
    assert_eq!(story.breaker.standstill(story.now), Some(Standstill::Pause(SECOND)));
}

#[test]
fn half_of_many_calls_stop_them_too() {
    let mut story = Story::new();
    for _ in 0..9 {
        assert_eq!((story.call(End::Good), story.call(End::Bad)), (None, None));
    }
    assert_eq!(story.call(End::Good), None);
    assert_eq!(story.call(End::Bad), Some(Standstill::Pause(SECOND)), "the 20th call, the 10th failure");
}

#[test]
fn what_was_long_ago_is_not_counted() {
    let mut story = Story::new();
    for _ in 0..9 {
        assert_eq!((story.call(End::Good), story.call(End::Bad)), (None, None));
    }
    story.wait(WINDOW);
    for _ in 0..9 {
        assert_eq!((story.call(End::Good), story.call(End::Bad)), (None, None));
    }
}

#[test]
fn a_fact_that_is_repeated_counts_once() {
    let mut story = Story::new();
    for _ in 0..100 {
        assert_eq!(story.call_about("the same", End::Bad), None);
    }
    for _ in 0..3 {
        assert_eq!(story.call(End::Bad), None);
    }
    assert!(story.call(End::Bad).is_some(), "the fifth fact");
}

#[test]
fn what_says_nothing_about_the_plugin_does_not_count() {
    let mut story = Story::new();
    for _ in 0..100 {
        assert_eq!(story.call(End::Neither), None);
    }
    assert_eq!(story.refused(), None);
}

#[test]
fn after_the_pause_one_call_at_a_time_tries_it() {
    let mut story = Story::new();
    story.fail();
    story.wait(SECOND);
    let trial = story.breaker.leave(story.now).expect("the pause is over");
    assert_eq!(story.refused(), Some(Standstill::Pause(Duration::ZERO)), "one at a time");
    drop(trial);
    let trial = story.breaker.leave(story.now).expect("the caller of the first one gave up");
    assert_eq!(trial.end(End::Neither, "a", story.now), None);
    story.recover();
    let both = [story.breaker.leave(story.now), story.breaker.leave(story.now)];
    assert!(both.iter().all(Result::is_ok), "trusted again");
}

#[test]
fn pauses_grow_to_their_limit_and_health_shortens_them_again() {
    let mut story = Story::new();
    let mut expected = SECOND;
    assert_eq!(story.fail(), Standstill::Pause(expected));
    for _ in 0..8 {
        story.wait(PAUSE_LONGEST);
        expected = (expected * 2).min(PAUSE_LONGEST);
        assert_eq!(story.call(End::Bad), Some(Standstill::Pause(expected)), "one failure on trial is enough");
    }
    // An hour later earlier pauses are forgotten, but only health makes them short.
    story.wait(PAUSES_COUNTED);
    story.recover();
    assert!(matches!(story.fail(), Standstill::Pause(pause) if pause > SECOND));
    story.wait(PAUSE_LONGEST);
    story.recover();
    story.wait(HEALTHY);
    assert_eq!(story.fail(), Standstill::Pause(SECOND));
}

#[test]
fn ten_pauses_in_an_hour_end_in_quarantine() {
    let mut story = Story::new();
    story.fail();
    for _ in 0..8 {
        story.wait(PAUSE_LONGEST);
        assert!(matches!(story.call(End::Bad), Some(Standstill::Pause(_))));
    }
    story.wait(PAUSE_LONGEST);
    assert_eq!(story.call(End::Bad), Some(Standstill::Quarantine));
    story.wait(PAUSES_COUNTED * 24);
    assert_eq!(story.refused(), Some(Standstill::Quarantine));
    assert_eq!(story.breaker.standstill(story.now), Some(Standstill::Quarantine));
}

#[test]
fn a_call_that_began_before_the_pause_changes_nothing() {
    let mut story = Story::new();
    let [slow, slower, slowest] = [(); 3].map(|()| story.breaker.leave(story.now).expect("may be called"));
    story.fail();
    assert_eq!(slow.end(End::Good, "a", story.now), None);
    assert_eq!(slower.end(End::Bad, "b", story.now), None);
    assert_eq!(story.refused(), Some(Standstill::Pause(SECOND)));
    story.wait(SECOND);
    let trial = story.breaker.leave(story.now).expect("the pause is over");
    assert_eq!(slowest.end(End::Bad, "c", story.now), None, "it is not the trial");
    assert_eq!(trial.end(End::Good, "d", story.now), None);
    assert_eq!(story.refused(), None);
}
