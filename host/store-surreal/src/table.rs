//! The tables, and how a record in one of them is named.
//!
//! The names are part of the stored format: they never change without a migration. No table has a secondary index; what
//! must be found by anything but its id stands in a list, see [`crate::list`].

use surrealdb::types::{Array, RecordId, RecordIdKey, Value};

/// A table of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// Account numbers in derivation paths that are taken.
    Account,
    /// Addresses of ours.
    Address,
    /// Keys of merchants.
    ApiKey,
    /// Uses of signers that are lent to plugins.
    Attestation,
    /// Balances.
    Balance,
    /// Processed blocks.
    Block,
    /// Numbers that are handed out once.
    Counter,
    /// How far each chain is processed.
    Cursor,
    /// Deliveries of events.
    Delivery,
    /// Deposits.
    Deposit,
    /// Webhook endpoints of merchants.
    Endpoint,
    /// Positions in lists.
    Entry,
    /// Events.
    Event,
    /// External ids of invoices that are taken.
    ExternalId,
    /// Invoices.
    Invoice,
    /// Answers that are given again.
    KeptAnswer,
    /// When keys were last used.
    KeyUse,
    /// Merchants.
    Merchant,
    /// Values that plugins keep.
    PluginItem,
    /// Postings of the ledger.
    Posting,
    /// What the last probe wrote.
    Probe,
    /// The version of the schema.
    SchemaVersion,
    /// Signatures that are used up.
    UsedSignature,
}

impl Table {
    /// The name in the store.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Address => "address",
            Self::ApiKey => "api_key",
            Self::Attestation => "attestation",
            Self::Balance => "balance",
            Self::Block => "block",
            Self::Counter => "counter",
            Self::Cursor => "cursor",
            Self::Delivery => "delivery",
            Self::Deposit => "deposit",
            Self::Endpoint => "endpoint",
            Self::Entry => "entry",
            Self::Event => "event",
            Self::ExternalId => "external_id",
            Self::Invoice => "invoice",
            Self::KeptAnswer => "kept_answer",
            Self::KeyUse => "key_use",
            Self::Merchant => "merchant",
            Self::PluginItem => "plugin_item",
            Self::Posting => "posting",
            Self::Probe => "probe",
            Self::SchemaVersion => "schema_version",
            Self::UsedSignature => "used_signature",
        }
    }

    /// The record with this text as its key.
    pub(crate) fn record(self, key: &str) -> RecordId {
        RecordId::new(self.name(), key.to_owned())
    }

    /// The record whose key consists of several parts.
    pub(crate) fn composite(self, parts: Vec<Value>) -> RecordId {
        RecordId::new(self.name(), RecordIdKey::Array(Array::from(parts)))
    }
}

/// A text as a part of a key.
pub(crate) fn text(part: &str) -> Value {
    Value::String(part.to_owned())
}
