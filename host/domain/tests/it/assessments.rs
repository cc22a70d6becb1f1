//! Laws of the invoice state machine, over random payments in random order.

use std::time::Duration;

use proptest::prelude::*;
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::deposit::DepositState;
use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::assessment::{
    Advice, Assessment, Facts, Flags, InvoiceState, PaymentFact, Ruling, assess,
};
use xthonpay_domain::invoice::resolution::{Choice, Resolution, Wish, may_cancel};
use xthonpay_domain::invoice::transition::events;
use xthonpay_domain::invoice::{MONITOR_WINDOW, Standing, Terms};
use xthonpay_domain::time::Timestamp;

use crate::seeded::holds;
use crate::story::terms;

/// Moments around the two that matter, and between them.
fn any_moment() -> impl Strategy<Value = Timestamp> {
    let expiry = terms(0).expires_at;
    let edges = [Duration::ZERO, MONITOR_WINDOW].map(|offset| expiry.after(offset).as_millis());
    let edge = prop::sample::select(edges.to_vec());
    let near = (edge, 0_u64..3).prop_map(|(edge, offset)| edge.saturating_add(offset).saturating_sub(1));
    let anywhere = expiry.as_millis().saturating_sub(3_600_000)..edges[1].saturating_mul(2);
    prop_oneof![near, anywhere].prop_map(Timestamp::from_millis)
}

fn any_payment() -> impl Strategy<Value = PaymentFact> {
    let amounts = prop_oneof![1_u128..40, Just(100), Just(99), 1_u128..300];
    let state = prop::sample::select(vec![DepositState::Seen, DepositState::Final, DepositState::Orphaned]);
    let asset = prop::sample::select(vec!["bsc:USDT", "bsc:USDT", "bsc:USDT", "bsc:BNB"]);
    (amounts, any_moment(), state, asset).prop_map(|(units, block_time, state, asset)| PaymentFact {
        asset: asset.parse::<AssetId>().expect("well formed"),
        amount: Amount::from_units(units),
        block_time,
        state,
        reorged: state == DepositState::Orphaned,
    })
}

fn any_payments() -> impl Strategy<Value = Vec<PaymentFact>> {
    prop::collection::vec(any_payment(), 0..8)
}

fn any_terms() -> impl Strategy<Value = Terms> {
    prop_oneof![Just(0), 1_u128..50].prop_map(terms)
}

fn any_advice() -> impl Strategy<Value = Option<Advice>> {
    prop::sample::select(vec![None, Some(Advice::Settle), Some(Advice::Wait), Some(Advice::Review)])
}

/// What a merchant tries at a moment.
#[derive(Clone, Debug)]
enum Attempt {
    Nothing,
    Cancel,
    Resolve(Wish),
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    let refund = (1_u128..150).prop_map(|units| Wish::Refund {
        to: Address::new([7; 20]),
        amount: (units < 120).then(|| Amount::from_units(units)),
    });
    prop_oneof![
        4 => Just(Attempt::Nothing),
        1 => Just(Attempt::Cancel),
        1 => Just(Attempt::Resolve(Wish::Accept)),
        1 => Just(Attempt::Resolve(Wish::Ignore)),
        1 => refund.prop_map(Attempt::Resolve),
    ]
}

/// An invoice's assessment and the merchant's last decision.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stand {
    assessment: Assessment,
    resolution: Option<Resolution>,
}

impl Stand {
    fn initial(terms: &Terms) -> Self {
        Self { assessment: Assessment::initial(terms), resolution: None }
    }

    fn standing(&self) -> Standing<'_> {
        Standing { assessment: &self.assessment, resolution: self.resolution.as_ref() }
    }

    /// What follows, with a ruling on the sum that is final, and with what the merchant tries if it may.
    fn next(
        &self,
        terms: &Terms,
        payments: &[PaymentFact],
        time: Timestamp,
        advice: Option<Advice>,
        attempt: &Attempt,
    ) -> Self {
        let judged = units(payments, terms, |payment| payment.state == DepositState::Final);
        let now = &self.assessment;
        let granted = match attempt {
            Attempt::Resolve(wish) => Resolution::grant(wish.clone(), terms, self.standing(), payments, time).ok(),
            Attempt::Nothing | Attempt::Cancel => None,
        };
        let resolution = granted.or_else(|| self.resolution.clone());
        let facts = Facts {
            payments,
            finalized_time: time,
            before: now.state,
            flags_before: now.flags,
            ruling: advice.map(|advice| Ruling { advice, judged }),
            cancels: matches!(attempt, Attempt::Cancel) && may_cancel(now).is_ok(),
            resolution: resolution.as_ref(),
        };
        Self { assessment: assess(terms, facts).expect("small sums"), resolution }
    }
}

