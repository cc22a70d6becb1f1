//! I5: at a final block, addresses of ours hold exactly what was deposited on them, to the base unit.
//!
//! Balances are read first, since nodes forget the states of blocks within a minute; then the deposits up to that block are
//! counted against them. Coins that a contract passed on are recorded some seconds after they came, so addresses that hold
//! more of the native coin than their deposits are looked at again before they count. Nothing leaves the addresses in this version, so nothing else explains a difference.

use std::collections::BTreeMap;

use tokio::time::Instant;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::asset::{Asset, AssetId, AssetKind};
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::deposit::{Deposit, DepositState};

use super::pace::Pace;
use super::patience::PATIENCE;
use super::report::{Findings, Invariant};
use super::{Audit, AuditError, Chain};
use crate::port::chain::{BALANCES_MAX, ChainError, ChainSource};
use crate::port::store::{READ_LIMIT_MAX, StoreError};

/// Addresses with a balance that are compared in one pass over the deposits: about 30 MB.
const HELD_AT_ONCE: usize = 200_000;
/// The most addresses that one pass keeps sums of. Sound books have deposits only where there is a balance, so the rest is
/// room for those that are not.
const SUMS_MAX: usize = 2 * HELD_AT_ONCE;
/// Addresses that are looked at again. A running host has never more of them at a time than one of its sweeps records.
const SUSPECTS_MAX: usize = 1_000;

/// What there is on an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    on_chain: Amount,
    deposited: Amount,
    /// In a final block and not yet credited, for want of confirmations.
    in_flight: Amount,
}

/// How a balance and its deposits differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    /// So much is on the address and in no deposit.
    Unexplained(Amount),
    /// So much is in deposits and not on the address.
    Missing(Amount),
}

impl Held {
    fn difference(&self) -> Result<Option<Difference>, AmountError> {
        let ours = self.deposited.checked_add(self.in_flight)?;
        Ok(match (self.on_chain.checked_sub(ours), ours.checked_sub(self.on_chain)) {
            (Ok(more), _) if !more.is_zero() => Some(Difference::Unexplained(more)),
            (_, Ok(less)) if !less.is_zero() => Some(Difference::Missing(less)),
            _ => None,
        })
    }

    fn add(&mut self, deposit: &Deposit) -> Result<(), AmountError> {
        let sum = match deposit.state {
            DepositState::Final => &mut self.deposited,
            DepositState::Seen => &mut self.in_flight,
            DepositState::Orphaned => return Ok(()),
        };
        *sum = sum.checked_add(deposit.transfer.amount)?;
        Ok(())
    }
}

/// A run of addresses in ascending order, and what those hold that hold anything.
struct Holders {
    block: BlockRef,
    after: Option<Address>,
    /// The last address of the run; `None` when there was none left.
    last: Option<Address>,
    held: BTreeMap<Address, Held>,
    /// Deposits on addresses for which there was no room left.
    left_out: u64,
}

impl Holders {
    /// Counts a deposit, if it is on one of these addresses and the balances were read at or behind its block.
    fn add(&mut self, asset: &AssetId, deposit: &Deposit) -> Result<(), AmountError> {
        let identity = &deposit.transfer.identity;
        let to = identity.to;
        let in_run = self.after.is_none_or(|after| to > after) && self.last.is_some_and(|last| to <= last);
        if identity.asset != *asset || deposit.block.number > self.block.number || !in_run {
            return Ok(());
        }
        if self.held.len() >= SUMS_MAX && !self.held.contains_key(&to) {
            self.left_out = self.left_out.saturating_add(1);
            return Ok(());
        }
        self.held.entry(to).or_default().add(deposit)
    }
}

/// Sums over all addresses.
#[derive(Default)]
struct Totals {
    held: Held,
    unexplained: Amount,
    missing: Amount,
}

impl Totals {
    fn add(&mut self, held: &Held, difference: Option<Difference>) -> Result<(), AmountError> {
        let sums = &mut self.held;
        sums.on_chain = sums.on_chain.checked_add(held.on_chain)?;
        sums.deposited = sums.deposited.checked_add(held.deposited)?;
        sums.in_flight = sums.in_flight.checked_add(held.in_flight)?;
        match difference {
            Some(Difference::Unexplained(more)) => self.unexplained = self.unexplained.checked_add(more)?,
            Some(Difference::Missing(less)) => self.missing = self.missing.checked_add(less)?,
            None => {}
        }
        Ok(())
    }
}

