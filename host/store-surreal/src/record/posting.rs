//! Postings of the ledger: written once, never changed.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::id::{DepositId, MerchantId, PostingId};
use xthonpay_domain::ledger::{Account, Line, Posting, PostingKind, Side};

use super::{Record, RowError, amount, parse, text_key, word};
use crate::list::List;
use crate::table::Table;
use crate::whole::Whole;

const KINDS: [PostingKind; 2] = [PostingKind::DepositCredited, PostingKind::DepositSuspended];
const SIDES: [Side; 2] = [Side::Debit, Side::Credit];
/// The part of an account's name in front of its merchant.
const AVAILABLE: &str = "merchant.available/";
const HELD: &str = "merchant.held/";

/// A posting as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct PostingRow {
    id: RecordId,
    kind: String,
    cause: String,
    at: Whole,
    lines: Vec<LinePart>,
}

/// A line of a posting.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct LinePart {
    account: String,
    side: String,
    asset: String,
    amount: String,
}

fn side_word(side: Side) -> &'static str {
    match side {
        Side::Debit => "debit",
        Side::Credit => "credit",
    }
}

/// The record of a posting.
pub(crate) fn id(posting: &PostingId) -> RecordId {
    Table::Posting.record(posting.as_str())
}

/// The list in which the deposit of a posting that sets it aside stands for ever.
pub(crate) fn entries(posting: &Posting) -> Vec<RecordId> {
    let deposit = || posting.cause().parse::<DepositId>().ok();
    let suspended = match posting.kind() {
        PostingKind::DepositSuspended => deposit().map(|id| List::suspended().deposit(&id)),
        PostingKind::DepositCredited => None,
    };
    suspended.into_iter().collect()
}

impl From<&Line> for LinePart {
    fn from(line: &Line) -> Self {
        Self {
            account: line.account.name(),
            side: side_word(line.side).to_owned(),
            asset: line.asset.to_string(),
            amount: line.amount.to_string(),
        }
    }
}

impl LinePart {
    fn read(&self) -> Result<Line, RowError> {
        Ok(Line {
            account: account(&self.account)?,
            side: word("side", &self.side, &SIDES, side_word)?,
            asset: parse("asset", &self.asset)?,
            amount: amount("amount", &self.amount)?,
        })
    }
}

fn account(name: &str) -> Result<Account, RowError> {
    let merchant = |text: &str| parse::<MerchantId>("account", text);
    if let Some(text) = name.strip_prefix(AVAILABLE) {
        return merchant(text).map(Account::MerchantAvailable);
    }
    if let Some(text) = name.strip_prefix(HELD) {
        return merchant(text).map(Account::MerchantHeld);
    }
    let of_the_operator = [
        Account::ChainDeposit,
        Account::ChainTreasury,
        Account::ChainGas,
        Account::FeeNetwork,
        Account::Suspense,
        Account::External,
    ];
    let unknown = || RowError::Field { field: "account", reason: "an unknown account".to_owned() };
    of_the_operator.into_iter().find(|account| account.name() == name).ok_or_else(unknown)
}

impl Record for Posting {
    const TABLE: Table = Table::Posting;
    type Row = PostingRow;

    fn to_row(&self) -> PostingRow {
        PostingRow {
            id: id(self.id()),
            kind: self.kind().name().to_owned(),
            cause: self.cause().to_owned(),
            at: self.at().into(),
            lines: self.lines().iter().map(LinePart::from).collect(),
        }
    }

    fn from_row(row: PostingRow) -> Result<Self, RowError> {
        let lines = row.lines.iter().map(LinePart::read).collect::<Result<_, _>>()?;
        let unbalanced = |error: xthonpay_domain::ledger::PostingError| RowError::Field {
            field: "lines",
            reason: error.to_string(),
        };
        let kind = word("kind", &row.kind, &KINDS, PostingKind::name)?;
        let posting = Self::new(kind, &row.cause, row.at.into(), lines).map_err(unbalanced)?;
        if *posting.id() != text_key::<PostingId>(&row.id)? {
            return Err(RowError::Contradiction("its id is not that of its cause"));
        }
        Ok(posting)
    }
}
