//! Secrets of merchants, sealed for a purpose and a row.

use xthonpay_payments::port::vault::{Purpose, Sealed, Secret, Vault, VaultError};

use crate::sealing_key::SealingKey;
use crate::signer::LocalSigner;

impl LocalSigner {
    fn data_key(&self, purpose: Purpose) -> &SealingKey {
        match purpose {
            Purpose::ApiSecret => &self.api_secret,
            // Kept answers show webhook secrets, and the name of the purpose keeps the two apart.
            Purpose::WebhookSecret | Purpose::KeptAnswer => &self.webhook_secret,
        }
    }
}

impl Vault for LocalSigner {
    fn seal(&self, purpose: Purpose, row: &str, secret: &[u8]) -> Sealed {
        Sealed(self.data_key(purpose).seal(self.random.as_ref(), &place(purpose, row), secret))
    }

    fn open(&self, purpose: Purpose, row: &str, sealed: &Sealed) -> Result<Secret, VaultError> {
        self.data_key(purpose).open(&place(purpose, row), &sealed.0).ok_or(VaultError)
    }
}

/// What a secret is bound to. Names of purposes hold no zero byte, so no two places have the same bytes.
fn place(purpose: Purpose, row: &str) -> Vec<u8> {
    [purpose.name().as_bytes(), &[0], row.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::VaultDir;
    use std::collections::HashSet;

    const SECRET: &[u8] = b"whsec_a secret of a merchant";

    #[test]
    fn opens_what_it_sealed() {
        let signer = VaultDir::new().signer();
        for purpose in [Purpose::ApiSecret, Purpose::WebhookSecret, Purpose::KeptAnswer] {
            for (row, secret) in [("key_1", SECRET), ("", SECRET), ("key_1", b"".as_slice()), ("a\0b", &[0xff; 4_096])]
            {
                let sealed = signer.seal(purpose, row, secret);
                let opened = signer.open(purpose, row, &sealed).map(|secret| secret.expose().to_vec());
                assert_eq!(opened.as_deref(), Ok(secret));
            }
        }
    }

    #[test]
    fn refuses_a_secret_moved_to_another_row_or_purpose() {
        let signer = VaultDir::new().signer();
        let sealed = signer.seal(Purpose::ApiSecret, "key_1", SECRET);
        for (purpose, row) in [
            (Purpose::ApiSecret, "key_2"),
            (Purpose::ApiSecret, "key_1\0"),
            (Purpose::ApiSecret, ""),
            (Purpose::WebhookSecret, "key_1"),
            (Purpose::KeptAnswer, "key_1"),
        ] {
            assert_eq!(signer.open(purpose, row, &sealed).err(), Some(VaultError), "{purpose:?} {row:?}");
        }
    }

    #[test]
    fn refuses_a_secret_of_another_vault() {
        let sealed = VaultDir::new().signer().seal(Purpose::ApiSecret, "key_1", SECRET);
        assert!(VaultDir::new().signer().open(Purpose::ApiSecret, "key_1", &sealed).is_err());
    }

    #[test]
    fn refuses_every_flipped_bit_and_every_length() {
        let signer = VaultDir::new().signer();
        let sealed = signer.seal(Purpose::WebhookSecret, "endpoint_1", SECRET);
        for at in 0..sealed.0.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed.0[at] ^= 1 << bit;
                assert!(signer.open(Purpose::WebhookSecret, "endpoint_1", &changed).is_err(), "byte {at}, bit {bit}");
            }
            let cut = Sealed(sealed.0[..at].to_vec());
            assert!(signer.open(Purpose::WebhookSecret, "endpoint_1", &cut).is_err(), "cut at {at}");
        }
        let longer = Sealed([sealed.0.as_slice(), &[0]].concat());
        assert!(signer.open(Purpose::WebhookSecret, "endpoint_1", &longer).is_err());
    }

    #[test]
    fn never_seals_to_the_same_bytes() {
        let signer = VaultDir::new().signer();
        let sealed: HashSet<Vec<u8>> = (0..1_000).map(|_| signer.seal(Purpose::ApiSecret, "key_1", SECRET).0).collect();
        assert_eq!(sealed.len(), 1_000);
        assert!(sealed.iter().all(|bytes| !bytes.windows(8).any(|window| SECRET.windows(8).any(|w| w == window))));
    }
}
