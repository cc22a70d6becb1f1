//! Keys that sign statements of plugins: one for each of the operator's signers, all from the seed.
//!
//! They are keys of Ed25519, another curve than the one of addresses, and stand at a place of the tree that no merchant's
//! account has. So no signature of theirs is one of a transaction, and whoever has the seed has them again.

use ed25519_dalek::{Signer as _, SigningKey as Key};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use xthonpay_domain::text::LoanLabel;
use xthonpay_payments::port::lending::attestation::SigningKey;
use zeroize::Zeroizing;

use crate::signer::LocalSigner;

/// What the keys are for; another version would give other keys.
const PURPOSE: &str = "xthonpay-attest-key-v1";
/// Bytes of the public key's digest that name a key.
const KEY_ID_BYTES: usize = 8;

/// The key of one signer. Erased when dropped.
pub struct AttestationKey(Key);

impl LocalSigner {
    /// The key of the signer with this name. Equal names give equal keys for ever.
    #[must_use]
    pub fn attestation_key(&self, signer: &LoanLabel) -> AttestationKey {
        let root = self.tree.attestation_root();
        let mut mac = Hmac::<Sha256>::new_from_slice(root.as_ref()).expect("a MAC takes a key of any length");
        mac.update(PURPOSE.as_bytes());
        mac.update(signer.as_str().as_bytes());
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(mac.finalize().into_bytes().into());
        AttestationKey(Key::from_bytes(&seed))
    }
}

impl SigningKey for AttestationKey {
    fn scheme(&self) -> &'static str {
        "ed25519"
    }

    fn key_id(&self) -> String {
        let digest = Sha256::digest(self.0.verifying_key().as_bytes());
        hex::encode(digest.get(..KEY_ID_BYTES).unwrap_or(&digest))
    }

    fn public_key(&self) -> Vec<u8> {
        self.0.verifying_key().to_bytes().to_vec()
    }

    fn sign(&self, statement: &[u8]) -> Vec<u8> {
        self.0.sign(statement).to_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};

    use super::*;
    use crate::test_support::VaultDir;

    #[test]
    fn each_signer_has_one_key_for_ever() {
        let vault = VaultDir::new();
        let (one, again) = (vault.signer(), vault.signer());
        let label = |text: &str| text.parse::<LoanLabel>().expect("a label");
        let key = one.attestation_key(&label("receipts"));
        assert_eq!(key.public_key(), again.attestation_key(&label("receipts")).public_key());
        assert_ne!(key.public_key(), one.attestation_key(&label("receipt")).public_key());
        assert_eq!(key.key_id().len(), 16);
        let public: [u8; 32] = key.public_key().try_into().expect("32 bytes");
        let signature: [u8; 64] = key.sign(b"a statement").try_into().expect("64 bytes");
        let verifying = VerifyingKey::from_bytes(&public).expect("a key");
        assert!(verifying.verify(b"a statement", &Signature::from_bytes(&signature)).is_ok());
        assert!(verifying.verify(b"another", &Signature::from_bytes(&signature)).is_err());
    }
}
