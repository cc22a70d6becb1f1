//! Random bytes from the operating system.

use xthonpay_payments::port::random::Random;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter that asks the operating system")]
    fn fill(&self, bytes: &mut [u8]) {
        // A host that cannot draw keys and nonces must stop: going on would mean predictable ones.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xthonpay_payments::port::random::bytes;

    #[test]
    fn never_gives_the_same_bytes_twice() {
        assert_ne!(bytes::<32>(&OsRandom), bytes::<32>(&OsRandom));
    }
}
