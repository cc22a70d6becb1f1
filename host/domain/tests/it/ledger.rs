//! Laws of the ledger, over random deposits and random lines.

use proptest::prelude::*;
use ruint::aliases::U512;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::{ID_BYTES, MerchantId};
use xthonpay_domain::ledger::{Account, Balance, Line, Posting, PostingError, PostingKind, Side};
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};

use crate::amounts::any_amount;
use crate::seeded::holds;

fn merchant(number: u8) -> MerchantId {
    MerchantId::from_random([number; ID_BYTES])
}

fn any_asset() -> impl Strategy<Value = AssetId> {
    prop::sample::select(vec!["bsc:USDT", "bsc:BNB", "eth:USDT"]).prop_map(|text| text.parse().expect("well formed"))
}

fn any_deposit() -> impl Strategy<Value = Deposit> {
    (any_amount(), any_asset(), any::<[u8; 32]>(), 0_u8..3).prop_map(|(amount, asset, tx, owner)| {
        let origin = Origin::Transaction { tx: TxHash::new(tx), nth: 0 };
        let identity = TransferIdentity { asset, to: Address::new([9; 20]), origin };
        let block = BlockRef {
            number: BlockNumber(7),
            hash: BlockHash::new([7; 32]),
            parent: BlockHash::new([6; 32]),
            time: Timestamp::EPOCH,
        };
        let transfer = Transfer { identity, from: Some(Address::new([1; 20])), amount };
        Deposit::seen(transfer, block, merchant(owner), None, 1)
    })
}

fn any_line() -> impl Strategy<Value = Line> {
    let accounts = vec![
        Account::ChainDeposit,
        Account::MerchantAvailable(merchant(0)),
        Account::MerchantHeld(merchant(0)),
        Account::MerchantAvailable(merchant(1)),
        Account::Suspense,
        Account::External,
    ];
    let sides = prop::sample::select(vec![Side::Debit, Side::Credit]);
    let amounts = prop_oneof![0_u128..4, 1_u128..4].prop_map(Amount::from_units);
    (prop::sample::select(accounts), sides, any_asset(), amounts).prop_map(|(account, side, asset, amount)| Line {
        account,
        side,
        asset,
        amount,
    })
}

fn side_sum(lines: &[Line], asset: &AssetId, side: Side) -> U512 {
    let matching = lines.iter().filter(|line| line.asset == *asset && line.side == side);
    matching.fold(U512::ZERO, |sum, line| sum + U512::from_be_slice(&line.amount.to_be_bytes()))
}

fn is_balanced(lines: &[Line]) -> bool {
    lines.iter().all(|line| side_sum(lines, &line.asset, Side::Debit) == side_sum(lines, &line.asset, Side::Credit))
}

#[test]
fn a_deposit_of_any_amount_is_posted_in_balance_and_once() {
    holds("deposits", any_deposit(), |deposit| {
        for posting in [Posting::credit_deposit, Posting::suspend_deposit] {
            let posted = posting(&deposit, Timestamp::EPOCH);
            if deposit.transfer.amount.is_zero() {
                prop_assert_eq!(posted, Err(PostingError::Empty));
                continue;
            }
            let posted = posted.expect("balanced");
            prop_assert!(is_balanced(posted.lines()));
            prop_assert_eq!(posted.cause(), deposit.id.as_str());
            let again = posting(&deposit, Timestamp::from_secs(9)).expect("balanced");
            prop_assert_eq!(again.id(), posted.id(), "the same fact has the same id at any time");
        }
        Ok(())
    });
}

#[test]
fn lines_are_posted_exactly_when_they_balance() {
    // Mirrored lines balance; one more line may spoil it.
    let lines = (prop::collection::vec(any_line(), 0..4), prop::option::of(any_line())).prop_map(|(lines, more)| {
        let other = |side| if side == Side::Debit { Side::Credit } else { Side::Debit };
        let mirrored =
            lines.iter().map(|line| Line { account: Account::External, side: other(line.side), ..line.clone() });
        lines.iter().cloned().chain(mirrored).chain(more).collect::<Vec<Line>>()
    });
    holds("lines", lines, |lines| {
        let complete = !lines.is_empty() && lines.iter().all(|line| !line.amount.is_zero());
        let posted = Posting::new(PostingKind::DepositCredited, "dep_x", Timestamp::EPOCH, lines.clone());
        prop_assert_eq!(posted.is_ok(), complete && is_balanced(&lines));
        Ok(())
    });
}

#[test]
fn a_balance_is_the_sum_of_the_merchants_lines() {
    holds("balances", prop::collection::vec(any_deposit(), 0..6), |deposits| {
        let (owner, asset) = (merchant(0), "bsc:USDT".parse::<AssetId>().expect("well formed"));
        let mut balance = Ok(Balance::default());
        let mut sum = U512::ZERO;
        for deposit in deposits.iter().filter(|deposit| !deposit.transfer.amount.is_zero()) {
            let posting = Posting::credit_deposit(deposit, Timestamp::EPOCH).expect("balanced");
            balance = balance.and_then(|balance| balance.apply(&posting, &owner, &asset));
            if deposit.merchant == owner && deposit.transfer.identity.asset == asset {
                sum += U512::from_be_slice(&deposit.transfer.amount.to_be_bytes());
            }
        }
        let fits = sum <= U512::from_be_slice(&Amount::MAX.to_be_bytes());
        prop_assert_eq!(balance.is_ok(), fits);
        if let Ok(balance) = balance {
            prop_assert_eq!(U512::from_be_slice(&balance.available.to_be_bytes()), sum);
            prop_assert!(balance.held.is_zero());
        }
        Ok(())
    });
}
