//! Changes, and what must hold for them.

use thiserror::Error;
use xthonpay_domain::access::KeyId;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{EventId, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::{Balance, Posting};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;

use super::StoreError;
use super::records::{
    AttestationRecord, Cursor, Delivery, Endpoint, KeptAnswer, Key, Merchant, OwnAddress, UsedSignature,
};
use crate::port::lending::storage::ItemWrite;

/// One change with its expectation.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new merchant. Expects that neither id nor account exist.
    CreateMerchant(Merchant),
    /// A new key. Expects that the id does not exist.
    CreateKey(Box<Key>),
    /// A changed key, whose `revision` is one above the stored one. Expects that stored revision.
    UpdateKey(Box<Key>),
    /// When a key was last used. Replaces what was noted before.
    NoteKeyUse {
        /// The key.
        key: KeyId,
        /// When.
        at: Timestamp,
    },
    /// A new endpoint. Expects that the id does not exist.
    CreateEndpoint(Box<Endpoint>),
    /// A changed endpoint, whose `revision` is one above the stored one. Expects that stored revision.
    UpdateEndpoint(Box<Endpoint>),
    /// A new address of ours. Expects that the address does not exist.
    CreateAddress(OwnAddress),
    /// A new invoice. Expects that neither its id nor, if it has one, its `(merchant, external_id)` exist.
    CreateInvoice(Box<Invoice>),
    /// A changed invoice, whose `revision` is one above the stored one. Expects that stored revision.
    UpdateInvoice(Box<Invoice>),
    /// A new deposit. Expects that the id does not exist.
    CreateDeposit(Deposit),
    /// A changed deposit. Expects that the stored one equals `before`.
    UpdateDeposit {
        /// As it was read.
        before: Box<Deposit>,
        /// As it shall be.
        after: Box<Deposit>,
    },
    /// A new posting. Expects that the id does not exist.
    Post(Posting),
    /// A merchant's balance. Expects the stored revision, 0 when there is none yet.
    SetBalance {
        /// Whose.
        merchant: MerchantId,
        /// Of what.
        asset: AssetId,
        /// The balance after the change.
        balance: Balance,
        /// The revision that was read.
        from_revision: u64,
    },
    /// A new event, not yet routed. Gets the next position in its merchant's feed. Expects that the id does not exist.
    CreateEvent(Event),
    /// An event has all its deliveries. Expects that the event exists.
    MarkRouted(EventId),
    /// A new delivery. Expects that the id does not exist.
    CreateDelivery(Box<Delivery>),
    /// A changed delivery, whose `revision` is one above the stored one. Expects that stored revision.
    UpdateDelivery(Box<Delivery>),
    /// A processed block. Replaces the block that was stored at the same height.
    PutBlock {
        /// The chain.
        chain: ChainName,
        /// The block.
        block: BlockRef,
    },
    /// How far a chain is processed; `revision` is one above the stored one, or 1 when there is none yet.
    SetCursor(Cursor),
    /// A signature that is used up. Expects that it was not used before.
    UseSignature(UsedSignature),
    /// A value that a plugin keeps, or keeps no longer. Expects what it says.
    PutItem(Box<ItemWrite>),
    /// A use of a signer that is lent to plugins.
    RecordAttestation(Box<AttestationRecord>),
    /// An answer that is kept. Expects that none is kept for the same merchant, call and key.
    KeepAnswer(Box<KeptAnswer>),
}

/// Changes that are stored as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Changeset {
    /// The changes; at least one.
    pub writes: Vec<Write>,
}

impl Changeset {
    /// No change yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a change.
    pub fn push(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// The set with one more change.
    #[must_use]
    pub fn with(mut self, write: Write) -> Self {
        self.push(write);
        self
    }
}

impl FromIterator<Write> for Changeset {
    fn from_iter<I: IntoIterator<Item = Write>>(writes: I) -> Self {
        Self { writes: writes.into_iter().collect() }
    }
}

/// A changeset that was not stored.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CommitError {
    /// An expectation does not hold: a record exists already, is gone, or has another revision. Nothing was stored.
    /// Read again and decide anew.
    #[error("the records changed in the meantime")]
    Refused,
    /// The store failed. Nothing was stored, or the store checked that the whole changeset is stored before it said so.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommitError {
    /// Whether the same changeset may be stored later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused => false,
            Self::Store(error) => error.is_transient(),
        }
    }
}
