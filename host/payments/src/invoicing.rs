//! Making, reading and deciding about invoices.

pub mod address_indices;
mod cancel;
pub mod decision;
mod resolve;

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Mutex;
use tracing::warn;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::Asset;
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::id::{DepositId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::assessment::Assessment;
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::invoice::{Invoice, Proposal, Terms, TermsError};
use xthonpay_domain::text::{CustomerRef, ExternalId, MetadataKey, MetadataValue};
use xthonpay_domain::time::Timestamp;

use crate::access::{Answering, Principal};
use crate::catalog::Catalog;
use crate::delivery::audience::Audience;
use crate::delivery::listeners::Listeners;
use crate::plugin_storage::{are_outdated, keep};
use crate::port::clock::Clock;
use crate::port::egress::{EgressError, WebhookTransport};
use crate::port::hooks::{Draft, HookFailure, Hooks};
use crate::port::lending::storage::ItemWrite;
use crate::port::random::{Random, bytes};
use crate::port::signer::DeriveError;
use crate::port::store::{Changeset, CommitError, InvoiceFilter, OwnAddress, PaymentFilter, Store, StoreError, Write};
use crate::reassess::invoice_event;
use crate::rules::{DraftRefused, RuledDraft, builtin_proposal, rule_on_draft};
use crate::scanning::watch_set::WatchSet;
use crate::snapshot::InvoiceSnapshot;
use crate::wake::Wakeups;
use address_indices::{AddressIndices, NextAddressError};

/// How often the rules are asked about one request because what they keep was changed by other calls. From the second time on
/// such calls go one after the other, so that only calls that are new can be in the way.
const RULINGS_MAX: usize = 16;

/// What a merchant asks for. Every value is valid by its type; what they mean together is judged here.
#[derive(Clone, Debug)]
pub struct NewInvoice {
    /// What to be paid in.
    pub asset: Asset,
    /// How much; above zero.
    pub due: Amount,
    /// The merchant's own name of the order.
    pub external_id: Option<ExternalId>,
    /// The merchant's own name of the customer.
    pub customer: Option<CustomerRef>,
    /// The merchant's own notes.
    pub metadata: Vec<(MetadataKey, MetadataValue)>,
    /// Where webhooks go.
    pub callback_url: Option<CallbackUrl>,
    /// The expiry asked for, in seconds.
    pub expires_in_s: Option<u32>,
}

/// The invoice of a creation call.
#[derive(Clone, Debug)]
pub enum Created {
    /// Made by this call.
    New(Invoice),
    /// Made earlier with the same external id and the same terms.
    Existing(Invoice),
}

/// An invoice that was not made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvoicingError {
    /// The terms cannot be.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// The callback URL may not be called.
    #[error("callback_url: {0}")]
    CallbackUrl(EgressError),
    /// The rules refuse.
    #[error("{message}")]
    RefusedByRules {
        /// A stable word for machines.
        code: String,
        /// A sentence for the merchant.
        message: String,
    },
    /// The rules failed and the operator chose not to go on without them.
    #[error(transparent)]
    RulesUnavailable(HookFailure),
    /// Another invoice of the merchant has this external id.
    #[error("external_id is in use by {invoice} with other terms")]
    ExternalIdConflict {
        /// The other invoice.
        invoice: InvoiceId,
    },
    /// The signature of the request was used before.
    #[error("this signature was used before; sign every request with a fresh timestamp")]
    SignatureReplayed,
    /// The rules keep something that other calls changed each time before this one was done.
    #[error("the rules for invoices are busy with other requests; try again")]
    RulesContended,
    /// No address could be derived.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// The records were not stored.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl InvoicingError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RulesUnavailable(failure) => failure.is_transient(),
            Self::RulesContended => true,
            Self::Commit(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Terms(_)
            | Self::CallbackUrl(_)
            | Self::RefusedByRules { .. }
            | Self::ExternalIdConflict { .. }
            | Self::SignatureReplayed
            | Self::Derive(_) => false,
        }
    }
}

impl From<NextAddressError> for InvoicingError {
    fn from(error: NextAddressError) -> Self {
        match error {
            NextAddressError::Store(error) => Self::Store(error),
            NextAddressError::Derive(error) => Self::Derive(error),
        }
    }
}

impl From<DraftRefused> for InvoicingError {
    fn from(refused: DraftRefused) -> Self {
        match refused {
            DraftRefused::ByRules { code, message } => Self::RefusedByRules { code, message },
            DraftRefused::Unavailable(failure) => Self::RulesUnavailable(failure),
        }
    }
}

