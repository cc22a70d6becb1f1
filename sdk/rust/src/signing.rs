//! Statements signed with a key that the host holds, for purposes that the operator granted. The host signs
//! `"xthonpay-attest-v1" | plugin | merchant | purpose | SHA-256(message)`, each with its length before it. In native tests the
//! bench answers.

use std::string::String;
use std::vec::Vec;

use crate::backend;
use crate::error::HostError;
pub use crate::raw::base::xthonpay::host::signing::Signature;

/// An opened signer.
#[derive(Debug)]
pub struct Signer(backend::Signer);

impl Signer {
    /// Opens the signer with this label.
    ///
    /// # Errors
    /// [`HostError::Denied`] when the operator did not grant it.
    pub fn open(label: &str) -> Result<Self, HostError> {
        backend::signer_open(label).map(Self)
    }

    /// The public key's bytes; none for a scheme that has none.
    pub fn public_key(&self) -> Option<Vec<u8>> {
        backend::signer_public_key(&self.0)
    }

    /// Signs a statement about a message.
    ///
    /// # Errors
    /// [`HostError::Denied`] for another purpose, [`HostError::OverLimit`] for size or rate, [`HostError::Unavailable`].
    pub fn attest(&self, purpose: &str, message: &[u8]) -> Result<Signature, HostError> {
        backend::signer_attest(&self.0, purpose, message)
    }
}

/// Bytes as lower-case hex digits, the usual form of keys and signatures in JSON.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}