/// The assessment that follows one before, with a ruling on the sum that is final.
fn after(
    terms: &Terms,
    before: &Assessment,
    payments: &[PaymentFact],
    time: Timestamp,
    advice: Option<Advice>,
) -> Assessment {
    let before = Stand { assessment: *before, resolution: None };
    before.next(terms, payments, time, advice, &Attempt::Nothing).assessment
}

fn units(payments: &[PaymentFact], terms: &Terms, keep: impl Fn(&PaymentFact) -> bool) -> Amount {
    let counted = payments.iter().filter(|payment| payment.asset == terms.asset && keep(payment));
    Amount::sum(counted.map(|payment| payment.amount)).expect("small sums")
}

fn rank(state: InvoiceState) -> u8 {
    match state {
        InvoiceState::Cancelled | InvoiceState::Expired | InvoiceState::Pending => 0,
        InvoiceState::PartiallyPaid => 1,
        InvoiceState::Confirming => 2,
        InvoiceState::Paid => 3,
    }
}

#[test]
fn sums_are_those_of_the_payments() {
    let given = (any_terms(), any_payments(), any_moment(), any_advice());
    holds("sums of assessments", given, |(terms, payments, time, advice)| {
        let now = after(&terms, &Assessment::initial(&terms), &payments, time, advice);
        let received = units(&payments, &terms, |payment| payment.state == DepositState::Final);
        let pending = units(&payments, &terms, |payment| payment.state == DepositState::Seen);
        let known = received.checked_add(pending).expect("small sums");
        prop_assert_eq!((now.received, now.pending), (received, pending));
        prop_assert_eq!(now.missing, terms.due.saturating_sub(known));
        prop_assert_eq!(now.overpaid, received.saturating_sub(terms.due));
        let late =
            |payment: &PaymentFact| payment.state == DepositState::Final && payment.block_time > terms.expires_at;
        prop_assert_eq!(now.received_late, units(&payments, &terms, late));
        Ok(())
    });
}

#[test]
fn the_order_of_payments_does_not_matter() {
    let shuffled = any_payments().prop_flat_map(|payments| (Just(payments.clone()), Just(payments).prop_shuffle()));
    holds("order", (any_terms(), shuffled, any_moment(), any_advice()), |(terms, (one, other), time, advice)| {
        let initial = Assessment::initial(&terms);
        prop_assert_eq!(after(&terms, &initial, &one, time, advice), after(&terms, &initial, &other, time, advice));
        Ok(())
    });
}

#[test]
fn looking_again_changes_nothing_and_tells_nothing() {
    let given = (any_terms(), any_payments(), any_moment(), any_advice(), any_attempt(), any_attempt());
    holds("looking again", given, |(terms, payments, time, advice, first, second)| {
        let before = Stand::initial(&terms).next(&terms, &payments, time, advice, &first);
        let once = before.next(&terms, &payments, time, advice, &second);
        let twice = once.next(&terms, &payments, time, advice, &Attempt::Nothing);
        prop_assert_eq!(&once, &twice);
        prop_assert_eq!(events(once.standing(), twice.standing()), Vec::<EventKind>::new());
        Ok(())
    });
}

#[test]
fn a_decision_changes_no_sum_and_answers_its_question() {
    let given = (any_terms(), any_payments(), any_moment(), any_advice(), any_attempt());
    holds("decisions", given, |(terms, payments, time, advice, attempt)| {
        let before = Stand::initial(&terms).next(&terms, &payments, time, advice, &Attempt::Nothing);
        let decided = before.next(&terms, &payments, time, advice, &attempt);
        let (then, now) = (&before.assessment, &decided.assessment);
        let sums = |of: &Assessment| (of.received, of.pending, of.received_late, of.overpaid, of.missing);
        prop_assert_eq!(sums(then), sums(now));
        let Some(resolution) = &decided.resolution else {
            let untouched = then.state == InvoiceState::Pending && then.missing == terms.due;
            let withdrawn = matches!(attempt, Attempt::Cancel) && untouched;
            prop_assert_eq!(now.state == InvoiceState::Cancelled, withdrawn);
            return Ok(());
        };
        let told = events(before.standing(), decided.standing());
        prop_assert!(told.contains(&EventKind::InvoiceResolved), "{:?}", told);
        prop_assert!(now.flags.contains(Flags::MANUAL));
        // Nothing is asked any more, unless it is about what is not final yet.
        let is_stray = |payment: &&PaymentFact| payment.asset != terms.asset && payment.state == DepositState::Seen;
        let stray_seen = payments.iter().any(|payment| is_stray(&payment));
        prop_assert!(!now.flags.contains(Flags::NEEDS_REVIEW) || stray_seen, "{:?}", now);
        match attempt {
            Attempt::Resolve(Wish::Accept) => prop_assert_eq!(now.state, InvoiceState::Paid),
            _ => prop_assert_eq!(now.state, then.state),
        }
        prop_assert_eq!(resolution.judged, now.received);
        Ok(())
    });
}

