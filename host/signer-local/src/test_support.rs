//! A vault in a directory of its own, cheap to open.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use xthonpay_payments::port::vault::Secret;

use crate::{KdfParams, LocalSigner, Opened, OsRandom, VaultOpenError};

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) struct VaultDir(TempDir);

impl VaultDir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("vault.json")
    }

    pub(crate) fn open_with(&self, passphrase: &str) -> Result<(LocalSigner, Opened), VaultOpenError> {
        let kdf = KdfParams::insecure_for_tests();
        LocalSigner::open_or_create(&self.path(), secret(passphrase), kdf, Arc::new(OsRandom))
    }

    pub(crate) fn signer(&self) -> LocalSigner {
        self.open_with(PASSPHRASE).expect("the vault opens").0
    }
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}
