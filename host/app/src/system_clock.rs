//! The operating system's time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::clock::Clock;

/// Reads the system clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port's one implementation on a real clock")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is not set; the epoch makes every signature fail, which is the safe direction.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}
