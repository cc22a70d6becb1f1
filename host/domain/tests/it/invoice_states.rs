//! Every state, transition, flag and event of an invoice, as stories. The format of the lines stands in [`crate::story`].

use std::collections::BTreeSet;

use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::assessment::InvoiceState;

use crate::story::{Shown, play, terms};

/// The ways to be paid: name, how many units may be missing, lines.
const PAID: [(&str, u128, &str); 6] = [
    (
        "one payment of exactly the amount",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        a final          | confirming?    | -             | 100+0 | -
        rules: settle    | paid           | -             | 100+0 | invoice.paid
        time: too late   | paid           | -             | 100+0 | -
        ",
    ),
    (
        "one base unit below the amount is not enough",
        0,
        "
        a: 99            | partially_paid | -             | 0+99  | invoice.partially_paid
        a final          | partially_paid | -             | 99+0  | -
        b: 1             | confirming     | multi_payment | 99+1  | invoice.confirming
        b final          | confirming?    | multi_payment | 100+0 | -
        rules: settle    | paid           | multi_payment | 100+0 | invoice.paid
        ",
    ),
    (
        "exactly at the tolerated amount",
        5,
        "
        a: 95            | confirming     | -                | 0+95 | invoice.confirming
        a final          | confirming?    | -                | 95+0 | -
        rules: settle    | paid           | within_tolerance | 95+0 | invoice.paid
        ",
    ),
    (
        "one base unit below the tolerated amount",
        5,
        "
        a: 94            | partially_paid | -                               | 0+94  | invoice.partially_paid
        a final          | partially_paid | -                               | 94+0  | -
        b: 1             | confirming     | multi_payment                   | 94+1  | invoice.confirming
        b final          | confirming?    | multi_payment                   | 95+0  | -
        rules: settle    | paid           | within_tolerance, multi_payment | 95+0  | invoice.paid
        c: 5             | paid           | within_tolerance, multi_payment | 95+5  | -
        c final          | paid           | multi_payment                   | 100+0 | -
        ",
    ),
    (
        "more than the amount, and more again",
        0,
        "
        a: 130           | confirming     | -                       | 0+130  | invoice.confirming
        a final          | confirming?    | overpaid                | 130+0  | -
        rules: settle    | paid           | overpaid                | 130+0  | invoice.paid, invoice.overpaid
        b: 1             | paid           | overpaid, multi_payment | 130+1  | -
        b final          | paid           | overpaid, multi_payment | 131+0  | invoice.overpaid
        ",
    ),
    (
        "a payment in the expiry's own millisecond is in time, whenever it becomes final",
        0,
        "
        a: 100 on the dot | confirming    | -             | 0+100 | invoice.confirming
        time: late       | confirming     | -             | 0+100 | -
        a final          | confirming?    | -             | 100+0 | -
        rules: settle    | paid           | -             | 100+0 | invoice.paid
        ",
    ),
];

