//! The vault file: what stands in it, and what is bound to what.
//!
//! The passphrase gives a key that wraps one random data key per purpose; the data key `seed` seals the seed's entropy.
//! Everything sealed is bound to its label and to the whole header (format, key derivation, salt, check address), so a
//! changed header opens nothing. Another passphrase would wrap the same data keys again and touch no stored secret.
//!
//! Does not touch the file system.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use xthonpay_domain::address::Address;
use xthonpay_payments::port::random::{self, Random};
use xthonpay_payments::port::vault::{Purpose, Secret};
use zeroize::Zeroizing;

use crate::derivation::AddressTree;
use crate::fault::VaultFault;
use crate::kdf::{KdfParams, SALT_BYTES};
use crate::sealing_key::{KEY_BYTES, SealingKey};

/// Names the kind of file, for the person who finds it in a backup.
const FORMAT: &str = "xthonpay-vault";
/// The format that this release writes, and the only one it reads.
const VERSION: u32 = 1;
/// Name and version of the key derivation: Argon2id 1.3.
const KDF_ALGORITHM: &str = "argon2id-v1.3";
/// Entropy of 24 words.
const ENTROPY_BYTES: usize = 32;

const SEED_KEY_LABEL: &str = "data-key:seed";
const ENTROPY_LABEL: &str = "seed";

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeedFile {
    format: String,
    version: u32,
    kdf: KdfHeader,
    /// `m/44'/60'/0'/0/0`, public: tells a wrong seed from an empty wallet.
    check_address: String,
    data_keys: WrappedKeys,
    /// The entropy, sealed by the data key `seed`.
    seed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KdfHeader {
    algorithm: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

/// The data keys, each sealed by the key from the passphrase.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrappedKeys {
    seed: String,
    api_secret: String,
    webhook_secret: String,
}

/// What every release can read of every version.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}

/// What an opened file gives. Erased when dropped.
pub(crate) struct Unlocked {
    pub(crate) entropy: Secret,
    pub(crate) tree: AddressTree,
    pub(crate) api_secret: SealingKey,
    pub(crate) webhook_secret: SealingKey,
}

/// The header in the exact form that is authenticated.
struct Header {
    kdf: KdfParams,
    salt: [u8; SALT_BYTES],
    check_address: Address,
}

impl SeedFile {
    /// Draws a seed and data keys, and seals them.
    ///
    /// The result is the file and what opening it gave: a vault that does not open is never written.
    pub(crate) fn generate(
        passphrase: &Secret,
        kdf: KdfParams,
        random: &dyn Random,
    ) -> Result<(Self, Unlocked), VaultFault> {
        let entropy = Zeroizing::new(random::bytes::<ENTROPY_BYTES>(random));
        let check_address = check_address(&AddressTree::from_entropy(&*entropy).ok_or(VaultFault::UnusableSeed)?)?;
        let header = Header { kdf, salt: random::bytes(random), check_address };
        let kek = header.derive_kek(passphrase)?;

        let seed_key = Zeroizing::new(random::bytes::<KEY_BYTES>(random));
        let wrap = |label: &str, key: &[u8; KEY_BYTES]| BASE64.encode(kek.seal(random, &header.context(label), key));
        let fresh = |label: &str| wrap(label, &Zeroizing::new(random::bytes::<KEY_BYTES>(random)));
        let seed = SealingKey::new(&seed_key).seal(random, &header.context(ENTROPY_LABEL), &*entropy);
        let file = Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            kdf: KdfHeader {
                algorithm: KDF_ALGORITHM.to_owned(),
                memory_kib: kdf.memory_kib(),
                passes: kdf.passes(),
                lanes: kdf.lanes(),
                salt: BASE64.encode(header.salt),
            },
            check_address: header.check_address.to_lower_hex(),
            data_keys: WrappedKeys {
                seed: wrap(SEED_KEY_LABEL, &seed_key),
                api_secret: fresh(&purpose_label(Purpose::ApiSecret)),
                webhook_secret: fresh(&purpose_label(Purpose::WebhookSecret)),
            },
            seed: BASE64.encode(seed),
        };
        let unlocked = file.unlock_with(&header, &kek)?;
        Ok((file, unlocked))
    }

    /// Reads a file. Nothing of it is trusted before [`SeedFile::unlock`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, VaultFault> {
        let preamble: Preamble = serde_json::from_slice(bytes).map_err(not_readable)?;
        if preamble.format != FORMAT {
            return Err(damaged("not a vault"));
        }
        match preamble.version {
            VERSION => serde_json::from_slice(bytes).map_err(not_readable),
            version if version > VERSION => Err(VaultFault::Newer { version }),
            _ => Err(damaged("no such version was ever written")),
        }
    }

    /// The file's bytes, for people as well: indented, with a newline at the end.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("strings and numbers always have a JSON form");
        bytes.push(b'\n');
        bytes
    }

    /// Opens the file. `accepted` says which key derivations are strong enough, not which one the file must have.
    pub(crate) fn unlock(&self, passphrase: &Secret, accepted: KdfParams) -> Result<Unlocked, VaultFault> {
        let header = self.header(accepted)?;
        let kek = header.derive_kek(passphrase)?;
        self.unlock_with(&header, &kek)
    }

    fn header(&self, accepted: KdfParams) -> Result<Header, VaultFault> {
        if self.kdf.algorithm != KDF_ALGORITHM {
            return Err(damaged("unknown key derivation"));
        }
        let kdf = accepted.with_costs(self.kdf.memory_kib, self.kdf.passes, self.kdf.lanes).map_err(VaultFault::Kdf)?;
        let salt = decode(&self.kdf.salt)?.try_into().map_err(|_| damaged("the salt has the wrong length"))?;
        let check_address = self.check_address.parse().map_err(|_| damaged("the check address is no address"))?;
        Ok(Header { kdf, salt, check_address })
    }

    fn unlock_with(&self, header: &Header, kek: &SealingKey) -> Result<Unlocked, VaultFault> {
        let seed_key = unwrap_key(header, kek, SEED_KEY_LABEL, &self.data_keys.seed)?;
        let entropy =
            seed_key.open(&header.context(ENTROPY_LABEL), &decode(&self.seed)?).ok_or(VaultFault::DoesNotOpen)?;
        let tree = AddressTree::from_entropy(entropy.expose()).ok_or(VaultFault::CheckAddress)?;
        if check_address(&tree)? != header.check_address {
            return Err(VaultFault::CheckAddress);
        }
        let key = |purpose, wrapped| unwrap_key(header, kek, &purpose_label(purpose), wrapped);
        Ok(Unlocked {
            api_secret: key(Purpose::ApiSecret, &self.data_keys.api_secret)?,
            webhook_secret: key(Purpose::WebhookSecret, &self.data_keys.webhook_secret)?,
            entropy,
            tree,
        })
    }
}

