//! How drafts and payments look to a guest, and which of its answers are values.

use xthonpay_domain::address::Address;
use xthonpay_domain::block::BlockRef;
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::{ID_BYTES, MerchantId};
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};

use xthonpay_domain::block::BlockNumber;
use xthonpay_domain::deposit::{Deposit, DepositState};

use super::*;
use crate::hook::transfers::TRANSFERS_MAX;

fn places(decimals: u8) -> Decimals {
    Decimals::new(decimals).expect("in range")
}

fn draft() -> Draft {
    Draft {
        merchant: MerchantId::from_random([1; ID_BYTES]),
        at: Timestamp::from_secs(1_000),
        asset: "bsc:USDT".parse().expect("well formed"),
        decimals: places(18),
        due: Amount::parse("12.5", places(18)).expect("an amount"),
        external_id: Some("order-7".parse().expect("allowed")),
        customer: None,
        expires_in_s: Some(900),
        metadata: vec![("k".parse().expect("allowed"), "v".parse().expect("allowed"))],
        proposed: Proposal {
            expires_in: Duration::from_secs(900),
            tolerance: Tolerance { bps: 5, amount: Amount::parse("0.01", places(18)).expect("an amount") },
            confirmations: 3,
        },
    }
}

fn terms() -> wit_rules::Terms {
    draft_to_wit(&draft()).proposed
}

fn deposit(block: u64, nth: u32, asset: &str, state: DepositState) -> Deposit {
    let transfer = Transfer {
        identity: TransferIdentity {
            asset: asset.parse().expect("well formed"),
            to: Address::new([9; 20]),
            origin: Origin::Transaction { tx: TxHash::new([7; 32]), nth },
        },
        from: Some(Address::new([1; 20])),
        amount: Amount::from_units(5),
    };
    let block = BlockRef {
        number: BlockNumber(block),
        hash: BlockHash::new([1; 32]),
        parent: BlockHash::new([2; 32]),
        time: Timestamp::from_secs(block),
    };
    let seen = Deposit::seen(transfer, block, MerchantId::from_random([1; ID_BYTES]), None, 3);
    Deposit { state, ..seen }
}

#[test]
fn a_repeated_draft_is_the_same_call_and_a_changed_one_is_not() {
    let id = draft_id(&draft());
    let later = Draft { at: Timestamp::from_secs(2_000), ..draft() };
    assert_eq!(draft_id(&later), id, "the external id names the order");
    let second_rule = Draft { proposed: Proposal { confirmations: 9, ..draft().proposed }, ..draft() };
    assert_eq!(draft_id(&second_rule), id, "another rule's proposal is no other fact");
    for other in [
        Draft { due: Amount::from_units(1), ..draft() },
        Draft { external_id: Some("order-8".parse().expect("allowed")), ..draft() },
        Draft { merchant: MerchantId::from_random([2; ID_BYTES]), ..draft() },
        Draft { expires_in_s: None, ..draft() },
        Draft { metadata: Vec::new(), ..draft() },
    ] {
        assert_ne!(draft_id(&other), id, "{other:?}");
    }
    let nameless = Draft { external_id: None, ..draft() };
    let again = Draft { at: Timestamp::from_secs(2_000), ..nameless.clone() };
    assert_ne!(draft_id(&nameless), draft_id(&again), "two orders without names");
}

#[test]
fn amounts_are_shown_in_whole_units() {
    let shown = draft_to_wit(&draft());
    assert_eq!((shown.price.asset.as_str(), shown.price.amount.as_str()), ("bsc:USDT", "12.5"));
    assert_eq!(shown.proposed.tolerance_amount, "0.01");
    assert_eq!(shown.proposed.expires_in_s, 900);
    assert_eq!(shown.metadata, [("k".to_owned(), "v".to_owned())]);
}