/// What the rules say, and which sum it holds for.
const RULED: [(&str, u128, &str); 5] = [
    (
        "rules that wait are asked again",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        a final          | confirming?    | -             | 100+0 | -
        rules: wait      | confirming?    | -             | 100+0 | -
        time: too late   | confirming?    | -             | 100+0 | -
        rules: settle    | paid           | -             | 100+0 | invoice.paid
        ",
    ),
    (
        "rules that want a person are not asked again about the same sum, but about another",
        0,
        "
        a: 100           | confirming     | -                                     | 0+100 | invoice.confirming
        a final          | confirming?    | -                                     | 100+0 | -
        rules: review    | confirming     | needs_review                          | 100+0 | invoice.needs_review
        time: late       | confirming     | needs_review                          | 100+0 | -
        b: 1             | confirming     | multi_payment, needs_review           | 100+1 | -
        b final          | confirming?    | overpaid, multi_payment               | 101+0 | -
        rules: settle    | paid           | overpaid, multi_payment               | 101+0 | invoice.paid, invoice.overpaid
        ",
    ),
    (
        "a ruling on another sum counts for nothing",
        0,
        "
        a: 60            | partially_paid | -             | 0+60  | invoice.partially_paid
        a final          | partially_paid | -             | 60+0  | -
        rules: settle on 60 | partially_paid | -          | 60+0  | -
        b: 40            | confirming     | multi_payment | 60+40 | invoice.confirming
        b final          | confirming?    | multi_payment | 100+0 | -
        rules: settle on 60 | confirming? | multi_payment | 100+0 | -
        rules: review on 99 | confirming? | multi_payment | 100+0 | -
        rules: settle on 100 | paid       | multi_payment | 100+0 | invoice.paid
        rules: review on 100 | paid       | multi_payment | 100+0 | -
        ",
    ),
    (
        "who agrees to a sum that reaches the target agrees to more, unless lateness was judged",
        0,
        "
        a: 100           | confirming     | -                       | 0+100 | invoice.confirming
        b: 1             | confirming     | multi_payment           | 0+101 | -
        a final          | confirming?    | multi_payment           | 100+1 | -
        b final          | confirming?    | overpaid, multi_payment | 101+0 | -
        rules: review on 100 | confirming? | overpaid, multi_payment | 101+0 | -
        rules: settle on 99 | confirming? | overpaid, multi_payment | 101+0 | -
        rules: settle on 102 | confirming? | overpaid, multi_payment | 101+0 | -
        rules: settle on 100 | paid       | overpaid, multi_payment | 101+0 | invoice.paid, invoice.overpaid
        ",
    ),
    (
        "rules cannot settle what is not final",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        rules: settle on 0 | confirming   | -             | 0+100 | -
        rules: settle on 100 | confirming | -             | 0+100 | -
        a final          | paid           | -             | 100+0 | invoice.paid
        ",
    ),
];

/// Blocks that leave the chain.
const REORGED: [(&str, u128, &str); 6] = [
    (
        "falls back to pending",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        a orphaned       | pending        | reorged       | 0+0   | invoice.payment_reverted
        a seen           | confirming     | reorged       | 0+100 | invoice.confirming
        a final          | confirming?    | reorged       | 100+0 | -
        rules: settle    | paid           | reorged       | 100+0 | invoice.paid
        ",
    ),
    (
        "falls back to partially paid",
        0,
        "
        a: 40            | partially_paid | -                      | 0+40  | invoice.partially_paid
        b: 60            | confirming     | multi_payment          | 0+100 | invoice.confirming
        b orphaned       | partially_paid | reorged                | 0+40  | invoice.payment_reverted, invoice.partially_paid
        ",
    ),
    (
        "falls back to expired when the chain has passed the expiry",
        0,
        "
        a: 40            | partially_paid | -                      | 0+40  | invoice.partially_paid
        b: 60            | confirming     | multi_payment          | 0+100 | invoice.confirming
        a final          | confirming     | multi_payment          | 40+60 | -
        time: late       | confirming     | multi_payment          | 40+60 | -
        b orphaned       | expired        | reorged, needs_review  | 40+0  | invoice.payment_reverted, invoice.expired, invoice.needs_review
        ",
    ),
    (
        "a partial payment that leaves the chain",
        0,
        "
        a: 40            | partially_paid | -             | 0+40  | invoice.partially_paid
        a orphaned       | pending        | reorged       | 0+0   | -
        time: late       | expired        | reorged       | 0+0   | invoice.expired
        ",
    ),
    (
        "stays in confirming while the rest is enough",
        0,
        "
        a: 100           | confirming     | -                       | 0+100 | invoice.confirming
        b: 7             | confirming     | multi_payment           | 0+107 | -
        b orphaned       | confirming     | reorged                 | 0+100 | -
        ",
    ),
    (
        "a payment that was mined in time and is mined again too late",
        0,
        "
        a: 100           | confirming     | -                       | 0+100 | invoice.confirming
        a orphaned       | pending        | reorged                 | 0+0   | invoice.payment_reverted
        time: late       | expired        | reorged                 | 0+0   | invoice.expired
        a: 100 late      | expired        | late                    | 0+100 | -
        ",
    ),
];

