//! What the bench lends: values that it keeps, answers that a test has laid out. Labels that a test did not lend are denied.

use std::collections::{BTreeMap, VecDeque};
use std::format;
use std::string::String;
use std::vec::Vec;

use super::HOST;
use crate::error::{Detail, HostError};
use crate::plugin::{Attrs, Millis};
use crate::raw::base::xthonpay::host as raw;

/// The most keys that one look at a space returns, as in the host.
const SCAN_MAX: u32 = 100;

/// What a bench has to lend.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loans {
    pub(crate) spaces: BTreeMap<String, BTreeMap<String, Kept>>,
    revision: u64,
    pub(crate) upstreams: BTreeMap<String, VecDeque<Result<raw::http::Response, HostError>>>,
    pub(crate) requests: Vec<(String, raw::http::Request)>,
    pub(crate) rates: BTreeMap<(String, String), raw::rates::Quote>,
    pub(crate) chains: BTreeMap<String, Chain>,
    pub(crate) signers: BTreeMap<String, Vec<String>>,
}

/// A value in a space.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) value: Vec<u8>,
    pub(crate) revision: u64,
    pub(crate) expires_at: Option<Millis>,
}

/// What a chain answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    pub(crate) tip: Option<raw::chain::Tip>,
    pub(crate) fee: Option<raw::chain::FeeEstimate>,
    pub(crate) payments: BTreeMap<String, Vec<raw::types::Transfer>>,
}

/// An opened space.
#[derive(Debug)]
pub(crate) struct Space(String);
/// An opened upstream.
#[derive(Debug)]
pub(crate) struct Endpoint(String);
/// An opened chain.
#[derive(Debug)]
pub(crate) struct Network(String);
/// An opened signer.
#[derive(Debug)]
pub(crate) struct Signer(String);

fn lent<R>(look: impl FnOnce(&mut Loans, Millis) -> R) -> R {
    HOST.with_borrow_mut(|host| {
        let now = host.now;
        look(&mut host.loans, now)
    })
}

fn denied(label: &str) -> HostError {
    HostError::Denied(Detail::new("not_granted", format!("the bench lends no `{label}`")))
}

fn unavailable() -> HostError {
    HostError::Unavailable(Detail::new("no_answer", "the test has laid out no answer"))
}

pub(crate) fn space_open(label: &str) -> Result<Space, HostError> {
    let known = lent(|loans, _| loans.spaces.contains_key(label));
    known.then(|| Space(String::from(label))).ok_or_else(|| denied(label))
}

fn in_space<R>(space: &Space, look: impl FnOnce(&mut BTreeMap<String, Kept>, u64) -> R) -> R {
    lent(|loans, now| {
        loans.revision += 1;
        let revision = loans.revision;
        let values = loans.spaces.entry(space.0.clone()).or_default();
        values.retain(|_, kept| kept.expires_at.is_none_or(|at| at > now));
        look(values, revision)
    })
}

pub(crate) fn space_get(space: &Space, key: &str) -> Result<Option<raw::storage::Item>, HostError> {
    let item =
        |kept: &Kept| raw::storage::Item { value: kept.value.clone(), revision: kept.revision, attrs: Attrs::new() };
    Ok(in_space(space, |values, _| values.get(key).map(item)))
}

pub(crate) fn space_put(space: &Space, key: &str, value: &[u8], ttl_s: Option<u32>) -> Result<(), HostError> {
    let now = lent(|_, now| now);
    let expires_at = ttl_s.map(|secs| now + u64::from(secs) * 1_000);
    in_space(space, |values, revision| {
        values.insert(String::from(key), Kept { value: value.to_vec(), revision, expires_at });
    });
    Ok(())
}

pub(crate) fn space_swap(space: &Space, key: &str, expected: Option<u64>, value: &[u8]) -> Result<bool, HostError> {
    Ok(in_space(space, |values, revision| {
        if values.get(key).map(|kept| kept.revision) != expected {
            return false;
        }
        values.insert(String::from(key), Kept { value: value.to_vec(), revision, expires_at: None });
        true
    }))
}

pub(crate) fn space_remove(space: &Space, key: &str) -> Result<(), HostError> {
    in_space(space, |values, _| values.remove(key));
    Ok(())
}

