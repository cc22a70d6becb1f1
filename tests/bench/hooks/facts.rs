//! One draft and one event, each in the form of the host's port and in the form of the SDK, so that a plugin and the same
//! code called natively are asked the same.

use core::time::Duration;

use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::event::{Event, EventKind};
use xthonpay_domain::id::{EventId, ID_BYTES, InvoiceId, MerchantId};
use xthonpay_domain::invoice::{Proposal, Tolerance};
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::port::hooks::Draft;
use xthonpay_sdk::testbench;
use xthonpay_tests::BoxError;

/// When everything here happens.
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The endpoint that a webhook is rendered for.
pub(super) const TARGET: &str = "https://shop.example/hooks/pay";

const ASSET: &str = "bsc:USDT";
const PRICE: &str = "50.00";
const ORDER: &str = "order-5f2c9a17d3e84b60";
const CUSTOMER: &str = "customer-77";
const NOTE: (&str, &str) = ("basket", "two coffees and a cake");
/// What the host proposes and the merchant asks for, in seconds.
const PROPOSED_S: u32 = 3_600;
pub(super) const REQUESTED_S: u32 = 900;

/// The data of an event about a paid invoice, as the host writes it.
const PAID: &str = r#"{"invoice_id":"inv_c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3","external_id":"order-5f2c9a17d3e84b60","customer":null,"status":"paid","flags":[],"asset":"USDT","chain":"bsc","amount":"50.00","amount_received":"50.00","amount_pending":"0","amount_missing":"0","amount_overpaid":"0","amount_tolerated":"0","deposit_address":"0xd4D4D4d4D4D4D4d4d4D4d4D4D4d4d4d4D4D4D4D4","confirmations_required":1,"callback_url":"https://shop.example/hooks/pay","metadata":{},"created_at":"2027-01-15T08:00:00Z","expires_at":"2027-01-15T09:00:00Z","payments_total":0,"payments":[]}"#;

/// A draft as the use cases ask rules about it.
pub(super) fn draft() -> Result<Draft, BoxError> {
    let decimals = Decimals::new(18)?;
    Ok(Draft {
        merchant: MerchantId::from_random([1; ID_BYTES]),
        at: NOW,
        asset: ASSET.parse()?,
        decimals,
        due: Amount::parse(PRICE, decimals)?,
        external_id: Some(ORDER.parse()?),
        customer: Some(CUSTOMER.parse()?),
        expires_in_s: Some(REQUESTED_S),
        metadata: vec![(NOTE.0.parse()?, NOTE.1.parse()?)],
        proposed: Proposal {
            expires_in: Duration::from_secs(PROPOSED_S.into()),
            tolerance: Tolerance::default(),
            confirmations: 0,
        },
    })
}

/// The same draft as a plugin sees it.
pub(super) fn native_draft() -> xthonpay_sdk::Draft {
    let mut draft = testbench::draft(ASSET, PRICE);
    draft.external_id = Some(ORDER.to_owned());
    draft.customer = Some(CUSTOMER.to_owned());
    draft.requested_expiry_s = Some(REQUESTED_S);
    draft.proposed.expires_in_s = PROPOSED_S;
    draft.metadata = vec![(NOTE.0.to_owned(), NOTE.1.to_owned())];
    draft
}

/// An event as the use cases have it rendered.
pub(super) fn event() -> Event {
    let invoice = InvoiceId::from_random([0xc3; ID_BYTES]);
    Event {
        id: EventId::from_fact(&[invoice.as_str(), "3"]),
        kind: EventKind::InvoicePaid,
        at: NOW,
        merchant: MerchantId::from_random([1; ID_BYTES]),
        invoice: Some(invoice),
        deposit: None,
        sequence: 3,
        data_json: PAID.to_owned(),
    }
}

/// The same event as a plugin sees it.
pub(super) fn native_event() -> xthonpay_sdk::Event {
    testbench::event(EventKind::InvoicePaid.name(), PAID)
}

/// The host of the native rules, with the settings that the plugin has from its manifest.
pub(super) fn native_bench() -> testbench::Bench {
    [
        ("expires_in_s", "3600"),
        ("max_expires_in_s", "2592000"),
        ("tolerance_bps", "0"),
        ("tolerance_amount", "0"),
        ("confirmations", "0"),
        ("late", "review"),
    ]
    .into_iter()
    .fold(testbench::Bench::new().at(NOW.as_millis()), |bench, (key, value)| bench.config(key, value))
}
