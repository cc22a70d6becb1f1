//! The ledger: balanced postings, written once and never changed.
//!
//! Double entry with one amount per line and a side instead of a sign. Accounts whose name begins with `chain.` and
//! `fee.network` grow on the debit side (they are what is owned or spent); `merchant.*`, `suspense` and `external` grow on
//! the credit side (they are what is owed). A correction is a new posting.

use thiserror::Error;

use crate::amount::{Amount, AmountError};
use crate::asset::AssetId;
use crate::deposit::Deposit;
use crate::id::{MerchantId, PostingId};
use crate::time::Timestamp;

/// An account of the ledger; each exists once per asset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// On deposit addresses, not yet swept.
    ChainDeposit,
    /// On the treasury address.
    ChainTreasury,
    /// On addresses that pay for gas.
    ChainGas,
    /// What a merchant can spend.
    MerchantAvailable(MerchantId),
    /// What is set aside for a merchant's withdrawals.
    MerchantHeld(MerchantId),
    /// Paid to the network.
    FeeNetwork,
    /// Received, but not yet anyone's: a person decides.
    Suspense,
    /// The world outside: the operator's own money coming in or going out.
    External,
}

/// The side of an account on which a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The left side.
    Debit,
    /// The right side.
    Credit,
}

/// One line of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The account.
    pub account: Account,
    /// The side.
    pub side: Side,
    /// The asset.
    pub asset: AssetId,
    /// The amount in base units, above zero.
    pub amount: Amount,
}

/// A set of lines whose debits equal their credits in every asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    id: PostingId,
    kind: PostingKind,
    cause: String,
    at: Timestamp,
    lines: Vec<Line>,
}

/// Why a posting was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PostingKind {
    /// A final deposit, credited to its merchant.
    DepositCredited,
    /// A final deposit in an asset that its invoice does not ask for, set aside.
    DepositSuspended,
}

/// A set of lines that is not a posting.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PostingError {
    /// Debits and credits differ.
    #[error("debits and credits of {asset} differ")]
    Unbalanced {
        /// The asset.
        asset: AssetId,
    },
    /// A line without an amount, or no line at all.
    #[error("a posting needs lines, and each line an amount")]
    Empty,
    /// A sum left the range of 256 bits.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

impl PostingError {
    /// Always `false`: the same lines fail the same way.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        false
    }
}

impl Account {
    /// The account's name: stable, used in the store and in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::ChainDeposit => "chain.deposit".to_owned(),
            Self::ChainTreasury => "chain.treasury".to_owned(),
            Self::ChainGas => "chain.gas".to_owned(),
            Self::MerchantAvailable(merchant) => format!("merchant.available/{merchant}"),
            Self::MerchantHeld(merchant) => format!("merchant.held/{merchant}"),
            Self::FeeNetwork => "fee.network".to_owned(),
            Self::Suspense => "suspense".to_owned(),
            Self::External => "external".to_owned(),
        }
    }
}

impl PostingKind {
    /// The kind's name: stable, used in the store and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DepositCredited => "deposit_credited",
            Self::DepositSuspended => "deposit_suspended",
        }
    }
}

impl Posting {
    /// A balanced posting. Its id is made from kind and cause, so the same fact can be posted only once.
    ///
    /// # Errors
    /// [`PostingError`] when lines are missing, empty or unbalanced.
    pub fn new(kind: PostingKind, cause: &str, at: Timestamp, lines: Vec<Line>) -> Result<Self, PostingError> {
        if lines.is_empty() || lines.iter().any(|line| line.amount.is_zero()) {
            return Err(PostingError::Empty);
        }
        for line in &lines {
            if side_sum(&lines, &line.asset, Side::Debit)? != side_sum(&lines, &line.asset, Side::Credit)? {
                return Err(PostingError::Unbalanced { asset: line.asset.clone() });
            }
        }
        Ok(Self { id: Self::id_of(kind, cause), kind, cause: cause.to_owned(), at, lines })
    }

    /// The id that a posting of this kind and cause has.
    #[must_use]
    pub fn id_of(kind: PostingKind, cause: &str) -> PostingId {
        PostingId::from_fact(&[kind.name(), cause])
    }

    /// The posting that credits a final deposit to its merchant.
    ///
    /// # Errors
    /// [`PostingError::Empty`] for a deposit of nothing.
    pub fn credit_deposit(deposit: &Deposit, at: Timestamp) -> Result<Self, PostingError> {
        let owner = Account::MerchantAvailable(deposit.merchant.clone());
        Self::receive(PostingKind::DepositCredited, deposit, owner, at)
    }

    /// The posting that sets a final deposit aside until a person decides.
    ///
    /// # Errors
    /// [`PostingError::Empty`] for a deposit of nothing.
    pub fn suspend_deposit(deposit: &Deposit, at: Timestamp) -> Result<Self, PostingError> {
        Self::receive(PostingKind::DepositSuspended, deposit, Account::Suspense, at)
    }

