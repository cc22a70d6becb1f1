//! What a file lays out for a plugin to borrow: values, answers of upstreams, rates and chains. Nothing leaves the process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::text::{ItemKey, LoanLabel};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::attestation::statement_bytes;
use xthonpay_payments::port::lending::Loans;
use xthonpay_payments::port::lending::attestation::{AttestError, Attestation, Attestor, Statement};
use xthonpay_payments::port::lending::chain_reader::{
    ChainReadError, ChainReader, ChainTip, Fee, InvoicePayments, MerchantTransaction,
};
use xthonpay_payments::port::lending::rates::{Quote, RateError, Rates};
use xthonpay_payments::port::lending::storage::{Item, PluginStorage, Space};
use xthonpay_payments::port::lending::upstream::{Upstream, UpstreamAnswer, UpstreamError, UpstreamRequest};
use xthonpay_payments::port::store::StoreError;

use super::fixture::{DECIMALS, Fixture, LaidAnswer, LaidChain, LaidTransfer};

/// The chain that is lent when a file lays none out.
pub(super) const CHAIN: &str = "bsc";

/// Gas of moving a token once, as the host tells it.
const TOKEN_TRANSFER_GAS: u64 = 65_000;

/// What one file lays out, as far as it is not used up.
pub(super) struct Lent {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    values: BTreeMap<(String, String), Item>,
    answers: BTreeMap<String, VecDeque<LaidAnswer>>,
    requests: Vec<(String, String, String)>,
    rates: BTreeMap<String, String>,
    chains: BTreeMap<String, LaidChain>,
    revision: u64,
}

impl Lent {
    pub(super) fn of(fixture: &Fixture) -> Self {
        let lent = Self { state: Mutex::default() };
        lent.rewind(fixture);
        lent
    }

    /// Everything as the file has it, for the next call.
    pub(super) fn rewind(&self, fixture: &Fixture) {
        let mut state = State::default();
        for (label, values) in &fixture.storage {
            for (key, value) in values {
                state.revision = state.revision.saturating_add(1);
                let item = Item { value: value.as_bytes().to_vec(), revision: state.revision, expires_at: None };
                state.values.insert((label.clone(), key.clone()), item);
            }
        }
        state.answers =
            fixture.http.iter().map(|(label, all)| (label.clone(), all.iter().cloned().collect())).collect();
        state.rates.clone_from(&fixture.rates);
        state.chains.clone_from(&fixture.chain);
        *self.state() = state;
    }

    pub(super) fn requests(&self) -> Vec<(String, String, String)> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ports of a workbench: every label that the manifest or the file names.
pub(super) fn loans(lent: &Arc<Lent>, labels: &BTreeMap<String, Vec<String>>) -> Loans {
    let (http, chains) = {
        let state = lent.state();
        (state.answers.keys().cloned().collect::<BTreeSet<_>>(), state.chains.keys().cloned().collect::<BTreeSet<_>>())
    };
    let named = |capability: &str, laid_out: BTreeSet<String>| -> BTreeSet<LoanLabel> {
        let wanted = labels.get(capability).into_iter().flatten().cloned();
        wanted.chain(laid_out).filter_map(|label| label.parse().ok()).collect()
    };
    let chains = if chains.is_empty() { BTreeSet::from([CHAIN.to_owned()]) } else { chains };
    let chain = |name: String| {
        let reader = Arc::new(LaidOut { lent: Arc::clone(lent), name: name.clone() }) as Arc<dyn ChainReader>;
        Some((name.parse().ok()?, reader))
    };
    let upstream = |label: LoanLabel| {
        let upstream = LaidOut { lent: Arc::clone(lent), name: label.to_string() };
        (label, Arc::new(upstream) as Arc<dyn Upstream>)
    };
    let signer = |label: LoanLabel| {
        let signer = LaidOut { lent: Arc::clone(lent), name: label.to_string() };
        (label, Arc::new(signer) as Arc<dyn Attestor>)
    };
    let storage = LaidOut { lent: Arc::clone(lent), name: String::new() };
    let rates = LaidOut { lent: Arc::clone(lent), name: String::new() };
    let signers: BTreeSet<String> = labels.get("signing").into_iter().flatten().cloned().collect();
    Loans {
        storage: Some(Arc::new(storage)),
        chains: chains.into_iter().filter_map(chain).collect(),
        rates: Some(Arc::new(rates)),
        upstreams: named("http", http).into_iter().map(upstream).collect(),
        attestors: named("signing", signers).into_iter().map(signer).collect(),
    }
}

/// One thing of a file, by its name.
struct LaidOut {
    lent: Arc<Lent>,
    name: String,
}

#[async_trait]
impl PluginStorage for LaidOut {
    async fn item(&self, space: &Space, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        Ok(self.lent.state().values.get(&(space.label.to_string(), key.to_string())).cloned())
    }

