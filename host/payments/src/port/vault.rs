//! Secrets at rest.

use thiserror::Error;
use zeroize::Zeroizing;

/// A secret in memory: erased when dropped, never shown.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes of a secret.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes. The caller must not copy them into anything that outlives the use.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// A secret as it is stored: encrypted and bound to its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

/// What a secret is for. A sealed secret opens only for the purpose for which it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Verifies the requests of a key.
    ApiSecret,
    /// Signs a merchant's webhooks.
    WebhookSecret,
    /// Is shown in an answer that is kept for a caller who asks again.
    KeptAnswer,
}

impl Purpose {
    /// The purpose's name: part of what is authenticated, so it never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiSecret => "api-secret",
            Self::WebhookSecret => "webhook-secret",
            Self::KeptAnswer => "kept-answer",
        }
    }
}

/// Seals and opens secrets.
pub trait Vault: Send + Sync {
    /// Encrypts `secret` for `purpose` in the row `row`.
    fn seal(&self, purpose: Purpose, row: &str, secret: &[u8]) -> Sealed;

    /// Decrypts what was sealed for the same purpose and row.
    ///
    /// # Errors
    /// [`VaultError`] when the bytes were changed, or were sealed for another purpose, row or vault.
    fn open(&self, purpose: Purpose, row: &str, sealed: &Sealed) -> Result<Secret, VaultError>;
}

/// A sealed secret that does not open. Says nothing about why: the reasons cannot be told apart.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a stored secret does not open: it was changed, moved to another row, or sealed by another vault")]
pub struct VaultError;

impl VaultError {
    /// Always `false`: the same bytes fail the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}
