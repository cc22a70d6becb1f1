//! Sending deliveries until the receivers take them.
//!
//! Which deliveries are due stands in the store. In memory is only what is under way and one page of what is due: which
//! deliveries, and how many per receiver and merchant, so that a receiver that hangs holds up nobody else. Deliveries of one
//! invoice to one receiver go out one after the other in the order of their events; one that failed waits for its next attempt
//! and does not hold up the later ones.
//!
//! | module | owns |
//! |---|---|
//! | `board` | what is known in memory, and the way through a backlog |
//! | `waiting` | whose turn it is |
//! | `in_flight` | how much may be under way, for all and for each |
//! | `courier` | one attempt, from its secret to its record |
//! | `outcome` | what an attempt makes of its delivery |
//! | `standing` | what an attempt makes of its endpoint |

mod board;
mod courier;
mod in_flight;
mod outcome;
mod standing;
mod tally;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::port::store::{READ_LIMIT_MAX, StoreError};
use crate::wake::Wakeups;
use board::Board;
pub use courier::{Courier, DispatchError};
use in_flight::Due;
pub use tally::{Counts, Tally};

/// How often the store is looked at without being woken. Bounds the delay after a lost wake-up.
const TICK: Duration = Duration::from_millis(500);
/// The pause after a failure of the store.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The pause between two pages of a backlog of which something goes out: twenty thousand deliveries are looked through in a second.
const PAUSE_BETWEEN_PAGES: Duration = Duration::from_millis(50);
/// The same while nothing goes out because the receivers take no more: looking faster would only cost.
const PAUSE_BETWEEN_IDLE_PAGES: Duration = Duration::from_millis(250);
/// Pages of what has become due that one look reads. The next look goes on behind them.
const RECENT_PAGES_MAX: usize = 4;

/// Sends what is due.
pub struct Dispatch {
    /// Makes the attempts.
    pub courier: Arc<Courier>,
    /// Wake-ups.
    pub wakeups: Wakeups,
}

/// An attempt that has ended, and how long it took.
type Ended = (Due, Duration);

impl Dispatch {
    /// Works until `stop` is cancelled, then lets the attempts under way end.
    pub async fn run(self, stop: CancellationToken) {
        let mut board = Board::default();
        let mut attempts: JoinSet<Ended> = JoinSet::new();
        let mut look_at = Instant::now();
        let mut woken = false;
        while !stop.is_cancelled() {
            if look_at <= Instant::now() || board.is_drained() {
                let pause = self.look(&mut board).await.unwrap_or_else(|failure| unread(&failure));
                look_at = Instant::now().checked_add(pause).unwrap_or(look_at);
            } else if woken {
                match self.look_at_recent(&mut board).await {
                    Ok(()) => {}
                    // The next look finds them too.
                    Err(failure) => drop(unread(&failure)),
                }
            }
            woken = false;
            board.admit().into_iter().for_each(|due| self.start(due, &mut attempts));
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wakeups.dispatch.notified() => {
                    woken = true;
                    // Without a backlog a look sees everything that is due.
                    look_at = if board.has_backlog() { look_at } else { Instant::now() };
                }
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
        // The first sweep of a backlog does not wait: it has to find out what is owed.
        let idle = board.recent_from().is_some() && !board.made_progress();
        let page = store.due_deliveries(now, board.resume(), READ_LIMIT_MAX).await?;
        board.take_page(page, now);
        if board.has_backlog() {
            self.look_at_recent(board).await?;
            return Ok(if idle { PAUSE_BETWEEN_IDLE_PAGES } else { PAUSE_BETWEEN_PAGES });
        }
        // What is due already waits for the end of an attempt, which wakes the loop; only what is still to come sets the time.
        let next = store.next_delivery_at().await?.filter(|next| *next > now);
        Ok(next.map_or(TICK, |next| next.since(now).min(TICK)))
    }

    /// Reads what has become due while the sweep is somewhere in a backlog.
    async fn look_at_recent(&self, board: &mut Board) -> Result<(), StoreError> {
        for _ in 0..RECENT_PAGES_MAX {
            let Some(from) = board.recent_from() else { break };
            let now = self.courier.clock.now();
            let page = self.courier.store.due_deliveries(now, Some(&from), READ_LIMIT_MAX).await?;
            if !board.take_recent(page, now) {
                break;
            }
        }
        Ok(())
    }

    fn start(&self, due: Due, attempts: &mut JoinSet<Ended>) {
        let courier = Arc::clone(&self.courier);
        attempts.spawn(async move {
            let began = Instant::now();
            if let Err(failure) = courier.attempt(&due.delivery).await {
                warn!(delivery = %due.delivery.id, %failure, "attempt not made or not recorded; it stays due");
                // It is due at once again: without a pause a lasting failure would spin.
                sleep(PAUSE_AFTER_FAILURE).await;
            }
            (due, began.elapsed())
        });
    }
}

fn unread(failure: &StoreError) -> Duration {
    warn!(%failure, "due deliveries cannot be read; trying again");
    PAUSE_AFTER_FAILURE
}

fn note_end(ended: Result<Ended, JoinError>, board: &mut Board) {
    match ended {
        Ok((due, took)) => board.finish(&due, took),
        // An attempt catches its own panics and nothing aborts it, so this cannot be reached.
        Err(failure) => warn!(%failure, "an attempt ended without its delivery"),
    }
}