    async fn items(
        &self,
        space: &Space,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(ItemKey, Item)>, StoreError> {
        let state = self.lent.state();
        let wanted = |(label, key): &(String, String)| {
            label == space.label.as_str() && key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        };
        let found = state.values.iter().filter(|(place, _)| wanted(place)).take(limit);
        Ok(found.filter_map(|((_, key), item)| Some((key.parse().ok()?, item.clone()))).collect())
    }

    async fn used_bytes(&self, space: &Space, _: Timestamp) -> Result<u64, StoreError> {
        let state = self.lent.state();
        let own = state.values.iter().filter(|((label, _), _)| label == space.label.as_str());
        Ok(own
            .map(|((_, key), item)| u64::try_from(key.len().saturating_add(item.value.len())).unwrap_or(u64::MAX))
            .sum())
    }

    fn note_growth(&self, _: &Space, _: i64) {}

    fn fresh_revision(&self) -> u64 {
        let mut state = self.lent.state();
        state.revision = state.revision.saturating_add(1);
        state.revision
    }
}

#[async_trait]
impl Upstream for LaidOut {
    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamAnswer, UpstreamError> {
        let mut state = self.lent.state();
        let (method, path) = (request.method.name().to_owned(), request.path);
        state.requests.push((self.name.clone(), method, path));
        let unavailable = |reason: &str| UpstreamError::Unavailable { reason: reason.to_owned() };
        let answer = state.answers.get_mut(&self.name).and_then(VecDeque::pop_front);
        let answer = answer.ok_or_else(|| unavailable("the file lays out no further answer"))?;
        if let Some(reason) = answer.unavailable {
            return Err(unavailable(&reason));
        }
        if answer.body.len() > request.answer_bytes_max {
            return Err(UpstreamError::TooLarge { bytes_max: request.answer_bytes_max });
        }
        let headers = answer.headers.into_iter().collect();
        Ok(UpstreamAnswer { status: answer.status.unwrap_or(200), headers, body: answer.body.into_bytes() })
    }
}

#[async_trait]
impl Rates for LaidOut {
    async fn latest(
        &self,
        base: &str,
        counter: &str,
        _: core::time::Duration,
        now: Timestamp,
    ) -> Result<Quote, RateError> {
        let pair = format!("{base}/{counter}");
        let rate = self.lent.state().rates.get(&pair).cloned();
        let rate = rate.ok_or(RateError::UnknownPair { pair })?;
        Ok(Quote { rate, taken: now, provider: "file".to_owned() })
    }
}

impl LaidOut {
    fn chain(&self) -> Result<LaidChain, ChainReadError> {
        self.lent.state().chains.get(&self.name).cloned().ok_or(ChainReadError::NothingYet)
    }
}

impl LaidChain {
    /// The block of a transfer, and whether it is final.
    fn place(&self, laid: &LaidTransfer) -> (BlockRef, bool) {
        (block(laid.block, laid.block_time), laid.is_final.unwrap_or(laid.block <= self.final_height))
    }
}

fn decimals() -> Decimals {
    Decimals::new(DECIMALS).expect("18 decimals fit")
}

fn block(number: u64, millis: u64) -> BlockRef {
    let word = |number: u64| {
        let mut bytes = [0; 32];
        bytes.split_at_mut(24).1.copy_from_slice(&number.to_be_bytes());
        BlockHash::new(bytes)
    };
    BlockRef {
        number: BlockNumber(number),
        hash: word(number),
        parent: word(number.saturating_sub(1)),
        time: Timestamp::from_millis(millis),
    }
}

#[async_trait]
impl ChainReader for LaidOut {
    async fn tip(&self) -> Result<ChainTip, ChainReadError> {
        let chain = self.chain()?;
        Ok(ChainTip { tip: block(chain.height, chain.block_time), finalized: block(chain.final_height, 0) })
    }

    async fn payments(&self, merchant: &MerchantId, invoice: &InvoiceId) -> Result<InvoicePayments, ChainReadError> {
        let chain = self.chain()?;
        let none = ChainReadError::NotFound { what: "the file lays out no payments of this invoice" };
        let laid_out = chain.payments.get(invoice.as_str()).ok_or(none.clone())?;
        let named = laid_out.first().map(|first| first.transfer.identity.asset.clone());
        let asset = match named {
            Some(asset) => asset,
            // Without a payment nobody sees of which asset there is none.
            None => format!("{}:NONE", self.name).parse().map_err(|_| none)?,
        };
        let deposit = |laid: &LaidTransfer| {
            let (block, is_final) = chain.place(laid);
            let seen = Deposit::seen(laid.transfer.clone(), block, merchant.clone(), Some(invoice.clone()), 1);
            if is_final { seen.finalised().unwrap_or(seen) } else { seen }
        };
        let deposits = laid_out.iter().map(deposit).collect();
        let tip = block(chain.height, chain.block_time);
        Ok(InvoicePayments { asset, decimals: decimals(), deposits, tip })
    }