impl Audit {
    /// Holds the balances of every address of ours against the deposits on it, for each asset of the chain.
    pub(super) async fn holdings(
        &self,
        chain: &Chain<'_>,
        findings: &mut Findings,
        pace: &mut Pace<'_>,
    ) -> Result<(), AuditError> {
        let assets: Vec<&Asset> = self.catalog.assets().filter(|asset| asset.id.chain == chain.cursor.chain).collect();
        for asset in assets {
            let mut totals = Totals::default();
            let mut after = None;
            loop {
                let mut holders = self.holders(chain, asset, after, findings, pace).await?;
                let Some(last) = holders.last else { break };
                self.count_against(&asset.id, &mut holders, findings, pace).await?;
                if asset.kind == AssetKind::Native {
                    self.look_at_newer(chain, asset, &mut holders).await?;
                }
                conclude(&asset.id, holders, &mut totals, findings);
                after = Some(last);
            }
            let told = findings.totals(&asset.id);
            told.on_chain = totals.held.on_chain.to_string();
            told.deposited = totals.held.deposited.to_string();
            told.in_flight = totals.held.in_flight.to_string();
            told.unexplained = totals.unexplained.to_string();
            told.missing = totals.missing.to_string();
        }
        Ok(())
    }

    /// Reads balances, from the address after `after` on, until there are enough or the nodes forget the block.
    async fn holders(
        &self,
        chain: &Chain<'_>,
        asset: &Asset,
        after: Option<Address>,
        findings: &mut Findings,
        pace: &mut Pace<'_>,
    ) -> Result<Holders, AuditError> {
        let name = &chain.cursor.chain;
        // As it is now, since the state of the block where the audit began may be forgotten already.
        let block = self.store.cursor(name).await?.map_or(chain.cursor.finalized, |cursor| cursor.finalized);
        let mut holders = Holders { block, after, last: None, held: BTreeMap::new(), left_out: 0 };
        while holders.held.len() < HELD_AT_ONCE {
            let addresses = self.addresses_after(holders.last.or(after)).await?;
            let Some(last) = addresses.last().copied() else { break };
            let balances = match balances(chain.source, asset, block, &addresses).await {
                Ok(balances) => balances,
                // What was read so far is compared first, and the rest at a newer block.
                Err(error) if error.is_transient() && holders.last.is_some() => break,
                Err(error) => return Err(error.into()),
            };
            let read = &mut findings.checked.holdings;
            *read = read.saturating_add(u64::try_from(balances.len()).unwrap_or(u64::MAX));
            let some = addresses.into_iter().zip(balances).filter(|(_, balance)| !balance.is_zero());
            holders.held.extend(some.map(|(address, on_chain)| (address, Held { on_chain, ..Held::default() })));
            holders.last = Some(last);
            pace.tell(|| format!("chain {name}: balances up to address {last} read"));
        }
        Ok(holders)
    }

    /// As many addresses as one question for balances may name.
    async fn addresses_after(&self, after: Option<Address>) -> Result<Vec<Address>, StoreError> {
        let mut addresses: Vec<Address> = Vec::new();
        while let Some(room) = BALANCES_MAX.checked_sub(addresses.len()).filter(|room| *room > 0) {
            let from = addresses.last().copied().or(after);
            let page = self.store.address_list(from, room.min(READ_LIMIT_MAX)).await?;
            if page.is_empty() {
                break;
            }
            addresses.extend(page);
        }
        Ok(addresses)
    }

    /// Reads addresses again that hold more than was deposited, at newer final blocks, until a running host has recorded it.
    async fn look_at_newer(&self, chain: &Chain<'_>, asset: &Asset, holders: &mut Holders) -> Result<(), AuditError> {
        let has_more = |held: &Held| matches!(held.difference(), Ok(Some(Difference::Unexplained(_))));
        let suspects = holders.held.iter().filter(|(_, held)| has_more(held)).map(|(address, _)| *address);
        let mut suspects: Vec<Address> = suspects.take(SUSPECTS_MAX).collect();
        let (begun, mut block) = (Instant::now(), holders.block);
        while !suspects.is_empty() && begun.elapsed() < PATIENCE {
            let newer = self.wait_for(&chain.cursor.chain, |cursor| cursor.finalized.number > block.number).await?;
            let Some(cursor) = newer else { break };
            block = cursor.finalized;
            let Ok(balances) = balances(chain.source, asset, block, &suspects).await else { break };
            for (address, on_chain) in suspects.iter().zip(balances) {
                let held = self.held(&asset.id, address, on_chain, block).await?;
                holders.held.insert(*address, held);
            }
            suspects.retain(|address| holders.held.get(address).is_some_and(has_more));
        }
        Ok(())
    }