/// Money that comes too late.
const LATE: [(&str, u128, &str); 8] = [
    (
        "nothing comes",
        0,
        "
        time: on the dot | pending        | -             | 0+0   | -
        time: late       | expired        | -             | 0+0   | invoice.expired
        ",
    ),
    (
        "too little comes in time",
        5,
        "
        a: 94            | partially_paid | -             | 0+94  | invoice.partially_paid
        a final          | partially_paid | -             | 94+0  | -
        time: on the dot | partially_paid | -             | 94+0  | -
        time: late       | expired        | needs_review  | 94+0  | invoice.expired, invoice.needs_review
        rules: settle    | expired        | needs_review  | 94+0  | -
        ",
    ),
    (
        "everything comes late and the rules accept it",
        0,
        "
        time: late       | expired        | -                  | 0+0   | invoice.expired
        a: 100 late      | expired        | late               | 0+100 | -
        a final          | expired?       | late, needs_review | 100+0 | invoice.payment_late, invoice.needs_review
        rules: settle    | paid           | late               | 100+0 | invoice.paid
        ",
    ),
    (
        "the rest comes at the last chance and the rules want a person",
        0,
        "
        a: 60            | partially_paid | -                                 | 0+60  | invoice.partially_paid
        a final          | partially_paid | -                                 | 60+0  | -
        time: late       | expired        | needs_review                      | 60+0  | invoice.expired, invoice.needs_review
        b: 40 last chance | expired       | late, multi_payment, needs_review | 60+40 | -
        b final          | expired?       | late, multi_payment, needs_review | 100+0 | invoice.payment_late
        rules: review    | expired        | late, multi_payment, needs_review | 100+0 | -
        ",
    ),
    (
        "the rest comes after the last chance: no rule can settle it",
        0,
        "
        a: 60            | partially_paid | -                                 | 0+60  | invoice.partially_paid
        a final          | partially_paid | -                                 | 60+0  | -
        time: late       | expired        | needs_review                      | 60+0  | invoice.expired, invoice.needs_review
        b: 40 too late   | expired        | late, multi_payment, needs_review | 60+40 | -
        b final          | expired        | late, multi_payment, needs_review | 100+0 | invoice.payment_late
        rules: settle    | expired        | late, multi_payment, needs_review | 100+0 | -
        ",
    ),
    (
        "late money cannot settle an invoice before the chain has passed the expiry",
        0,
        "
        a: 100 late      | pending        | late               | 0+100 | -
        time: on the dot | pending        | late               | 0+100 | -
        time: late       | expired        | late               | 0+100 | invoice.expired
        a final          | expired?       | late, needs_review | 100+0 | invoice.payment_late, invoice.needs_review
        ",
    ),
    (
        "money in time that is not final yet is not replaced by late money that is",
        0,
        "
        a: 100           | confirming     | -                                        | 0+100   | invoice.confirming
        b: 100 late      | confirming     | late, multi_payment                      | 0+200   | -
        time: late       | confirming     | late, multi_payment                      | 0+200   | -
        b final          | confirming     | late, multi_payment                      | 100+100 | invoice.payment_late
        a final          | confirming?    | overpaid, late, multi_payment            | 200+0   | -
        rules: settle    | paid           | overpaid, late, multi_payment            | 200+0   | invoice.paid, invoice.overpaid
        ",
    ),
    (
        "a paid invoice receives more after its expiry",
        0,
        "
        a: 100           | confirming     | -                                           | 0+100  | invoice.confirming
        a final          | confirming?    | -                                           | 100+0  | -
        rules: settle    | paid           | -                                           | 100+0  | invoice.paid
        b: 10 too late   | paid           | late, multi_payment, needs_review           | 100+10 | invoice.needs_review
        b final          | paid           | overpaid, late, multi_payment, needs_review | 110+0  | invoice.payment_late, invoice.overpaid
        c: 10 too late   | paid           | overpaid, late, multi_payment, needs_review | 110+10 | -
        c orphaned       | paid           | overpaid, late, multi_payment, reorged, needs_review | 110+0 | -
        ",
    ),
];

