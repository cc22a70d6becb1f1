//! One invoice, made by the use case of the host in a fresh store of this crate.
//!
//! The ports around the use case answer what makes no difference to the rows: a clock that stands still, no rules, a
//! transport that accepts every URL. What the request holds is what `xthonpay-bench rest` sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::asset::{Asset, AssetKind};
use xthonpay_domain::id::{EventId, ID_BYTES, MerchantId};
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::text::PluginName;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::access::Principal;
use xthonpay_payments::catalog::{Catalog, ChainTerms};
use xthonpay_payments::invoicing::address_indices::AddressIndices;
use xthonpay_payments::invoicing::{Created, Invoicing, NewInvoice};
use xthonpay_payments::port::bot::BotFlow;
use xthonpay_payments::port::clock::Clock;
use xthonpay_payments::port::egress::{EgressError, WebhookAnswer, WebhookRequest, WebhookTransport};
use xthonpay_payments::port::hooks::{Hooks, InvoiceRules, WebhookFormat, WithdrawalPolicy};
use xthonpay_payments::port::random::Random;
use xthonpay_payments::port::signer::{AddressSource, DeriveError};
use xthonpay_payments::port::store::{AnswerBytes, Changeset, Key, Merchant, Store as _, UsedSignature, Write};
use xthonpay_payments::port::vault::Sealed;
use xthonpay_payments::scanning::watch_set::WatchSet;
use xthonpay_payments::wake::Wakeups;
use xthonpay_store_surreal::{SurrealConfig, SurrealStore};

use super::{BoxError, DATABASE, NAMESPACE};

/// The time at which the invoice is made.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The digits of an HMAC-SHA256; any will do.
const SIGNATURE: &str = "5f2c9a17d3e84b60c1f7a2948d06e35b5f2c9a17d3e84b60c1f7a2948d06e35b";

/// The texts that are different in the rows of every invoice.
pub(crate) struct OwnTexts {
    pub(crate) texts: Vec<String>,
}

/// Makes a store in the directory with one invoice in it, and closes it.
pub(crate) async fn make(directory: &str) -> Result<OwnTexts, BoxError> {
    let store = Arc::new(SurrealStore::open(config(directory)).await?);
    let made = make_in(&store).await;
    store.close().await;
    made
}

fn config(directory: &str) -> SurrealConfig {
    SurrealConfig {
        endpoint: format!("surrealkv://{directory}"),
        namespace: NAMESPACE.to_owned(),
        database: DATABASE.to_owned(),
        credentials: None,
        allow_volatile: false,
    }
}

async fn make_in(store: &Arc<SurrealStore>) -> Result<OwnTexts, BoxError> {
    let merchant = merchant()?;
    let caller = caller(&merchant.id)?;
    store.commit(Changeset::new().with(Write::CreateMerchant(merchant))).await?;
    let decimals = Decimals::new(18)?;
    let id = "bsc:USDT".parse()?;
    let asset = Asset { id, kind: AssetKind::Token { contract: Address::new([0x55; 20]) }, decimals };
    let invoicing = invoicing(store, asset.clone())?;
    let new = NewInvoice {
        asset,
        due: Amount::parse("50.00", decimals)?,
        external_id: Some("order-5f2c9a17d3e84b60".parse()?),
        customer: None,
        metadata: Vec::new(),
        callback_url: Some("https://shop.example/hooks/pay".parse()?),
        expires_in_s: None,
    };
    let (Created::New(invoice) | Created::Existing(invoice)) = invoicing.create(&caller, new, &no_answer).await?;
    // The event of a new invoice is its first; nobody hears of it, so it stands in no list.
    let event = EventId::from_fact(&[invoice.id.as_str(), &invoice.events.to_string()]);
    let external_id = invoice.external_id.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok(OwnTexts {
        texts: vec![
            invoice.id.to_string(),
            event.to_string(),
            // The key of its row, and the form that people see.
            invoice.address.to_lower_hex(),
            invoice.address.to_string(),
            external_id,
            SIGNATURE.to_owned(),
        ],
    })
}

