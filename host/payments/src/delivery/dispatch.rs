//! Sending deliveries until the receivers take them.
//!
//! Which deliveries are due stands in the store. In memory is only what is under way and one page of what is due: which
//! deliveries, and how many per receiver and merchant, so that a receiver that hangs holds up nobody else. Deliveries of one
//! invoice to one receiver go out one after the other in the order of their events; one that failed waits for its next attempt
//! and does not hold up the later ones.

mod courier;
mod in_flight;

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use xthonpay_domain::id::DeliveryId;
use xthonpay_domain::time::Timestamp;

use crate::port::store::{Delivery, READ_LIMIT_MAX, StoreError};
use crate::wake::Wakeups;
pub use courier::{Courier, DispatchError};
use in_flight::{InFlight, Lane};

/// How often the store is looked at without being woken. Bounds the delay after a lost wake-up.
const TICK: Duration = Duration::from_millis(500);
/// The pause after a failure of the store.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The pause between two pages when more is due than one page holds: twenty thousand deliveries are looked through in a second.
const PAUSE_BETWEEN_PAGES: Duration = Duration::from_millis(50);

/// Sends what is due.
pub struct Dispatch {
    /// Makes the attempts.
    pub courier: Arc<Courier>,
    /// Wake-ups.
    pub wakeups: Wakeups,
}

/// What is under way, and what is known to be due.
#[derive(Default)]
struct Board {
    in_flight: InFlight,
    /// Due deliveries of the last look that may not go out yet, the longest due first. At most one page.
    waiting: Vec<Delivery>,
    /// Where the next look goes on: behind a full page, or at the beginning.
    resume: Option<(Timestamp, DeliveryId)>,
}

impl Board {
    fn take_page(&mut self, page: Vec<Delivery>, full: bool) {
        self.resume = page.last().filter(|_| full).map(|last| (last.next_at, last.id.clone()));
        // What is under way is due until its result is recorded. Once it ends, this copy of it would be out of date.
        self.waiting = page.into_iter().filter(|delivery| !self.in_flight.contains(delivery)).collect();
    }

    /// Takes the deliveries that may go out now.
    fn admit(&mut self) -> Vec<Delivery> {
        if self.in_flight.is_full() {
            return Vec::new();
        }
        let next = next_in_lanes(&self.waiting);
        let (admitted, waiting) = mem::take(&mut self.waiting).into_iter().partition(|delivery| {
            let in_turn = Lane::of(delivery).is_none_or(|lane| next.get(&lane) == Some(&delivery.sequence));
            in_turn && self.in_flight.admit(delivery)
        });
        self.waiting = waiting;
        admitted
    }
}

/// The sequence of the first event of each invoice and receiver among these. When they are due does not tell the order: the clock
/// can have jumped between two events.
fn next_in_lanes(due: &[Delivery]) -> HashMap<Lane, u64> {
    let mut next = HashMap::new();
    for (lane, sequence) in due.iter().filter_map(|delivery| Some((Lane::of(delivery)?, delivery.sequence))) {
        next.entry(lane).and_modify(|first: &mut u64| *first = sequence.min(*first)).or_insert(sequence);
    }
    next
}

impl Dispatch {
    /// Works until `stop` is cancelled, then lets the attempts under way end.
    pub async fn run(self, stop: CancellationToken) {
        let mut board = Board::default();
        let mut attempts: JoinSet<Delivery> = JoinSet::new();
        let mut look_at = Instant::now();
        while !stop.is_cancelled() {
            if look_at <= Instant::now() {
                let pause = self.look(&mut board).await.unwrap_or_else(|failure| {
                    warn!(%failure, "due deliveries cannot be read; trying again");
                    PAUSE_AFTER_FAILURE
                });
                look_at = Instant::now().checked_add(pause).unwrap_or(look_at);
            }
            board.admit().into_iter().for_each(|delivery| self.start(delivery, &mut attempts));
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wakeups.dispatch.notified() => look_at = Instant::now(),
                () = sleep_until(look_at) => {}
                Some(ended) = attempts.join_next() => note_end(ended, &mut board),
            }
            while let Some(ended) = attempts.try_join_next() {
                note_end(ended, &mut board);
            }
        }
        while let Some(ended) = attempts.join_next().await {
            note_end(ended, &mut board);
        }
    }

    /// Reads a page of what is due; returns when to look again if nothing happens before.
    async fn look(&self, board: &mut Board) -> Result<Duration, StoreError> {
        let store = &self.courier.store;
        let now = self.courier.clock.now();
        let page = store.due_deliveries(now, board.resume.as_ref(), READ_LIMIT_MAX).await?;
        // A page can be full of deliveries to receivers that take no more at once; others wait behind them.
        let full = page.len() >= READ_LIMIT_MAX;
        let paging = full || board.resume.is_some();
        board.take_page(page, full);
        if paging {
            return Ok(PAUSE_BETWEEN_PAGES);
        }
        // What is due already waits for the end of an attempt, which wakes the loop; only what is still to come sets the time.
        let next = store.next_delivery_at().await?.filter(|next| *next > now);
        Ok(next.map_or(TICK, |next| next.since(now).min(TICK)))
    }

    fn start(&self, delivery: Delivery, attempts: &mut JoinSet<Delivery>) {
        let courier = Arc::clone(&self.courier);
        attempts.spawn(async move {
            if let Err(failure) = courier.attempt(&delivery).await {
                warn!(delivery = %delivery.id, %failure, "attempt not made or not recorded; it stays due");
                // It is due at once again: without a pause a lasting failure would spin.
                sleep(PAUSE_AFTER_FAILURE).await;
            }
            delivery
        });
    }
}

fn note_end(ended: Result<Delivery, JoinError>, board: &mut Board) {
    match ended {
        Ok(delivery) => board.in_flight.finish(&delivery),
        // An attempt catches its own panics and nothing aborts it, so this cannot be reached.
        Err(failure) => warn!(%failure, "an attempt ended without its delivery"),
    }
}
