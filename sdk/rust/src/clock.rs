//! The time of the call: constant while it runs. In native tests the bench sets it.

use crate::backend;
use crate::plugin::Millis;

/// The time of this call, the same as [`Call::at`](crate::Call::at).
pub fn now() -> Millis {
    backend::clock_now()
}
