//! I3 and I7 in the store: every deposit is its address's, and a final one has one posting and the events that tell of it.

use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::EventKind;
use xthonpay_domain::id::{EventId, InvoiceId};

use super::pace::Pace;
use super::report::{Findings, Invariant, count};
use super::{Audit, AuditError};
use crate::port::store::{OwnAddress, READ_LIMIT_MAX};

/// What is wrong with the number of a final deposit's postings.
fn wrong_postings(credited: bool, suspended: bool) -> Option<&'static str> {
    match (credited, suspended) {
        (true, false) | (false, true) => None,
        (false, false) => Some("it is final, and no posting credits it or sets it aside; post it by hand"),
        (true, true) => Some("it is credited and set aside: posted twice; correct it by a posting"),
    }
}

/// What is wrong with whose a deposit is, by the record of the address that received it.
fn misattributed(deposit: &Deposit, own: Option<&OwnAddress>) -> Option<String> {
    let told =
        |invoice: &Option<InvoiceId>| invoice.as_ref().map_or_else(|| "no invoice".to_owned(), ToString::to_string);
    let Some(own) = own else {
        return Some(format!("its address {} has no record", deposit.transfer.identity.to));
    };
    if own.merchant == deposit.merchant && own.invoice == deposit.invoice {
        return None;
    }
    Some(format!(
        "it is attributed to {} of {}, and its address to {} of {}; correct it by a posting",
        told(&deposit.invoice),
        deposit.merchant,
        told(&own.invoice),
        own.merchant,
    ))
}

/// The events of its own that a final deposit promises, besides those of its invoice.
fn promised(deposit: &Deposit, suspended: bool) -> impl Iterator<Item = (EventKind, EventId)> {
    let told = [
        (EventKind::DepositUnattributed, suspended),
        (EventKind::DepositCredited, !suspended && deposit.invoice.is_none()),
    ];
    let promised = told.into_iter().filter(|(_, promised)| *promised);
    promised.map(|(kind, _)| (kind, EventId::from_fact(&[deposit.id.as_str(), kind.name()])))
}

impl Audit {
    /// Checks every deposit against its address, its postings and its own events.
    pub(super) async fn deposits(&self, findings: &mut Findings, pace: &mut Pace<'_>) -> Result<(), AuditError> {
        let mut after = None;
        loop {
            let page = self.store.deposits(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            for deposit in &page {
                count(&mut findings.checked.deposits);
                let own = self.store.address(&deposit.transfer.identity.to).await?;
                if let Some(detail) = misattributed(deposit, own.as_ref()) {
                    let chain = &deposit.transfer.identity.asset.chain;
                    findings.breach(Invariant::Deposits, Some(chain), &deposit.id, detail);
                }
                // Nothing is promised before; that nothing is posted either is checked from the postings.
                if deposit.state == DepositState::Final {
                    self.final_deposit(deposit, findings).await?;
                }
            }
            pace.tell(|| format!("{} deposits checked", findings.checked.deposits));
        }
    }

    async fn final_deposit(&self, deposit: &Deposit, findings: &mut Findings) -> Result<(), AuditError> {
        let chain = &deposit.transfer.identity.asset.chain;
        let (credited, suspended) = self.postings_of(&deposit.id).await?;
        if let Some(detail) = wrong_postings(credited.is_some(), suspended.is_some()) {
            findings.breach(Invariant::Deposits, Some(chain), &deposit.id, detail);
        }
        for (kind, id) in promised(deposit, suspended.is_some()) {
            count(&mut findings.checked.events);
            if !self.has_event(&id).await? {
                let detail = format!("its event {} is missing; tell the merchant by hand", kind.name());
                findings.breach(Invariant::Events, None, &deposit.id, detail);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_deposit_is_posted_exactly_once() {
        for (credited, suspended, right) in
            [(true, false, true), (false, true, true), (false, false, false), (true, true, false)]
        {
            assert_eq!(wrong_postings(credited, suspended).is_none(), right, "{credited} {suspended}");
        }
    }
}