    fn receive(kind: PostingKind, deposit: &Deposit, owner: Account, at: Timestamp) -> Result<Self, PostingError> {
        let asset = &deposit.transfer.identity.asset;
        let amount = deposit.transfer.amount;
        let line = |account, side| Line { account, side, asset: asset.clone(), amount };
        let lines = vec![line(Account::ChainDeposit, Side::Debit), line(owner, Side::Credit)];
        // The cause is the deposit alone, so that credit and suspension of one deposit exclude each other only by kind;
        // the deposit's one-way step to `Final` is what lets exactly one of them happen.
        Self::new(kind, deposit.id.as_str(), at, lines)
    }

    /// The id, made from kind and cause.
    #[must_use]
    pub fn id(&self) -> &PostingId {
        &self.id
    }

    /// Why it was made.
    #[must_use]
    pub fn kind(&self) -> PostingKind {
        self.kind
    }

    /// The id of the fact that caused it.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// When it was made.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The lines; debits equal credits in every asset.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}

fn side_sum(lines: &[Line], asset: &AssetId, side: Side) -> Result<Amount, AmountError> {
    Amount::sum(lines.iter().filter(|line| line.side == side && line.asset == *asset).map(|line| line.amount))
}

/// What a merchant has of one asset. Kept beside the ledger for fast reads; it equals the sum of the merchant's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Can be spent.
    pub available: Amount,
    /// Set aside for withdrawals.
    pub held: Amount,
}

impl Balance {
    /// The balance of `merchant` in `asset` after `posting`.
    ///
    /// # Errors
    /// [`AmountError::Underflow`] when an account would fall below zero, [`AmountError::Overflow`] above 256 bits.
    pub fn apply(self, posting: &Posting, merchant: &MerchantId, asset: &AssetId) -> Result<Self, AmountError> {
        let mut after = self;
        for line in posting.lines().iter().filter(|line| line.asset == *asset) {
            let account = match &line.account {
                Account::MerchantAvailable(owner) if owner == merchant => &mut after.available,
                Account::MerchantHeld(owner) if owner == merchant => &mut after.held,
                _ => continue,
            };
            *account = match line.side {
                Side::Credit => account.checked_add(line.amount)?,
                Side::Debit => account.checked_sub(line.amount)?,
            };
        }
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ID_BYTES;

    fn usdt() -> AssetId {
        "bsc:USDT".parse().expect("well formed")
    }

    fn line(account: Account, side: Side, units: u128) -> Line {
        Line { account, side, asset: usdt(), amount: Amount::from_units(units) }
    }

    fn merchant() -> MerchantId {
        MerchantId::from_random([3; ID_BYTES])
    }

    fn post(lines: Vec<Line>) -> Result<Posting, PostingError> {
        Posting::new(PostingKind::DepositCredited, "dep_x", Timestamp::EPOCH, lines)
    }

    #[test]
    fn refuses_what_does_not_balance() {
        let unbalanced = vec![line(Account::ChainDeposit, Side::Debit, 5), line(Account::Suspense, Side::Credit, 4)];
        assert_eq!(post(unbalanced), Err(PostingError::Unbalanced { asset: usdt() }));
        let one_sided = vec![line(Account::ChainDeposit, Side::Debit, 5), line(Account::Suspense, Side::Debit, 5)];
        assert_eq!(post(one_sided), Err(PostingError::Unbalanced { asset: usdt() }));
        let mut other_asset =
            vec![line(Account::ChainDeposit, Side::Debit, 5), line(Account::Suspense, Side::Credit, 5)];
        other_asset[1].asset = "bsc:BNB".parse().expect("well formed");
        assert!(matches!(post(other_asset), Err(PostingError::Unbalanced { .. })));
        assert_eq!(post(vec![]), Err(PostingError::Empty));
        assert_eq!(post(vec![line(Account::ChainDeposit, Side::Debit, 0)]), Err(PostingError::Empty));
    }

    #[test]
    fn moves_balances_on_the_credit_side() {
        let available = Account::MerchantAvailable(merchant());
        let held = Account::MerchantHeld(merchant());
        let credit = post(vec![line(Account::ChainDeposit, Side::Debit, 9), line(available.clone(), Side::Credit, 9)]);
        let balance = Balance::default().apply(&credit.expect("balanced"), &merchant(), &usdt()).expect("in range");
        assert_eq!(balance.available, Amount::from_units(9));
        let hold = post(vec![line(available, Side::Debit, 10), line(held, Side::Credit, 10)]).expect("balanced");
        assert_eq!(balance.apply(&hold, &merchant(), &usdt()), Err(AmountError::Underflow), "never below zero");
        let stranger = MerchantId::from_random([4; ID_BYTES]);
        assert_eq!(balance.apply(&hold, &stranger, &usdt()), Ok(balance), "others are not touched");
    }

    #[test]
    fn the_same_fact_has_the_same_id() {
        let lines = || vec![line(Account::ChainDeposit, Side::Debit, 5), line(Account::Suspense, Side::Credit, 5)];
        let first = post(lines()).expect("balanced");
        let again = Posting::new(PostingKind::DepositCredited, "dep_x", Timestamp::from_secs(9), lines());
        assert_eq!(again.expect("balanced").id(), first.id());
        let other = Posting::new(PostingKind::DepositSuspended, "dep_x", Timestamp::EPOCH, lines());
        assert_ne!(other.expect("balanced").id(), first.id());
    }
}