/// What a merchant withdrew, and what was paid in something else.
const OTHER: [(&str, u128, &str); 7] = [
    (
        "cancelled and never paid",
        0,
        "
        merchant: cancels | cancelled     | -             | 0+0   | invoice.cancelled
        time: too late   | cancelled      | -             | 0+0   | -
        ",
    ),
    (
        "cancelled, then paid before its expiry, and the rules accept it",
        0,
        "
        merchant: cancels | cancelled     | -                  | 0+0   | invoice.cancelled
        a: 100           | cancelled      | late               | 0+100 | -
        a final          | cancelled?     | late, needs_review | 100+0 | invoice.payment_late, invoice.needs_review
        rules: settle    | paid           | late               | 100+0 | invoice.paid
        b: 1             | paid           | late, multi_payment | 100+1 | -
        b final          | paid           | overpaid, late, multi_payment | 101+0 | invoice.overpaid
        ",
    ),
    (
        "cancelled, then paid in part",
        0,
        "
        merchant: cancels | cancelled     | -                  | 0+0   | invoice.cancelled
        a: 40            | cancelled      | late               | 0+40  | -
        a final          | cancelled      | late, needs_review | 40+0  | invoice.payment_late, invoice.needs_review
        rules: settle    | cancelled      | late, needs_review | 40+0  | -
        ",
    ),
    (
        "cancelled, then paid after the last chance",
        0,
        "
        merchant: cancels | cancelled     | -                  | 0+0   | invoice.cancelled
        a: 100 too late  | cancelled      | late               | 0+100 | -
        a final          | cancelled      | late, needs_review | 100+0 | invoice.payment_late, invoice.needs_review
        rules: settle    | cancelled      | late, needs_review | 100+0 | -
        ",
    ),
    (
        "another asset pays nothing",
        0,
        "
        a: 1000 BNB      | pending        | wrong_asset, needs_review | 0+0 | invoice.needs_review
        a final          | pending        | wrong_asset, needs_review | 0+0 | -
        rules: settle    | pending        | wrong_asset, needs_review | 0+0 | -
        time: late       | expired        | wrong_asset, needs_review | 0+0 | invoice.expired
        ",
    ),
    (
        "another asset leaves the chain again",
        0,
        "
        a: 1000 BNB      | pending        | wrong_asset, needs_review | 0+0 | invoice.needs_review
        a orphaned       | pending        | reorged                   | 0+0 | -
        ",
    ),
    (
        "another asset beside the right one",
        0,
        "
        a: 100           | confirming     | -                         | 0+100 | invoice.confirming
        b: 7 BNB late    | confirming     | wrong_asset, needs_review | 0+100 | invoice.needs_review
        a final          | confirming?    | wrong_asset, needs_review | 100+0 | -
        rules: settle    | paid           | wrong_asset, needs_review | 100+0 | invoice.paid
        b orphaned       | paid           | reorged, needs_review     | 100+0 | -
        ",
    ),
];