    async fn transaction(&self, _: &MerchantId, tx: TxHash) -> Result<MerchantTransaction, ChainReadError> {
        let chain = self.chain()?;
        let none = ChainReadError::NotFound { what: "the file lays out no such transaction" };
        let laid_out = chain.transactions.get(&tx.to_string()).ok_or(none.clone())?;
        let (at, is_final) = chain.place(laid_out.first().ok_or(none)?);
        let transfers = laid_out.iter().map(|laid| (laid.transfer.clone(), decimals())).collect();
        Ok(MerchantTransaction { block: at, is_final, tip: block(chain.height, chain.block_time), transfers })
    }

    async fn fee(&self) -> Result<Fee, ChainReadError> {
        let none = ChainReadError::NotFound { what: "the file names no per-gas" };
        let decimals = decimals();
        let per_gas = self.chain()?.per_gas.ok_or(none.clone())?;
        let per_gas = Amount::parse(&per_gas, decimals).map_err(|_| none)?;
        let asset = format!("{}:BNB", self.name).parse().map_err(|_| ChainReadError::NothingYet)?;
        let token_transfer = per_gas.times(TOKEN_TRANSFER_GAS).unwrap_or(Amount::MAX);
        Ok(Fee { asset, decimals, per_gas, token_transfer })
    }
}

#[async_trait]
impl Attestor for LaidOut {
    fn public_key(&self) -> Vec<u8> {
        vec![0; 32]
    }

    /// No signature: twice the SHA-256 of what a host would sign, so that equal statements give equal bytes.
    async fn attest(&self, statement: Statement) -> Result<Attestation, AttestError> {
        let digest = Sha256::digest(statement_bytes(&statement));
        let key_id = "0000000000000000".to_owned();
        Ok(Attestation { scheme: "ed25519", key_id, signature: [digest, digest].concat() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Notes, file_of};
    use crate::hook::transfers;

    #[tokio::test]
    async fn payments_that_a_call_was_shown_can_be_shown_again() {
        let tx = format!("0x{}", "ab".repeat(32));
        let text = format!(
            "[chain.bsc]
             height = 120
             final-height = 100
             [chain.bsc.payments]
             INVOICE = [
                 {{ tx = '{tx}', asset = 'bsc:USDT', to = '0x{to}', amount = '1.5', block = 90, block-time = 7000 }},
                 {{ asset = 'bsc:USDT', to = '0x{to}', amount = '2', block = 110 }},
             ]
             [chain.bsc.transactions]
             '{tx}' = [{{ tx = '{tx}', asset = 'bsc:USDT', to = '0x{to}', amount = '1.5', block = 90 }}]",
            to = "11".repeat(20),
        );
        let (merchant, invoice) = (MerchantId::from_random([1; 16]), InvoiceId::from_random([2; 16]));
        let shown = async |text: &str| {
            let lent = Arc::new(Lent::of(&Fixture::parse(text).expect("sound")));
            let reader = LaidOut { lent, name: "bsc".to_owned() };
            let found = reader.payments(&merchant, &invoice).await.expect("laid out");
            transfers::of_invoice(&found.deposits, &found.asset, found.decimals, found.tip.number)
        };
        let text = text.replace("INVOICE", invoice.as_str());
        let first = shown(&text).await;
        let told: Vec<_> = first.iter().map(|shown| (shown.amount.as_str(), shown.is_final)).collect();
        assert_eq!((told, first[0].confirmations, first[0].tx.as_str()), (vec![("1.5", true), ("2", false)], 31, &*tx));

        let notes = Notes::default();
        notes.chain("bsc", [("height", 120.into())]);
        notes.transfers("bsc", "payments", invoice.as_str(), &first);
        let again = shown(&file_of(notes.take())).await;
        assert_eq!(format!("{again:?}"), format!("{first:?}"));

        let lent = Arc::new(Lent::of(&Fixture::parse(&text).expect("sound")));
        let reader = LaidOut { lent, name: "bsc".to_owned() };
        let found = reader.transaction(&merchant, tx.parse().expect("a hash")).await.expect("laid out");
        assert_eq!((found.block.number.0, found.is_final, found.transfers.len()), (90, true, 1));
        let other = "0x00".to_owned() + &"00".repeat(31);
        let error = reader.transaction(&merchant, other.parse().expect("a hash")).await.expect_err("is not there");
        assert!(matches!(error, ChainReadError::NotFound { .. }), "{error}");
    }
}