/// Makes and reads invoices, and stores what merchants decide about them.
#[derive(Clone)]
pub struct Invoicing {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Accepted assets.
    pub catalog: Arc<Catalog>,
    /// The rules.
    pub hooks: Arc<dyn Hooks>,
    /// Judges callback URLs.
    pub transport: Arc<dyn WebhookTransport>,
    /// Fresh addresses.
    pub indices: Arc<AddressIndices>,
    /// The addresses that the scanners look for.
    pub watch: Arc<WatchSet>,
    /// Who hears of events.
    pub listeners: Arc<Listeners>,
    /// Time of the records.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub random: Arc<dyn Random>,
    /// Held by the one whose rules are asked again.
    pub contended: Arc<Mutex<()>>,
    /// Workers to wake.
    pub wakeups: Wakeups,
}

impl Invoicing {
    /// Makes an invoice with an address of its own. When this returns, the invoice is durable and its address is watched.
    ///
    /// A call with the external id of an earlier invoice returns that invoice if the terms are the same. `answer` makes what is
    /// kept for the caller's idempotency key.
    ///
    /// # Errors
    /// [`InvoicingError`]; nothing is stored then.
    pub async fn create(
        &self,
        caller: &Principal,
        new: NewInvoice,
        answer: Answering<'_, Invoice>,
    ) -> Result<Created, InvoicingError> {
        let merchant = caller.merchant();
        if let Some(existing) = self.existing(merchant, &new).await? {
            return Ok(existing);
        }
        if let Some(url) = &new.callback_url {
            self.transport.check(url).map_err(InvoicingError::CallbackUrl)?;
        }
        if new.due.is_zero() {
            return Err(TermsError::NothingDue.into());
        }
        if let Some(created) = self.try_create(caller, &new, answer).await? {
            return Ok(created);
        }
        // Those who were in each other's way go one after the other.
        let _alone = self.contended.lock().await;
        for _ in 1..RULINGS_MAX {
            if let Some(created) = self.try_create(caller, &new, answer).await? {
                return Ok(created);
            }
        }
        Err(InvoicingError::RulesContended)
    }

    /// Asks the rules and makes the invoice; `None` when something that a rule kept has changed since it looked, so that it has
    /// to be asked again.
    async fn try_create(
        &self,
        caller: &Principal,
        new: &NewInvoice,
        answer: Answering<'_, Invoice>,
    ) -> Result<Option<Created>, InvoicingError> {
        let now = self.clock.now();
        let RuledDraft { ruling, writes } =
            rule_on_draft(self.hooks.as_ref(), draft(caller.merchant(), new, now)).await;
        let proposal = match ruling {
            Ok(proposal) => proposal,
            Err(refused) if writes.is_empty() => return Err(refused.into()),
            Err(refused) => {
                let mut changes = Changeset::new();
                keep(&mut changes, &writes);
                return match self.store.commit(changes).await {
                    Ok(()) => Err(refused.into()),
                    Err(CommitError::Refused) => Ok(None),
                    Err(error) => Err(error.into()),
                };
            }
        };
        let (invoice, index) = self.draw_up(caller.merchant(), new, proposal, now).await?;
        match self.open(caller, invoice, index, &writes, answer).await {
            Ok(created) => Ok(Some(created)),
            Err(CommitError::Refused) if are_outdated(self.store.as_ref(), &writes).await? => Ok(None),
            Err(CommitError::Refused) => self.after_refusal(caller, new).await.map(Some),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores an invoice with what belongs to it.
    async fn open(
        &self,
        caller: &Principal,
        invoice: Invoice,
        index: u32,
        writes: &[ItemWrite],
        answer: Answering<'_, Invoice>,
    ) -> Result<Created, CommitError> {
        let (address, merchant) = (invoice.address, caller.merchant().clone());
        let own = OwnAddress { address, merchant, invoice: Some(invoice.id.clone()), index };
        let snapshot = InvoiceSnapshot::new(&invoice, &[], self.catalog.as_ref());
        let created = invoice_event(
            &invoice,
            EventKind::InvoiceCreated,
            None,
            &snapshot,
            invoice.created_at,
            self.catalog.as_ref(),
        );
        let mut changes =
            Changeset::new().with(Write::CreateInvoice(Box::new(invoice.clone()))).with(Write::CreateAddress(own));
        let audience = Audience::of(&invoice, &self.listeners);
        let _recording = self.listeners.recording();
        audience.record(&mut changes, created);
        keep(&mut changes, writes);
        caller.once(&mut changes, invoice.created_at, || answer(&invoice));
        // Before the record exists: the caller may go away while it is written, and still find the invoice in a list.
        self.watch.insert(address);
        self.store.commit(changes).await?;
        if audience.hears(EventKind::InvoiceCreated) {
            self.wakeups.routing.notify_one();
        }
        Ok(Created::New(invoice))
    }

    /// The invoice that has the external id already, if any.
    async fn existing(&self, merchant: &MerchantId, new: &NewInvoice) -> Result<Option<Created>, InvoicingError> {
        let Some(external_id) = &new.external_id else { return Ok(None) };
        let Some(invoice) = self.store.invoice_by_external_id(merchant, external_id).await? else { return Ok(None) };
        if has_terms(&invoice, new) {
            // What is read here may be another call's changeset that is not on disk yet. A write behind it is on disk only
            // when that one is, so the address is told only once it is durable.
            self.store.probe().await?;
            Ok(Some(Created::Existing(invoice)))
        } else {
            Err(InvoicingError::ExternalIdConflict { invoice: invoice.id })
        }
    }

    /// The invoice as it will be stored, and the index of its address.
    async fn draw_up(
        &self,
        merchant: &MerchantId,
        new: &NewInvoice,
        proposal: Proposal,
        now: Timestamp,
    ) -> Result<(Invoice, u32), InvoicingError> {
        let floor = self.catalog.chain(&new.asset.id.chain).map_or(1, |terms| terms.min_confirmations);
        let terms = Terms::agree(new.asset.id.clone(), new.due, proposal, floor, now)?;
        let (address, index) = self.indices.next(merchant).await?;
        let invoice = Invoice {
            id: InvoiceId::from_random(bytes(self.random.as_ref())),
            merchant: merchant.clone(),
            external_id: new.external_id.clone(),
            customer: new.customer.clone(),
            metadata: new.metadata.clone(),
            callback_url: new.callback_url.clone(),
            address,
            created_at: now,
            assessment: Assessment::initial(&terms),
            terms,
            ruling: None,
            resolution: None,
            events: 1,
            revision: 1,
        };
        Ok((invoice, index))
    }

    /// Which of the expectations did not hold.
    async fn after_refusal(&self, caller: &Principal, new: &NewInvoice) -> Result<Created, InvoicingError> {
        if let Some(existing) = self.existing(caller.merchant(), new).await? {
            return Ok(existing);
        }
        if caller.used_signature.is_some() {
            return Err(InvoicingError::SignatureReplayed);
        }
        // Ids are random and indices unique, so this cannot be reached with a sound store.
        warn!(merchant = %caller.merchant(), "the store refused an invoice for no reason that can be found");
        Err(CommitError::Refused.into())
    }

    /// A merchant's invoice with the deposits on its address, or `None` when the merchant has no such invoice.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(
        &self,
        merchant: &MerchantId,
        id: &InvoiceId,
    ) -> Result<Option<(Invoice, Vec<Deposit>)>, StoreError> {
        let Some(invoice) = self.store.invoice(id).await?.filter(|invoice| invoice.merchant == *merchant) else {
            return Ok(None);
        };
        let deposits = self.deposits(&invoice).await?;
        Ok(Some((invoice, deposits)))
    }

    /// The deposits on an invoice's address. Costs nothing while there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deposits(&self, invoice: &Invoice) -> Result<Vec<Deposit>, StoreError> {
        if invoice.may_have_deposits() { self.store.deposits_of_invoice(&invoice.id).await } else { Ok(Vec::new()) }
    }

