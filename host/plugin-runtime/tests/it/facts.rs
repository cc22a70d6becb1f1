//! What hooks are asked about: one draft, one paid invoice, one event.

use std::time::Duration;

use xthonpay_domain::address::Address;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::{EventId, ID_BYTES, InvoiceId, MerchantId};
use xthonpay_domain::invoice::assessment::{Assessment, Flags, InvoiceState};
use xthonpay_domain::invoice::{Invoice, Proposal, Terms, Tolerance};
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_payments::port::hooks::{Draft, PaymentReview};

/// The time at which everything here happens.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_123);

pub(crate) fn decimals() -> Decimals {
    Decimals::new(18).expect("in range")
}

pub(crate) fn amount(text: &str) -> Amount {
    Amount::parse(text, decimals()).expect("an amount")
}

pub(crate) fn draft() -> Draft {
    Draft {
        merchant: MerchantId::from_random([1; ID_BYTES]),
        at: NOW,
        asset: "bsc:USDT".parse().expect("well formed"),
        decimals: decimals(),
        due: amount("12.5"),
        external_id: Some("order-7".parse().expect("allowed")),
        customer: Some("buyer-3".parse().expect("allowed")),
        expires_in_s: Some(900),
        metadata: vec![("colour".parse().expect("allowed"), "red".parse().expect("allowed"))],
        proposed: Proposal {
            expires_in: Duration::from_secs(900),
            tolerance: Tolerance { bps: 0, amount: amount("0.25") },
            confirmations: 0,
        },
    }
}

/// A late payment of 12.5 USDT, in two transfers.
pub(crate) fn review() -> PaymentReview {
    let terms = Terms::agree(draft().asset, draft().due, draft().proposed, 2, NOW).expect("possible terms");
    let assessment = Assessment {
        state: InvoiceState::Expired,
        flags: Flags::LATE,
        received: amount("12.5"),
        received_late: amount("12.5"),
        awaits_ruling: true,
        ..Assessment::initial(&terms)
    };
    PaymentReview {
        invoice: Invoice {
            id: InvoiceId::from_random([2; ID_BYTES]),
            merchant: draft().merchant,
            external_id: draft().external_id,
            customer: None,
            metadata: Vec::new(),
            callback_url: None,
            address: Address::new([9; 20]),
            created_at: NOW,
            terms,
            assessment,
            ruling: None,
            resolution: None,
            events: 1,
            revision: 1,
        },
        deposits: vec![deposit(21, "2.5"), deposit(20, "10")],
        decimals: decimals(),
        tip: BlockNumber(23),
        at: NOW,
        attempt: 4,
    }
}

fn deposit(block: u64, value: &str) -> Deposit {
    let identity = TransferIdentity {
        asset: draft().asset,
        to: Address::new([9; 20]),
        origin: Origin::Transaction { tx: TxHash::new([7; 32]), nth: 0 },
    };
    let transfer = Transfer { identity, from: Some(Address::new([1; 20])), amount: amount(value) };
    let block = BlockRef {
        number: BlockNumber(block),
        hash: BlockHash::new([3; 32]),
        parent: BlockHash::new([4; 32]),
        time: Timestamp::from_secs(block),
    };
    Deposit::seen(transfer, block, draft().merchant, None, 2).finalised().expect("was seen")
}

pub(crate) fn event() -> Event {
    Event {
        id: EventId::from_random([5; ID_BYTES]),
        kind: EventKind::InvoicePaid,
        at: NOW,
        merchant: draft().merchant,
        invoice: None,
        deposit: None,
        sequence: 3,
        data_json: "{\"amount\":\"12.5\"}".to_owned(),
    }
}