pub(crate) fn space_scan(
    space: &Space,
    prefix: &str,
    after: Option<&str>,
    max: u32,
) -> Result<raw::storage::Page, HostError> {
    let max = usize::try_from(max.clamp(1, SCAN_MAX)).unwrap_or(1);
    let in_view = |key: &&String| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after);
    let mut keys: Vec<String> =
        in_space(space, |values, _| values.keys().filter(in_view).take(max + 1).cloned().collect());
    let more = keys.len() > max;
    keys.truncate(max);
    let next = keys.last().cloned().filter(|_| more);
    Ok(raw::storage::Page { keys, next, attrs: Attrs::new() })
}

pub(crate) fn endpoint_open(label: &str) -> Result<Endpoint, HostError> {
    let known = lent(|loans, _| loans.upstreams.contains_key(label));
    known.then(|| Endpoint(String::from(label))).ok_or_else(|| denied(label))
}

pub(crate) fn endpoint_send(
    endpoint: &Endpoint,
    request: &raw::http::Request,
) -> Result<raw::http::Response, HostError> {
    lent(|loans, _| {
        loans.requests.push((endpoint.0.clone(), request.clone()));
        let answers = loans.upstreams.get_mut(&endpoint.0);
        answers.and_then(VecDeque::pop_front).unwrap_or_else(|| Err(unavailable()))
    })
}

pub(crate) fn rates_latest(base: &str, counter: &str, max_age_s: u32) -> Result<raw::rates::Quote, HostError> {
    let pair = (String::from(base), String::from(counter));
    let (quote, now) = lent(|loans, now| (loans.rates.get(&pair).cloned(), now));
    let unknown = || HostError::NotFound(Detail::new("unknown_pair", "the bench has no rate of the pair"));
    let quote = quote.ok_or_else(unknown)?;
    let fresh = now.saturating_sub(quote.taken) <= u64::from(max_age_s) * 1_000;
    if fresh { Ok(quote) } else { Err(unavailable()) }
}

pub(crate) fn network_open(name: &str) -> Result<Network, HostError> {
    let known = lent(|loans, _| loans.chains.contains_key(name));
    known.then(|| Network(String::from(name))).ok_or_else(|| denied(name))
}

fn on_chain<R>(network: &Network, look: impl FnOnce(&Chain) -> Option<R>) -> Result<R, HostError> {
    lent(|loans, _| loans.chains.get(&network.0).and_then(look)).ok_or_else(unavailable)
}

pub(crate) fn network_tip(network: &Network) -> Result<raw::chain::Tip, HostError> {
    on_chain(network, |chain| chain.tip.clone())
}

pub(crate) fn network_fee(network: &Network) -> Result<raw::chain::FeeEstimate, HostError> {
    on_chain(network, |chain| chain.fee.clone())
}

fn not_found() -> HostError {
    HostError::NotFound(Detail::new("not_found", "the bench has no such thing"))
}

pub(crate) fn network_transfers(network: &Network, invoice_id: &str) -> Result<Vec<raw::types::Transfer>, HostError> {
    on_chain(network, |chain| Some(chain.payments.get(invoice_id).cloned()))?.ok_or_else(not_found)
}

pub(crate) fn network_transaction(network: &Network, tx: &str) -> Result<raw::chain::Transaction, HostError> {
    let found = on_chain(network, |chain| {
        let all = chain.payments.values().flatten();
        Some(all.filter(|transfer| transfer.tx == tx).cloned().collect::<Vec<_>>())
    })?;
    let first = found.first().ok_or_else(not_found)?;
    let (block, is_final) = (first.block, first.is_final);
    Ok(raw::chain::Transaction { tx: String::from(tx), block, is_final, transfers: found, attrs: Attrs::new() })
}

pub(crate) fn signer_open(label: &str) -> Result<Signer, HostError> {
    let known = lent(|loans, _| loans.signers.contains_key(label));
    known.then(|| Signer(String::from(label))).ok_or_else(|| denied(label))
}

pub(crate) fn signer_public_key(_: &Signer) -> Option<Vec<u8>> {
    Some(std::vec![7; 32])
}

/// A bench has no key: its "signature" is the purpose and the message, for tests to look at.
pub(crate) fn signer_attest(
    signer: &Signer,
    purpose: &str,
    message: &[u8],
) -> Result<raw::signing::Signature, HostError> {
    let granted = lent(|loans, _| loans.signers.get(&signer.0).is_some_and(|all| all.iter().any(|one| one == purpose)));
    if !granted {
        return Err(denied(purpose));
    }
    let value = [purpose.as_bytes(), b"|", message].concat();
    let (scheme, key_id) = (String::from("ed25519"), String::from("bench"));
    Ok(raw::signing::Signature { scheme, key_id, value, attrs: Attrs::new() })
}