    /// What there is on one address.
    async fn held(
        &self,
        asset: &AssetId,
        address: &Address,
        on_chain: Amount,
        block: BlockRef,
    ) -> Result<Held, AuditError> {
        let mut held = Held { on_chain, ..Held::default() };
        let Some(own) = self.store.address(address).await? else { return Ok(held) };
        let mut after = None;
        loop {
            let page = match &own.invoice {
                Some(invoice) => self.store.deposits_of_invoice(invoice).await?,
                None => self.store.deposits_on(address, after.as_ref(), READ_LIMIT_MAX).await?,
            };
            after = page.last().map(|last| last.id.clone());
            for deposit in &page {
                if deposit.transfer.identity.asset == *asset && deposit.block.number <= block.number {
                    // A sum beyond 256 bits leaves a difference, which is told.
                    let _ = held.add(deposit);
                }
            }
            if own.invoice.is_some() || page.is_empty() {
                return Ok(held);
            }
        }
    }

    async fn count_against(
        &self,
        asset: &AssetId,
        holders: &mut Holders,
        findings: &mut Findings,
        pace: &mut Pace<'_>,
    ) -> Result<(), AuditError> {
        let mut seen = None;
        loop {
            let page = self.store.deposits(seen.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            seen = Some(last.id.clone());
            for deposit in &page {
                if let Err(error) = holders.add(asset, deposit) {
                    findings.breach(Invariant::Holdings, Some(&asset.chain), &deposit.id, error.to_string());
                }
            }
            pace.tell(|| format!("{asset}: counting deposits against balances"));
        }
    }
}

/// Tells every address that differs, and adds to the totals.
fn conclude(asset: &AssetId, holders: Holders, totals: &mut Totals, findings: &mut Findings) {
    let at = holders.block.number;
    if holders.left_out > 0 {
        let what = format!("I5: {} deposits of {asset} on addresses without a balance", holders.left_out);
        findings.omit(what, true);
    }
    for (address, held) in holders.held {
        let told = held.difference().and_then(|difference| totals.add(&held, difference).map(|()| difference));
        let (detail, chain) = match told {
            Ok(None) => continue,
            // Nobody is owed less for it, so it is no reason to stop the chain: whoever likes can send a unit to any address.
            Ok(Some(Difference::Unexplained(more))) => (
                format!(
                    "{more} at block {at} is in no deposit; nobody loses by it. A payment through a contract is recorded by \
                     `xthonpay rescan --address {address}`, any other by `--tx`; if it came within the last minute, audit again"
                ),
                None,
            ),
            Ok(Some(Difference::Missing(less))) => (
                format!(
                    "{less} of its deposits is not there at block {at}; stop withdrawals and find out where it went"
                ),
                Some(&asset.chain),
            ),
            Err(error) => (error.to_string(), Some(&asset.chain)),
        };
        findings.breach(Invariant::Holdings, chain, format!("{asset} on {address}"), detail);
    }
}

/// Balances in any asset of a chain.
async fn balances(
    source: &dyn ChainSource,
    asset: &Asset,
    block: BlockRef,
    addresses: &[Address],
) -> Result<Vec<Amount>, ChainError> {
    let balances = match asset.kind {
        AssetKind::Native => source.native_balances(block, addresses).await?,
        AssetKind::Token { .. } => source.token_balances(block, &asset.id, addresses).await?,
    };
    if balances.len() != addresses.len() {
        return Err(ChainError::Inconsistent { reason: "not one balance for each address".to_owned() });
    }
    Ok(balances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_is_its_deposits_to_the_base_unit() {
        let units = Amount::from_units;
        let unexplained = |by| Some(Difference::Unexplained(units(by)));
        let missing = |by| Some(Difference::Missing(units(by)));
        for (on_chain, deposited, in_flight, expected) in [
            (0, 0, 0, None),
            (7, 7, 0, None),
            (7, 5, 2, None),
            (8, 5, 2, unexplained(1)),
            (5, 0, 0, unexplained(5)),
            (6, 5, 2, missing(1)),
            (0, 5, 0, missing(5)),
        ] {
            let held = Held { on_chain: units(on_chain), deposited: units(deposited), in_flight: units(in_flight) };
            assert_eq!(held.difference(), Ok(expected), "{held:?}");
        }
        let huge = Held { deposited: Amount::MAX, in_flight: units(1), ..Held::default() };
        assert!(huge.difference().is_err());
    }
}
