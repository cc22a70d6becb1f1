//! What an audit found, as it is told: to people, and as one JSON object.
//!
//! The names are stable, since scripts read them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::text::ChainName;

use super::AuditError;
use crate::port::store::{Cursor, StoreError};

/// Breaches that are listed; the others are counted. Bounds the answer: one broken page can hold a thousand.
pub const BREACHES_LISTED_MAX: usize = 200;

/// Something that always holds in sound books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// I1: the debits of a posting equal its credits in every asset.
    Postings,
    /// I2: a balance equals the postings that made it.
    Balances,
    /// I3: final deposits, their postings and the transfers on the chain belong together one to one.
    Deposits,
    /// I5: addresses of ours hold what was deposited on them.
    Holdings,
    /// I7: what promises an event has it.
    Events,
    /// I8: the processed blocks are linked, and final ones are the chain's.
    Cursor,
}

impl Invariant {
    /// Every invariant that is checked.
    pub const ALL: [Self; 6] =
        [Self::Postings, Self::Balances, Self::Deposits, Self::Holdings, Self::Events, Self::Cursor];

    /// The invariant's short name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postings => "I1",
            Self::Balances => "I2",
            Self::Deposits => "I3",
            Self::Holdings => "I5",
            Self::Events => "I7",
            Self::Cursor => "I8",
        }
    }

    /// What it says, for a table.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Postings => "postings balance",
            Self::Balances => "balances equal their postings",
            Self::Deposits => "deposits, postings and transfers belong together",
            Self::Holdings => "addresses hold what was deposited",
            Self::Events => "every promised event is there",
            Self::Cursor => "processed blocks are the chain's",
        }
    }

    /// Whether a breach can mean that money is missing, or that more is credited than there is.
    fn is_about_money(self) -> bool {
        match self {
            Self::Deposits | Self::Holdings => true,
            Self::Postings | Self::Balances | Self::Events | Self::Cursor => false,
        }
    }
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// Which invariant: `I1` to `I8`.
    pub invariant: String,
    /// The record concerned.
    pub subject: String,
    /// What is wrong, and what to do.
    pub detail: String,
}

/// Something that was not checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotChecked {
    /// What, and why.
    pub what: String,
    /// Whether it should have been checked: then the audit is not complete.
    pub failed: bool,
}

/// How much was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Postings.
    pub postings: u64,
    /// Balances.
    pub balances: u64,
    /// Deposits, in any state.
    pub deposits: u64,
    /// Deposits that are set aside.
    pub suspended: u64,
    /// Invoices.
    pub invoices: u64,
    /// Events.
    pub events: u64,
    /// Stored blocks.
    pub blocks: u64,
    /// Blocks of chains that were read.
    pub chain_blocks: u64,
    /// Transfers to addresses of ours in them.
    pub chain_transfers: u64,
    /// Balances of addresses on chains.
    pub holdings: u64,
}

/// A chain that was audited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainAudited {
    /// The chain.
    pub chain: String,
    /// The newest processed block when the audit began.
    pub tip: u64,
    /// The newest processed block that was final.
    pub finalized: u64,
    /// The first block that was held against the books, if any was.
    pub from: Option<u64>,
    /// Why the chain is frozen, if it is.
    pub frozen: Option<String>,
}

/// What there is of an asset, in base units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetTotals {
    /// The asset.
    pub asset: String,
    /// On addresses of ours, as the chain says.
    pub on_chain: String,
    /// The final deposits on them.
    pub deposited: String,
    /// Deposits in final blocks that still await confirmations.
    pub in_flight: String,
    /// What is on addresses and in no deposit.
    pub unexplained: String,
    /// What is in deposits and not on the addresses.
    pub missing: String,
    /// Set aside until a person decides.
    pub suspended: String,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing is wrong, and everything was checked that should have been.
    pub ok: bool,
    /// Everything was checked that should have been.
    pub complete: bool,
    /// How much was checked.
    pub checked: Checked,
    /// What is wrong, the first of it.
    pub breaches: Vec<Breach>,
    /// How much is wrong, by invariant; every invariant that is checked is named.
    pub breaches_total: BTreeMap<String, u64>,
    /// What was not checked.
    pub not_checked: Vec<NotChecked>,
    /// The chains.
    pub chains: Vec<ChainAudited>,
    /// The assets.
    pub assets: Vec<AssetTotals>,
}

/// What is found while an audit runs.
#[derive(Default)]
pub(super) struct Findings {
    breaches: Vec<Breach>,
    totals: BTreeMap<Invariant, u64>,
    /// Chains on which money is missing, or more is credited than there is, with the first reason.
    money: BTreeMap<ChainName, String>,
    not_checked: Vec<NotChecked>,
    chains: Vec<ChainAudited>,
    assets: BTreeMap<AssetId, AssetTotals>,
    pub(super) checked: Checked,
}

impl Findings {
    /// A chain is audited.
    pub(super) fn begin(&mut self, cursor: &Cursor) {
        self.chains.push(ChainAudited {
            chain: cursor.chain.to_string(),
            tip: cursor.tip.number.0,
            finalized: cursor.finalized.number.0,
            from: None,
            frozen: cursor.frozen.as_ref().map(|freeze| freeze.reason.clone()),
        });
    }

