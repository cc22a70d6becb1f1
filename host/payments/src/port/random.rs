//! Unpredictable bytes.

/// A source of bytes fit for keys: the operating system's generator in production, a seeded one in simulations.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    ///
    /// Does not fail: a host whose operating system cannot give random bytes must not go on.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes.
#[must_use]
pub fn bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}
