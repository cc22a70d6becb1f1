//! Randomness without surprise, for tests of what would otherwise be spread at random.

use xthonpay_payments::port::random::Random;

/// Draws zeros: every spread is the smallest one.
pub(crate) struct NoRandom;

impl Random for NoRandom {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}