/// When an invoice can be withdrawn.
const CANCELLED: [(&str, u128, &str); 5] = [
    (
        "only while nothing counts",
        0,
        "
        a: 40            | partially_paid | -             | 0+40  | invoice.partially_paid
        merchant: cannot cancel | partially_paid | -      | 0+40  | -
        a orphaned       | pending        | reorged       | 0+0   | -
        merchant: cancels | cancelled     | reorged       | 0+0   | invoice.cancelled
        merchant: cannot cancel | cancelled | reorged     | 0+0   | -
        ",
    ),
    (
        "what is in another asset does not count",
        0,
        "
        a: 7 BNB         | pending        | wrong_asset, needs_review | 0+0 | invoice.needs_review
        merchant: cancels | cancelled     | wrong_asset, needs_review | 0+0 | invoice.cancelled
        ",
    ),
    (
        "not while payments are on their way to be enough, nor when it is closed",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        merchant: cannot cancel | confirming | -          | 0+100 | -
        a final          | confirming?    | -             | 100+0 | -
        rules: settle    | paid           | -             | 100+0 | invoice.paid
        merchant: cannot cancel | paid    | -             | 100+0 | -
        ",
    ),
    (
        "not when a payment came too late before the chain was known to be there",
        0,
        "
        a: 100 late      | pending        | late          | 0+100 | -
        merchant: cannot cancel | pending | late          | 0+100 | -
        a orphaned       | pending        | reorged       | 0+0   | -
        merchant: cancels | cancelled     | reorged       | 0+0   | invoice.cancelled
        ",
    ),
    (
        "nothing is decided about one that nobody paid",
        0,
        "
        merchant: cannot accept | pending | -             | 0+0   | -
        merchant: cannot ignore | pending | -             | 0+0   | -
        merchant: cancels | cancelled     | -             | 0+0   | invoice.cancelled
        merchant: cannot accept | cancelled | -           | 0+0   | -
        merchant: cannot refund | cancelled | -           | 0+0   | -
        merchant: cannot ignore | cancelled | -           | 0+0   | -
        ",
    ),
];

/// What a merchant accepts.
const ACCEPTED: [(&str, u128, &str); 8] = [
    (
        "a part, once it is final",
        0,
        "
        a: 40            | partially_paid | -                    | 0+40  | invoice.partially_paid
        merchant: cannot accept | partially_paid | -             | 0+40  | -
        a final          | partially_paid | -                    | 40+0  | -
        merchant: cannot refund | partially_paid | -             | 40+0  | -
        merchant: cannot ignore | partially_paid | -             | 40+0  | -
        merchant: accepts | paid          | manual               | 40+0  | invoice.paid, invoice.resolved
        time: too late   | paid           | manual               | 40+0  | -
        ",
    ),
    (
        "a part, and the rest comes all the same",
        0,
        "
        a: 40            | partially_paid | -                     | 0+40  | invoice.partially_paid
        a final          | partially_paid | -                     | 40+0  | -
        merchant: accepts | paid          | manual                | 40+0  | invoice.paid, invoice.resolved
        b: 70            | paid           | multi_payment, manual | 40+70 | -
        b final          | paid           | overpaid, multi_payment, manual, needs_review | 110+0 | invoice.overpaid, invoice.needs_review
        merchant: refunds 70 | paid       | overpaid, multi_payment, manual | 110+0 | invoice.resolved
        ",
    ),
    (
        "what was left when it expired",
        0,
        "
        a: 40            | partially_paid | -                  | 0+40  | invoice.partially_paid
        a final          | partially_paid | -                  | 40+0  | -
        time: late       | expired        | needs_review       | 40+0  | invoice.expired, invoice.needs_review
        merchant: accepts | paid          | manual             | 40+0  | invoice.paid, invoice.resolved
        ",
    ),
    (
        "what came too late, and again",
        0,
        "
        time: late       | expired        | -                  | 0+0   | invoice.expired
        a: 100 too late  | expired        | late               | 0+100 | -
        merchant: cannot accept | expired | late               | 0+100 | -
        a final          | expired        | late, needs_review | 100+0 | invoice.payment_late, invoice.needs_review
        merchant: accepts | paid          | late, manual       | 100+0 | invoice.paid, invoice.resolved
        b: 1 too late    | paid           | late, multi_payment, manual | 100+1 | -
        b final          | paid           | overpaid, late, multi_payment, manual, needs_review | 101+0 | invoice.payment_late, invoice.overpaid, invoice.needs_review
        merchant: ignores | paid          | overpaid, late, multi_payment, manual | 101+0 | invoice.resolved
        c: 1 too late    | paid           | overpaid, late, multi_payment, manual | 101+1 | -
        c orphaned       | paid           | overpaid, late, multi_payment, reorged, manual | 101+0 | -
        c seen           | paid           | overpaid, late, multi_payment, reorged, manual | 101+1 | -
        c final          | paid           | overpaid, late, multi_payment, reorged, manual, needs_review | 102+0 | invoice.payment_late, invoice.overpaid, invoice.needs_review
        ",
    ),
    (
        "what came after it was cancelled",
        0,
        "
        merchant: cancels | cancelled     | -                  | 0+0   | invoice.cancelled
        a: 30            | cancelled      | late               | 0+30  | -
        a final          | cancelled      | late, needs_review | 30+0  | invoice.payment_late, invoice.needs_review
        merchant: accepts | paid          | late, manual       | 30+0  | invoice.paid, invoice.resolved
        ",
    ),
    (
        "what the rules left to a person",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        merchant: cannot accept | confirming | -          | 0+100 | -
        a final          | confirming?    | -             | 100+0 | -
        merchant: cannot accept | confirming? | -         | 100+0 | -
        rules: review    | confirming     | needs_review  | 100+0 | invoice.needs_review
        merchant: accepts | paid          | manual        | 100+0 | invoice.paid, invoice.resolved
        rules: settle    | paid           | manual        | 100+0 | -
        ",
    ),
    (
        "not while a payment in the right asset is on its way beside one in another",
        0,
        "
        a: 100           | confirming     | -                         | 0+100 | invoice.confirming
        b: 7 BNB         | confirming     | wrong_asset, needs_review | 0+100 | invoice.needs_review
        merchant: cannot accept | confirming | wrong_asset, needs_review | 0+100 | -
        merchant: cannot refund | confirming | wrong_asset, needs_review | 0+100 | -
        a final          | confirming?    | wrong_asset, needs_review | 100+0 | -
        merchant: cannot refund | confirming? | wrong_asset, needs_review | 100+0 | -
        b final          | confirming?    | wrong_asset, needs_review | 100+0 | -
        merchant: accepts | paid          | wrong_asset, manual       | 100+0 | invoice.paid, invoice.resolved
        ",
    ),
    (
        "within the tolerance is what the terms say, not what was accepted",
        5,
        "
        a: 94            | partially_paid | -                       | 0+94  | invoice.partially_paid
        a final          | partially_paid | -                       | 94+0  | -
        merchant: accepts | paid          | manual                  | 94+0  | invoice.paid, invoice.resolved
        b: 1             | paid           | multi_payment, manual   | 94+1  | -
        b final          | paid           | within_tolerance, multi_payment, manual, needs_review | 95+0 | invoice.needs_review
        ",
    ),
];

