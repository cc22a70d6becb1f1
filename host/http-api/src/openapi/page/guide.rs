//! The way in: signing, invoices, webhooks, the feed, and what holds for every call. Told in the order in which a merchant
//! needs it.

use maud::{Markup, html};

use super::example::{CREATE_INVOICE, EVENTS, SIGNING, WEBHOOK};
use super::fields::{line, says};

/// The parts: anchor and title.
pub(super) const PARTS: [(&str, &str); 6] = [
    ("signing", "Sign a request"),
    ("invoice", "Make an invoice"),
    ("webhooks", "Receive webhooks"),
    ("feed", "Catch up from the feed"),
    ("repeating", "Repeat a call safely"),
    ("lists", "Lists and limits"),
];

const SIGNING_SAYS: &str = "\
Every call of a merchant carries three headers: `X-API-Key`, `X-Timestamp` in Unix seconds, and `X-Signature`, an HMAC-SHA256 \
in hexadecimal whose key is the text of the secret. A key has one scheme, chosen when it is made.";
const SIGNING_TABLE: [[&str; 3]; 3] = [
    ["scheme", "what is signed", "clock may differ by"],
    [
        "`request`",
        "`{timestamp}\\n{METHOD}\\n{path}\\n` and the raw body; the path as it is sent, without its query",
        "300 s",
    ],
    ["`timestamp`", "the time stamp alone; for clients that cannot be changed", "60 s"],
];
const SIGNING_ONCE: &str = "\
With `request`, a signature works once for calls that change something. The examples sign with it; save this one, the others \
use it.";

const INVOICE_SAYS: &str = "\
Show the address and the amount to your customer. The webhook `invoice.paid` says when to ship.";

const WEBHOOKS_SAYS: &str = "\
Every delivery is a `POST` of `{\"event\": …, \"data\": …}`, unless another format was chosen, and is signed twice with the \
secret `whsec_…` of its endpoint: once after Standard Webhooks over id, time and body, and once over the body alone. Check the \
first: it alone tells a fresh delivery from a recording.";
const WEBHOOKS_TABLE: [[&str; 3]; 3] = [
    ["header", "HMAC-SHA256 of", "key"],
    [
        "`webhook-signature`: `v1,` and base64",
        "`{webhook-id}.{webhook-timestamp}.` and the body",
        "the bytes that the part behind `whsec_` encodes",
    ],
    ["`X-Xthon-Signature`, hexadecimal", "the body", "the whole text of the secret"],
];
const WEBHOOKS_ANSWER: &str = "\
Answer 2xx within a few seconds and do slow work afterwards. An event can come more than once, under the same `webhook-id`.";

const FEED_SAYS: &str = "\
`GET /api/v1/events` lists every event in the order in which it was recorded, without gaps. Keep `next_cursor` and go on from \
there: nothing is missed, whatever happened to your receiver.";

const REPEATING_SAYS: &str = "\
When no answer came, you cannot know what happened. Give `external_id` for invoices, or `Idempotency-Key` for every call that \
changes something, and repeat it, signed anew.";
const REPEATING_TABLE: [[&str; 2]; 5] = [
    ["the same name again", "answer"],
    ["with the same path and body", "the first answer, with `Idempotent-Replayed: true`"],
    ["with another body", "422 `IDEMPOTENCY_MISMATCH`"],
    ["while the first call is under way", "409 `IDEMPOTENCY_IN_PROGRESS`"],
    ["after a call that failed", "as if it were new: failures are not kept"],
];

const LISTS_SAYS: &str = "\
Lists answer pages: `limit` entries, `has_more`, and `next_cursor` to be sent as `cursor` for the next page. Cursors are opaque.

A key may make as many requests a minute as `RateLimit-Limit` says; beyond that it gets 429 with `Retry-After`. Bodies have at \
most 64 KiB.";

/// The way in to a deployment that is reached at `base`.
pub(super) fn render(base: &str) -> Markup {
    let [signing, invoice, webhooks, feed, repeating, lists] = PARTS;
    html! {
        (part(signing, html! {
            (says(SIGNING_SAYS))
            (table(&SIGNING_TABLE))
            (says(SIGNING_ONCE))
            (SIGNING.render(base))
        }))
        (part(invoice, html! {
            (says(INVOICE_SAYS))
            (CREATE_INVOICE.render(base))
        }))
        (part(webhooks, html! {
            (says(WEBHOOKS_SAYS))
            (table(&WEBHOOKS_TABLE))
            (says(WEBHOOKS_ANSWER))
            (WEBHOOK.render(base))
        }))
        (part(feed, html! {
            (says(FEED_SAYS))
            (EVENTS.render(base))
        }))
        (part(repeating, html! {
            (says(REPEATING_SAYS))
            (table(&REPEATING_TABLE))
        }))
        (part(lists, says(LISTS_SAYS)))
    }
}

fn part((anchor, title): (&str, &str), content: Markup) -> Markup {
    html! {
        section.guide id=(anchor) {
            h2 { (title) }
            (content)
        }
    }
}

/// A table whose first row is its head.
fn table<const COLUMNS: usize>(rows: &[[&str; COLUMNS]]) -> Markup {
    let (head, body) = rows.split_first().map_or((None, rows), |(head, body)| (Some(head), body));
    html! {
        table {
            @if let Some(head) = head { thead { tr { @for cell in head { th { (cell) } } } } }
            tbody { @for row in body { tr { @for cell in row { td { (line(cell)) } } } } }
        }
    }
}
