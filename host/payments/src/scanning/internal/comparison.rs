//! What a balance in the native coin says about the deposits that are known on an address.

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, AmountError};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};

use crate::port::store::{OwnAddress, READ_LIMIT_MAX, StoreError};
use crate::scanning::changes::{Books, ScanError};

/// An address of ours whose balance is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::scanning) struct Holder {
    pub(in crate::scanning) address: Address,
    /// The invoice that it was made for; `None` for a merchant's deposit address.
    pub(in crate::scanning) invoice: Option<InvoiceId>,
}

impl From<&OwnAddress> for Holder {
    fn from(own: &OwnAddress) -> Self {
        Self { address: own.address, invoice: own.invoice.clone() }
    }
}

/// What a balance says about the deposits that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scanning) enum Comparison {
    /// They are all there is.
    Explained,
    /// There is more.
    Surplus(Amount),
    /// There is less.
    Shortfall {
        /// What they sum up to.
        explained: Amount,
    },
}

impl Comparison {
    /// Holds a balance against what came in and what we sent away ourselves.
    pub(in crate::scanning) fn of(balance: Amount, received: Amount, sent: Amount) -> Result<Self, AmountError> {
        // Both sides are sums, so that neither can fall below zero.
        let held = balance.checked_add(sent)?;
        Ok(match held.checked_sub(received) {
            Ok(surplus) if surplus.is_zero() => Self::Explained,
            Ok(surplus) => Self::Surplus(surplus),
            Err(_) => Self::Shortfall { explained: received },
        })
    }
}

/// What the known deposits of an address sum up to in the native coin at a final block.
///
/// What is credited or was found in a balance counts whatever its block: a balance holds all that came before, and after a
/// broken finality the same transaction can stand in another block than the one in which it was credited.
pub(in crate::scanning) fn received(
    deposits: &[Deposit],
    native: &AssetId,
    at: BlockNumber,
) -> Result<Amount, AmountError> {
    let counts = |deposit: &&Deposit| {
        let identity = &deposit.transfer.identity;
        let is_there = match deposit.state {
            DepositState::Final => true,
            DepositState::Seen => deposit.block.number <= at || matches!(identity.origin, Origin::Balance { .. }),
            DepositState::Orphaned => false,
        };
        identity.asset == *native && is_there
    };
    Amount::sum(deposits.iter().filter(counts).map(|deposit| deposit.transfer.amount))
}

/// What of a surplus was there at an earlier block already, where the address held `balance`.
pub(in crate::scanning) fn there_before(
    surplus: Amount,
    balance: Amount,
    deposits: &[Deposit],
    native: &AssetId,
    at: BlockNumber,
) -> Result<Amount, AmountError> {
    let counts = |deposit: &&Deposit| {
        let is_there = deposit.state != DepositState::Orphaned && deposit.block.number <= at;
        deposit.transfer.identity.asset == *native && is_there
    };
    let explained = Amount::sum(deposits.iter().filter(counts).map(|deposit| deposit.transfer.amount))?;
    Ok(balance.saturating_sub(explained).min(surplus))
}

/// A transfer that only a balance shows.
pub(in crate::scanning) fn passed_on(native: &AssetId, to: Address, block: BlockRef, amount: Amount) -> Transfer {
    let origin = Origin::Balance { block: block.number };
    Transfer { identity: TransferIdentity { asset: native.clone(), to, origin }, from: None, amount }
}

impl Books {
    /// What a balance at a final block says about an address, and the deposits that it was held against.
    pub(in crate::scanning) async fn compare(
        &self,
        holder: &Holder,
        native: &AssetId,
        at: BlockNumber,
        balance: Amount,
    ) -> Result<(Comparison, Vec<Deposit>), ScanError> {
        let deposits = self.deposits_of(holder).await?;
        // Nothing leaves a deposit address yet: no part of this version signs with its key.
        let sent = Amount::ZERO;
        Ok((Comparison::of(balance, received(&deposits, native, at)?, sent)?, deposits))
    }

    /// Every deposit on an address.
    pub(in crate::scanning) async fn deposits_of(&self, holder: &Holder) -> Result<Vec<Deposit>, StoreError> {
        if let Some(invoice) = &holder.invoice {
            return self.store.deposits_of_invoice(invoice).await;
        }
        let mut deposits: Vec<Deposit> = Vec::new();
        loop {
            let after = deposits.last().map(|last| last.id.clone());
            let page = self.store.deposits_on(&holder.address, after.as_ref(), READ_LIMIT_MAX).await?;
            if page.is_empty() {
                return Ok(deposits);
            }
            deposits.extend(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(units: u128) -> Amount {
        Amount::from_units(units)
    }

    #[test]
    fn what_we_sent_away_explains_what_is_missing() {
        let compare = |balance, received, sent| Comparison::of(units(balance), units(received), units(sent));
        assert_eq!(compare(0, 0, 0), Ok(Comparison::Explained));
        assert_eq!(compare(7, 7, 0), Ok(Comparison::Explained));
        assert_eq!(compare(9, 7, 0), Ok(Comparison::Surplus(units(2))));
        assert_eq!(compare(0, 7, 7), Ok(Comparison::Explained));
        assert_eq!(compare(2, 7, 7), Ok(Comparison::Surplus(units(2))));
        assert_eq!(compare(5, 7, 0), Ok(Comparison::Shortfall { explained: units(7) }));
        assert_eq!(compare(5, 7, 1), Ok(Comparison::Shortfall { explained: units(7) }));
        let top = Amount::from_be_bytes([0xff; 32]);
        assert_eq!(Comparison::of(top, units(1), units(1)), Err(AmountError::Overflow));
    }
}
