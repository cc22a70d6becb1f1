//! How a webhook proves that it comes from this deployment.
//!
//! Both forms go out with every delivery: `X-Xthon-Signature`, the hosted product's own, and the three headers of Standard
//! Webhooks 1.0. They are keyed by one secret, `whsec_` and base64: the first form uses the whole text as its key, the second
//! the decoded bytes, as each of their verifiers does.
//!
//! While a secret is rotated, two are valid. Standard Webhooks has a list for that: `webhook-signature` carries one signature
//! of each, the new one first, and a receiver accepts the delivery if any of them holds. `X-Xthon-Signature` is a single value
//! that verifiers compare as a whole, so a second one would break all of them: it is made with the new secret alone. A receiver that
//! checks only this form has to take over the new secret at the moment of the rotation; what it refuses until then is sent
//! again by the schedule.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use xthonpay_domain::id::EventId;
use xthonpay_domain::time::Timestamp;
use zeroize::Zeroizing;

use crate::port::random::{Random, bytes};
use crate::port::vault::Secret;

/// What every webhook secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// Bytes of a fresh secret: 256 bits, the strength of the HMAC-SHA256 that it keys.
const KEY_BYTES: usize = 32;

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

/// What signs the deliveries to one place.
pub struct SigningSecrets {
    /// The secret that counts.
    pub current: Secret,
    /// The one before it, while receivers may still know only that.
    pub retiring: Option<Secret>,
}

/// The headers that sign `body` as the event `id`, sent at `now`: names in lower case.
///
/// # Errors
/// [`MalformedSecret`].
pub fn headers(
    secrets: &SigningSecrets,
    id: &EventId,
    now: Timestamp,
    body: &[u8],
) -> Result<[(&'static str, String); 4], MalformedSecret> {
    let timestamp = now.as_secs().to_string();
    let parts = [id.as_str().as_bytes(), b".", timestamp.as_bytes(), b".", body];
    let mut standard = standard_signature(&secrets.current, &parts)?;
    if let Some(retiring) = &secrets.retiring {
        standard.push(' ');
        standard.push_str(&standard_signature(retiring, &parts)?);
    }
    Ok([
        ("x-xthon-signature", hex::encode(hmac_sha256(secrets.current.expose(), &[body])?)),
        ("webhook-id", id.to_string()),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", standard),
    ])
}

fn standard_signature(secret: &Secret, parts: &[&[u8]]) -> Result<String, MalformedSecret> {
    Ok(format!("v1,{}", STANDARD.encode(hmac_sha256(&standard_key(secret)?, parts)?)))
}

/// A new webhook secret, as it is shown once.
pub(crate) fn fresh_secret(random: &dyn Random) -> Zeroizing<String> {
    let key = Zeroizing::new(bytes::<KEY_BYTES>(random));
    let digits = Zeroizing::new(STANDARD.encode(key.as_slice()));
    Zeroizing::new(format!("{SECRET_PREFIX}{}", digits.as_str()))
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
    const OTHER: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    const BODY: &[u8] = br#"{"event":"invoice.paid"}"#;

    fn signed(current: &str, retiring: Option<&str>) -> Result<[(&'static str, String); 4], MalformedSecret> {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let secrets = SigningSecrets { current: secret(current), retiring: retiring.map(secret) };
        headers(&secrets, &EventId::from_random([0x11; 16]), Timestamp::from_secs(1_700_000_000), BODY)
    }

    #[test]
    fn refuses_a_secret_of_another_form() {
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_*"] {
            assert_eq!(signed(text, None), Err(MalformedSecret), "{text}");
            assert_eq!(signed(SECRET, Some(text)), Err(MalformedSecret), "{text}");
        }
    }

    /// The figures come from Python's `hmac` module; `tests/vectors/signatures.json` holds more of them.
    #[test]
    fn equals_an_independent_implementation() {
        let signed = signed(SECRET, None).expect("the secret is well-formed");
        assert_eq!(signed[0].1, "68c39b5c67a56ffa77eb2b0b5b2775fcefb755fc94b42e7b805e18b9a82b1984");
        assert_eq!(signed[1].1, "evt_11111111111111111111111111111111");
        assert_eq!(signed[2].1, "1700000000");
        assert_eq!(signed[3].1, "v1,X44qAORYwBsGp5yYY3oL6/gToZrt+4OaXHh9z3kR9Hc=");
    }

    #[test]
    fn two_secrets_sign_side_by_side_and_the_single_value_is_the_new_ones() {
        let one = |secret| signed(secret, None).expect("the secret is well-formed");
        let (new, old) = (one(OTHER), one(SECRET));
        let both = signed(OTHER, Some(SECRET)).expect("both secrets are well-formed");
        assert_eq!(both[0], new[0]);
        assert_eq!(both[3].1, format!("{} {}", new[3].1, old[3].1));
        assert_ne!(new[3].1, old[3].1);
    }
}
