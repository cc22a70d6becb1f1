//! Addresses without keys.

use xthonpay_domain::address::Address;
use xthonpay_payments::port::signer::{AddressSource, DeriveError};

/// Derives addresses that tell their path.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathAddresses;

impl AddressSource for PathAddresses {
    fn derive(&self, account: u32, index: u32) -> Result<Address, DeriveError> {
        let mut bytes = [0xad; 20];
        let path = account.to_be_bytes().into_iter().chain(index.to_be_bytes());
        bytes.iter_mut().zip(path).for_each(|(byte, value)| *byte = value);
        Ok(Address::new(bytes))
    }
}
