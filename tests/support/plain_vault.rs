//! A vault without encryption.

use xthonpay_payments::port::vault::{Purpose, Sealed, Secret, Vault, VaultError};

/// Binds secrets to their purpose and row without hiding them.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainVault;

fn place(purpose: Purpose, row: &str) -> Vec<u8> {
    [purpose.name().as_bytes(), &[0], row.as_bytes(), &[0]].concat()
}

impl Vault for PlainVault {
    fn seal(&self, purpose: Purpose, row: &str, secret: &[u8]) -> Sealed {
        Sealed([&place(purpose, row), secret].concat())
    }

    fn open(&self, purpose: Purpose, row: &str, sealed: &Sealed) -> Result<Secret, VaultError> {
        let secret = sealed.0.strip_prefix(place(purpose, row).as_slice());
        secret.map(|secret| Secret::new(secret.to_vec())).ok_or(VaultError)
    }
}
