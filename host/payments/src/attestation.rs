//! Statements that the host signs for plugins: what exactly is signed, and that every use is on record.
//!
//! A plugin never chooses the bytes that are signed. It says for what purpose and about which message; the statement names
//! the plugin and the merchant as well, each part with its length before it, so that a signature for one purpose, plugin or
//! merchant says nothing about another.

use std::sync::Arc;

use async_trait::async_trait;
use xthonpay_domain::text::LoanLabel;

use crate::port::lending::attestation::{AttestError, Attestation, Attestor, SigningKey, Statement};
use crate::port::random::{Random, bytes};
use crate::port::store::{AttestationRecord, Changeset, CommitError, Store, StoreError, Write};

/// The first part of every statement: no other signature of this host begins like this.
const DOMAIN: &str = "xthonpay-attest-v1";

/// A key of the vault that signs statements, with the record of its uses in the store.
pub struct RecordedSigner {
    /// The operator's name of the signer.
    pub label: LoanLabel,
    /// What signs.
    pub key: Arc<dyn SigningKey>,
    /// Where uses are recorded.
    pub store: Arc<dyn Store>,
    /// Names of records.
    pub random: Arc<dyn Random>,
}

/// The bytes that are signed: `"xthonpay-attest-v1" | plugin | merchant | purpose | SHA-256(message)`, each part with its length
/// as eight bytes, the highest first, before it. A call about nobody has an empty merchant.
#[must_use]
pub fn statement_bytes(statement: &Statement) -> Vec<u8> {
    let merchant = statement.merchant.as_ref().map_or("", |merchant| merchant.as_str());
    let texts = [DOMAIN, statement.plugin.as_str(), merchant, &statement.purpose].map(str::as_bytes);
    let mut joined = Vec::new();
    for part in texts.into_iter().chain([statement.digest.as_slice()]) {
        joined.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        joined.extend(part);
    }
    joined
}

#[async_trait]
impl Attestor for RecordedSigner {
    fn public_key(&self) -> Vec<u8> {
        self.key.public_key()
    }

    async fn attest(&self, statement: Statement) -> Result<Attestation, AttestError> {
        let signature = self.key.sign(&statement_bytes(&statement));
        let (signer, key_id) = (self.label.clone(), self.key.key_id());
        let id = hex::encode(bytes::<16>(self.random.as_ref()));
        let record = AttestationRecord { id, signer, key_id: key_id.clone(), statement, signature: signature.clone() };
        let recorded = self.store.commit(Changeset::new().with(Write::RecordAttestation(Box::new(record)))).await;
        recorded.map_err(|error| match error {
            CommitError::Store(error) => error,
            CommitError::Refused => StoreError::Unavailable { reason: "the record was refused".to_owned() },
        })?;
        Ok(Attestation { scheme: self.key.scheme(), key_id, signature })
    }
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::id::MerchantId;
    use xthonpay_domain::time::Timestamp;

    use super::*;

    fn statement(plugin: &str, merchant: Option<MerchantId>, purpose: &str) -> Statement {
        let (plugin, purpose) = (plugin.parse().expect("a name"), purpose.to_owned());
        Statement { plugin, merchant, purpose, digest: [7; 32], at: Timestamp::EPOCH }
    }

    #[test]
    fn no_two_statements_have_the_same_bytes() {
        let merchant = MerchantId::from_random([1; 16]);
        let statements = [
            statement("ab", None, "c"),
            statement("a", None, "bc"),
            statement("a", Some(merchant.clone()), "bc"),
            statement("a", Some(MerchantId::from_random([2; 16])), "bc"),
            Statement { digest: [8; 32], ..statement("a", Some(merchant), "bc") },
        ];
        let bytes: std::collections::BTreeSet<_> = statements.iter().map(statement_bytes).collect();
        assert_eq!(bytes.len(), statements.len());
        let plain = statement_bytes(&statement("ab", None, "c"));
        let expected = [b"\0\0\0\0\0\0\0\x12xthonpay-attest-v1", &b"\0\0\0\0\0\0\0\x02ab"[..], &[0; 8]].concat();
        assert!(plain.starts_with(&expected), "{plain:?}");
        assert_eq!(plain.len(), expected.len() + 9 + 40);
    }

    #[test]
    fn the_time_of_a_use_is_on_record_and_not_signed() {
        let early = statement("a", None, "b");
        let late = Statement { at: Timestamp::from_secs(9), ..early.clone() };
        assert_eq!(statement_bytes(&early), statement_bytes(&late));
    }
}
