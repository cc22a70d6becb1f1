//! How a webhook proves that it comes from this deployment.
//!
//! Both forms go out with every delivery: `X-Xthon-Signature`, the hosted product's own, and the three headers of Standard
//! Webhooks 1.0. They are keyed by one secret, `whsec_` and base64: the first form uses the whole text as its key, the second
//! the decoded bytes, as each of their verifiers does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use xthonpay_domain::id::EventId;
use xthonpay_domain::time::Timestamp;
use zeroize::Zeroizing;

use crate::port::vault::Secret;

/// What every webhook secret begins with.
pub const SECRET_PREFIX: &str = "whsec_";

/// The fewest bytes behind the prefix, by the Standard Webhooks specification.
const KEY_BYTES_MIN: usize = 24;

/// A webhook secret that is not `whsec_` and base64 of at least 24 bytes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a stored webhook secret is not whsec_ and base64")]
pub struct MalformedSecret;

impl MalformedSecret {
    /// Always `false`: the same text fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

/// The headers that sign `body` as the event `id`, sent at `now`: names in lower case.
///
/// # Errors
/// [`MalformedSecret`].
pub fn headers(
    secret: &Secret,
    id: &EventId,
    now: Timestamp,
    body: &[u8],
) -> Result<[(&'static str, String); 4], MalformedSecret> {
    let key = standard_key(secret)?;
    let timestamp = now.as_secs().to_string();
    let signed = hmac_sha256(&key, &[id.as_str().as_bytes(), b".", timestamp.as_bytes(), b".", body])?;
    Ok([
        ("x-xthon-signature", hex::encode(hmac_sha256(secret.expose(), &[body])?)),
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(signed))),
    ])
}

fn standard_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, MalformedSecret> {
    let encoded = secret.expose().strip_prefix(SECRET_PREFIX.as_bytes()).ok_or(MalformedSecret)?;
    let key = STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| MalformedSecret)?;
    if key.len() < KEY_BYTES_MIN { Err(MalformedSecret) } else { Ok(key) }
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Result<[u8; 32], MalformedSecret> {
    // HMAC takes keys of any length, so the error cannot occur.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| MalformedSecret)?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn refuses_a_secret_of_another_form() {
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_*"] {
            let secret = Secret::new(text.as_bytes().to_vec());
            let signed = headers(&secret, &EventId::from_random([0; 16]), Timestamp::EPOCH, b"{}");
            assert_eq!(signed, Err(MalformedSecret), "{text}");
        }
    }

    /// The figures come from Python's `hmac` module; `tests/vectors/signatures.json` holds more of them.
    #[test]
    fn equals_an_independent_implementation() {
        let secret = Secret::new(SECRET.as_bytes().to_vec());
        let id = EventId::from_random([0x11; 16]);
        let signed = headers(&secret, &id, Timestamp::from_secs(1_700_000_000), br#"{"event":"invoice.paid"}"#);
        let signed = signed.expect("the secret is well-formed");
        assert_eq!(signed[0].1, "68c39b5c67a56ffa77eb2b0b5b2775fcefb755fc94b42e7b805e18b9a82b1984");
        assert_eq!(signed[1].1, "evt_11111111111111111111111111111111");
        assert_eq!(signed[2].1, "1700000000");
        assert_eq!(signed[3].1, "v1,X44qAORYwBsGp5yYY3oL6/gToZrt+4OaXHh9z3kR9Hc=");
    }
}
