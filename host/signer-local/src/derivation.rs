//! From the seed to addresses: BIP-39 words, BIP-32 keys, the paths of BIP-44.
//!
//! Addresses come from the public key of their account. The private side ends at the coin level, whose hardened children
//! are the accounts: whoever learned one account's public key and one address's private key would learn that account's
//! private key, but no other account's.
//!
//! Accounts are derived by the library. Addresses, of which every invoice takes one, are derived here: the library multiplies
//! as for any point, and the generator has tables, with which an address costs less than half. The tests hold both against
//! each other.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use coins_bip32::BIP32_HARDEN;
use coins_bip32::ecdsa::{SigningKey, VerifyingKey};
use coins_bip32::prelude::k256::elliptic_curve::PrimeField as _;
use coins_bip32::prelude::k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};
use coins_bip32::primitives::XKeyInfo;
use coins_bip32::xkeys::{Parent, XPriv, XPub};
use coins_bip39::{English, Entropy, Mnemonic};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use sha3::{Digest, Keccak256};
use xthonpay_domain::address::Address;
use xthonpay_payments::port::signer::DeriveError;
use zeroize::Zeroizing;

/// BIP-44.
const PURPOSE: u32 = 44;
/// Ethereum in SLIP-44, which every EVM chain uses.
const COIN: u32 = 60;
/// The chain of addresses given to payers.
const EXTERNAL_CHAIN: u32 = 0;
/// Bytes of a public key in its short form.
const COMPRESSED: usize = 33;
/// Accounts whose public key is kept at hand: about 1 MiB. Losing one costs two derivations.
const ACCOUNTS_CACHED_MAX: usize = 4_096;

/// The addresses of one seed.
pub(crate) struct AddressTree {
    /// `m/44'/60'`.
    coin: XPriv,
    /// `m/44'/60'/{account}'/0` by account.
    chains: Mutex<HashMap<u32, ExternalChain>>,
}

/// The parent of an account's addresses, as its children are made from it.
#[derive(Clone, Copy)]
struct ExternalChain {
    point: ProjectivePoint,
    compressed: [u8; COMPRESSED],
    code: [u8; 32],
}

impl AddressTree {
    /// The tree of a BIP-39 entropy without a BIP-39 passphrase. `None` if `entropy` has no length of BIP-39, or is the one
    /// in about 2^125 that BIP-32 excludes.
    pub(crate) fn from_entropy(entropy: &[u8]) -> Option<Self> {
        let root = mnemonic(entropy)?.master_key(None).ok()?;
        let coin = child(&child(&root, BIP32_HARDEN | PURPOSE)?, BIP32_HARDEN | COIN)?;
        Some(Self { coin, chains: Mutex::new(HashMap::new()) })
    }

    /// The address at `m/44'/60'/{account}'/0/{index}`.
    pub(crate) fn derive(&self, account: u32, index: u32) -> Result<Address, DeriveError> {
        if account >= BIP32_HARDEN || index >= BIP32_HARDEN {
            return Err(DeriveError::OutOfRange { account, index });
        }
        self.external_chain(account)
            .and_then(|chain| chain.child(index))
            .map(|key| address_of(&key))
            .ok_or(DeriveError::Unusable { account, index })
    }

    /// The private key from which those of attestations come: at the last hardened account, which no merchant is given, as
    /// they are counted from 0 and end far below.
    pub(crate) fn attestation_root(&self) -> Zeroizing<[u8; 32]> {
        // The one in 2^127 without a key is replaced by the next one, as BIP-32 has it.
        let last = (0..BIP32_HARDEN).rev().find_map(|account| child(&self.coin, BIP32_HARDEN | account));
        let key = last.expect("of two thousand million accounts one has a key");
        let signing: &SigningKey = key.as_ref();
        Zeroizing::new(signing.to_bytes().into())
    }

    fn external_chain(&self, account: u32) -> Option<ExternalChain> {
        if let Some(chain) = self.lock_chains().get(&account) {
            return Some(*chain);
        }
        let account_key = child(&self.coin, BIP32_HARDEN | account)?.verify_key();
        let chain = ExternalChain::of(&child(&account_key, EXTERNAL_CHAIN)?)?;
        let mut chains = self.lock_chains();
        if chains.len() >= ACCOUNTS_CACHED_MAX
            && let Some(&evicted) = chains.keys().next()
        {
            chains.remove(&evicted);
        }
        chains.insert(account, chain);
        Some(chain)
    }

