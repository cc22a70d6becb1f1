//! `plugins signed`: the signers that plugins may be lent, and every use of them, page by page. The same answer whether a host
//! runs or not.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use xthonpay_domain::text::LoanLabel;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::attestation::{SigningKey as _, Statement};
use xthonpay_payments::port::store::{AttestationRecord, READ_LIMIT_MAX, Store};
use xthonpay_payments::snapshot::rfc3339;
use xthonpay_signer_local::LocalSigner;

use super::service::AdminError;

/// The path of `plugins signed`.
pub const SIGNED: &str = "/plugins/signed";

/// Which page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskSigned {
    /// Time and id of the last use of the page before, as it was given.
    pub after: Option<String>,
}

/// One page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedPage {
    /// The signers of the config.
    pub signers: Vec<SignerLine>,
    /// Uses, oldest first.
    pub uses: Vec<UseLine>,
    /// What to ask for next, if there may be more.
    pub next: Option<String>,
}

/// A signer of the config.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignerLine {
    /// Its name.
    pub signer: String,
    /// How it signs.
    pub scheme: String,
    /// Names its key.
    pub key_id: String,
    /// Its public key, in hex digits. Publish it: whoever verifies needs it.
    pub public_key: String,
}

/// A use of a signer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UseLine {
    /// RFC 3339.
    pub at: String,
    /// The signer.
    pub signer: String,
    /// The key that signed.
    pub key_id: String,
    /// Which plugin asked.
    pub plugin: String,
    /// The merchant of the call, if it was about one.
    pub merchant_id: Option<String>,
    /// For what.
    pub purpose: String,
    /// SHA-256 of the message, in hex digits.
    pub digest: String,
    /// The signature, in hex digits.
    pub signature: String,
}

/// The signers of a deployment and the record of their uses.
#[derive(Clone)]
pub struct SignedDoor {
    /// The record.
    pub store: Arc<dyn Store>,
    /// The signers.
    pub signers: Vec<SignerLine>,
}

/// What is known about signers.
#[must_use]
pub fn signer_lines(signer: &LocalSigner, labels: &[LoanLabel]) -> Vec<SignerLine> {
    let line = |label: &LoanLabel| {
        let key = signer.attestation_key(label);
        SignerLine {
            signer: label.to_string(),
            scheme: key.scheme().to_owned(),
            key_id: key.key_id(),
            public_key: hex::encode(key.public_key()),
        }
    };
    labels.iter().map(line).collect()
}

/// The route of `plugins signed`.
pub(super) fn router(door: SignedDoor) -> Router {
    Router::new().route(SIGNED, get(signed)).with_state(door)
}

async fn signed(
    State(door): State<SignedDoor>,
    Query(asked): Query<AskSigned>,
) -> Result<Json<SignedPage>, AdminError> {
    Ok(Json(page(&door, &asked).await?))
}

/// A page of the uses.
///
/// # Errors
/// [`AdminError`].
pub async fn page(door: &SignedDoor, asked: &AskSigned) -> Result<SignedPage, AdminError> {
    let after = asked.after.as_deref().and_then(|after| after.split_once('.'));
    let after = after.and_then(|(at, id)| Some((Timestamp::from_millis(at.parse().ok()?), id)));
    let records = door.store.attestations(after, READ_LIMIT_MAX).await?;
    let last = records.last().filter(|_| records.len() >= READ_LIMIT_MAX);
    let next = last.map(|last| format!("{}.{}", last.statement.at.as_millis(), last.id));
    Ok(SignedPage { signers: door.signers.clone(), uses: records.iter().map(use_line).collect(), next })
}

fn use_line(record: &AttestationRecord) -> UseLine {
    let Statement { plugin, merchant, purpose, digest, at } = &record.statement;
    UseLine {
        at: rfc3339(*at),
        signer: record.signer.to_string(),
        key_id: record.key_id.clone(),
        plugin: plugin.to_string(),
        merchant_id: merchant.as_ref().map(ToString::to_string),
        purpose: purpose.clone(),
        digest: hex::encode(digest),
        signature: hex::encode(&record.signature),
    }
}
