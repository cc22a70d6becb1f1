//! One AES-256-GCM key and the shape of what it seals: a version byte, a random nonce, the ciphertext with its tag.
//!
//! The nonce is 96 random bits, so a key may seal 2^32 times before a repeated nonce becomes likelier than 2^-32: a
//! million secrets a day for ten years. Counting nonces was refused, because a restored backup would count them again.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use xthonpay_payments::port::random::{self, Random};
use xthonpay_payments::port::vault::Secret;

/// Bytes of a key of AES-256.
pub(crate) const KEY_BYTES: usize = 32;

/// The first byte of everything sealed. Another value is another format.
const SEALED_VERSION: u8 = 1;
/// Bytes of a nonce, as GCM defines it.
const NONCE_BYTES: usize = 12;

/// A key that seals and opens. Erased when dropped.
pub(crate) struct SealingKey(Aes256Gcm);

impl SealingKey {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Encrypts `secret` and binds it to `context`.
    pub(crate) fn seal(&self, random: &dyn Random, context: &[u8], secret: &[u8]) -> Vec<u8> {
        let nonce = random::bytes::<NONCE_BYTES>(random);
        let ciphertext = self
            .0
            .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad: context })
            .expect("secrets are far below the 64 GiB that GCM can seal");
        let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + ciphertext.len());
        sealed.push(SEALED_VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        sealed
    }

    /// Decrypts what was sealed with the same key and context. `None` says nothing about what is wrong.
    pub(crate) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Secret> {
        let (&version, rest) = sealed.split_first()?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if version != SEALED_VERSION {
            return None;
        }
        let secret = self.0.decrypt(&Nonce::from(*nonce), Payload { msg: ciphertext, aad: context }).ok()?;
        Some(Secret::new(secret))
    }
}
