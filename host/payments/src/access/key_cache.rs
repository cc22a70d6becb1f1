//! Keys with their opened secrets, kept for at most a second.
//!
//! Opening a secret and reading its row cost more than the rest of a request. A second is how long a revocation may take to
//! be obeyed, so nothing here lives longer without being read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use xthonpay_domain::access::{KeyId, Mode, SignatureScheme};
use xthonpay_domain::id::{ID_BYTES, MerchantId};
use xthonpay_domain::time::Timestamp;

use crate::access::AccessError;
use crate::port::store::{Key, Store};
use crate::port::vault::{Purpose, Sealed, Secret, Vault};

/// How long a key is believed without reading it again: the bound on how late a revocation takes effect.
pub const KEY_AGE_MAX: Duration = Duration::from_secs(1);
/// Keys held at most, about 1 KiB each. Beyond it the cache starts anew.
const KEYS_MAX: usize = 10_000;

/// A key whose secret is open.
pub struct OpenKey {
    /// The record.
    pub key: Arc<Key>,
    /// The plain secret.
    pub secret: Secret,
}

impl OpenKey {
    /// Stands in for a key that does not exist, so that the work done does not tell.
    pub(crate) fn dummy() -> Self {
        let label = "-".parse().ok();
        let key = label.map(|label| Key {
            id: KeyId::from_random(Mode::Live, [0; 12]),
            merchant: MerchantId::from_random([0; ID_BYTES]),
            label,
            scopes: Vec::new(),
            scheme: SignatureScheme::Request,
            ip_list: Vec::new(),
            secret: Sealed(Vec::new()),
            requests_per_minute: None,
            daily_withdraw_caps: Vec::new(),
            withdraw_addresses: Vec::new(),
            created_at: Timestamp::EPOCH,
            expires_at: None,
            revoked_at: None,
            replaced_by: None,
            revision: 1,
        });
        // A one-letter label always parses.
        Self { key: Arc::new(key.expect("a dash is a label")), secret: Secret::new(vec![0; 73]) }
    }
}

/// A bounded cache in front of the store and the vault.
pub struct KeyCache {
    store: Arc<dyn Store>,
    vault: Arc<dyn Vault>,
    open: Mutex<HashMap<KeyId, (Instant, Arc<OpenKey>)>>,
}

impl KeyCache {
    /// An empty cache.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, vault: Arc<dyn Vault>) -> Self {
        Self { store, vault, open: Mutex::new(HashMap::new()) }
    }

    /// The key, at most [`KEY_AGE_MAX`] old, or `None` when there is none.
    ///
    /// # Errors
    /// [`AccessError::Store`] or [`AccessError::Vault`].
    pub async fn get(&self, id: &KeyId) -> Result<Option<Arc<OpenKey>>, AccessError> {
        if let Some(open) = self.fresh(id) {
            return Ok(Some(open));
        }
        // The age counts from before the read: what is read may be changed while it is on its way.
        let read_at = Instant::now();
        let Some(key) = self.store.key(id).await? else { return Ok(None) };
        let secret = self.vault.open(Purpose::ApiSecret, id.as_str(), &key.secret)?;
        let open = Arc::new(OpenKey { key: Arc::new(key), secret });
        let mut cached = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= KEYS_MAX {
            cached.clear();
        }
        cached.insert(id.clone(), (read_at, Arc::clone(&open)));
        Ok(Some(open))
    }

    fn fresh(&self, id: &KeyId) -> Option<Arc<OpenKey>> {
        let cached = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        cached.get(id).filter(|(read_at, _)| read_at.elapsed() < KEY_AGE_MAX).map(|(_, open)| Arc::clone(open))
    }
}