#[test]
fn paid_needs_final_money_and_the_consent_of_the_rules() {
    let given = (any_terms(), any_payments(), any_moment(), any_advice());
    holds("paid", given, |(terms, payments, time, advice)| {
        let now = after(&terms, &Assessment::initial(&terms), &payments, time, advice);
        if now.state == InvoiceState::Paid {
            prop_assert!(now.received >= terms.target());
            prop_assert_eq!(advice, Some(Advice::Settle));
            prop_assert!(!now.awaits_ruling);
        }
        prop_assert_eq!(now.flags.contains(Flags::OVERPAID), now.received > terms.due);
        Ok(())
    });
}

#[test]
fn more_final_money_in_time_never_lowers_the_state() {
    let given = (any_terms(), any_payments(), 1_u128..200, any_moment(), any_advice());
    holds("more money", given, |(terms, mut payments, units, time, advice)| {
        let initial = Assessment::initial(&terms);
        let before = after(&terms, &initial, &payments, time, advice);
        payments.push(PaymentFact {
            asset: terms.asset.clone(),
            amount: Amount::from_units(units),
            block_time: terms.expires_at,
            state: DepositState::Final,
            reorged: false,
        });
        let afterwards = after(&terms, &before, &payments, time, advice);
        prop_assert!(rank(afterwards.state) >= rank(before.state), "{:?} {:?}", before.state, afterwards.state);
        prop_assert!(afterwards.received > before.received && afterwards.missing <= before.missing);
        Ok(())
    });
}

/// Payments only move as a chain moves them: seen, orphaned and seen again, final for ever; chain time never goes back.
#[test]
fn a_life_of_an_invoice_keeps_every_promise() {
    let step = (any_payment(), any_moment(), any_advice(), any_attempt(), 0_usize..8);
    let life = prop::collection::vec(step, 1..40);
    holds("lives", (any_terms(), life), |(terms, life)| {
        let mut payments: Vec<PaymentFact> = Vec::new();
        let mut stand = Stand::initial(&terms);
        let (mut time, mut told_paid, mut told_late) = (Timestamp::EPOCH, 0_u32, Amount::ZERO);
        for (payment, moment, advice, attempt, at) in life {
            time = time.max(moment);
            match payments.get_mut(at) {
                Some(known) if known.state != DepositState::Final => {
                    known.reorged |= payment.state == DepositState::Orphaned;
                    known.state = payment.state;
                }
                Some(_) => {}
                None => payments.push(payment),
            }
            let (before, stood) = (stand.assessment, stand.clone());
            stand = stood.next(&terms, &payments, time, advice, &attempt);
            let told = events(stood.standing(), stand.standing());
            let (now, next) = (before, stand.assessment);
            prop_assert!(now.state != InvoiceState::Paid || next.state == InvoiceState::Paid, "paid was left");
            prop_assert!(next.received >= now.received, "final money went away");
            let left = now.state == InvoiceState::Cancelled && next.state != InvoiceState::Cancelled;
            prop_assert!(!left || next.state == InvoiceState::Paid, "cancelled became {:?}", next.state);
            let resolved = stood.resolution != stand.resolution;
            prop_assert_eq!(told.contains(&EventKind::InvoiceResolved), resolved);
            let cancelled = now.state != InvoiceState::Cancelled && next.state == InvoiceState::Cancelled;
            prop_assert_eq!(told.contains(&EventKind::InvoiceCancelled), cancelled);
            told_paid = told_paid.saturating_add(u32::from(told.contains(&EventKind::InvoicePaid)));
            prop_assert_eq!(told_paid > 0, next.state == InvoiceState::Paid);
            if told.contains(&EventKind::InvoicePaymentLate) {
                told_late = next.received_late;
            }
            prop_assert_eq!(told_late, next.received_late, "late money was not told");
            // What a merchant declined asks anew as soon as there is more of it.
            let declined = stand.resolution.as_ref().filter(|made| made.choice != Choice::Ignore);
            let more = declined.is_some_and(|made| next.received > made.judged);
            prop_assert!(!more || next.flags.contains(Flags::NEEDS_REVIEW), "{:?}", stand);
        }
        prop_assert!(told_paid <= 1, "told to be paid {} times", told_paid);
        Ok(())
    });
}
