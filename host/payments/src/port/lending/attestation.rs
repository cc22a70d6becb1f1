//! Statements that the host signs for plugins.

use async_trait::async_trait;
use thiserror::Error;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::PluginName;
use xthonpay_domain::time::Timestamp;

use crate::port::store::StoreError;

/// A signing key. It signs statements that [`crate::attestation`] has put together, and nothing else.
pub trait SigningKey: Send + Sync {
    /// How it signs, an open set: `ed25519`.
    fn scheme(&self) -> &'static str;

    /// Names the key for whoever verifies: stable, and not secret.
    fn key_id(&self) -> String;

    /// The public key's bytes.
    fn public_key(&self) -> Vec<u8>;

    /// Signs bytes.
    fn sign(&self, statement: &[u8]) -> Vec<u8>;
}

/// What is to be signed, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which plugin asks.
    pub plugin: PluginName,
    /// The merchant that the call is about, if it is about one.
    pub merchant: Option<MerchantId>,
    /// A word that the operator's grant lists.
    pub purpose: String,
    /// The SHA-256 of the message.
    pub digest: [u8; 32],
    /// The host's time of the call.
    pub at: Timestamp,
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// How it was made.
    pub scheme: &'static str,
    /// Which key made it.
    pub key_id: String,
    /// Its bytes.
    pub signature: Vec<u8>,
}

/// A statement that was not signed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AttestError {
    /// The use could not be put on record, so there is no signature.
    #[error("the audit trail cannot be written: {0}")]
    NotRecorded(#[from] StoreError),
}

impl AttestError {
    /// Whether the same statement may be signed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotRecorded(error) => error.is_transient(),
        }
    }
}

/// A signer that the operator configured. Every use is on record before the signature is given away.
#[async_trait]
pub trait Attestor: Send + Sync {
    /// The public key's bytes.
    fn public_key(&self) -> Vec<u8>;

    /// Signs a statement.
    ///
    /// # Errors
    /// [`AttestError`].
    async fn attest(&self, statement: Statement) -> Result<Attestation, AttestError>;
}