/// What a merchant promises back, or leaves as it is.
const DECLINED: [(&str, u128, &str); 9] = [
    (
        "late money is promised back, and rules no longer settle it",
        0,
        "
        time: late       | expired        | -                  | 0+0   | invoice.expired
        a: 100 late      | expired        | late               | 0+100 | -
        a final          | expired?       | late, needs_review | 100+0 | invoice.payment_late, invoice.needs_review
        merchant: refunds | expired       | late, manual       | 100+0 | invoice.resolved
        rules: settle    | expired        | late, manual       | 100+0 | -
        b: 1 late        | expired        | late, multi_payment, manual | 100+1 | -
        b final          | expired        | overpaid, late, multi_payment, manual, needs_review | 101+0 | invoice.payment_late, invoice.needs_review
        rules: settle    | expired        | overpaid, late, multi_payment, manual, needs_review | 101+0 | -
        merchant: accepts | paid          | overpaid, late, multi_payment, manual | 101+0 | invoice.paid, invoice.overpaid, invoice.resolved
        ",
    ),
    (
        "late money is left as it is until there is more",
        0,
        "
        time: late       | expired        | -                  | 0+0   | invoice.expired
        a: 100 late      | expired        | late               | 0+100 | -
        a final          | expired?       | late, needs_review | 100+0 | invoice.payment_late, invoice.needs_review
        merchant: ignores | expired       | late, manual       | 100+0 | invoice.resolved
        rules: settle    | expired        | late, manual       | 100+0 | -
        b: 1 late        | expired        | late, multi_payment, manual | 100+1 | -
        b final          | expired?       | overpaid, late, multi_payment, manual, needs_review | 101+0 | invoice.payment_late, invoice.needs_review
        rules: review    | expired        | overpaid, late, multi_payment, manual, needs_review | 101+0 | -
        merchant: ignores | expired       | overpaid, late, multi_payment, manual | 101+0 | invoice.resolved
        ",
    ),
    (
        "a part is promised back, and not more than there is",
        0,
        "
        a: 40            | partially_paid | -                  | 0+40  | invoice.partially_paid
        a final          | partially_paid | -                  | 40+0  | -
        time: late       | expired        | needs_review       | 40+0  | invoice.expired, invoice.needs_review
        merchant: cannot refund 41 | expired | needs_review    | 40+0  | -
        merchant: refunds 40 | expired    | manual             | 40+0  | invoice.resolved
        merchant: refunds 39 | expired    | manual             | 40+0  | invoice.resolved
        ",
    ),
    (
        "what the rules left to a person is promised back",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        a final          | confirming?    | -             | 100+0 | -
        rules: review    | confirming     | needs_review  | 100+0 | invoice.needs_review
        merchant: refunds | confirming    | manual        | 100+0 | invoice.resolved
        b: 1             | confirming     | multi_payment, manual | 100+1 | -
        b final          | confirming     | overpaid, multi_payment, manual, needs_review | 101+0 | invoice.needs_review
        rules: settle    | confirming     | overpaid, multi_payment, manual, needs_review | 101+0 | -
        ",
    ),
    (
        "what the rules left to a person is left as it is, and accepted later",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        a final          | confirming?    | -             | 100+0 | -
        rules: review    | confirming     | needs_review  | 100+0 | invoice.needs_review
        merchant: ignores | confirming    | manual        | 100+0 | invoice.resolved
        time: late       | confirming     | manual        | 100+0 | -
        merchant: accepts | paid          | manual        | 100+0 | invoice.paid, invoice.resolved
        ",
    ),
    (
        "another asset is looked at once it is final, and the invoice goes its way",
        0,
        "
        a: 7 BNB         | pending        | wrong_asset, needs_review | 0+0   | invoice.needs_review
        merchant: ignores | pending       | wrong_asset, manual, needs_review | 0+0 | invoice.resolved
        a final          | pending        | wrong_asset, manual, needs_review | 0+0 | -
        merchant: cannot accept | pending | wrong_asset, manual, needs_review | 0+0 | -
        merchant: ignores | pending       | wrong_asset, manual       | 0+0   | invoice.resolved
        b: 100           | confirming     | wrong_asset, manual       | 0+100 | invoice.confirming
        b final          | confirming?    | wrong_asset, manual       | 100+0 | -
        rules: settle    | paid           | wrong_asset, manual       | 100+0 | invoice.paid
        c: 7 BNB         | paid           | wrong_asset, manual, needs_review | 100+0 | invoice.needs_review
        c orphaned       | paid           | wrong_asset, reorged, manual | 100+0 | -
        ",
    ),
    (
        "too much is promised back",
        0,
        "
        a: 130           | confirming     | -                | 0+130  | invoice.confirming
        a final          | confirming?    | overpaid         | 130+0  | -
        rules: settle    | paid           | overpaid         | 130+0  | invoice.paid, invoice.overpaid
        merchant: refunds 30 | paid       | overpaid, manual | 130+0  | invoice.resolved
        b: 1             | paid           | overpaid, multi_payment, manual | 130+1 | -
        b final          | paid           | overpaid, multi_payment, manual, needs_review | 131+0 | invoice.overpaid, invoice.needs_review
        ",
    ),
    (
        "paid exactly and in time is no question",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        a final          | confirming?    | -             | 100+0 | -
        rules: settle    | paid           | -             | 100+0 | invoice.paid
        merchant: cannot refund | paid    | -             | 100+0 | -
        merchant: cannot ignore | paid    | -             | 100+0 | -
        ",
    ),
    (
        "a late payment beside one in time, before it is final",
        0,
        "
        a: 100           | confirming     | -             | 0+100 | invoice.confirming
        a final          | confirming?    | -             | 100+0 | -
        rules: settle    | paid           | -             | 100+0 | invoice.paid
        b: 10 late       | paid           | late, multi_payment, needs_review | 100+10 | invoice.needs_review
        merchant: ignores | paid          | late, multi_payment, manual | 100+10 | invoice.resolved
        b final          | paid           | overpaid, late, multi_payment, manual, needs_review | 110+0 | invoice.payment_late, invoice.overpaid, invoice.needs_review
        ",
    ),
];

