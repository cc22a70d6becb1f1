//! The records, and what each write expects of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use xthonpay_domain::access::KeyId;
use xthonpay_domain::address::Address;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::{DeliveryId, DepositId, EndpointId, EventId, InvoiceId, MerchantId, PostingId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::ledger::{Balance, Posting};
use xthonpay_domain::text::{ChainName, ItemKey};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::lending::storage::{Item, ItemExpectation, Space};
use xthonpay_payments::port::store::{
    AttestationRecord, Changeset, CommitError, Counter, Cursor, Delivery, Endpoint, KeptAnswer, Key, Merchant,
    OwnAddress, UsedSignature, Write,
};

/// Every record by its id.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Merchants.
    pub merchants: BTreeMap<MerchantId, Merchant>,
    /// Keys, revoked or not.
    pub keys: BTreeMap<KeyId, Key>,
    /// When keys were last used.
    pub key_uses: BTreeMap<KeyId, Timestamp>,
    /// Endpoints, removed or not.
    pub endpoints: BTreeMap<EndpointId, Endpoint>,
    /// Answers that are kept, by merchant, call and key.
    pub answers: BTreeMap<(MerchantId, String, String), KeptAnswer>,
    /// Addresses of ours.
    pub addresses: BTreeMap<Address, OwnAddress>,
    /// Invoices.
    pub invoices: BTreeMap<InvoiceId, Invoice>,
    /// Deposits.
    pub deposits: BTreeMap<DepositId, Deposit>,
    /// Postings.
    pub postings: BTreeMap<PostingId, Posting>,
    /// Balances with their revisions.
    pub balances: BTreeMap<(MerchantId, AssetId), (Balance, u64)>,
    /// Events in the order in which they were stored; shared, since their snapshots are most of what there is to copy.
    pub events: Vec<Arc<Event>>,
    /// Events that have all their deliveries.
    pub routed: BTreeSet<EventId>,
    /// Deliveries.
    pub deliveries: BTreeMap<DeliveryId, Delivery>,
    /// Processed blocks that are remembered.
    pub blocks: BTreeMap<(ChainName, BlockNumber), BlockRef>,
    /// How far chains are processed.
    pub cursors: BTreeMap<ChainName, Cursor>,
    /// Signatures that are used up.
    pub signatures: BTreeMap<(KeyId, String), UsedSignature>,
    /// Values that plugins keep.
    pub plugin_items: BTreeMap<(Space, ItemKey), Item>,
    /// Uses of signers that are lent to plugins, by time and id.
    pub attestations: BTreeMap<(Timestamp, String), AttestationRecord>,
    /// The next number of each counter.
    pub counters: HashMap<Counter, u32>,
}

/// A write whose expectation does not hold.
struct Refused;

/// Whether an expectation holds.
fn expect(holds: bool) -> Result<(), Refused> {
    if holds { Ok(()) } else { Err(Refused) }
}

fn create<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K, value: V) -> Result<(), Refused> {
    expect(table.insert(key, value).is_none())
}

impl Tables {
    /// Stores everything or nothing.
    pub(super) fn apply(&mut self, changes: &Changeset) -> Result<(), CommitError> {
        if changes.writes.is_empty() {
            return Err(CommitError::Refused);
        }
        let mut next = self.clone();
        changes.writes.iter().try_for_each(|write| next.write(write)).map_err(|Refused| CommitError::Refused)?;
        *self = next;
        Ok(())
    }

