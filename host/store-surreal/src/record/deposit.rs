//! Deposits.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::id::DepositId;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};

use super::block::BlockPart;
use super::{Record, RowError, amount, parse, parse_option, text_key, word};
use crate::list::List;
use crate::table::Table;
use crate::whole::Whole;

const STATES: [DepositState; 3] = [DepositState::Seen, DepositState::Orphaned, DepositState::Final];

fn state_word(state: DepositState) -> &'static str {
    match state {
        DepositState::Seen => "seen",
        DepositState::Orphaned => "orphaned",
        DepositState::Final => "final",
    }
}

/// A deposit as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct DepositRow {
    id: RecordId,
    asset: String,
    /// The transaction, or the block at which the balance told of it: one of the two.
    tx: Option<String>,
    nth: u32,
    balance_at: Option<Whole>,
    to: String,
    from: Option<String>,
    amount: String,
    block: BlockPart,
    state: String,
    reorged: bool,
    merchant: String,
    invoice: Option<String>,
    confirmations_required: Whole,
    listed: Vec<RecordId>,
}

/// The record of a deposit.
pub(crate) fn id(deposit: &DepositId) -> RecordId {
    Table::Deposit.record(deposit.as_str())
}

/// The list in which a deposit stands for ever, unless it pays an invoice.
pub(crate) fn entries(deposit: &Deposit) -> Vec<RecordId> {
    let on_address = || List::deposits_on(&deposit.transfer.identity.to).deposit(&deposit.id);
    deposit.invoice.is_none().then(on_address).into_iter().collect()
}

/// Their order is a part of the stored form: a deposit is changed from exactly what was read. The lists by time are among
/// them because a transfer that is mined again gets the time of its new block.
fn moving_entries(deposit: &Deposit) -> Vec<RecordId> {
    let Deposit { id, merchant, invoice, block, .. } = deposit;
    let seen = || List::seen(&deposit.transfer.identity.asset.chain).deposit(id);
    let seen = (deposit.state == DepositState::Seen).then(seen);
    let of_merchant = List::payments_of(merchant).newest_first(block.time, id.as_str());
    let for_invoice = invoice.as_ref().map(|of| List::payments_for(of).newest_first(block.time, id.as_str()));
    seen.into_iter().chain([of_merchant]).chain(for_invoice).collect()
}

impl Record for Deposit {
    const TABLE: Table = Table::Deposit;
    type Row = DepositRow;

    fn to_row(&self) -> DepositRow {
        let identity = &self.transfer.identity;
        DepositRow {
            id: id(&self.id),
            asset: identity.asset.to_string(),
            tx: identity.origin.tx().map(|tx| tx.to_string()),
            nth: match identity.origin {
                Origin::Transaction { nth, .. } => nth,
                Origin::Balance { .. } => 0,
            },
            balance_at: match identity.origin {
                Origin::Transaction { .. } => None,
                Origin::Balance { block } => Some(Whole(block.0)),
            },
            to: identity.to.to_lower_hex(),
            from: self.transfer.from.map(|from| from.to_lower_hex()),
            amount: self.transfer.amount.to_string(),
            block: (&self.block).into(),
            state: state_word(self.state).to_owned(),
            reorged: self.reorged,
            merchant: self.merchant.to_string(),
            invoice: self.invoice.as_ref().map(ToString::to_string),
            confirmations_required: Whole(self.confirmations_required),
            listed: moving_entries(self),
        }
    }

    fn from_row(row: DepositRow) -> Result<Self, RowError> {
        let origin = match (parse_option("tx", row.tx.as_deref())?, row.balance_at) {
            (Some(tx), None) => Origin::Transaction { tx, nth: row.nth },
            (None, Some(block)) => Origin::Balance { block: BlockNumber(block.0) },
            _ => return Err(RowError::Contradiction("it names not one origin")),
        };
        let identity = TransferIdentity { asset: parse("asset", &row.asset)?, to: parse("to", &row.to)?, origin };
        let id: DepositId = text_key(&row.id)?;
        if identity.deposit_id() != id {
            return Err(RowError::Contradiction("its id is not that of its transfer"));
        }
        Ok(Self {
            id,
            transfer: Transfer {
                identity,
                from: parse_option("from", row.from.as_deref())?,
                amount: amount("amount", &row.amount)?,
            },
            block: row.block.read()?,
            state: word("state", &row.state, &STATES, state_word)?,
            reorged: row.reorged,
            merchant: parse("merchant", &row.merchant)?,
            invoice: parse_option("invoice", row.invoice.as_deref())?,
            confirmations_required: row.confirmations_required.0,
        })
    }
}
