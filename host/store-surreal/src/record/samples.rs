//! Values to test with: the same number always makes the same value, different numbers different ones.
//!
//! Knows the domain and the port only, so that the tests outside the crate use it too.

#![allow(dead_code, reason = "each of the two test targets that include this file uses a part of it")]
#![allow(unreachable_pub, reason = "one of the two test targets that include this file is a crate of its own")]

use xthonpay_domain::access::{KeyId, Mode, Scope, SignatureScheme};
use xthonpay_domain::address::Address;
use xthonpay_domain::amount::Amount;
use xthonpay_domain::asset::AssetId;
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::deposit::Deposit;
use xthonpay_domain::event::{Event, EventFilter, EventKind};
use xthonpay_domain::hash::{BlockHash, TxHash};
use xthonpay_domain::id::{DeliveryId, DepositId, EndpointId, EventId, InvoiceId, MerchantId};
use xthonpay_domain::invoice::assessment::Assessment;
use xthonpay_domain::invoice::{Invoice, Terms, Tolerance};
use xthonpay_domain::ledger::{Balance, Posting};
use xthonpay_domain::text::ChainName;
use xthonpay_domain::time::Timestamp;
use xthonpay_domain::transfer::{Origin, Transfer, TransferIdentity};
use xthonpay_payments::port::lending::attestation::Statement;
use xthonpay_payments::port::lending::storage::{Item, Space};
use xthonpay_payments::port::store::AttestationRecord;
use xthonpay_payments::port::store::{
    AnswerBytes, Cursor, Delivery, DeliveryState, Endpoint, EndpointState, KeptAnswer, Key, Merchant, OwnAddress,
    UsedSignature,
};
use xthonpay_payments::port::vault::Sealed;

/// Bytes that a number makes.
pub fn bytes<const N: usize>(number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, digit) in bytes.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte = digit;
    }
    bytes
}

pub fn chain() -> ChainName {
    "bsc".parse().expect("a chain name")
}

pub fn asset() -> AssetId {
    "bsc:USDT".parse().expect("an asset id")
}

