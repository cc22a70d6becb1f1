//! I7 of invoices: their events are numbered without a gap, and what happened to invoice and payments was told.

use std::collections::BTreeMap;

use xthonpay_domain::deposit::{Deposit, DepositState};
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{DepositId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::assessment::Assessment;
use xthonpay_domain::invoice::{Invoice, Standing, transition};

use super::pace::Pace;
use super::report::{Findings, Invariant, count};
use super::{Audit, AuditError};
use crate::port::store::{InvoiceFilter, READ_LIMIT_MAX};
use crate::reassess::event_id;

/// Missing events of one invoice that are told one by one; an invoice can have as many as it has payments.
const MISSING_MAX: usize = 20;

/// What an invoice's events tell, without the events.
#[derive(Debug, Default)]
struct Told {
    kinds: BTreeMap<EventKind, u64>,
    confirmed: BTreeMap<DepositId, u64>,
}

impl Told {
    fn add(&mut self, event: &Event) {
        let times = self.kinds.entry(event.kind).or_default();
        *times = times.saturating_add(1);
        if event.kind == EventKind::PaymentConfirmed
            && let Some(deposit) = &event.deposit
        {
            let times = self.confirmed.entry(deposit.clone()).or_default();
            *times = times.saturating_add(1);
        }
    }

    fn times(&self, kind: EventKind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// What should have been told and was not, or too often.
    fn lacks(&self, promised: &[EventKind], deposits: &[Deposit]) -> Vec<String> {
        let mut lacks = Vec::new();
        for kind in EventKind::ALL {
            let at_most_once = matches!(kind, EventKind::InvoiceCreated | EventKind::InvoicePaid);
            let times = self.times(kind);
            if (promised.contains(&kind) && times == 0) || (at_most_once && times > 1) {
                lacks.push(format!("{} was told {times} times", kind.name()));
            }
        }
        for deposit in deposits.iter().filter(|deposit| deposit.state == DepositState::Final) {
            let times = self.confirmed.get(&deposit.id).copied().unwrap_or_default();
            if times != 1 {
                let name = EventKind::PaymentConfirmed.name();
                lacks.push(format!("{name} of {} was told {times} times", deposit.id));
            }
        }
        lacks
    }
}

/// What an invoice that stands like this has told, however it came there. The domain's own rule is asked what follows when
/// everything happens at once.
fn promised(invoice: &Invoice) -> Vec<EventKind> {
    let initial = Assessment::initial(&invoice.terms);
    let mut promised = transition::events(Standing { assessment: &initial, resolution: None }, invoice.standing());
    promised.push(EventKind::InvoiceCreated);
    promised
}

impl Audit {
    /// Checks the events of every invoice.
    pub(super) async fn invoices(&self, findings: &mut Findings, pace: &mut Pace<'_>) -> Result<(), AuditError> {
        let mut after = None;
        loop {
            let page = self.store.merchants(after.as_ref(), READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id.clone());
            for merchant in &page {
                self.invoices_of(&merchant.id, findings, pace).await?;
            }
        }
    }

    async fn invoices_of(
        &self,
        merchant: &MerchantId,
        findings: &mut Findings,
        pace: &mut Pace<'_>,
    ) -> Result<(), AuditError> {
        let mut filter = InvoiceFilter::default();
        loop {
            let page = self.store.invoices(merchant, &filter, READ_LIMIT_MAX).await?;
            let Some(last) = page.last() else { return Ok(()) };
            filter.after = Some((last.created_at, last.id.clone()));
            for invoice in &page {
                self.invoice(&invoice.id, findings).await?;
            }
            pace.tell(|| format!("{} invoices checked", findings.checked.invoices));
        }
    }

    async fn invoice(&self, id: &InvoiceId, findings: &mut Findings) -> Result<(), AuditError> {
        // The deposits first: an invoice that is read after them counts every event that they promise.
        let deposits = self.store.deposits_of_invoice(id).await?;
        let Some(invoice) = self.store.invoice(id).await? else { return Ok(()) };
        count(&mut findings.checked.invoices);
        let mut told = Told::default();
        let mut missing = Vec::new();
        for sequence in 1..=invoice.events {
            count(&mut findings.checked.events);
            match self.store.event(&event_id(id, sequence)).await? {
                Some(event) if is_numbered(&event, &invoice, sequence) => told.add(&event),
                Some(_) | None if missing.len() < MISSING_MAX => missing.push(sequence.to_string()),
                Some(_) | None => {}
            }
        }
        let mut lacks = told.lacks(&promised(&invoice), &deposits);
        if !missing.is_empty() {
            lacks.insert(0, format!("of {} events these are missing: {}", invoice.events, missing.join(", ")));
        }
        if !lacks.is_empty() {
            let detail = format!("{}; tell the merchant by hand", lacks.join("; "));
            findings.breach(Invariant::Events, None, id, detail);
        }
        Ok(())
    }
}

/// Whether an event is the one that stands at its place.
fn is_numbered(event: &Event, invoice: &Invoice, sequence: u64) -> bool {
    event.invoice.as_ref() == Some(&invoice.id) && event.sequence == sequence && event.merchant == invoice.merchant
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kinds: &[EventKind]) -> Told {
        Told { kinds: kinds.iter().map(|kind| (*kind, 1)).collect(), confirmed: BTreeMap::new() }
    }

    #[test]
    fn what_is_promised_was_told_and_the_once_only_not_twice() {
        use EventKind::{InvoiceCreated as Created, InvoicePaid as Paid, PaymentDetected as Detected};
        let cases: [(&[EventKind], &[EventKind], usize); 5] = [
            (&[Created], &[Created], 0),
            (&[Created, Paid], &[Created, Detected, Paid], 0),
            (&[Created, Paid], &[Created], 1),
            (&[Created, Paid], &[], 2),
            (&[], &[Paid], 0),
        ];
        for (promised, kinds, lacks) in cases {
            assert_eq!(told(kinds).lacks(promised, &[]).len(), lacks, "{promised:?} {kinds:?}");
        }
        let mut twice = told(&[Created, Paid, Detected]);
        twice.kinds.values_mut().for_each(|times| *times = 2);
        assert_eq!(twice.lacks(&[], &[]), ["invoice.created was told 2 times", "invoice.paid was told 2 times"]);
    }
}
