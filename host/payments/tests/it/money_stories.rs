//! What becomes of money on the chain, as stories. The format of the lines stands in [`crate::story`].

use crate::story::play;

#[tokio::test]
async fn is_credited_when_final_and_not_before() {
    play(
        "paid at once",
        "
        invoice a 100        | a pending        | 0
        block a+100          | a confirming     | 0
        block                | a confirming     | 0
        final                | a paid           | 100
        restart              | a paid           | 100
        block                | a paid           | 100
        final                | a paid           | 100
        ",
    )
    .await;
    play(
        "partial, then topped up",
        "
        invoice a 100        | a pending        | 0
        block a+40           | a partially_paid | 0
        final                | a partially_paid | 40
        block a+60           | a confirming     | 40
        final -1             | a confirming     | 40
        block                | a confirming     | 40
        final -1             | a paid           | 100
        ",
    )
    .await;
    play(
        "more than due",
        "
        invoice a 100        | a pending        | 0
        block a+130          | a confirming     | 0
        final                | a paid           | 130
        block a+1            | a paid           | 130
        final                | a paid           | 131
        ",
    )
    .await;
}

#[tokio::test]
async fn every_transfer_counts_once_wherever_it_stands() {
    play(
        "twice in one transaction",
        "
        invoice a 100        | a pending        | 0
        block a+40&60        | a confirming     | 0
        final                | a paid           | 100
        ",
    )
    .await;
    play(
        "two invoices in one block, strangers between them",
        "
        invoice a 100        | a pending            | 0
        invoice b 50         | a pending, b pending | 0
        block nobody+7 a+100 nobody+9 b+50 | a confirming, b confirming | 0
        final                | a paid, b paid       | 150
        ",
    )
    .await;
    play(
        "the merchant's own address needs no invoice",
        "
        block deposit+5      |                  | 0
        final                |                  | 5
        block deposit+5&6    |                  | 5
        final                |                  | 16
        ",
    )
    .await;
}

#[tokio::test]
async fn a_fork_above_the_final_block_moves_no_money() {
    play(
        "mined again in a later block",
        "
        invoice a 100        | a pending        | 0
        block a+100          | a confirming     | 0
        fork 1               | a pending        | 0
        block again          | a confirming     | 0
        final                | a paid           | 100
        ",
    )
    .await;
    play(
        "one of two is mined again, in one block with something new",
        "
        invoice a 100        | a pending        | 0
        block a+60           | a partially_paid | 0
        block a+40           | a confirming     | 0
        fork 1               | a partially_paid | 0
        block again a+10     | a confirming     | 0
        final                | a paid           | 110
        ",
    )
    .await;
    play(
        "vanishes",
        "
        invoice a 100        | a pending        | 0
        block a+100          | a confirming     | 0
        block                | a confirming     | 0
        fork 2               | a pending        | 0
        final                | a pending        | 0
        hours 2              | a pending        | 0
        block                | a pending        | 0
        final                | a expired        | 0
        ",
    )
    .await;
    play(
        "a restart in the middle of a fork",
        "
        invoice a 100        | a pending        | 0
        block a+100          | a confirming     | 0
        fork 1               | a pending        | 0
        restart              | a pending        | 0
        block again          | a confirming     | 0
        fork 1               | a pending        | 0
        block again          | a confirming     | 0
        final -1             | a confirming     | 0
        fork 1               | a pending        | 0
        block again          | a confirming     | 0
        final                | a paid           | 100
        ",
    )
    .await;
}

#[tokio::test]
async fn late_money_is_credited_and_a_person_decides_about_the_invoice() {
    play(
        "nothing in time, everything late",
        "
        invoice a 100        | a pending        | 0
        hours 2              | a pending        | 0
        block                | a pending        | 0
        final                | a expired        | 0
        block a+100          | a expired        | 0
        final                | a expired!       | 100
        ",
    )
    .await;
    play(
        "expiry waits for the final block, however late the clock says it is",
        "
        invoice a 100        | a pending        | 0
        block a+100          | a confirming     | 0
        hours 2              | a confirming     | 0
        block                | a confirming     | 0
        final                | a paid           | 100
        ",
    )
    .await;
    play(
        "too little in time",
        "
        invoice a 100        | a pending        | 0
        block a+99           | a partially_paid | 0
        hours 2              | a partially_paid | 0
        block                | a partially_paid | 0
        final -1             | a partially_paid | 99
        final                | a expired!       | 99
        block a+1            | a expired!       | 99
        final                | a expired!       | 100
        ",
    )
    .await;
    play(
        "a speck of late dust does not hold up an invoice that was paid in time",
        "
        invoice a 100        | a pending        | 0
        block a+100          | a confirming     | 0
        hours 2              | a confirming     | 0
        block a+1            | a confirming     | 0
        final                | a paid           | 101
        ",
    )
    .await;
}

#[tokio::test]
async fn another_asset_is_set_aside() {
    play(
        "only the other asset",
        "
        invoice a 100        | a pending        | 0
        block a+100BNB       | a pending!       | 0
        final                | a pending!       | 0
        block a+100          | a confirming!    | 0
        final                | a paid!          | 100
        ",
    )
    .await;
}

#[tokio::test]
async fn what_a_merchant_decides_moves_no_money() {
    play(
        "cancelled, paid all the same, and accepted",
        "
        invoice a 100        | a pending        | 0
        cancel a             | a cancelled      | 0
        block a+30           | a cancelled      | 0
        final                | a cancelled!     | 30
        restart              | a cancelled!     | 30
        accept a             | a paid           | 30
        block a+70           | a paid           | 30
        final                | a paid!          | 100
        ignore a             | a paid           | 100
        ",
    )
    .await;
    play(
        "a part is accepted, and its block is gone with the rest",
        "
        invoice a 100        | a pending        | 0
        block a+40           | a partially_paid | 0
        final                | a partially_paid | 40
        block a+60           | a confirming     | 40
        fork 1               | a partially_paid | 40
        accept a             | a paid           | 40
        block again          | a paid           | 40
        final                | a paid!          | 100
        refund a             | a paid           | 100
        ",
    )
    .await;
    play(
        "late money is promised back, and more comes",
        "
        invoice a 100        | a pending        | 0
        hours 2              | a pending        | 0
        block                | a pending        | 0
        final                | a expired        | 0
        block a+100          | a expired        | 0
        final                | a expired!       | 100
        refund a             | a expired        | 100
        restart              | a expired        | 100
        block a+5            | a expired        | 100
        final                | a expired!       | 105
        accept a             | a paid           | 105
        ",
    )
    .await;
    play(
        "another asset is looked at, and the invoice goes its way",
        "
        invoice a 100        | a pending        | 0
        block a+7BNB         | a pending!       | 0
        final                | a pending!       | 0
        ignore a             | a pending        | 0
        block a+100          | a confirming     | 0
        final                | a paid           | 100
        ",
    )
    .await;
}