    fn write(&mut self, write: &Write) -> Result<(), Refused> {
        match write {
            Write::CreateMerchant(merchant) => {
                expect(self.merchants.values().all(|known| known.account != merchant.account))?;
                create(&mut self.merchants, merchant.id.clone(), merchant.clone())
            }
            Write::CreateKey(key) => create(&mut self.keys, key.id.clone(), Key::clone(key)),
            Write::UpdateKey(key) => {
                let stored = self.keys.insert(key.id.clone(), Key::clone(key)).ok_or(Refused)?;
                expect(stored.revision.checked_add(1) == Some(key.revision))
            }
            Write::NoteKeyUse { key, at } => {
                self.key_uses.insert(key.clone(), *at);
                Ok(())
            }
            Write::CreateEndpoint(endpoint) => {
                create(&mut self.endpoints, endpoint.id.clone(), Endpoint::clone(endpoint))
            }
            Write::UpdateEndpoint(endpoint) => {
                let stored = self.endpoints.insert(endpoint.id.clone(), Endpoint::clone(endpoint)).ok_or(Refused)?;
                expect(stored.revision.checked_add(1) == Some(endpoint.revision))
            }
            Write::CreateAddress(own) => create(&mut self.addresses, own.address, own.clone()),
            Write::CreateInvoice(invoice) => self.create_invoice(invoice),
            Write::UpdateInvoice(invoice) => {
                let stored = self.invoices.insert(invoice.id.clone(), Invoice::clone(invoice)).ok_or(Refused)?;
                expect(stored.revision.checked_add(1) == Some(invoice.revision))
            }
            Write::CreateDeposit(deposit) => create(&mut self.deposits, deposit.id.clone(), deposit.clone()),
            Write::UpdateDeposit { before, after } => {
                expect(before.id == after.id)?;
                let stored = self.deposits.insert(after.id.clone(), Deposit::clone(after));
                expect(stored.as_ref() == Some(before.as_ref()))
            }
            Write::Post(posting) => create(&mut self.postings, posting.id().clone(), posting.clone()),
            Write::SetBalance { merchant, asset, balance, from_revision } => {
                let next = (*balance, from_revision.checked_add(1).ok_or(Refused)?);
                let stored = self.balances.insert((merchant.clone(), asset.clone()), next);
                expect(stored.map_or(0, |(_, revision)| revision) == *from_revision)
            }
            Write::CreateEvent(event) => {
                expect(self.events.iter().all(|known| known.id != event.id))?;
                self.events.push(Arc::new(event.clone()));
                Ok(())
            }
            Write::MarkRouted(id) => {
                expect(self.events.iter().any(|event| event.id == *id))?;
                self.routed.insert(id.clone());
                Ok(())
            }
            Write::CreateDelivery(delivery) => {
                create(&mut self.deliveries, delivery.id.clone(), Delivery::clone(delivery))
            }
            Write::UpdateDelivery(delivery) => {
                let stored = self.deliveries.insert(delivery.id.clone(), Delivery::clone(delivery)).ok_or(Refused)?;
                expect(stored.revision.checked_add(1) == Some(delivery.revision))
            }
            Write::PutBlock { chain, block } => {
                self.blocks.insert((chain.clone(), block.number), *block);
                Ok(())
            }
            Write::SetCursor(cursor) => {
                let stored = self.cursors.insert(cursor.chain.clone(), cursor.clone());
                expect(stored.map_or(0, |stored| stored.revision).checked_add(1) == Some(cursor.revision))
            }
            Write::UseSignature(used) => {
                create(&mut self.signatures, (used.key.clone(), used.signature.clone()), used.clone())
            }
            Write::PutItem(write) => {
                let id = (write.space.clone(), write.key.clone());
                let stored = match &write.becomes {
                    Some(item) => self.plugin_items.insert(id, item.clone()),
                    None => self.plugin_items.remove(&id),
                };
                expect(match write.expected {
                    ItemExpectation::Anything => true,
                    ItemExpectation::Absent => stored.is_none(),
                    ItemExpectation::Revision(revision) => stored.is_some_and(|item| item.revision == revision),
                })
            }
            Write::RecordAttestation(record) => create(
                &mut self.attestations,
                (record.statement.at, record.id.clone()),
                AttestationRecord::clone(record),
            ),
            Write::KeepAnswer(kept) => {
                let id = (kept.merchant.clone(), kept.call.clone(), kept.key.to_string());
                create(&mut self.answers, id, KeptAnswer::clone(kept))
            }
        }
    }

    fn create_invoice(&mut self, invoice: &Invoice) -> Result<(), Refused> {
        let same_name = |known: &Invoice| {
            known.merchant == invoice.merchant
                && known.external_id.is_some()
                && known.external_id == invoice.external_id
        };
        expect(!self.invoices.values().any(same_name))?;
        create(&mut self.invoices, invoice.id.clone(), invoice.clone())
    }

    /// Removes at most `limit` rows that are no longer needed; returns how many.
    pub(super) fn forget(&mut self, now: Timestamp, chain: &ChainName, keep_from: BlockNumber, limit: usize) -> usize {
        let old = self.signatures.iter().filter(|(_, used)| used.expires_at < now).map(|(key, _)| key.clone());
        let signatures: Vec<_> = old.take(limit).collect();
        let room = limit.saturating_sub(signatures.len());
        let old = self.answers.iter().filter(|(_, kept)| kept.expires_at < now).map(|(key, _)| key.clone());
        let answers: Vec<_> = old.take(room).collect();
        let room = room.saturating_sub(answers.len());
        let old = self.blocks.keys().filter(|(of, number)| of == chain && *number < keep_from).cloned();
        let blocks: Vec<_> = old.take(room).collect();
        self.signatures.retain(|key, _| !signatures.contains(key));
        self.answers.retain(|key, _| !answers.contains(key));
        self.blocks.retain(|key, _| !blocks.contains(key));
        signatures.len().saturating_add(answers.len()).saturating_add(blocks.len())
    }
}
