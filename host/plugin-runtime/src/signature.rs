//! Signatures of components: who released one is shown by a minisign signature beside it, `NAME.wasm.minisig`.

use core::fmt;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use minisign_verify::{PublicKey, Signature};
use serde::Deserialize;
use thiserror::Error;

/// A signature with both of its comments is a few hundred bytes.
const FILE_BYTES_MAX: u64 = 8 * 1_024;

/// The public key of somebody who releases plugins: the second line of a minisign `.pub` file.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct ReleaseKey {
    text: String,
    key: PublicKey,
}

/// A text that is no public key of minisign.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a public key of minisign: write the line of its .pub file that begins with RW")]
pub struct ReleaseKeyError;

impl ReleaseKeyError {
    /// Always `false`: the same text fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl TryFrom<String> for ReleaseKey {
    type Error = ReleaseKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let key = PublicKey::from_base64(&text).map_err(|_| ReleaseKeyError)?;
        Ok(Self { text, key })
    }
}

impl fmt::Debug for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A component that was not released by the holder of the key.
#[derive(Debug, Error)]
pub enum SignatureFault {
    /// There is no signature that can be read.
    #[error(
        "its signature {} cannot be read: {source}. Put the released file there, or remove the key `minisign`",
        path.display()
    )]
    Io {
        /// Where the signature should be.
        path: PathBuf,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// The signature is by another key, of another file, or none.
    #[error("{} is no signature of this component by the key `minisign`: {detail}", path.display())]
    Refused {
        /// The signature.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl SignatureFault {
    /// Whether the same check may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

/// Where the signature of a component is.
#[must_use]
pub fn path_beside(component: &Path) -> PathBuf {
    let mut path = OsString::from(component);
    path.push(".minisig");
    path.into()
}

impl ReleaseKey {
    /// Checks the signature of a component that was read. Only signatures of the file's digest are taken, which minisign has made
    /// by default since 2021.
    ///
    /// # Errors
    /// [`SignatureFault`].
    pub(crate) fn check(&self, component: &Path, bytes: &[u8]) -> Result<(), SignatureFault> {
        let path = path_beside(component);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        read.map_err(|source| SignatureFault::Io { path: path.clone(), source })?;
        let refused =
            |error: minisign_verify::Error| SignatureFault::Refused { path: path.clone(), detail: error.to_string() };
        let signature = Signature::decode(&text).map_err(refused)?;
        self.key.verify(bytes, &signature, false).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation of minisign-verify: the text `test`, signed by this key.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

    fn check(key: &str, bytes: &[u8], signature: Option<&str>) -> Result<(), SignatureFault> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let component = folder.path().join("mine.wasm");
        if let Some(text) = signature {
            std::fs::write(folder.path().join("mine.wasm.minisig"), text).expect("written");
        }
        ReleaseKey::try_from(key.to_owned()).expect("a key").check(&component, bytes)
    }

    #[test]
    fn takes_what_the_holder_of_the_key_signed() {
        check(KEY, b"test", Some(SIGNATURE)).expect("signed");
    }

    #[test]
    fn refuses_every_other_file_key_and_signature() {
        assert!(matches!(check(KEY, b"test", None), Err(SignatureFault::Io { .. })), "no signature");
        let cut = &SIGNATURE[..SIGNATURE.len() - 30];
        let other = SIGNATURE
            .replace("Q559", "Q558")
            .replace("trusted comment: timestamp:1633700835", "trusted comment: timestamp:1733700835");
        for (bytes, signature) in [(&b"Test"[..], SIGNATURE), (b"test", cut), (b"test", ""), (b"test", &other)] {
            let refused = check(KEY, bytes, Some(signature));
            assert!(matches!(refused, Err(SignatureFault::Refused { .. })), "{signature}");
        }
        let stranger = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO2";
        assert!(check(stranger, b"test", Some(SIGNATURE)).is_err());
        for text in ["", "RW", "AAAA", "untrusted comment"] {
            assert!(ReleaseKey::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