    /// A merchant's invoices, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(
        &self,
        merchant: &MerchantId,
        filter: &InvoiceFilter,
        limit: usize,
    ) -> Result<Vec<Invoice>, StoreError> {
        self.store.invoices(merchant, filter, limit).await
    }

    /// The merchant's invoice to which an address belongs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn at_address(&self, merchant: &MerchantId, address: &Address) -> Result<Option<Invoice>, StoreError> {
        let own = self.store.address(address).await?;
        let Some(id) = own.filter(|own| own.merchant == *merchant).and_then(|own| own.invoice) else { return Ok(None) };
        self.store.invoice(&id).await
    }

    /// A deposit of the merchant's, or `None` when it has no such deposit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn payment(&self, merchant: &MerchantId, id: &DepositId) -> Result<Option<Deposit>, StoreError> {
        Ok(self.store.deposit(id).await?.filter(|deposit| deposit.merchant == *merchant))
    }

    /// A merchant's deposits, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn payments(
        &self,
        merchant: &MerchantId,
        filter: &PaymentFilter,
        limit: usize,
    ) -> Result<Vec<Deposit>, StoreError> {
        self.store.payments(merchant, filter, limit).await
    }
}

/// What the rules are asked about.
fn draft(merchant: &MerchantId, new: &NewInvoice, at: Timestamp) -> Draft {
    Draft {
        merchant: merchant.clone(),
        at,
        asset: new.asset.id.clone(),
        decimals: new.asset.decimals,
        due: new.due,
        external_id: new.external_id.clone(),
        customer: new.customer.clone(),
        expires_in_s: new.expires_in_s,
        metadata: new.metadata.clone(),
        proposed: builtin_proposal(new.expires_in_s),
    }
}

/// Whether the invoice is what the request asks for. Terms that the rules set are not compared: they may have changed since.
fn has_terms(invoice: &Invoice, new: &NewInvoice) -> bool {
    invoice.terms.asset == new.asset.id
        && invoice.terms.due == new.due
        && invoice.customer == new.customer
        && invoice.metadata == new.metadata
        && invoice.callback_url == new.callback_url
}
