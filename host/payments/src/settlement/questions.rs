//! Which invoices the rules were asked about without a decision, and when to ask again. In memory only: after a restart the
//! rules are asked earlier than they need be.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::id::InvoiceId;
use xthonpay_domain::invoice::Invoice;

use crate::port::store::READ_LIMIT_MAX;

/// The first and the longest pause before rules that said "wait" are asked again.
const ASK_AGAIN_MIN: Duration = Duration::from_secs(2);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(60);
/// Invoices that are remembered, about 150 bytes each. Beyond it the memory starts anew.
const QUESTIONS_MAX: usize = 10_000;

/// Open questions to the rules, and where the next look at the store goes on.
#[derive(Default)]
pub struct Questions(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    asked: HashMap<InvoiceId, Asked>,
    resume: Option<InvoiceId>,
}

/// How often the rules were asked about an invoice's sum, and when they may be asked again.
#[derive(Clone, Copy)]
struct Asked {
    sum: Amount,
    times: u32,
    again_at: Instant,
}

impl Questions {
    /// How many invoices are remembered: the rules were asked about them and have not decided.
    #[must_use]
    pub fn open(&self) -> usize {
        self.memory().asked.len()
    }

    /// Behind which invoice the next look begins; `None` for the beginning.
    pub(super) fn resume(&self) -> Option<InvoiceId> {
        self.memory().resume.clone()
    }

    /// Remembers where a look ended: a full page is followed by the next one, any other by the first.
    pub(super) fn looked(&self, page: &[Invoice]) {
        let full = page.len() >= READ_LIMIT_MAX;
        self.memory().resume = page.last().filter(|_| full).map(|invoice| invoice.id.clone());
    }

    /// Whether it is time to ask about the invoice's sum.
    pub(super) fn is_due(&self, invoice: &Invoice) -> bool {
        self.about(invoice).is_none_or(|asked| asked.again_at <= Instant::now())
    }

    /// How often the rules were asked about the invoice's sum.
    pub(super) fn times(&self, invoice: &Invoice) -> u32 {
        self.about(invoice).map_or(0, |asked| asked.times)
    }

    fn about(&self, invoice: &Invoice) -> Option<Asked> {
        let known = self.memory().asked.get(&invoice.id).copied();
        known.filter(|asked| asked.sum == invoice.assessment.received)
    }

    /// The rules were asked about `sum` for the `times`th time.
    pub(super) fn note(&self, id: &InvoiceId, sum: Amount, times: u32) {
        let again_at = Instant::now().checked_add(pause_after(times)).unwrap_or_else(Instant::now);
        let mut memory = self.memory();
        if memory.asked.len() >= QUESTIONS_MAX && !memory.asked.contains_key(id) {
            memory.asked.clear();
        }
        memory.asked.insert(id.clone(), Asked { sum, times, again_at });
    }

    /// The question is decided.
    pub(super) fn forget(&self, id: &InvoiceId) {
        self.memory().asked.remove(id);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause after the `times`th question, from 1: doubles from the first to the longest.
fn pause_after(times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(u32::BITS);
    ASK_AGAIN_MIN.saturating_mul(2_u32.saturating_pow(doublings)).min(ASK_AGAIN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::ASKS_MAX;

    #[test]
    fn pauses_double_up_to_a_minute_and_end_after_half_an_hour() {
        let pauses: Vec<u64> = (1..=8).map(|times| pause_after(times).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause_after(u32::MAX), ASK_AGAIN_MAX);
        let until_a_person_is_asked: u64 = (1..ASKS_MAX).map(|times| pause_after(times).as_secs()).sum();
        assert!((1_700..=2_000).contains(&until_a_person_is_asked), "{until_a_person_is_asked} s");
    }

    #[test]
    fn remembers_a_bounded_number() {
        let questions = Questions::default();
        for number in 0..QUESTIONS_MAX.saturating_add(5) {
            let id = InvoiceId::from_fact(&[&number.to_string()]);
            questions.note(&id, Amount::ZERO, 1);
            assert!(questions.open() <= QUESTIONS_MAX);
        }
        assert_eq!(questions.open(), 5);
        questions.forget(&InvoiceId::from_fact(&[&QUESTIONS_MAX.to_string()]));
        assert_eq!(questions.open(), 4);
    }
}
