//! The opened vault, and the three ways to get one: open, create, or whichever applies.

use std::path::Path;
use std::sync::Arc;

use xthonpay_domain::address::Address;
use xthonpay_payments::port::random::Random;
use xthonpay_payments::port::signer::{AddressSource, DeriveError};
use xthonpay_payments::port::vault::Secret;

use crate::derivation::AddressTree;
use crate::exclusive_file;
use crate::fault::{VaultFault, VaultOpenError};
use crate::kdf::KdfParams;
use crate::sealing_key::SealingKey;
use crate::seed_file::{SeedFile, Unlocked};

/// An opened vault: seals and opens secrets, derives addresses.
///
/// Holds the key of `m/44'/60'` and the data keys, all erased when dropped; not the seed, not the passphrase. Has no
/// `Debug` and no `Serialize`, so that it cannot reach a log.
pub struct LocalSigner {
    pub(crate) tree: AddressTree,
    pub(crate) api_secret: SealingKey,
    pub(crate) webhook_secret: SealingKey,
    pub(crate) random: Arc<dyn Random>,
}

/// How a signer came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The vault did not exist: a new seed was drawn.
    ///
    /// A deployment that already has merchants must refuse to go on: its vault file is lost, and the new seed cannot spend
    /// what the old addresses receive.
    Created,
    /// The vault existed.
    Existing,
}

impl LocalSigner {
    /// Opens the vault at `path`, or creates it with a new seed if there is none.
    ///
    /// `kdf` is used for a new vault; an existing one keeps its own parameters, which must not be below the floor. Blocks
    /// for as long as the key derivation takes, so do not call it on an async thread. Of several callers racing to create,
    /// one wins and all open the same vault.
    ///
    /// # Errors
    /// [`VaultOpenError`]: the passphrase is wrong, the file is damaged or was changed, or the file system fails. A vault
    /// that cannot be read is never replaced.
    pub fn open_or_create(
        path: &Path,
        passphrase: Secret,
        kdf: KdfParams,
        random: Arc<dyn Random>,
    ) -> Result<(Self, Opened), VaultOpenError> {
        match Self::open_borrowed(path, &passphrase, kdf, &random) {
            Err(VaultOpenError { fault: VaultFault::Missing, .. }) => {}
            opened => return opened.map(|signer| (signer, Opened::Existing)),
        }
        match Self::create_borrowed(path, &passphrase, kdf, &random) {
            // Another run was faster; its vault counts.
            Err(VaultOpenError { fault: VaultFault::Exists, .. }) => {
                Self::open_borrowed(path, &passphrase, kdf, &random).map(|signer| (signer, Opened::Existing))
            }
            created => created.map(|signer| (signer, Opened::Created)),
        }
    }

    /// Opens the vault at `path`. Never creates one.
    ///
    /// `accepted` gives the floor for the key derivation of the file. Blocks as [`LocalSigner::open_or_create`] does.
    ///
    /// # Errors
    /// [`VaultOpenError`], with [`VaultFault::Missing`] if there is no file.
    pub fn open(
        path: &Path,
        passphrase: Secret,
        accepted: KdfParams,
        random: Arc<dyn Random>,
    ) -> Result<Self, VaultOpenError> {
        Self::open_borrowed(path, &passphrase, accepted, &random)
    }

    fn open_borrowed(
        path: &Path,
        passphrase: &Secret,
        accepted: KdfParams,
        random: &Arc<dyn Random>,
    ) -> Result<Self, VaultOpenError> {
        let unlocked = unlock(path, passphrase, accepted).map_err(|fault| fault.at(path))?;
        Ok(Self::from_unlocked(unlocked, random))
    }

    fn create_borrowed(
        path: &Path,
        passphrase: &Secret,
        kdf: KdfParams,
        random: &Arc<dyn Random>,
    ) -> Result<Self, VaultOpenError> {
        let create = || {
            require_passphrase(passphrase)?;
            let (file, unlocked) = SeedFile::generate(passphrase, kdf, random.as_ref())?;
            exclusive_file::create(path, &file.to_bytes(), random.as_ref())?;
            Ok(unlocked)
        };
        create().map(|unlocked| Self::from_unlocked(unlocked, random)).map_err(|fault: VaultFault| fault.at(path))
    }

    fn from_unlocked(unlocked: Unlocked, random: &Arc<dyn Random>) -> Self {
        let Unlocked { entropy: _, tree, api_secret, webhook_secret } = unlocked;
        Self { tree, api_secret, webhook_secret, random: Arc::clone(random) }
    }
}

impl AddressSource for LocalSigner {
    fn derive(&self, account: u32, index: u32) -> Result<Address, DeriveError> {
        self.tree.derive(account, index)
    }
}

/// Reads and opens the vault file at `path`.
pub(crate) fn unlock(path: &Path, passphrase: &Secret, accepted: KdfParams) -> Result<Unlocked, VaultFault> {
    require_passphrase(passphrase)?;
    let bytes = exclusive_file::read(path)?.ok_or(VaultFault::Missing)?;
    SeedFile::parse(&bytes)?.unlock(passphrase, accepted)
}

fn require_passphrase(passphrase: &Secret) -> Result<(), VaultFault> {
    if passphrase.expose().is_empty() { Err(VaultFault::EmptyPassphrase) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