fn play_all(stories: &[(&str, u128, &str)]) -> Vec<Shown> {
    stories.iter().flat_map(|(name, missing, lines)| play(name, &terms(*missing), lines)).collect()
}

#[test]
fn is_paid_by_final_money_that_the_rules_accept() {
    play_all(&PAID);
}

#[test]
fn obeys_rulings_on_the_sum_that_they_judged_only() {
    play_all(&RULED);
}

#[test]
fn falls_back_when_a_block_leaves_the_chain() {
    play_all(&REORGED);
}

#[test]
fn late_money_is_told_and_never_lost() {
    play_all(&LATE);
}

#[test]
fn cancelled_invoices_and_other_assets_are_told_and_never_lost() {
    play_all(&OTHER);
}

#[test]
fn an_invoice_is_withdrawn_only_while_nothing_counts() {
    play_all(&CANCELLED);
}

#[test]
fn what_a_merchant_accepts_is_paid_and_more_is_judged_anew() {
    play_all(&ACCEPTED);
}

#[test]
fn what_a_merchant_declines_is_not_settled_behind_its_back() {
    play_all(&DECLINED);
}

/// The transitions that exist; `paid` is never left.
const TRANSITIONS: [(InvoiceState, InvoiceState); 14] = {
    use InvoiceState::{Cancelled, Confirming, Expired, Paid, PartiallyPaid, Pending};
    [
        (Pending, PartiallyPaid),
        (Pending, Confirming),
        (Pending, Expired),
        (Pending, Cancelled),
        (PartiallyPaid, Pending),
        (PartiallyPaid, Confirming),
        (PartiallyPaid, Expired),
        (PartiallyPaid, Paid),
        (Confirming, Pending),
        (Confirming, PartiallyPaid),
        (Confirming, Expired),
        (Confirming, Paid),
        (Expired, Paid),
        (Cancelled, Paid),
    ]
};

