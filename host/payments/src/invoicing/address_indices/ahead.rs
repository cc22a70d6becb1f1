//! Which addresses are watched before anybody was given them, and which of those were paid.
//!
//! Every question and its consequence happen under one lock of the owner, so an address is either handed out or claimed, never
//! both. Knows neither store nor derivation.

use std::collections::HashMap;

use xthonpay_domain::address::Address;
use xthonpay_domain::id::MerchantId;

/// Where an address stands in the derivation tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The merchant's account.
    pub(super) account: u32,
    /// The index below it.
    pub(super) index: u32,
}

/// The addresses that are watched ahead: some forty a merchant, 50 bytes each.
#[derive(Default)]
pub(super) struct Ahead {
    places: HashMap<Address, Place>,
    owners: HashMap<u32, MerchantId>,
    /// The highest index of an account that was paid without having been handed out.
    claimed: HashMap<u32, u32>,
}

impl Ahead {
    pub(super) fn insert(&mut self, address: Address, owner: &MerchantId, place: Place) {
        self.places.insert(address, place);
        self.owners.entry(place.account).or_insert_with(|| owner.clone());
    }

    /// Whether the address may be given out; it is no longer ahead then.
    pub(super) fn hand_out(&mut self, address: &Address, place: Place) -> bool {
        if self.claimed(place.account).is_some_and(|claimed| place.index <= claimed) {
            return false;
        }
        self.places.remove(address);
        true
    }

    /// The place of an address and its owner. Nothing up to that place is handed out from now on.
    pub(super) fn claim(&mut self, address: &Address) -> Option<(MerchantId, Place)> {
        let place = *self.places.get(address)?;
        let owner = self.owners.get(&place.account)?.clone();
        let claimed = self.claimed.entry(place.account).or_default();
        *claimed = place.index.max(*claimed);
        Some((owner, place))
    }

    pub(super) fn holds(&self, address: &Address) -> bool {
        self.places.contains_key(address)
    }

    pub(super) fn claimed(&self, account: u32) -> Option<u32> {
        self.claimed.get(&account).copied()
    }
}
