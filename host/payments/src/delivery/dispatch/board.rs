//! What the dispatcher knows in memory: what is under way, what waits, and how far it has looked through a backlog.
//!
//! A page of due deliveries is in memory at a time. While more is due than a page holds, there is a backlog: a sweep goes
//! through it page by page, again and again, and what has become due since is looked at besides, so that it does not wait for
//! the sweep to come to it. Events of an invoice that the sweep has left behind hold back its later ones.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use xthonpay_domain::id::{DeliveryId, ID_BYTES};
use xthonpay_domain::time::Timestamp;

use super::in_flight::{Due, InFlight, Lane};
use super::waiting::Waiting;
use crate::port::store::{Delivery, READ_LIMIT_MAX};

/// A place in the list of due deliveries.
pub(super) type Place = (Timestamp, DeliveryId);

/// Deliveries that wait in memory at once: a page of the sweep and a page of what has become due since.
const WAITING_MAX: usize = READ_LIMIT_MAX.saturating_mul(2);
/// Lanes of a sweep that are remembered as left behind, at 8 bytes each. Beyond it every lane counts as left behind, and
/// what becomes due waits for the sweep.
const OWED_MAX: usize = 262_144;
/// How far a look at what has become due reaches back behind the look before: a delivery can be stored a little later than it
/// is due.
const OVERLAP_MS: u64 = 500;

/// What is under way, and what is known to be due.
#[derive(Default)]
pub(super) struct Board {
    in_flight: InFlight,
    waiting: Waiting,
    backlog: Option<Backlog>,
    /// Something of the last page was admitted.
    progress: bool,
}

/// More is due than one page holds.
struct Backlog {
    /// Where the sweep goes on; `None` at the beginning.
    resume: Option<Place>,
    /// What this sweep has left behind.
    owed: Owed,
    /// What the last whole sweep left behind; `None` before the end of the first, when nobody knows.
    owed_before: Option<Owed>,
    /// From where on to look at what has become due since.
    recent: Place,
    hashes: RandomState,
}

/// Lanes with events that wait somewhere in the backlog, as hashes: two that collide hold each other back, which does no harm.
#[derive(Default)]
struct Owed {
    lanes: HashSet<u64>,
    all: bool,
}

impl Owed {
    fn contains(&self, lane: u64) -> bool {
        self.all || self.lanes.contains(&lane)
    }

    fn insert(&mut self, lane: u64) {
        self.all = self.all || self.lanes.len() >= OWED_MAX;
        if !self.all {
            self.lanes.insert(lane);
        }
    }
}

impl Backlog {
    fn found_at(now: Timestamp) -> Self {
        Self {
            resume: None,
            owed: Owed::default(),
            owed_before: None,
            recent: shortly_before(now),
            hashes: RandomState::new(),
        }
    }

    /// Notes what was left of the last page.
    fn leave<'a>(&mut self, lanes: impl Iterator<Item = &'a Lane>) {
        // Behind the last page of a sweep stands no further one that this could hold back.
        let owed = if self.resume.is_some() { &mut self.owed } else { self.owed_before.get_or_insert_default() };
        lanes.for_each(|lane| owed.insert(self.hashes.hash_one(lane)));
    }

    fn owes(&self, lane: Option<&Lane>, before: bool) -> bool {
        let Some(lane) = lane.map(|lane| self.hashes.hash_one(lane)) else { return false };
        self.owed.contains(lane) || (before && self.owed_before.as_ref().is_none_or(|owed| owed.contains(lane)))
    }
}

impl Board {
    /// From where on to read the next page of the sweep.
    pub(super) fn resume(&self) -> Option<&Place> {
        self.backlog.as_ref()?.resume.as_ref()
    }

    /// Whether more is due than one page holds.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// Whether the page has been used up, and another one is worth reading at once.
    pub(super) fn is_drained(&self) -> bool {
        self.backlog.is_some() && self.progress && self.waiting.is_empty()
    }

    /// Whether something of the last page has gone out.
    pub(super) fn made_progress(&self) -> bool {
        self.progress
    }

    /// Takes the page of due deliveries that was read at `now` from [`Self::resume`] on, in place of the last one.
    pub(super) fn take_page(&mut self, page: Vec<Delivery>, now: Timestamp) {
        let left = std::mem::take(&mut self.waiting);
        self.backlog = match (self.backlog.take(), end_of_full(&page)) {
            // Everything that is due is on this page.
            (None | Some(Backlog { resume: None, .. }), None) => None,
            (None, resume) => Some(Backlog { resume, ..Backlog::found_at(now) }),
            (Some(mut backlog), resume) => {
                backlog.leave(left.lanes());
                Some(Backlog { resume, ..backlog })
            }
        };
        self.progress = false;
        let found = self.unknown(page, false);
        self.waiting.extend(found);
        if let Some(backlog) = self.backlog.as_mut().filter(|backlog| backlog.resume.is_none()) {
            // The last page of a sweep.
            backlog.owed_before = Some(std::mem::take(&mut backlog.owed));
        }
    }

    /// From where on to look at what has become due since the last look, while there is a backlog that was gone through once.
    pub(super) fn recent_from(&self) -> Option<Place> {
        self.backlog.as_ref().filter(|backlog| backlog.owed_before.is_some()).map(|backlog| backlog.recent.clone())
    }

    /// Takes what was read at `now` from [`Self::recent_from`] on; returns whether there is more.
    pub(super) fn take_recent(&mut self, page: Vec<Delivery>, now: Timestamp) -> bool {
        let last = end_of_full(&page);
        let more = last.is_some();
        if let Some(backlog) = &mut self.backlog {
            backlog.recent = last.unwrap_or_else(|| shortly_before(now));
        }
        let mut found = self.unknown(page, true);
        // What does not fit is found by the sweep.
        found.truncate(WAITING_MAX.saturating_sub(self.waiting.len()));
        self.waiting.extend(found);
        more
    }

    /// Those that are neither under way nor waiting, and before which nothing was left behind. What is under way is due until its
    /// result is recorded; once it ends, a copy of it would be out of date.
    fn unknown(&self, page: Vec<Delivery>, before: bool) -> Vec<Due> {
        let known = |id: &DeliveryId| self.in_flight.contains(id) || self.waiting.contains(id);
        let held = |due: &Due| self.backlog.as_ref().is_some_and(|backlog| backlog.owes(due.lane.as_ref(), before));
        let fresh = page.into_iter().filter(|delivery| !known(&delivery.id));
        fresh.map(Due::new).filter(|due| !held(due)).collect()
    }

    /// Takes the deliveries that may go out now.
    pub(super) fn admit(&mut self) -> Vec<Due> {
        let admitted = self.waiting.admit(&mut self.in_flight);
        self.progress = self.progress || !admitted.is_empty();
        admitted
    }

    /// An attempt has ended.
    pub(super) fn finish(&mut self, due: &Due, took: Duration) {
        self.in_flight.finish(due, took);
    }
}

/// Where a page ends behind which there may be more.
fn end_of_full(page: &[Delivery]) -> Option<Place> {
    page.last().filter(|_| page.len() >= READ_LIMIT_MAX).map(|last| (last.next_at, last.id.clone()))
}

/// The place in the list that lies [`OVERLAP_MS`] back.
fn shortly_before(now: Timestamp) -> Place {
    (Timestamp::from_millis(now.as_millis().saturating_sub(OVERLAP_MS)), DeliveryId::from_random([0; ID_BYTES]))
}

#[cfg(test)]
mod tests;