    fn lock_chains(&self) -> std::sync::MutexGuard<'_, HashMap<u32, ExternalChain>> {
        // Entries are whole or absent, so a panic elsewhere leaves nothing half done.
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExternalChain {
    fn of(key: &XPub) -> Option<Self> {
        let verifying: &VerifyingKey = key.as_ref();
        let compressed = verifying.to_sec1_point(true).as_bytes().try_into().ok()?;
        let XKeyInfo { chain_code, .. } = key.as_ref();
        Some(Self { point: ProjectivePoint::from(*verifying.as_affine()), compressed, code: chain_code.0 })
    }

    /// `CKDpub` of BIP-32 for a child that is not hardened. `None` where it gives no key, see [`child`].
    fn child(&self, index: u32) -> Option<VerifyingKey> {
        let mut mac = Hmac::<Sha512>::new_from_slice(&self.code).ok()?;
        mac.update(&self.compressed);
        mac.update(&index.to_be_bytes());
        let digest = mac.finalize().into_bytes();
        let (left, _) = digest.split_first_chunk::<32>()?;
        let tweak = Option::<Scalar>::from(Scalar::from_repr(FieldBytes::from(*left)))?;
        if bool::from(tweak.is_zero()) {
            return None;
        }
        // A sum of nothing is no key either, and is refused here.
        VerifyingKey::from_affine(AffinePoint::from(ProjectivePoint::mul_by_generator(&tweak) + self.point)).ok()
    }
}

/// The words of an entropy, in the English list of BIP-39.
pub(crate) fn words(entropy: &[u8]) -> Option<Zeroizing<String>> {
    Some(mnemonic(entropy)?.to_phrase())
}

fn mnemonic(entropy: &[u8]) -> Option<Mnemonic<English>> {
    Some(Mnemonic::new_from_entropy(Entropy::from_slice(entropy).ok()?))
}

/// The child at exactly `index`. The library steps to the next index where BIP-32 gives no key; here that is `None`,
/// because two paths must never lead to one address.
fn child<K: Parent + AsRef<XKeyInfo>>(parent: &K, index: u32) -> Option<K> {
    parent.derive_child(index).ok().filter(|child| AsRef::<XKeyInfo>::as_ref(child).index == index)
}

/// The last 20 bytes of the Keccak-256 hash of the uncompressed point without its leading tag byte.
fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    let hash: [u8; 32] = Keccak256::digest(point.as_bytes().get(1..).unwrap_or_default()).into();
    let mut address = [0; 20];
    address.copy_from_slice(hash.split_at(12).1);
    Address::new(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST_WORDS: &str = "test test test test test test test test test test test junk";

    fn tree() -> (AddressTree, Mnemonic<English>) {
        let mnemonic: Mnemonic<English> = TEST_WORDS.parse().expect("the words have a valid checksum");
        let tree = AddressTree::from_entropy(mnemonic.entropy().as_bytes()).expect("a usable seed");
        (tree, mnemonic)
    }

    /// The accounts that anvil and hardhat print at start.
    #[test]
    fn derives_the_accounts_of_the_well_known_test_words() {
        let (tree, _) = tree();
        let known = [
            (0, 0, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
            (0, 1, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
            (0, 2, "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
            (0, 9, "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"),
        ];
        for (account, index, address) in known {
            assert_eq!(tree.derive(account, index).map(|found| found.to_string()), Ok(address.to_owned()));
        }
    }

    #[test]
    fn gives_the_same_address_by_the_public_and_by_the_private_path() {
        let (tree, mnemonic) = tree();
        for (account, index) in [(0, 0), (1, 0), (1, 5), (7, 1_000_000), (0x7fff_ffff, 0x7fff_ffff)] {
            let path = format!("m/44'/60'/{account}'/0/{index}");
            let private = mnemonic.derive_key(path.as_str(), None).expect("a usable path");
            let expected = address_of(private.verify_key().as_ref());
            assert_eq!(tree.derive(account, index), Ok(expected), "{path}");
            assert_eq!(tree.derive(account, index), Ok(expected), "{path} again, from the cache");
        }
    }

    #[test]
    fn gives_what_the_library_gives() {
        let (tree, _) = tree();
        for account in [0, 3, 0x7fff_fffe] {
            let account_key = child(&tree.coin, BIP32_HARDEN | account).expect("a usable path").verify_key();
            let chain = child(&account_key, EXTERNAL_CHAIN).expect("a usable path");
            for index in (0..200).chain([0x7fff_ffff, 0x0102_0304]) {
                let expected = child(&chain, index).map(|key| address_of(key.as_ref())).expect("a usable path");
                assert_eq!(tree.derive(account, index), Ok(expected), "{account}/{index}");
            }
        }
    }

    #[test]
    fn refuses_numbers_that_would_leave_their_level() {
        let (tree, _) = tree();
        for (account, index) in [(0x8000_0000, 0), (0, 0x8000_0000), (u32::MAX, u32::MAX)] {
            assert_eq!(tree.derive(account, index), Err(DeriveError::OutOfRange { account, index }));
        }
    }

    #[test]
    fn keeps_a_bounded_number_of_accounts_at_hand() {
        let (tree, _) = tree();
        let key = tree.external_chain(0).expect("a usable path");
        *tree.lock_chains() = (0..4_096).map(|account| (account + 10, key)).collect();
        let before = tree.derive(1, 0);
        assert_eq!(tree.lock_chains().len(), ACCOUNTS_CACHED_MAX);
        assert!(tree.lock_chains().contains_key(&1));
        assert_eq!(tree.derive(1, 0), before);
    }

    #[test]
    fn writes_the_words_of_an_entropy() {
        let (_, mnemonic) = tree();
        assert_eq!(words(mnemonic.entropy().as_bytes()).as_deref().map(String::as_str), Some(TEST_WORDS));
        assert!(words(&[0; 31]).is_none());
    }
}
