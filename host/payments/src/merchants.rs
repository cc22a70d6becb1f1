//! Merchants and their keys.
//!
//! Secrets are made here, returned once in plain to the caller, and stored sealed.
//!
//! A merchant's account in the derivation tree is drawn at random and not counted: a count would start over at the account of
//! a merchant that a restored backup does not know, and give that merchant's addresses, to which customers may still pay, to
//! another one.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use thiserror::Error;
use tracing::warn;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::id::MerchantId;
use xthonpay_domain::text::Label;
use zeroize::Zeroizing;

use crate::port::clock::Clock;
use crate::port::random::{Random, bytes};
use crate::port::signer::{AddressSource, DeriveError};
use crate::port::store::{Changeset, CommitError, Counter, Key, Merchant, OwnAddress, Store, StoreError, Write};
use crate::port::vault::{Purpose, Vault};
use crate::scanning::watch_set::WatchSet;

/// Bytes of a fresh secret: 256 bits, the strength of the HMAC-SHA256 that it keys.
const SECRET_BYTES: usize = 32;

/// Accounts of derivation paths are hardened, which leaves 31 bits.
const ACCOUNT_MASK: u32 = 0x7fff_ffff;

/// Accounts that are drawn before a new merchant is given up. With 100,000 merchants one draw in 20,000 meets a taken one; so
/// many in a row mean that the store refuses for another reason.
const DRAWS_MAX: u32 = 8;

/// Networks that a key's IP list may have. Bounds the work per request.
pub const IP_LIST_MAX: usize = 64;

/// Makes merchants and keys.
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

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// The owner.
    pub merchant: MerchantId,
    /// The owner's name for it.
    pub label: Label,
    /// What it may do; empty means read only.
    pub scopes: Vec<Scope>,
    /// How its requests are signed.
    pub scheme: SignatureScheme,
    /// Real money or simulation.
    pub mode: Mode,
    /// Networks from which it may be used; empty means any.
    pub ip_list: Vec<IpNet>,
}

/// A key as it is shown once, with the plain secret.
pub struct NewKey {
    /// The record.
    pub key: Key,
    /// `xps_live_…` or `xps_test_…`: signs requests.
    pub secret: Zeroizing<String>,
}

/// A merchant or key that was not made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MerchantError {
    /// There is no such merchant.
    #[error("there is no merchant {0}")]
    UnknownMerchant(MerchantId),
    /// The key asks for something that is not allowed.
    #[error("{0}")]
    KeyNotAllowed(&'static str),
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
            Self::UnknownMerchant(_) | Self::KeyNotAllowed(_) | Self::Derive(_) => false,
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
        let index = self.store.take_numbers(&Counter::AddressIndex(id.clone()), 1).await?;
        let secret = Zeroizing::new(bytes::<SECRET_BYTES>(self.random.as_ref()));
        let webhook_secret = Zeroizing::new(format!("whsec_{}", STANDARD.encode(secret.as_slice())));
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
            let (id, name, webhook) = (id.clone(), name.clone(), sealed.clone());
            let merchant = Merchant { id, account, name, created_at, webhook_secret: webhook };
            let deposit_address = OwnAddress { address, merchant: merchant.id.clone(), invoice: None, index };
            let changes = Changeset::new()
                .with(Write::CreateMerchant(merchant.clone()))
                .with(Write::CreateAddress(deposit_address.clone()));
            // Before the record exists, see the watch set.
            self.watch.insert(address);
            match self.store.commit(changes).await {
                Ok(()) => return Ok(NewMerchant { merchant, deposit_address, webhook_secret }),
                // Somebody has the account, or its address was claimed as one that a lost merchant had.
                Err(CommitError::Refused) => warn!(account, "this account is taken; another one is drawn"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommitError::Refused.into())
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`MerchantError::KeyNotAllowed`] for the scope `withdraw`, which needs caps and an address book that do not exist
    /// yet, or for too long an IP list.
    pub async fn create_key(&self, request: KeyRequest) -> Result<NewKey, MerchantError> {
        if request.scopes.contains(&Scope::Withdraw) {
            return Err(MerchantError::KeyNotAllowed(
                "the scope withdraw is not available: this version cannot withdraw",
            ));
        }
        if request.mode == Mode::Test {
            return Err(MerchantError::KeyNotAllowed(
                "test keys are not available: this version has no simulated chain",
            ));
        }
        if request.ip_list.len() > IP_LIST_MAX {
            return Err(MerchantError::KeyNotAllowed("the IP list is longer than 64 networks"));
        }
        if self.store.merchant(&request.merchant).await?.is_none() {
            return Err(MerchantError::UnknownMerchant(request.merchant));
        }
        let id = KeyId::from_random(request.mode, bytes(self.random.as_ref()));
        let digits = Zeroizing::new(hex::encode(Zeroizing::new(bytes::<SECRET_BYTES>(self.random.as_ref()))));
        let secret = Zeroizing::new(format!("xps_{}_{}", request.mode.name(), digits.as_str()));
        let mut scopes = request.scopes;
        scopes.push(Scope::Read);
        scopes.sort_unstable();
        scopes.dedup();
        let key = Key {
            merchant: request.merchant,
            label: request.label,
            scopes,
            scheme: request.scheme,
            ip_list: request.ip_list,
            secret: self.vault.seal(Purpose::ApiSecret, id.as_str(), secret.as_bytes()),
            created_at: self.clock.now(),
            revoked_at: None,
            id,
        };
        self.store.commit(Changeset::new().with(Write::CreateKey(key.clone()))).await?;
        Ok(NewKey { key, secret })
    }
}
