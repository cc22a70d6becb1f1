//! Which payments a case is made of, and how it is seen that they were processed. Pure.

use xthonpay_domain::amount::{Amount, AmountError, BPS_IN_WHOLE};
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::id::DepositId;
use xthonpay_domain::invoice::Invoice;
use xthonpay_domain::transfer::{Origin, TransferIdentity};

use super::{Case, SimulationError, Wish};
use crate::port::simulation::{Movement, Way};

/// The share of an underpayment, and what an overpayment is above the amount due.
const HALF_BPS: u32 = BPS_IN_WHOLE / 2;
/// The share of each part but the last.
const THIRD_BPS: u32 = BPS_IN_WHOLE / 3;

/// A payment to an invoice's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payment {
    pub(super) asset: AssetId,
    pub(super) amount: Amount,
    /// Whether a contract passes it on, so that no transaction shows it.
    pub(super) passed_on: bool,
}

/// How payments come into the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One block after the other.
    Plain,
    /// In a block that leaves the chain, then again.
    MinedTwice,
}

/// How the payments of a case come into the chain.
pub(super) fn shape(case: Case) -> Shape {
    match case {
        Case::Reorg => Shape::MinedTwice,
        Case::Paid
        | Case::Underpaid
        | Case::Overpaid
        | Case::Late
        | Case::Multi
        | Case::WrongAsset
        | Case::InternalBnb => Shape::Plain,
    }
}

/// The payments of a case, in the asset that it is paid in.
pub(super) fn of(wish: Wish, invoice: &Invoice, asset: &AssetId) -> Result<Vec<Payment>, SimulationError> {
    let state = invoice.assessment.state;
    if wish.case == Case::InternalBnb && !state.awaits_expiry() {
        return Err(SimulationError::NotOpen { state });
    }
    let total = match wish.amount {
        Some(amount) => amount,
        None => usual(wish.case, invoice)?,
    };
    let parts = if wish.case == Case::Multi { thirds(total)? } else { vec![total] };
    if parts.iter().any(|part| part.is_zero()) {
        return Err(SimulationError::TooSmall);
    }
    // Sums of larger ones could leave 256 bits, and stop the scanner for everybody.
    if parts.iter().any(|part| *part > Amount::PAYMENT_MAX) {
        return Err(SimulationError::TooLarge);
    }
    let payment = |amount| Payment { asset: asset.clone(), amount, passed_on: wish.case == Case::InternalBnb };
    Ok(parts.into_iter().map(payment).collect())
}

/// What a case stands for when no amount is given.
fn usual(case: Case, invoice: &Invoice) -> Result<Amount, AmountError> {
    let (due, missing) = (invoice.terms.due, invoice.assessment.missing);
    Ok(match case {
        Case::Underpaid => due.share_bps(HALF_BPS)?,
        Case::Overpaid => due.checked_add(due.share_bps(HALF_BPS)?.max(Amount::from_units(1)))?,
        Case::WrongAsset => due,
        // An invoice that is paid already is paid once more.
        Case::Paid | Case::Late | Case::Multi | Case::Reorg | Case::InternalBnb if missing.is_zero() => due,
        Case::Paid | Case::Late | Case::Multi | Case::Reorg | Case::InternalBnb => missing,
    })
}

fn thirds(total: Amount) -> Result<Vec<Amount>, AmountError> {
    let third = total.share_bps(THIRD_BPS)?;
    let rest = total.checked_sub(third)?.checked_sub(third)?;
    Ok(vec![third, third, rest])
}

/// What a simulation waits for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// These deposits.
    Deposits(Vec<DepositId>),
    /// So much that only balances showed, all in all.
    PassedOn(Amount),
}

impl Awaited {
    /// What these movements shall lead to, on an address with these deposits.
    pub(super) fn of(movements: &[Movement], known: &[Deposit]) -> Result<Self, AmountError> {
        let passed_on = movements.iter().filter(|movement| movement.way == Way::PassedOn);
        let sum = Amount::sum(passed_on.map(|movement| movement.amount))?;
        if !sum.is_zero() {
            return Ok(Self::PassedOn(shown_by_balances(known, &|_| true)?.checked_add(sum)?));
        }
        let id = |movement: &Movement| match movement.way {
            Way::PassedOn => None,
            Way::Transaction(tx) => {
                let origin = Origin::Transaction { tx, nth: 0 };
                Some(TransferIdentity { asset: movement.asset.clone(), to: movement.to, origin }.deposit_id())
            }
        };
        Ok(Self::Deposits(movements.iter().filter_map(id).collect()))
    }

    /// Whether it shows in no transaction.
    pub(super) fn is_passed_on(&self) -> bool {
        matches!(self, Self::PassedOn(_))
    }