#[test]
fn shows_payments_oldest_first_and_nothing_else() {
    let deposits = [
        deposit(12, 0, "bsc:USDT", DepositState::Seen),
        deposit(10, 1, "bsc:USDT", DepositState::Final),
        deposit(11, 0, "bsc:BNB", DepositState::Final),
        deposit(11, 0, "bsc:USDT", DepositState::Orphaned),
        deposit(10, 0, "bsc:USDT", DepositState::Final),
    ];
    let asset = "bsc:USDT".parse().expect("well formed");
    let shown = transfers::of_invoice(&deposits, &asset, places(0), BlockNumber(12));
    let facts: Vec<_> =
        shown.iter().map(|transfer| (transfer.block, transfer.is_final, transfer.confirmations)).collect();
    assert_eq!(facts, [(10, true, 3), (10, true, 3), (12, false, 1)]);
    assert_eq!(shown[0].amount, "5");
    assert_eq!(shown[0].to.as_deref(), Some("0x0909090909090909090909090909090909090909"));
}

#[test]
fn shows_the_newest_of_very_many_payments() {
    let many = u64::try_from(TRANSFERS_MAX).expect("small") + 50;
    let deposits: Vec<_> = (0..many).map(|block| deposit(block, 0, "bsc:USDT", DepositState::Final)).collect();
    let asset = "bsc:USDT".parse().expect("well formed");
    let shown = transfers::of_invoice(&deposits, &asset, places(18), BlockNumber(many));
    assert_eq!(shown.len(), TRANSFERS_MAX);
    assert_eq!((shown[0].block, shown[TRANSFERS_MAX - 1].block), (50, many - 1));
    let bytes: usize = shown.iter().map(transfer_bytes).sum();
    assert!(bytes < 128 * 1_024, "{bytes} bytes would not fit beside an invoice");
}

#[test]
fn accepted_terms_become_a_proposal() {
    let proposal = proposal_from_wit(&terms(), places(18)).expect("good terms");
    assert_eq!(proposal, draft().proposed);
    for (text, units) in [("0", 0), ("0.5", 50), ("0.500000000", 50), ("7.00", 700), ("10", 1_000), ("0.0", 0)] {
        let terms = wit_rules::Terms { tolerance_amount: text.to_owned(), ..terms() };
        let proposal = proposal_from_wit(&terms, places(2)).expect(text);
        assert_eq!(proposal.tolerance.amount, Amount::from_units(units), "{text}");
    }
}

#[test]
fn terms_that_are_no_values_are_refused_by_name() {
    for (terms, named) in [
        (wit_rules::Terms { expires_in_s: 0, ..terms() }, "expires-in-s"),
        (wit_rules::Terms { tolerance_bps: 10_001, ..terms() }, "tolerance-bps"),
    ] {
        let fault = proposal_from_wit(&terms, places(18)).expect_err(named);
        assert!(fault.to_string().contains(named), "{fault}");
    }
    for amount in ["", "-1", "1e3", "0.001", "1,5", "NaN", ".5", "5.", "0.0.0", "１", "1\0", &"9".repeat(200)] {
        let terms = wit_rules::Terms { tolerance_amount: amount.to_owned(), ..terms() };
        let fault = proposal_from_wit(&terms, places(2)).expect_err(amount);
        assert!(fault.to_string().contains("tolerance-amount"), "{amount}: {fault}");
    }
}

#[test]
fn refusals_are_a_word_and_a_sentence() {
    let refuse = |code: &str, message: &str| {
        let refusal = wit_rules::Refusal { code: code.to_owned(), message: message.to_owned(), attrs: Vec::new() };
        ruling_from_wit(wit_rules::DraftRuling::Refuse(refusal), places(18))
    };
    let good = DraftRuling::Refuse { code: "too_small".to_owned(), message: "At least 1 USDT.".to_owned() };
    assert_eq!(refuse("too_small", "At least 1 USDT."), Ok(good));
    for (code, message) in [
        ("", "m"),
        ("Too", "m"),
        ("too small", "m"),
        ("c", ""),
        ("c", "a\nb"),
        ("c", "\u{202e}m"),
        (&"c".repeat(65), "m"),
        ("c", &"m".repeat(513)),
    ] {
        assert!(refuse(code, message).is_err(), "{code:?} {message:?}");
    }
}
