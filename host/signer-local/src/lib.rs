//! The keys of a deployment: one sealed seed, the deposit addresses that come from it, and the secrets sealed beside it.
//!
//! This is the only crate that holds keys. It relies on a passphrase that the operator keeps elsewhere: without it, nothing
//! in the vault file can be read. It gives out addresses and opened secrets through the ports [`Vault`] and
//! [`AddressSource`], never a private key; the seed leaves only as [`recovery_words`], which asks for the passphrase again.
//!
//! It does not decide who may ask, stores no rows, and does not talk to any network.
//!
//! [`Vault`]: xthonpay_payments::port::vault::Vault
//! [`AddressSource`]: xthonpay_payments::port::signer::AddressSource

mod attestation;
mod derivation;
mod exclusive_file;
mod fault;
mod kdf;
mod os_random;
mod passphrase;
mod recovery;
mod sealing_key;
mod seed_file;
mod signer;
mod vault;

pub use attestation::AttestationKey;
pub use fault::{VaultFault, VaultOpenError};
pub use kdf::{KdfParams, KdfParamsError};
pub use os_random::OsRandom;
pub use passphrase::{PASSPHRASE_BYTES_MAX, PassphraseError, read_passphrase_file};
pub use recovery::{RecoveryWords, recovery_words};
pub use signer::{LocalSigner, Opened};

#[cfg(test)]
mod test_support;
