//! The time of day.

use xthonpay_domain::time::Timestamp;

/// Reads the time of day. Only used for records, signatures and retry times; everything about payments is decided by the
/// time of blocks. May jump in both directions.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}
