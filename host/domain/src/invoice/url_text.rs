//! The text of a callback URL: bounded and plain. Whether its host may be called is decided where connections are made.

use core::fmt;
use core::str::FromStr;

use crate::text::TextError;

/// An `http` or `https` URL as the merchant wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackUrl(String);

impl CallbackUrl {
    /// The longest URL, in bytes: what browsers and proxies have long agreed to carry.
    pub const LEN_MAX: usize = 2_048;

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CallbackUrl {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        if text.len() > Self::LEN_MAX {
            Err(TextError::TooLong { max: Self::LEN_MAX })
        } else if rest.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            Err(TextError::Character { allowed: "must be an http:// or https:// URL of printable ASCII" })
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_no_url_looks_like() {
        for text in
            ["", "https://", "ftp://a", "javascript:x", "https://a b", "http:\\\\host", "https://a\tb", "https://ｅ"]
        {
            assert!(text.parse::<CallbackUrl>().is_err(), "{text:?}");
        }
        assert!(format!("https://a/{}", "x".repeat(2_048)).parse::<CallbackUrl>().is_err());
        assert!("https://shop.example/hook?x=1".parse::<CallbackUrl>().is_ok());
    }
}