impl Header {
    fn derive_kek(&self, passphrase: &Secret) -> Result<SealingKey, VaultFault> {
        let key = self
            .kdf
            .derive_key(passphrase.expose(), &self.salt)
            .ok_or(VaultFault::OutOfMemory { memory_kib: self.kdf.memory_kib() })?;
        Ok(SealingKey::new(&key))
    }

    /// What a sealed value named `label` is bound to. Every field behind the label has a fixed length.
    fn context(&self, label: &str) -> Vec<u8> {
        let mut context = Vec::with_capacity(128);
        context.extend_from_slice(label.as_bytes());
        context.push(0);
        context.extend_from_slice(FORMAT.as_bytes());
        context.extend_from_slice(&VERSION.to_be_bytes());
        context.extend_from_slice(KDF_ALGORITHM.as_bytes());
        context.extend_from_slice(&self.kdf.memory_kib().to_be_bytes());
        context.extend_from_slice(&self.kdf.passes().to_be_bytes());
        context.extend_from_slice(&self.kdf.lanes().to_be_bytes());
        context.extend_from_slice(&self.salt);
        context.extend_from_slice(self.check_address.as_bytes());
        context
    }
}

fn purpose_label(purpose: Purpose) -> String {
    format!("data-key:{}", purpose.name())
}

fn unwrap_key(header: &Header, kek: &SealingKey, label: &str, wrapped: &str) -> Result<SealingKey, VaultFault> {
    let key = kek.open(&header.context(label), &decode(wrapped)?).ok_or(VaultFault::DoesNotOpen)?;
    let key: &[u8; KEY_BYTES] = key.expose().try_into().map_err(|_| VaultFault::DoesNotOpen)?;
    Ok(SealingKey::new(key))
}

fn check_address(tree: &AddressTree) -> Result<Address, VaultFault> {
    tree.derive(0, 0).map_err(|_| VaultFault::UnusableSeed)
}

fn decode(text: &str) -> Result<Vec<u8>, VaultFault> {
    BASE64.decode(text).map_err(|_| damaged("a value is not base64"))
}

fn damaged(what: &str) -> VaultFault {
    VaultFault::Damaged { what: what.to_owned() }
}

/// The text of the JSON error names lines and fields of the file, which hold nothing secret in the clear.
#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn not_readable(error: serde_json::Error) -> VaultFault {
    VaultFault::Damaged { what: error.to_string() }
}
