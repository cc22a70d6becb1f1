//! Addresses from the sealed seed.

use thiserror::Error;
use xthonpay_domain::address::Address;

/// Derives deposit addresses. The private side stays behind this port.
pub trait AddressSource: Send + Sync {
    /// The address at `m/44'/60'/{account}'/0/{index}`. Equal arguments give equal addresses for ever.
    ///
    /// # Errors
    /// [`DeriveError::OutOfRange`] for an account or index of 2^31 or more, [`DeriveError::Unusable`] for the one path in
    /// about 2^127 that BIP-32 excludes.
    fn derive(&self, account: u32, index: u32) -> Result<Address, DeriveError>;
}

/// A path without an address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DeriveError {
    /// Account or index is 2^31 or more.
    #[error("account {account}, index {index}: both must be below 2^31")]
    OutOfRange {
        /// Account.
        account: u32,
        /// Index.
        index: u32,
    },
    /// BIP-32 gives no key at this path; take the next index.
    #[error("no key exists at account {account}, index {index}")]
    Unusable {
        /// Account.
        account: u32,
        /// Index.
        index: u32,
    },
}

impl DeriveError {
    /// Always `false`: the same path fails the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}
