//! The two ways in which requests are signed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use xthonpay_domain::access::SignatureScheme;

use crate::port::vault::Secret;

/// Length of an HMAC-SHA256 in hexadecimal.
pub const SIGNATURE_HEX_LEN: usize = 64;

/// What a signature of the scheme `request` covers besides the time stamp.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method in upper case.
    pub method: &'a str,
    /// The path as it was sent, without the query.
    pub path: &'a str,
    /// The body as it was sent.
    pub body: &'a [u8],
}

impl RequestParts<'_> {
    /// SHA-256 of `"{METHOD}\n{path}\n"` and the body. Neither method nor path holds a line feed, so no two requests have the
    /// same text.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [self.method, "\n", self.path, "\n"] {
            hash.update(part.as_bytes());
        }
        hash.update(self.body);
        hash.finalize().into()
    }
}

/// The signature in lower-case hexadecimal.
///
/// `request` signs `"{timestamp}\n{METHOD}\n{path}\n"` and the body; `timestamp` signs the time stamp alone.
#[must_use]
pub fn hex_signature(
    secret: &Secret,
    scheme: SignatureScheme,
    timestamp: &str,
    parts: &RequestParts<'_>,
) -> [u8; SIGNATURE_HEX_LEN] {
    let mut digits = [b'0'; SIGNATURE_HEX_LEN];
    // HMAC takes keys of any length, and 32 bytes fill 64 digits: neither call can fail.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose()) {
        mac.update(timestamp.as_bytes());
        match scheme {
            SignatureScheme::Timestamp => {}
            SignatureScheme::Request => {
                for part in ["\n", parts.method, "\n", parts.path, "\n"] {
                    mac.update(part.as_bytes());
                }
                mac.update(parts.body);
            }
        }
        let _ = hex::encode_to_slice(mac.finalize().into_bytes(), &mut digits);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(scheme: SignatureScheme, timestamp: &str, method: &str, path: &str, body: &[u8]) -> String {
        let secret = Secret::new(b"xps_live_0123456789abcdef".to_vec());
        let digits = hex_signature(&secret, scheme, timestamp, &RequestParts { method, path, body });
        String::from_utf8(digits.to_vec()).expect("hexadecimal")
    }

    /// The figures come from Python's `hmac` module; `tests/vectors/signatures.json` holds more of them.
    #[test]
    fn equals_an_independent_implementation() {
        let body = br#"{"amount":"50.00"}"#;
        assert_eq!(
            sign(SignatureScheme::Request, "1700000000", "POST", "/api/v1/invoices", body),
            "34048e1c2d3fdef5ac07a32d9a5a72b2155860806ee7c63220ea49f55a3a7bd5"
        );
        assert_eq!(
            sign(SignatureScheme::Timestamp, "1700000000", "POST", "/x", body),
            "a3fd9621840a5a2aca8e4a95061fe062a8e10fbab936874afcc979528696b973"
        );
    }

    #[test]
    fn covers_every_part() {
        let base = sign(SignatureScheme::Request, "1700000000", "POST", "/a", b"{}");
        for other in [
            sign(SignatureScheme::Request, "1700000001", "POST", "/a", b"{}"),
            sign(SignatureScheme::Request, "1700000000", "GET", "/a", b"{}"),
            sign(SignatureScheme::Request, "1700000000", "POST", "/b", b"{}"),
            sign(SignatureScheme::Request, "1700000000", "POST", "/a", b"{ }"),
        ] {
            assert_ne!(base, other);
        }
        let stamp = sign(SignatureScheme::Timestamp, "1700000000", "POST", "/a", b"{}");
        assert_eq!(stamp, sign(SignatureScheme::Timestamp, "1700000000", "GET", "/b", b""));
    }
}