    /// A chain, as it is told.
    pub(super) fn chain(&mut self, name: &ChainName) -> Option<&mut ChainAudited> {
        self.chains.iter_mut().find(|chain| chain.chain == name.as_str())
    }

    /// The totals of an asset.
    pub(super) fn totals(&mut self, asset: &AssetId) -> &mut AssetTotals {
        let none = || "0".to_owned();
        self.assets.entry(asset.clone()).or_insert_with(|| AssetTotals {
            asset: asset.to_string(),
            on_chain: none(),
            deposited: none(),
            in_flight: none(),
            unexplained: none(),
            missing: none(),
            suspended: none(),
        })
    }

    /// Something does not hold; `chain` is the one on which money is missing, or more credited than there is, if so.
    pub(super) fn breach(
        &mut self,
        invariant: Invariant,
        chain: Option<&ChainName>,
        subject: impl ToString,
        detail: impl Into<String>,
    ) {
        let (subject, detail) = (subject.to_string(), detail.into());
        if let Some(chain) = chain.filter(|_| invariant.is_about_money()) {
            self.money.entry(chain.clone()).or_insert_with(|| format!("{subject}: {detail}"));
        }
        let total = self.totals.entry(invariant).or_default();
        *total = total.saturating_add(1);
        if self.breaches.len() < BREACHES_LISTED_MAX {
            self.breaches.push(Breach { invariant: invariant.name().to_owned(), subject, detail });
        }
    }

    /// Something was not checked; `failed` when it should have been.
    pub(super) fn omit(&mut self, what: String, failed: bool) {
        self.not_checked.push(NotChecked { what, failed });
    }

    /// What came of a part of the audit: a damaged record is a breach, nodes that did not answer leave their part unchecked,
    /// and a store that did not answer ends the audit.
    pub(super) fn settle(
        &mut self,
        outcome: Result<(), AuditError>,
        part: Invariant,
        chain: Option<&ChainName>,
    ) -> Result<(), AuditError> {
        let at = chain.map_or_else(String::new, |chain| format!("chain {chain}: "));
        let rest = format!("{at}{} ({})", part.name(), part.meaning());
        match outcome {
            Ok(()) => Ok(()),
            Err(AuditError::Store(StoreError::Damaged { table, reason })) => {
                self.breach(part, chain, table, format!("a record cannot be read: {reason}; restore a backup"));
                self.omit(format!("{rest}: what comes behind the damaged record"), true);
                Ok(())
            }
            Err(AuditError::Chain(error)) => {
                self.omit(format!("{rest}: {error}"), true);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Chains on which money is missing, or more is credited than there is, with the first reason.
    pub(super) fn money(&self) -> &BTreeMap<ChainName, String> {
        &self.money
    }

    pub(super) fn into_report(mut self) -> Report {
        // Nothing of this kind exists in this version, so nothing of it can be wrong.
        self.omit("I4 (withdrawals and nonces): there are no withdrawals".to_owned(), false);
        self.omit("I6 (hash chain): postings are not chained by hashes".to_owned(), false);
        self.omit("I9 (no plain secret at rest): a property of the program, held by its tests".to_owned(), false);
        let count = |invariant: Invariant| self.totals.get(&invariant).copied().unwrap_or_default();
        let breaches_total: BTreeMap<String, u64> =
            Invariant::ALL.into_iter().map(|invariant| (invariant.name().to_owned(), count(invariant))).collect();
        let complete = self.not_checked.iter().all(|omission| !omission.failed);
        Report {
            ok: complete && self.totals.is_empty(),
            complete,
            checked: self.checked,
            breaches: self.breaches,
            breaches_total,
            not_checked: self.not_checked,
            chains: self.chains,
            assets: self.assets.into_values().collect(),
        }
    }
}

/// Counts one more.
pub(super) fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::chain::ChainError;

    #[test]
    fn a_damaged_record_is_a_breach_and_silence_is_not() {
        let chain: ChainName = "bsc".parse().expect("well formed");
        let damaged = || Err(StoreError::Damaged { table: "posting", reason: "lines".to_owned() }.into());
        let silent = || Err(ChainError::Unavailable { reason: "down".to_owned() }.into());
        let gone = || Err(StoreError::Unavailable { reason: "closed".to_owned() }.into());

        let mut findings = Findings::default();
        assert_eq!(findings.settle(Ok(()), Invariant::Postings, None), Ok(()));
        assert_eq!(findings.settle(silent(), Invariant::Holdings, Some(&chain)), Ok(()));
        assert!(findings.settle(gone(), Invariant::Balances, None).is_err(), "the audit ends");
        assert!(findings.totals.is_empty() && findings.money.is_empty());
        assert_eq!(findings.settle(damaged(), Invariant::Deposits, Some(&chain)), Ok(()));
        assert!(findings.money.contains_key(&chain));
        let report = findings.into_report();
        assert_eq!((report.ok, report.complete, report.breaches_total["I3"]), (false, false, 1));
        assert_eq!(report.not_checked.iter().filter(|omission| omission.failed).count(), 2);
    }
}
