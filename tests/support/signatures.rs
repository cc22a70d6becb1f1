//! The four signatures of the platform, from their published rules: two for requests, two for webhooks.
//!
//! Written independently of the host. `tests/vectors/signatures.json` ties this, the host and two implementations by others
//! to the same figures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::BoxError;

/// The scheme `timestamp`: hexadecimal HMAC-SHA256 of the time stamp's digits.
#[must_use]
pub fn timestamp_scheme(secret: &str, timestamp: &str) -> String {
    hex::encode(hmac(secret.as_bytes(), &[timestamp.as_bytes()]))
}

/// The scheme `request`: hexadecimal HMAC-SHA256 of time stamp, method and path, each with a line feed behind it, and body.
#[must_use]
pub fn request_scheme(secret: &str, timestamp: &str, method: &str, path: &str, body: &[u8]) -> String {
    let head = format!("{timestamp}\n{method}\n{path}\n");
    hex::encode(hmac(secret.as_bytes(), &[head.as_bytes(), body]))
}

/// The header `X-Xthon-Signature`: hexadecimal HMAC-SHA256 of the body, keyed with the text of the webhook secret.
#[must_use]
pub fn xthon_webhook(secret: &str, body: &[u8]) -> String {
    hex::encode(hmac(secret.as_bytes(), &[body]))
}

/// One entry of the header `webhook-signature`: `v1,` and base64, keyed with the bytes that the webhook secret encodes.
///
/// # Errors
/// When the secret is not `whsec_` and base64.
pub fn standard_webhook(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> Result<String, BoxError> {
    let encoded = secret.strip_prefix("whsec_").ok_or("a webhook secret begins with whsec_")?;
    let key = STANDARD.decode(encoded)?;
    let head = format!("{id}.{timestamp}.");
    Ok(format!("v1,{}", STANDARD.encode(hmac(&key, &[head.as_bytes(), body]))))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
