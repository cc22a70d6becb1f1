//! The words that restore the seed, for the owner's backup.
//!
//! They are read from the file with the passphrase, not from a running signer: a host that is up cannot be made to tell
//! them.

use std::path::Path;

use xthonpay_payments::port::vault::Secret;
use zeroize::Zeroizing;

use crate::derivation;
use crate::fault::{VaultFault, VaultOpenError};
use crate::kdf::KdfParams;
use crate::signer;

/// The 24 words of BIP-39. Erased when dropped, never shown by accident: no `Debug`, `Display` or `Serialize`.
pub struct RecoveryWords(Zeroizing<String>);

impl RecoveryWords {
    /// The words, in lower case, with one space between two. The caller must not copy them into anything that outlives the
    /// use.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The recovery words of the vault at `path`. Whoever has them has all the money at its addresses.
///
/// Blocks for as long as the key derivation takes.
///
/// # Errors
/// [`VaultOpenError`] when the vault does not open.
pub fn recovery_words(path: &Path, passphrase: Secret, accepted: KdfParams) -> Result<RecoveryWords, VaultOpenError> {
    signer::unlock(path, &passphrase, accepted)
        .and_then(|unlocked| derivation::words(unlocked.entropy.expose()).ok_or(VaultFault::CheckAddress))
        .map(RecoveryWords)
        .map_err(|fault| fault.at(path))
}
