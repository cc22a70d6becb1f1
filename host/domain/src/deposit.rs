//! Deposits: transfers to addresses of ours, from the first sighting to the final credit.

use crate::block::BlockRef;
use crate::id::{DepositId, InvoiceId, MerchantId};
use crate::transfer::Transfer;

/// Where a deposit stands.
///
/// The only way out of `Final` is none: what is credited stays credited, and a correction is a posting of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DepositState {
    /// In a block that can still leave the chain. Not credited.
    Seen,
    /// Its block left the chain. Not credited; may be seen again.
    Orphaned,
    /// In a final block. Credited, exactly once.
    Final,
}

/// A transfer to an address of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Id made from the identity of the transfer.
    pub id: DepositId,
    /// The transfer.
    pub transfer: Transfer,
    /// The block in which it was last seen.
    pub block: BlockRef,
    /// Where it stands.
    pub state: DepositState,
    /// Whether its block ever left the chain.
    pub reorged: bool,
    /// Whose address received it.
    pub merchant: MerchantId,
    /// The invoice of the address, if the address was made for one.
    pub invoice: Option<InvoiceId>,
    /// Confirmations that it needs besides the chain's finality, at least 1.
    pub confirmations_required: u64,
}

impl Deposit {
    /// A first sighting.
    #[must_use]
    pub fn seen(
        transfer: Transfer,
        block: BlockRef,
        merchant: MerchantId,
        invoice: Option<InvoiceId>,
        confirmations_required: u64,
    ) -> Self {
        Self {
            id: transfer.identity.deposit_id(),
            transfer,
            block,
            state: DepositState::Seen,
            reorged: false,
            merchant,
            invoice,
            confirmations_required: confirmations_required.max(1),
        }
    }

    /// The same transfer seen again in `block`: how the deposit looks afterwards, or `None` when nothing changes.
    ///
    /// Seeing a known block again changes nothing, a final deposit is never touched, and an orphaned one becomes `Seen`
    /// in its new block with the amount that this block shows.
    #[must_use]
    pub fn sighted_again(&self, transfer: &Transfer, block: BlockRef) -> Option<Self> {
        let unchanged = self.state == DepositState::Seen && self.block.hash == block.hash;
        if self.state == DepositState::Final || unchanged {
            return None;
        }
        Some(Self { transfer: transfer.clone(), block, state: DepositState::Seen, reorged: true, ..self.clone() })
    }

    /// The deposit after its block left the chain, or `None` when it is not merely seen.
    #[must_use]
    pub fn orphaned(&self) -> Option<Self> {
        (self.state == DepositState::Seen).then(|| Self {
            state: DepositState::Orphaned,
            reorged: true,
            ..self.clone()
        })
    }

    /// The deposit as final, or `None` when it is not merely seen.
    #[must_use]
    pub fn finalised(&self) -> Option<Self> {
        (self.state == DepositState::Seen).then(|| Self { state: DepositState::Final, ..self.clone() })
    }

    /// Whether the deposit may be credited when `finalized` is the newest final block and `tip` the newest known one.
    #[must_use]
    pub fn is_creditable(&self, finalized: &BlockRef, tip: &BlockRef) -> bool {
        self.state == DepositState::Seen
            && self.block.number <= finalized.number
            && self.block.number.confirmations(tip.number) >= self.confirmations_required
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::amount::Amount;
    use crate::block::BlockNumber;
    use crate::hash::{BlockHash, TxHash};
    use crate::id::ID_BYTES;
    use crate::time::Timestamp;
    use crate::transfer::{Origin, TransferIdentity};

    fn block(number: u8, branch: u8) -> BlockRef {
        BlockRef {
            number: BlockNumber(number.into()),
            hash: BlockHash::new([number ^ (branch << 4); 32]),
            parent: BlockHash::new([0; 32]),
            time: Timestamp::from_secs(number.into()),
        }
    }

    fn transfer(units: u128) -> Transfer {
        Transfer {
            identity: TransferIdentity {
                asset: "bsc:USDT".parse().expect("well formed"),
                to: Address::new([9; 20]),
                origin: Origin::Transaction { tx: TxHash::new([7; 32]), nth: 0 },
            },
            from: Some(Address::new([1; 20])),
            amount: Amount::from_units(units),
        }
    }

    fn deposit() -> Deposit {
        Deposit::seen(transfer(5), block(10, 0), MerchantId::from_random([0; ID_BYTES]), None, 0)
    }

    #[test]
    fn waits_for_finality_and_for_its_confirmations() {
        let mut deposit = deposit();
        assert_eq!(deposit.confirmations_required, 1);
        assert!(!deposit.is_creditable(&block(9, 0), &block(12, 0)), "not final yet");
        assert!(deposit.is_creditable(&block(10, 0), &block(10, 0)));
        deposit.confirmations_required = 4;
        assert!(!deposit.is_creditable(&block(11, 0), &block(12, 0)), "3 confirmations");
        assert!(deposit.is_creditable(&block(11, 0), &block(13, 0)), "4 confirmations");
    }

    #[test]
    fn a_final_deposit_never_changes_again() {
        let done = deposit().finalised().expect("seen deposits can become final");
        assert_eq!(done.finalised(), None);
        assert_eq!(done.orphaned(), None);
        assert_eq!(done.sighted_again(&transfer(6), block(11, 1)), None);
        assert!(!done.is_creditable(&block(20, 0), &block(20, 0)));
    }

    #[test]
    fn is_the_same_deposit_when_mined_again_elsewhere() {
        let first = deposit();
        assert_eq!(first.sighted_again(&transfer(5), block(10, 0)), None, "the same block again");
        let gone = first.orphaned().expect("seen deposits can be orphaned");
        assert!(!gone.is_creditable(&block(20, 0), &block(20, 0)));
        let again = gone.sighted_again(&transfer(6), block(11, 1)).expect("comes back");
        assert_eq!((again.id.clone(), again.state, again.reorged), (first.id, DepositState::Seen, true));
        assert_eq!(again.transfer.amount, Amount::from_units(6), "the amount is read again");
    }

    #[test]
    fn follows_its_transaction_into_another_block() {
        let first = deposit();
        let moved = first.sighted_again(&transfer(5), block(11, 1)).expect("another block");
        assert_eq!((moved.block, moved.state, moved.reorged), (block(11, 1), DepositState::Seen, true));
        assert!(!moved.is_creditable(&block(10, 0), &block(20, 0)), "its new block is not final yet");
    }

    #[test]
    fn identity_knows_neither_block_nor_log_index() {
        let a = Deposit::seen(transfer(5), block(10, 0), MerchantId::from_random([0; ID_BYTES]), None, 1);
        let b = Deposit::seen(transfer(5), block(11, 1), MerchantId::from_random([0; ID_BYTES]), None, 1);
        assert_eq!(a.id, b.id);
        let mut second = transfer(5);
        second.identity.origin = Origin::Transaction { tx: TxHash::new([7; 32]), nth: 1 };
        assert_ne!(second.identity.deposit_id(), a.id);
        let balance = |number| TransferIdentity {
            origin: Origin::Balance { block: BlockNumber(number) },
            ..second.identity.clone()
        };
        assert_eq!(balance(7).deposit_id(), balance(7).deposit_id());
        assert_ne!(balance(7).deposit_id(), balance(8).deposit_id());
    }
}