    /// Whether all of it is in one of these states.
    pub(super) fn is_in(&self, states: &[DepositState], deposits: &[Deposit]) -> Result<bool, AmountError> {
        match self {
            Self::Deposits(ids) => {
                let is_there =
                    |id: &DepositId| deposits.iter().any(|known| known.id == *id && states.contains(&known.state));
                Ok(ids.iter().all(is_there))
            }
            Self::PassedOn(sum) => Ok(shown_by_balances(deposits, &|deposit| states.contains(&deposit.state))? >= *sum),
        }
    }
}

/// The sum of the deposits that balances showed.
fn shown_by_balances(deposits: &[Deposit], keep: &dyn Fn(&Deposit) -> bool) -> Result<Amount, AmountError> {
    let shown = |deposit: &&Deposit| deposit.transfer.identity.origin.tx().is_none() && keep(deposit);
    Amount::sum(deposits.iter().filter(shown).map(|deposit| deposit.transfer.amount))
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::address::Address;
    use xthonpay_domain::id::{ID_BYTES, InvoiceId, MerchantId};
    use xthonpay_domain::invoice::assessment::{Assessment, InvoiceState};
    use xthonpay_domain::invoice::{Terms, Tolerance};
    use xthonpay_domain::time::Timestamp;

    use super::*;

    fn invoice(due: u128, missing: u128, state: InvoiceState) -> Invoice {
        let terms = Terms {
            asset: "test:BNB".parse().expect("well formed"),
            due: Amount::from_units(due),
            tolerance: Tolerance::default(),
            confirmations: 1,
            expires_at: Timestamp::from_secs(60),
        };
        let assessment = Assessment { state, missing: Amount::from_units(missing), ..Assessment::initial(&terms) };
        Invoice {
            id: InvoiceId::from_random([1; ID_BYTES]),
            merchant: MerchantId::from_random([2; ID_BYTES]),
            external_id: None,
            customer: None,
            metadata: Vec::new(),
            callback_url: None,
            address: Address::new([3; 20]),
            created_at: Timestamp::EPOCH,
            assessment,
            terms,
            ruling: None,
            resolution: None,
            events: 1,
            revision: 1,
        }
    }

    fn amounts(case: Case, amount: Option<u128>, invoice: &Invoice) -> Result<Vec<u128>, SimulationError> {
        let wish = Wish { case, amount: amount.map(Amount::from_units) };
        let payments = of(wish, invoice, &invoice.terms.asset)?;
        let units = |payment: &Payment| payment.amount.to_string().parse().expect("small enough");
        Ok(payments.iter().map(units).collect())
    }

    #[test]
    fn each_case_pays_what_it_stands_for_or_what_it_is_told() {
        let (new, half, done) = (
            invoice(100, 100, InvoiceState::Pending),
            invoice(100, 50, InvoiceState::PartiallyPaid),
            invoice(100, 0, InvoiceState::Paid),
        );
        for (case, amount, invoice, paid) in [
            (Case::Paid, None, &new, vec![100]),
            (Case::Paid, None, &half, vec![50]),
            (Case::Paid, None, &done, vec![100]),
            (Case::Paid, Some(7), &new, vec![7]),
            (Case::Underpaid, None, &new, vec![50]),
            (Case::Overpaid, None, &new, vec![150]),
            (Case::Late, None, &new, vec![100]),
            (Case::Multi, None, &new, vec![33, 33, 34]),
            (Case::Multi, Some(9), &new, vec![2, 2, 5]),
            (Case::Reorg, None, &half, vec![50]),
            (Case::WrongAsset, None, &half, vec![100]),
            (Case::InternalBnb, None, &half, vec![50]),
        ] {
            assert_eq!(amounts(case, amount, invoice), Ok(paid), "{case:?} {amount:?}");
        }
        assert_eq!(amounts(Case::Overpaid, None, &invoice(1, 1, InvoiceState::Pending)), Ok(vec![2]));
    }

    #[test]
    fn what_cannot_be_paid_is_refused_before_a_block_is_made() {
        let grain = invoice(1, 1, InvoiceState::Pending);
        for case in [Case::Underpaid, Case::Multi] {
            assert_eq!(amounts(case, None, &grain), Err(SimulationError::TooSmall), "{case:?}");
        }
        assert_eq!(amounts(Case::Paid, Some(0), &grain), Err(SimulationError::TooSmall));
        let wish = Wish { case: Case::Paid, amount: Some(Amount::MAX) };
        assert_eq!(of(wish, &grain, &grain.terms.asset), Err(SimulationError::TooLarge));
        let paid = invoice(5, 0, InvoiceState::Paid);
        let refused = SimulationError::NotOpen { state: InvoiceState::Paid };
        assert_eq!(amounts(Case::InternalBnb, None, &paid), Err(refused));
    }
}