pub fn time(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub fn merchant_id(number: u64) -> MerchantId {
    MerchantId::from_random(bytes(number))
}

pub fn invoice_id(number: u64) -> InvoiceId {
    InvoiceId::from_random(bytes(number))
}

pub fn event_id(number: u64) -> EventId {
    EventId::from_random(bytes(number))
}

pub fn endpoint_id(number: u64) -> EndpointId {
    EndpointId::from_random(bytes(number))
}

pub fn deposit_id(number: u64) -> DepositId {
    deposit(number, None).id
}

pub fn key_id(number: u64) -> KeyId {
    KeyId::from_random(Mode::Live, bytes(number))
}

pub fn address(number: u64) -> Address {
    Address::new(bytes(number))
}

pub fn balance(units: u128) -> Balance {
    Balance { available: Amount::from_units(units), held: Amount::ZERO }
}

pub fn merchant(number: u64) -> Merchant {
    Merchant {
        id: merchant_id(number),
        account: u32::try_from(number).expect("a small number"),
        mode: Mode::Live,
        name: format!("Shop {number} `x`; 'y'").parse().expect("a label"),
        created_at: time(number),
        webhook_secret: Sealed(vec![0, 1, 254, 255]),
    }
}

pub fn key(number: u64) -> Key {
    Key {
        id: key_id(number),
        merchant: merchant_id(number),
        label: "till".parse().expect("a label"),
        scopes: vec![Scope::Read, Scope::Write],
        scheme: SignatureScheme::Request,
        ip_list: vec!["10.0.0.0/8".parse().expect("a network"), "2001:db8::/32".parse().expect("a network")],
        secret: Sealed(vec![7; 48]),
        requests_per_minute: None,
        daily_withdraw_caps: Vec::new(),
        withdraw_addresses: Vec::new(),
        created_at: time(number),
        expires_at: None,
        revoked_at: None,
        replaced_by: None,
        revision: 1,
    }
}

/// An endpoint of merchant 1 that hears of everything, made at `number` ms.
pub fn endpoint(number: u64) -> Endpoint {
    Endpoint {
        id: endpoint_id(number),
        merchant: merchant_id(1),
        url: "https://shop.example/hooks?a=1".parse().expect("a URL"),
        events: EventFilter::All,
        label: None,
        format: None,
        secret: Sealed(vec![9; 48]),
        retiring_secret: None,
        state: EndpointState::Enabled,
        failing_since: None,
        created_at: time(number),
        revision: 1,
    }
}

/// An answer to merchant 1 that may be forgotten after `number` ms.
pub fn kept_answer(number: u64) -> KeptAnswer {
    KeptAnswer {
        merchant: merchant_id(1),
        call: "POST /invoices".to_owned(),
        key: format!("order {number}").parse().expect("a name"),
        fingerprint: bytes(number),
        answer: AnswerBytes { status: 201, location: Some("/invoices/a:b".to_owned()), body: vec![b'{', 255, b'}'] },
        expires_at: time(number),
    }
}

/// The space of a plugin about merchant `merchant`.
pub fn space(plugin: &str, merchant: Option<u64>) -> Space {
    let (plugin, label) = (plugin.parse().expect("a name"), "notes".parse().expect("a label"));
    Space { plugin, merchant: merchant.map(merchant_id), label }
}

/// A value of the revision `revision`.
pub fn item(value: &str, revision: u64) -> Item {
    Item { value: value.as_bytes().to_vec(), revision, expires_at: None }
}

/// A use of a signer at `number` ms.
pub fn attestation(number: u64) -> AttestationRecord {
    let statement = Statement {
        plugin: "receipts".parse().expect("a name"),
        merchant: Some(merchant_id(1)),
        purpose: "receipt".to_owned(),
        digest: bytes(number),
        at: time(number),
    };
    let (id, signer) = (format!("{number:032x}"), "receipts".parse().expect("a label"));
    AttestationRecord { id, signer, key_id: "0011223344556677".to_owned(), statement, signature: vec![9; 64] }
}

pub fn own_address(number: u64, invoice: Option<InvoiceId>) -> OwnAddress {
    let index = u32::try_from(number).expect("a small number");
    OwnAddress { address: address(number), merchant: merchant_id(1), invoice, index }
}

/// An invoice of merchant 1, made at `number` ms and expiring 1000 ms later.
pub fn invoice(number: u64) -> Invoice {
    let terms = Terms {
        asset: asset(),
        due: Amount::from_units(100),
        tolerance: Tolerance::default(),
        confirmations: 1,
        expires_at: time(number.saturating_add(1_000)),
    };
    Invoice {
        id: invoice_id(number),
        merchant: merchant_id(1),
        external_id: None,
        customer: None,
        metadata: vec![("order".parse().expect("a key"), "a:b `c`".parse().expect("a value"))],
        callback_url: Some("https://shop.example/hook".parse().expect("a URL")),
        address: address(number),
        created_at: time(number),
        assessment: Assessment::initial(&terms),
        terms,
        ruling: None,
        resolution: None,
        events: 1,
        revision: 1,
    }
}

/// The invoice as it may be stored next.
pub fn next_revision(invoice: &Invoice) -> Invoice {
    Invoice { revision: invoice.revision.saturating_add(1), ..invoice.clone() }
}

pub fn block(number: u64) -> BlockRef {
    BlockRef {
        number: BlockNumber(number),
        hash: BlockHash::new(bytes(number)),
        parent: BlockHash::new(bytes(number.saturating_sub(1))),
        time: Timestamp::from_secs(number),
    }
}

pub fn cursor(revision: u64) -> Cursor {
    Cursor { chain: chain(), tip: block(20), finalized: block(18), frozen: None, revision }
}

/// A deposit that is seen, for merchant 1.
pub fn deposit(number: u64, invoice: Option<InvoiceId>) -> Deposit {
    let origin = Origin::Transaction { tx: TxHash::new(bytes(number)), nth: 0 };
    let identity = TransferIdentity { asset: asset(), to: address(9), origin };
    let transfer = Transfer { identity, from: Some(address(8)), amount: Amount::from_units(5) };
    Deposit::seen(transfer, block(10), merchant_id(1), invoice, 1)
}

pub fn posting(number: u64) -> Posting {
    Posting::credit_deposit(&deposit(number, None), time(number)).expect("an amount above zero")
}

/// An event of invoice `number`, recorded at `number` ms.
pub fn event(number: u64, sequence: u64) -> Event {
    Event {
        id: EventId::from_fact(&[&number.to_string(), &sequence.to_string()]),
        kind: EventKind::InvoicePaid,
        at: time(number),
        merchant: merchant_id(1),
        invoice: Some(invoice_id(number)),
        deposit: None,
        sequence,
        data_json: "{\"text\":\"a \\\"b\\\" 🧾\"}".to_owned(),
    }
}

/// A delivery that is pending and due at `number` ms.
pub fn delivery(number: u64) -> Delivery {
    Delivery {
        id: DeliveryId::from_random(bytes(number)),
        event: event_id(number),
        merchant: merchant_id(1),
        endpoint: None,
        invoice: Some(invoice_id(number)),
        sequence: 1,
        url: "https://shop.example/hook?a=1".parse().expect("a URL"),
        content_type: "application/json".to_owned(),
        headers: vec![("x-a".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())],
        body: vec![0, 255, 10],
        state: DeliveryState::Pending,
        attempts: 0,
        attempts_on_schedule: 0,
        log: Vec::new(),
        next_at: time(number),
        last_status: None,
        last_error: None,
        created_at: time(number),
        revision: 1,
    }
}

pub fn used_signature(number: u64) -> UsedSignature {
    UsedSignature { key: key_id(1), signature: format!("{number:064x}"), expires_at: time(number) }
}
