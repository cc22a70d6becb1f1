//! The random port with a seed: the same bytes in every run. No source of secrets.

use std::sync::{Mutex, PoisonError};

use xthonpay_payments::port::random::Random;

use crate::seeded::Seeded;

/// Bytes of a seeded generator.
#[derive(Debug)]
pub struct SeededRandom(Mutex<Seeded>);

impl SeededRandom {
    /// A source with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Seeded::new(seed)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut seeded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            for (byte, drawn) in chunk.iter_mut().zip(seeded.next_u64().to_le_bytes()) {
                *byte = drawn;
            }
        }
    }
}
