//! From the passphrase to the key that opens the vault: Argon2id, and the least it may cost.
//!
//! The floor is what stops an attacker who can write the vault file from making the host test passphrases cheaply; the
//! ceiling stops the same attacker from making the host ask for all memory.

use argon2::{Algorithm, Argon2, Params, Version};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::sealing_key::KEY_BYTES;

/// Bytes of salt: the length that RFC 9106 recommends.
pub(crate) const SALT_BYTES: usize = 16;

/// The least memory: the second recommended choice of RFC 9106, for machines without gigabytes to spare.
const MEMORY_KIB_MIN: u32 = 64 * 1024;
/// The most memory: what a small server can still give while it starts.
const MEMORY_KIB_MAX: u32 = 2 * 1024 * 1024;
/// The fewest passes, of the same choice of RFC 9106.
const PASSES_MIN: u32 = 3;
/// The most passes: with the most memory, an unlock stays below a few minutes.
const PASSES_MAX: u32 = 64;
/// Lanes of the same choice of RFC 9106. They cost the owner and the attacker the same, so there is no floor above one.
const LANES: u32 = 4;
/// The most lanes: more than the cores of any machine this runs on would only fragment the memory.
const LANES_MAX: u32 = 16;

/// How much work it is to try one passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    floor: Floor,
}

/// The least work that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    Rfc9106,
    #[cfg(any(test, feature = "insecure-kdf"))]
    None,
}

/// Parameters outside of what is accepted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KdfParamsError {
    /// Cheaper than the floor.
    #[error(
        "the passphrase would be too cheap to guess: at least {MEMORY_KIB_MIN} KiB of memory, {PASSES_MIN} passes and 1 \
         lane are needed, not {memory_kib} KiB, {passes} and {lanes}"
    )]
    TooWeak {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// Dearer than the ceiling.
    #[error(
        "unlocking would take too much: at most {MEMORY_KIB_MAX} KiB of memory, {PASSES_MAX} passes and {LANES_MAX} lanes \
         are accepted, not {memory_kib} KiB, {passes} and {lanes}"
    )]
    TooCostly {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl KdfParamsError {
    /// Always `false`: the same parameters are refused the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TooWeak { .. } | Self::TooCostly { .. } => false,
        }
    }
}

impl KdfParams {
    /// 64 MiB, 3 passes, 4 lanes: the second recommended choice of RFC 9106.
    #[must_use]
    pub const fn production() -> Self {
        Self { memory_kib: MEMORY_KIB_MIN, passes: PASSES_MIN, lanes: LANES, floor: Floor::Rfc9106 }
    }

    /// Parameters of the operator's choice, at least as strong as [`KdfParams::production`] in memory and passes.
    ///
    /// They count when a vault is created. An existing vault keeps those it was created with.
    ///
    /// # Errors
    /// [`KdfParamsError`] below the floor or above the ceiling.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, KdfParamsError> {
        Self::production().with_costs(memory_kib, passes, lanes)
    }

    /// Parameters for tests, which open in no time and protect nothing.
    #[cfg(any(test, feature = "insecure-kdf"))]
    #[must_use]
    pub const fn insecure_for_tests() -> Self {
        Self { memory_kib: 64, passes: 1, lanes: 1, floor: Floor::None }
    }

    /// The costs found in a file, held against the floor of `self`.
    pub(crate) fn with_costs(self, memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, KdfParamsError> {
        let weak = match self.floor {
            Floor::Rfc9106 => memory_kib < MEMORY_KIB_MIN || passes < PASSES_MIN || lanes < 1,
            #[cfg(any(test, feature = "insecure-kdf"))]
            Floor::None => passes < 1 || lanes < 1 || memory_kib / 8 < lanes,
        };
        if weak {
            return Err(KdfParamsError::TooWeak { memory_kib, passes, lanes });
        }
        if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
            return Err(KdfParamsError::TooCostly { memory_kib, passes, lanes });
        }
        Ok(Self { memory_kib, passes, lanes, floor: self.floor })
    }

    /// Memory in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes, which may be filled side by side.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }

    /// The key that `passphrase` gives with `salt`. `None` when the memory cannot be had.
    pub(crate) fn derive_key(self, passphrase: &[u8], salt: &[u8; SALT_BYTES]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_BYTES))
            .expect("accepted parameters lie within those of Argon2");
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, salt, key.as_mut_slice())
            .ok()?;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_recommended_parameters_and_stronger_ones() {
        let production = KdfParams::production();
        assert_eq!(KdfParams::new(65_536, 3, 4), Ok(production));
        assert!(KdfParams::new(262_144, 3, 1).is_ok());
    }

    #[test]
    fn refuses_parameters_below_the_floor() {
        for (memory_kib, passes, lanes) in
            [(0, 0, 0), (8, 3, 1), (65_535, 3, 4), (65_536, 2, 4), (65_536, 3, 0), (8, 64, 1)]
        {
            let refused = KdfParams::new(memory_kib, passes, lanes);
            assert_eq!(refused, Err(KdfParamsError::TooWeak { memory_kib, passes, lanes }));
        }
    }

    #[test]
    fn refuses_parameters_that_would_exhaust_the_machine() {
        for (memory_kib, passes, lanes) in [(u32::MAX, 3, 4), (65_536, u32::MAX, 4), (65_536, 3, u32::MAX)] {
            let refused = KdfParams::new(memory_kib, passes, lanes);
            assert_eq!(refused, Err(KdfParamsError::TooCostly { memory_kib, passes, lanes }));
        }
    }

    /// Computed with `argon2-cffi`, the reference implementation.
    #[test]
    fn agrees_with_the_reference_implementation() {
        let key = KdfParams::insecure_for_tests().derive_key(b"correct horse", &[7; SALT_BYTES]).expect("64 KiB");
        assert_eq!(hex::encode(key.as_slice()), "0aa8d76217ab242c6d14433d5ff105dd539f1ce4be07f1103bc3f7ed6aee0efb");
    }
}
