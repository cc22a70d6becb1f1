//! Wake-ups between the workers, so that work does not wait for a timer.
//!
//! A wake-up carries nothing and may be lost: every worker also looks at the store on its own timer, and the store is what
//! says which work exists.

use std::sync::Arc;

use tokio::sync::Notify;

/// One signal per worker. Several wake-ups before the worker looks count as one.
#[derive(Clone, Debug, Default)]
pub struct Wakeups {
    /// Invoices may await a ruling or have passed their expiry.
    pub settlement: Arc<Notify>,
    /// Events may await routing.
    pub routing: Arc<Notify>,
    /// Deliveries may be due.
    pub dispatch: Arc<Notify>,
}