fn invoicing(store: &Arc<SurrealStore>, asset: Asset) -> Result<Invoicing, BoxError> {
    let terms = BTreeMap::from([("bsc".parse()?, ChainTerms { min_confirmations: 1 })]);
    let watch = Arc::new(WatchSet::default());
    Ok(Invoicing {
        contended: Arc::default(),
        store: Arc::clone(store) as _,
        catalog: Arc::new(Catalog::new(terms, vec![asset])),
        hooks: Arc::new(NoHooks),
        transport: Arc::new(AnyUrl),
        indices: Arc::new(AddressIndices::new(Arc::clone(store) as _, Arc::new(OneAddress), Arc::clone(&watch))),
        watch,
        listeners: Arc::default(),
        clock: Arc::new(Standing),
        random: Arc::new(OneByte),
        wakeups: Wakeups::default(),
    })
}

fn merchant() -> Result<Merchant, BoxError> {
    Ok(Merchant {
        id: MerchantId::from_random([0xa1; ID_BYTES]),
        account: 0,
        mode: Mode::Live,
        name: "Bench".parse()?,
        created_at: NOW,
        webhook_secret: Sealed(Vec::new()),
    })
}

/// Who signed the request with a key that signs whole requests.
fn caller(merchant: &MerchantId) -> Result<Principal, BoxError> {
    let key = Key {
        id: KeyId::from_random(Mode::Live, [0xb2; 12]),
        merchant: merchant.clone(),
        label: "till".parse()?,
        scopes: vec![Scope::Read, Scope::Write],
        scheme: SignatureScheme::Request,
        ip_list: Vec::new(),
        secret: Sealed(Vec::new()),
        requests_per_minute: None,
        daily_withdraw_caps: Vec::new(),
        withdraw_addresses: Vec::new(),
        created_at: NOW,
        expires_at: None,
        revoked_at: None,
        replaced_by: None,
        revision: 1,
    };
    let used = UsedSignature { key: key.id.clone(), signature: SIGNATURE.to_owned(), expires_at: NOW };
    Ok(Principal { key: Arc::new(key), used_signature: Some(used), claim: None })
}

/// The caller names no key under which an answer would be kept.
fn no_answer(_: &Invoice) -> AnswerBytes {
    AnswerBytes { status: 201, location: None, body: Vec::new() }
}

struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        NOW
    }
}

struct OneByte;

impl Random for OneByte {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0xc3);
    }
}

struct OneAddress;

impl AddressSource for OneAddress {
    fn derive(&self, _account: u32, _index: u32) -> Result<Address, DeriveError> {
        Ok(Address::new([0xd4; 20]))
    }
}

struct NoHooks;

impl Hooks for NoHooks {
    fn invoice_rules(&self) -> Vec<Arc<dyn InvoiceRules>> {
        Vec::new()
    }

    fn withdrawal_policies(&self) -> Vec<Arc<dyn WithdrawalPolicy>> {
        Vec::new()
    }

    fn bot_flow(&self) -> Option<Arc<dyn BotFlow>> {
        None
    }

    fn webhook_format(&self) -> Option<Arc<dyn WebhookFormat>> {
        None
    }

    fn webhook_format_named(&self, _name: &PluginName) -> Option<Arc<dyn WebhookFormat>> {
        None
    }
}

struct AnyUrl;

#[async_trait]
impl WebhookTransport for AnyUrl {
    fn check(&self, _url: &CallbackUrl) -> Result<(), EgressError> {
        Ok(())
    }

    async fn post(&self, _request: WebhookRequest) -> Result<WebhookAnswer, EgressError> {
        Err(EgressError::Refused { reason: "nothing is sent here".to_owned() })
    }
}
