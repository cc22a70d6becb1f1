//! Merchants and their test twins.
//!
//! Secrets are made here, returned once in plain to the caller, and stored sealed.
//!
//! What is done with test keys belongs to a merchant of its own, the test twin of the merchant that it tries things out for.
//! So nothing but the separation of tenants keeps play money and real money apart, and that is tested everywhere. A twin's id
//! follows from the id of its merchant, so there can be one only.
//!
//! A merchant's account in the derivation tree is drawn at random and not counted: a count would start over at the account of
//! a merchant that a restored backup does not know, and give that merchant's addresses, to which customers may still pay, to
//! another one.

use std::sync::Arc;

use thiserror::Error;
use tracing::warn;
use xthonpay_domain::access::Mode;
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::Label;
use zeroize::Zeroizing;

use crate::delivery::signing::fresh_secret;
use crate::port::clock::Clock;
use crate::port::random::{Random, bytes};
use crate::port::signer::{AddressSource, DeriveError};
use crate::port::store::{Changeset, CommitError, Counter, Key, Merchant, OwnAddress, Store, StoreError, Write};
use crate::port::vault::{Purpose, Vault};
use crate::scanning::watch_set::WatchSet;

/// Accounts of derivation paths are hardened, which leaves 31 bits.
const ACCOUNT_MASK: u32 = 0x7fff_ffff;

/// Accounts that are drawn before a new merchant is given up. With 100,000 merchants one draw in 20,000 meets a taken one; so
/// many in a row mean that the store refuses for another reason.
const DRAWS_MAX: u32 = 8;

/// What follows the name of a merchant in the name of its test twin.
const TWIN_SUFFIX: &str = " (test)";

/// Makes merchants.
#[derive(Clone)]
pub struct Merchants {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Seals the secrets.
    pub vault: Arc<dyn Vault>,
    /// Derives the deposit address.
    pub addresses: Arc<dyn AddressSource>,
    /// The addresses that the scanners look for.
    pub watch: Arc<WatchSet>,
    /// Time of the records.
    pub clock: Arc<dyn Clock>,
    /// Ids and secrets.
    pub random: Arc<dyn Random>,
}

/// A merchant as it is shown once, with the plain webhook secret.
pub struct NewMerchant {
    /// The record.
    pub merchant: Merchant,
    /// The address for deposits without an invoice.
    pub deposit_address: OwnAddress,
    /// `whsec_` and base64: signs webhooks.
    pub webhook_secret: Zeroizing<String>,
}

/// A merchant that was not made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MerchantError {
    /// It is there already.
    #[error("the merchant {0} exists")]
    Exists(MerchantId),
    /// No address could be derived.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records were not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl MerchantError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Exists(_) | Self::Derive(_) => false,
            Self::Store(error) => error.is_transient(),
            Self::Commit(error) => error.is_transient(),
        }
    }
}

impl Merchants {
    /// Makes a merchant with an account of its own in the derivation tree, a deposit address and a webhook secret.
    ///
    /// # Errors
    /// [`MerchantError`].
    pub async fn create(&self, name: Label) -> Result<NewMerchant, MerchantError> {
        let id = MerchantId::from_random(bytes(self.random.as_ref()));
        self.make(&id, Mode::Live, &name, None).await
    }

    /// Makes the test twin of a merchant together with its first key, which must name [`twin_id`] as its owner.
    ///
    /// # Errors
    /// [`MerchantError::Exists`] when the twin is there; the key is not stored then.
    pub(crate) async fn create_twin(&self, live: &Merchant, first_key: &Key) -> Result<NewMerchant, MerchantError> {
        let id = twin_id(&live.id);
        if self.store.merchant(&id).await?.is_some() {
            return Err(MerchantError::Exists(id));
        }
        self.make(&id, Mode::Test, &twin_name(&live.name), Some(first_key)).await
    }

    async fn make(
        &self,
        id: &MerchantId,
        mode: Mode,
        name: &Label,
        first_key: Option<&Key>,
    ) -> Result<NewMerchant, MerchantError> {
        let index = self.store.take_numbers(&Counter::AddressIndex(id.clone()), 1).await?;
        let webhook_secret = fresh_secret(self.random.as_ref());
        let sealed = self.vault.seal(Purpose::WebhookSecret, id.as_str(), webhook_secret.as_bytes());
        let created_at = self.clock.now();
        for _ in 0..DRAWS_MAX {
            let account = u32::from_be_bytes(bytes(self.random.as_ref())) & ACCOUNT_MASK;
            let address = match self.addresses.derive(account, index) {
                Ok(address) => address,
                Err(DeriveError::Unusable { account, index }) => {
                    warn!(account, index, "this path has no key; another account is drawn");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let (id, name, webhook_secret_sealed) = (id.clone(), name.clone(), sealed.clone());
            let merchant = Merchant { id, account, mode, name, created_at, webhook_secret: webhook_secret_sealed };
            let deposit_address = OwnAddress { address, merchant: merchant.id.clone(), invoice: None, index };
            let mut changes = Changeset::new()
                .with(Write::CreateMerchant(merchant.clone()))
                .with(Write::CreateAddress(deposit_address.clone()));
            changes.writes.extend(first_key.map(|key| Write::CreateKey(Box::new(key.clone()))));
            // Before the record exists, see the watch set.
            self.watch.insert(address);
            match self.store.commit(changes).await {
                Ok(()) => return Ok(NewMerchant { merchant, deposit_address, webhook_secret }),
                Err(CommitError::Refused) if self.store.merchant(&merchant.id).await?.is_some() => {
                    return Err(MerchantError::Exists(merchant.id));
                }
                // Somebody has the account, or its address was claimed as one that a lost merchant had.
                Err(CommitError::Refused) => warn!(account, "this account is taken; another one is drawn"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Refused.into())
    }
}

/// The id of the test twin of a merchant.
#[must_use]
pub fn twin_id(live: &MerchantId) -> MerchantId {
    MerchantId::from_fact(&[Mode::Test.name(), live.as_str()])
}

/// The merchant's name and [`TWIN_SUFFIX`]; the end of a long name gives way.
fn twin_name(live: &Label) -> Label {
    let room = Label::LEN_MAX.saturating_sub(TWIN_SUFFIX.len());
    let mut name = String::with_capacity(Label::LEN_MAX);
    for character in live.as_str().chars() {
        if name.len().saturating_add(character.len_utf8()) > room {
            break;
        }
        name.push(character);
    }
    name.push_str(TWIN_SUFFIX);
    // A piece of a label and a plain suffix are a label.
    name.parse().unwrap_or_else(|_| live.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_is_named_after_its_merchant_within_the_length_of_a_name() {
        let table = [
            ("Café".to_owned(), "Café (test)".to_owned()),
            ("x".repeat(64), format!("{} (test)", "x".repeat(57))),
            ("é".repeat(32), format!("{} (test)", "é".repeat(28))),
        ];
        for (live, twin) in table {
            let live: Label = live.parse().expect("a name");
            assert_eq!(twin_name(&live).as_str(), twin);
        }
    }

    #[test]
    fn a_twin_has_an_id_of_its_own_that_follows_from_its_merchant() {
        let live = MerchantId::from_random([7; 16]);
        assert_eq!(twin_id(&live), twin_id(&live));
        assert_ne!(twin_id(&live), live);
        assert_ne!(twin_id(&live), twin_id(&MerchantId::from_random([8; 16])));
    }
}
