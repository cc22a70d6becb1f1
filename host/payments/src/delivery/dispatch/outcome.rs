//! What came of an attempt, and what it makes of its delivery.

use std::time::Duration;

use xthonpay_domain::invoice::url_text::CallbackUrl;
use xthonpay_domain::time::Timestamp;

use crate::delivery::schedule::Schedule;
use crate::port::egress::{EgressError, WebhookAnswer};
use crate::port::random::Random;
use crate::port::store::{ATTEMPTS_LOGGED_MAX, Attempt, Delivery, DeliveryState};

/// "Gone": the receiver asks never to be called again.
const STATUS_GONE: u16 = 410;
/// How much of an answer's body the log keeps, in bytes. What sends the webhook gives no more; this is where the bound counts.
const EXCERPT_BYTES_MAX: usize = 1_024;

/// What came of an attempt.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Answered(WebhookAnswer),
    Unanswered(EgressError),
    /// A failure of ours that the merchant need not know more about.
    NotSent,
    /// The endpoint takes no deliveries at the moment. Nothing was sent, so it is no attempt.
    SwitchedOff,
}

/// What an outcome says about the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It took the delivery.
    Took,
    /// It did not.
    Failed,
    /// It asks not to be called again.
    Gone,
    /// Nothing: it was not asked.
    Unasked,
}

impl Outcome {
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Answered(answer) if (200..300).contains(&answer.status) => Verdict::Took,
            Self::Answered(answer) if answer.status == STATUS_GONE => Verdict::Gone,
            Self::Answered(_) | Self::Unanswered(_) => Verdict::Failed,
            Self::NotSent | Self::SwitchedOff => Verdict::Unasked,
        }
    }

    /// How long the receiver took, if it answered.
    pub(super) fn latency(&self) -> Option<Duration> {
        match self {
            Self::Answered(answer) => Some(answer.latency),
            Self::Unanswered(_) | Self::NotSent | Self::SwitchedOff => None,
        }
    }

    fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(answer) => Some(answer.status),
            Self::Unanswered(_) | Self::NotSent | Self::SwitchedOff => None,
        }
    }

    /// Why the delivery did not arrive, in one sentence for the merchant.
    fn error(&self) -> Option<String> {
        match self {
            Self::Answered(_) if self.verdict() == Verdict::Took => None,
            Self::Answered(answer) => Some(format!("the receiver answered {}", answer.status)),
            Self::Unanswered(error) => Some(error.to_string()),
            Self::NotSent => Some("not sent: the host could not make the request".to_owned()),
            Self::SwitchedOff => Some("not sent: the endpoint is switched off".to_owned()),
        }
    }

    /// Whether a further attempt would come to the same end.
    fn is_final(&self) -> bool {
        match self {
            Self::Answered(answer) => answer.status == STATUS_GONE,
            Self::Unanswered(error) => !error.is_transient(),
            Self::NotSent => false,
            Self::SwitchedOff => true,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered(answer) => answer.retry_after,
            Self::Unanswered(_) | Self::NotSent | Self::SwitchedOff => None,
        }
    }

    fn excerpt(&self) -> String {
        match self {
            Self::Answered(answer) => cut(&answer.excerpt).to_owned(),
            Self::Unanswered(_) | Self::NotSent | Self::SwitchedOff => String::new(),
        }
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(EXCERPT_BYTES_MAX)).unwrap_or_default()
}

/// An attempt that has ended.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) outcome: Outcome,
    /// Where it went.
    pub(super) url: CallbackUrl,
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
    /// From its beginning to its end, by a clock that does not jump.
    pub(super) latency: Duration,
}

impl Made {
    /// The delivery after the attempt. Where its endpoint has moved away from the place that was asked, no answer is the last word.
    pub(super) fn applied_to(
        &self,
        delivery: &Delivery,
        is_there: bool,
        schedule: &Schedule,
        random: &dyn Random,
    ) -> Delivery {
        let sent = !matches!(self.outcome, Outcome::SwitchedOff);
        let counted = u32::from(sent);
        let attempts_on_schedule = delivery.attempts_on_schedule.saturating_add(counted);
        let last_error = self.outcome.error();
        let again = schedule.next_at(attempts_on_schedule, self.ended, self.outcome.retry_after(), random);
        let (state, next_at) = match (last_error.is_none(), again) {
            (true, _) => (DeliveryState::Delivered, delivery.next_at),
            (false, Some(again)) if !(is_there && self.outcome.is_final()) => (DeliveryState::Pending, again),
            (false, _) => (DeliveryState::Failed, delivery.next_at),
        };
        let log = if sent { self.logged_after(&delivery.log) } else { delivery.log.clone() };
        Delivery {
            state,
            url: self.url.clone(),
            attempts: delivery.attempts.saturating_add(counted),
            attempts_on_schedule,
            log,
            next_at,
            last_status: self.outcome.status(),
            last_error,
            revision: delivery.revision.saturating_add(1),
            ..delivery.clone()
        }
    }

    /// The log with this attempt at its end, without the oldest where it would grow too long.
    fn logged_after(&self, log: &[Attempt]) -> Vec<Attempt> {
        let attempt = Attempt {
            at: self.began,
            status: self.outcome.status(),
            error: self.outcome.error(),
            latency: self.latency,
            excerpt: self.outcome.excerpt(),
        };
        let kept = ATTEMPTS_LOGGED_MAX.saturating_sub(1);
        log.iter().skip(log.len().saturating_sub(kept)).cloned().chain([attempt]).collect()
    }
}
