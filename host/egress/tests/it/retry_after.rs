//! `Retry-After` in every form that a receiver may write, from its bytes to the moment of the next attempt.

use std::time::Duration;

use xthonpay_domain::time::Timestamp;
use xthonpay_payments::delivery::schedule::Schedule;
use xthonpay_payments::port::random::Random;

use crate::receiver::{Reply, exchange};

/// No jitter.
struct Zeros;

impl Random for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// What the receiver sends, and how many seconds pass until the second attempt, which the schedule alone makes after 5.
const FORMS: [(&str, &str, u64); 17] = [
    ("nothing", "", 5),
    ("no time at all", "retry-after: 0\r\n", 5),
    ("less than the schedule", "retry-after: 3\r\n", 5),
    ("a minute", "retry-after: 60\r\n", 60),
    ("with spaces", "retry-after:   60  \r\n", 60),
    ("a day", "retry-after: 86400\r\n", 86_400),
    ("more than a day", "retry-after: 86401\r\n", 86_400),
    ("thirty years", "retry-after: 1000000000\r\n", 86_400),
    ("more digits than fit", "retry-after: 99999999999999999999999999\r\n", 86_400),
    ("negative", "retry-after: -1\r\n", 5),
    ("a fraction", "retry-after: 1.5\r\n", 5),
    ("nonsense", "retry-after: soon\r\n", 5),
    ("empty", "retry-after:\r\n", 5),
    ("two of them", "retry-after: 60\r\nretry-after: 90\r\n", 5),
    ("a date", "retry-after: Sun, 06 Nov 1994 08:51:37 GMT\r\n", 120),
    ("a date that has passed", "retry-after: Sun, 06 Nov 1994 08:00:00 GMT\r\n", 5),
    ("a date far away", "retry-after: Sat, 06 Nov 2094 08:49:37 GMT\r\n", 86_400),
];

#[tokio::test]
async fn the_next_attempt_is_made_when_the_receiver_asks_for_it_within_a_day() {
    let now = Timestamp::from_secs(1_700_000_000);
    for status in [429_u16, 502, 503, 504] {
        for (form, line, seconds) in FORMS {
            let reply = format!("HTTP/1.1 {status} x\r\n{DATE}{line}content-length: 0\r\n\r\n");
            let answer = exchange(Reply::text(&reply)).await.expect("an answer");
            assert_eq!(answer.status, status);
            let next = Schedule::standard().next_at(1, now, answer.retry_after, &Zeros).expect("a second attempt");
            assert_eq!(next, now.after(Duration::from_secs(seconds)), "{status}: {form}");
        }
    }
}