#[test]
fn the_stories_show_every_transition_flag_and_event() {
    let stories = [&PAID[..], &RULED, &REORGED, &LATE, &OTHER, &CANCELLED, &ACCEPTED, &DECLINED];
    let shown: BTreeSet<Shown> = stories.into_iter().flat_map(play_all).collect();
    let transitions: BTreeSet<Shown> = TRANSITIONS.iter().map(|(from, to)| Shown::Transition(*from, *to)).collect();
    let moved = |shown: &&Shown| matches!(shown, Shown::Transition(..));
    assert_eq!(shown.iter().filter(moved).copied().collect::<BTreeSet<_>>(), transitions);
    for flag in
        ["within_tolerance", "overpaid", "late", "multi_payment", "wrong_asset", "reorged", "manual", "needs_review"]
    {
        assert!(shown.contains(&Shown::Flag(flag)), "{flag}");
    }
    for event in [
        EventKind::InvoicePartiallyPaid,
        EventKind::InvoiceConfirming,
        EventKind::InvoicePaid,
        EventKind::InvoiceOverpaid,
        EventKind::InvoiceExpired,
        EventKind::InvoicePaymentLate,
        EventKind::InvoicePaymentReverted,
        EventKind::InvoiceNeedsReview,
        EventKind::InvoiceCancelled,
        EventKind::InvoiceResolved,
    ] {
        assert!(shown.contains(&Shown::Event(event)), "{}", event.name());
    }
}
