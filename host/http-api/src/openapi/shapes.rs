//! The schemas that the document names: what answers and webhooks hold.
//!
//! They say from outside what the snapshots of `xthonpay-payments` and the routes write. Every answer of the tests is held
//! against them, so a field that is missing here, or is of another form, fails there.

use serde_json::json;
use xthonpay_domain::access::{Mode, Scope, SignatureScheme};
use xthonpay_domain::event::EventKind;
use xthonpay_domain::invoice::assessment::{Flags, InvoiceState};
use xthonpay_domain::invoice::{EXPIRES_IN_MAX, EXPIRES_IN_MIN, METADATA_ENTRIES_MAX};
use xthonpay_domain::text::{CustomerRef, ExternalId, MetadataKey, MetadataValue};
use xthonpay_payments::port::store::ATTEMPTS_LOGGED_MAX;
use xthonpay_payments::snapshot::PAYMENTS_LISTED_MAX;

use super::schema::{
    Fields, Shape, address, amount, either, flag, hash, id, list, moment, named, named_or_null, one_of, or_null,
    or_null_list, pattern, text, texts_by_name, url, whole, words,
};

/// The words for where deliveries stand.
pub(super) const DELIVERY_STATES: [&str; 3] = ["pending", "delivered", "failed"];
/// What every failure looks like.
pub(super) const ERROR: &str = "Error";
/// What the probe of readiness says.
pub(super) const READINESS: &str = "Readiness";

/// Every named schema.
pub(super) fn all() -> Vec<(&'static str, Shape)> {
    vec![
        ("Balance", balance()),
        ("Delivery", delivery("A delivery in short.").open()),
        ("DeliveryWithLog", delivery_with_log()),
        ("DepositAddress", deposit_address()),
        ("Endpoint", endpoint("A webhook endpoint, without its secret.").open()),
        ("EndpointWithSecret", endpoint_with_secret()),
        (ERROR, error()),
        ("Event", event()),
        ("Invoice", invoice()),
        ("Key", key()),
        ("NewInvoice", new_invoice()),
        ("Payment", payment("A transfer to an address of the merchant.").open()),
        ("PaymentOfInvoice", payment_of_invoice()),
        (READINESS, readiness()),
        ("RescanReport", rescan_report()),
        ("RescanRequest", rescan_request()),
        ("Resolution", resolution()),
        ("ResolveRequest", resolve_request()),
        ("Time", time()),
    ]
}

/// The symbol of an asset.
pub(super) fn symbol(says: &str) -> utoipa::openapi::Object {
    pattern("^[A-Z0-9]{1,16}$", "USDT", says)
}

/// The name of a chain.
pub(super) fn chain(says: &str) -> utoipa::openapi::Object {
    pattern("^[a-z0-9-]{1,32}$", "bsc", says)
}

fn error() -> Shape {
    let error = Fields::new("What went wrong.")
        .field("code", text("For programs. Codes are added, never changed."))
        .field("message", text("For people: what to change. The words may change."))
        .field("request_id", id("req_", "Names this request in the host's log; equal to `X-Request-Id`."))
        .optional("param", text("The header, field or query parameter concerned."))
        .open();
    Fields::new("A failure. Its HTTP status is never below 400.")
        .field("status", one_of(["error"], "Says that the call failed."))
        .field("error", error)
        .optional("data", named(READINESS))
        .example(json!({"status": "error", "error": {
            "code": "INVALID_AMOUNT",
            "message": "amount must be a string such as \"50.00\"",
            "request_id": "req_5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f",
            "param": "amount",
        }}))
        .open()
}

fn new_invoice() -> Shape {
    let (min, max) = (EXPIRES_IN_MIN.as_secs(), EXPIRES_IN_MAX.as_secs());
    let expires_in = whole(
        min,
        Some(max),
        format!(
            "Seconds until it expires, from {min} to {max}. Rules of the deployment may change it; see `expires_at`."
        ),
    );
    Fields::new("An invoice to make. A field that is `null` counts as not given.")
        .field(
            "amount",
            amount("50.00", "How much is due, above zero, with at most as many decimals as the asset has. Not a number."),
        )
        .optional(
            "asset",
            or_null(pattern(
                "^([a-z0-9-]{1,32}:)?[A-Z0-9]{1,16}$",
                "USDT",
                "What to pay in: a symbol, or chain and symbol such as `bsc:USDT`. The default asset of the deployment, \
                 usually USDT, where it is missing; the only asset, where there is no other.",
            )),
        )
        .optional("chain", or_null(chain("The chain, where several have the asset.")))
        .optional(
            "external_id",
            or_null(words(
                ExternalId::LEN_MAX,
                "Your name of the order, unique among your invoices. The same id with the same terms answers the invoice that \
                 exists, with other terms `EXTERNAL_ID_CONFLICT`.",
            )),
        )
        .optional("customer", or_null(words(CustomerRef::LEN_MAX, "Your name of the customer.")))
        .optional(
            "callback_url",
            or_null(url("Where webhooks of this invoice go, of printable ASCII.", "https://shop.example/hooks/pay")),
        )
        .optional("expires_in", or_null(expires_in))
        .optional("metadata", or_null(metadata()))
        .example(json!({
            "amount": "50.00",
            "asset": "USDT",
            "external_id": "order_12345",
            "callback_url": "https://shop.example/hooks/pay",
            "expires_in": 3600,
        }))
        .closed()
}

fn metadata() -> utoipa::openapi::Object {
    let says = format!(
        "Your own notes: at most {METADATA_ENTRIES_MAX} texts. Names are letters, digits, dots, dashes and underscores, at most \
         {} of them.",
        MetadataKey::LEN_MAX
    );
    let mut object = texts_by_name(words(MetadataValue::LEN_MAX, "A note."), &says);
    object.max_properties = Some(METADATA_ENTRIES_MAX);
    let name = pattern(format!("^[A-Za-z0-9._-]{{1,{}}}$", MetadataKey::LEN_MAX), "cart", "The name of a note.");
    object.property_names = Some(Box::new(name.into()));
    object
}

fn invoice() -> Shape {
    let states = InvoiceState::ALL.map(InvoiceState::name);
    let flags = Flags::NAMES.map(|(_, name)| name);
    Fields::new("An invoice. Amounts are in its asset.")
        .field("invoice_id", id("inv_", "Its id."))
        .field("external_id", or_null(text("Your name of the order.")))
        .field("customer", or_null(text("Your name of the customer.")))
        .field("status", one_of(states, "Where it stands. Ship when it is `paid`."))
        .field("flags", list(one_of(flags, "A mark."), "Marks beside the status."))
        .field("asset", symbol("What is to be paid in."))
        .field("chain", chain("The chain to pay on."))
        .field("amount", amount("50", "The amount due."))
        .field("amount_received", amount("50", "The sum of final payments."))
        .field("amount_pending", amount("0", "The sum of payments that are seen and not final."))
        .field("amount_missing", amount("0", "What is still missing of the amount due."))
        .field("amount_overpaid", amount("0", "What is final above the amount due."))
        .field("amount_tolerated", amount("0", "How much may be missing at most."))
        .field("deposit_address", address("The address to pay to, used by this invoice alone."))
        .field(
            "confirmations_required",
            whole(1, None, "Blocks that must stand on a payment, its own included, besides the chain's finality."),
        )
        .field("callback_url", or_null(text("Where webhooks of this invoice go.")))
        .field("metadata", texts_by_name(text("A note."), "Your own notes."))
        .field("created_at", moment("When it was made."))
        .field("expires_at", moment("Until when a payment is in time, by the time of its block."))
        .field("resolution", named_or_null("Resolution", "Your last decision about what was received."))
        .field("payments_total", whole(0, None, "How many transfers the address has received."))
        .field(
            "payments",
            list(named("Payment"), format!("The newest {PAYMENTS_LISTED_MAX} of them at most, oldest first.")),
        )
        .open()
}

/// The fields of a payment.
pub(super) fn payment(says: &str) -> Fields {
    Fields::new(says)
        .field("payment_id", id("dep_", "Its id."))
        .field(
            "status",
            one_of(
                ["seen", "final", "orphaned"],
                "`seen` in a block that may still leave the chain, `final` and credited, or `orphaned` when its block left.",
            ),
        )
        .field("asset", symbol("What was paid in."))
        .field("chain", chain("The chain."))
        .field("amount", amount("50", "How much."))
        .field("tx_hash", or_null(hash("The transaction; `null` for coins that a contract passed on.")))
        .field(
            "from_address",
            or_null(address(
                "The sender of tokens; `null` for the chain's own coins. For payments from exchanges not an address that can \
                 take a refund.",
            )),
        )
        .field("to_address", address("The receiving address."))
        .field("block_number", whole(0, None, "The height of its block."))
        .field("block_hash", hash("The hash of its block."))
        .field("block_time", moment("The time of its block."))
}

fn payment_of_invoice() -> Shape {
    payment("A transfer to an address of the merchant, and what it was for.")
        .field("invoice_id", or_null(id("inv_", "The invoice of the address; `null` for your own address.")))
        .open()
}

fn resolution() -> Shape {
    Fields::new("What you decided about what an invoice received.")
        .field("choice", one_of(["accept", "refund", "ignore"], "What you decided."))
        .field("at", moment("When."))
        .field(
            "amount",
            amount(
                "40",
                "The sum of final payments that it was about. Where `amount_received` is more, the rest came later.",
            ),
        )
        .field("refund_to", or_null(address("Who is to get money back.")))
        .field("refund_amount", or_null(amount("40", "How much. The decision itself pays nothing out.")))
        .open()
}

fn resolve_request() -> Shape {
    Fields::new("A decision about what an invoice received.")
        .field("action", one_of(["accept", "refund", "ignore"], "What you decide."))
        .optional("to_address", or_null(address("Of a refund, which needs it: who is to get money back.")))
        .optional(
            "amount",
            or_null(amount(
                "40",
                "Of a refund: how much, above zero and at most what was received; all of it where it is missing.",
            )),
        )
        .example(
            json!({"action": "refund", "to_address": "0x52908400098527886E0F7030069857D2E4169EE7", "amount": "40"}),
        )
        .closed()
}

fn event() -> Shape {
    let part = |name: &str, shape: Shape, says: &str| Fields::new(says).field(name, shape).open();
    let of_payment = Fields::new("What happened to a single payment of an invoice.")
        .field("invoice_id", id("inv_", "The invoice."))
        .field("external_id", or_null(text("Your name of the order.")))
        .field("payment", named("Payment"))
        .open();
    let data = [
        named("Invoice"),
        of_payment,
        part("deposit", named("Payment"), "What happened to a deposit without an invoice."),
        part("endpoint", named("Endpoint"), "What happened to a webhook endpoint."),
    ];
    Fields::new("A fact that you may hear of.")
        .field("id", id("evt_", "Its id, equal to the `webhook-id` of its deliveries."))
        .field("type", one_of(EventKind::ALL.map(EventKind::name), "What happened."))
        .field("created_at", moment("When it was recorded."))
        .field(
            "sequence",
            whole(0, None, "Its place among the events of its invoice, from 1 and without gaps; 0 for other events."),
        )
        .field("invoice_id", or_null(id("inv_", "The invoice concerned.")))
        .field("payment_id", or_null(id("dep_", "The payment concerned.")))
        .field("data", either(data, "Its subject as it was at that moment: the same as in webhooks."))
        .open()
}

fn endpoint(says: &str) -> Fields {
    let kinds = list(one_of(EventKind::ALL.map(EventKind::name), "A kind of events."), "Kinds of events.");
    Fields::new(says)
        .field("endpoint_id", id("whe_", "Its id."))
        .field("url", text("Where its deliveries go."))
        .field("events", or_null_list(kinds, "The kinds of events that it hears of; `null` means all."))
        .field("label", or_null(text("Your name for it.")))
        .field("format", or_null(text("The plugin that shapes its bodies; `null` means the one of the deployment.")))
        .field(
            "status",
            one_of(
                ["enabled", "paused", "disabled", "removed"],
                "`paused` by you, `disabled` by the host after failures or the answer 410.",
            ),
        )
        .field("disabled_reason", or_null(text("Why the host switched it off.")))
        .field("disabled_at", or_null(moment("When the host switched it off.")))
        .field("failing_since", or_null(moment("Since when every attempt has failed.")))
        .field(
            "previous_secret_until",
            or_null(moment("Until when the secret before the last rotation signs beside the new one.")),
        )
        .field("created_at", moment("When it was made."))
}

fn endpoint_with_secret() -> Shape {
    let secret =
        pattern("^whsec_[A-Za-z0-9+/]+=*$", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "Verifies its deliveries.");
    endpoint("A webhook endpoint with its fresh secret: the one time that it is shown.").field("secret", secret).open()
}

fn delivery(says: &str) -> Fields {
    Fields::new(says)
        .field("delivery_id", id("dlv_", "Its id."))
        .field("event_id", id("evt_", "The event, whose id is the `webhook-id`."))
        .field("endpoint_id", or_null(id("whe_", "Where it goes; `null` for the callback URL of an invoice.")))
        .field("invoice_id", or_null(id("inv_", "The invoice concerned.")))
        .field("sequence", whole(0, None, "The event's place among those of its invoice."))
        .field("url", text("Where it goes."))
        .field("status", one_of(DELIVERY_STATES, "Where it stands."))
        .field("attempts", whole(0, None, "Attempts made, ever."))
        .field("next_attempt_at", or_null(moment("When the next attempt is due; `null` when none is.")))
        .field("last_status", or_null(whole(100, Some(999), "HTTP status of the last answer.")))
        .field("last_error", or_null(text("Why the last attempt failed.")))
        .field("created_at", moment("When it was made."))
}

fn delivery_with_log() -> Shape {
    let request =
        Fields::new("What every attempt sends. The headers that sign it are made anew for each and are not shown.")
            .field("headers", texts_by_name(text("A value."), "Headers by their names in lower case."))
            .field("body", text("The body."))
            .field("body_encoding", one_of(["text", "base64"], "`base64` for a body that is not UTF-8."))
            .open();
    let attempt = Fields::new("An attempt.")
        .field("at", moment("When it began."))
        .field("status", or_null(whole(100, Some(999), "HTTP status of the answer; `null` when there was none.")))
        .field("error", or_null(text("Why it failed; `null` when it did not.")))
        .field("latency_ms", whole(0, None, "From its beginning to its end, in milliseconds."))
        .field("response_excerpt", text("The beginning of the answer's body, at most 1 KiB."))
        .open();
    let kinds = EventKind::ALL.map(EventKind::name);
    delivery("A delivery with its bytes and its log.")
        .field("event_type", or_null(one_of(kinds, "What happened.")))
        .field("request", request)
        .field("log", list(attempt, format!("The last {ATTEMPTS_LOGGED_MAX} attempts at most, oldest first.")))
        .open()
}

fn balance() -> Shape {
    let one = Fields::new("The balance in one asset.")
        .field("asset", symbol("Of which asset."))
        .field("chain", chain("On which chain."))
        .field("available", amount("1250.5", "What can be spent."))
        .field("held", amount("0", "What is set aside for withdrawals under way."))
        .open();
    Fields::new("What the merchant has. The first four fields are about the default asset, `balances` is complete.")
        .field("currency", or_null(symbol("The default asset; `null` where the deployment has none.")))
        .field("asset", or_null(pattern("^[a-z0-9-]{1,32}:[A-Z0-9]{1,16}$", "bsc:USDT", "The same with its chain.")))
        .field("balance", or_null(amount("1250.5", "What can be spent of it.")))
        .field("address", or_null(address("Where money goes that belongs to no invoice.")))
        .field("balances", list(one, "Every accepted asset."))
        .open()
}

fn deposit_address() -> Shape {
    let accepted = Fields::new("An asset that is credited when it arrives.")
        .field("asset", symbol("Which."))
        .field("chain", chain("On which chain."))
        .open();
    Fields::new("The merchant's address for money that belongs to no invoice.")
        .field("address", address("The address, the same on every chain."))
        .field("network", or_null(text("The chain of the default asset in capitals, such as `BSC`.")))
        .field("currency", or_null(symbol("The default asset.")))
        .field("accepts", list(accepted, "Everything that is credited when it arrives there. Nothing else is."))
        .open()
}

fn key() -> Shape {
    let scopes = [Scope::Read, Scope::Write, Scope::Webhooks, Scope::Withdraw].map(Scope::name);
    let schemes = [SignatureScheme::Request, SignatureScheme::Timestamp].map(SignatureScheme::name);
    let cap = Fields::new("A limit to withdrawals.")
        .field("asset", symbol("Of which asset."))
        .field("chain", chain("On which chain."))
        .field("amount", amount("100", "The most that may be withdrawn in a day."))
        .open();
    Fields::new("A key without its secret.")
        .field("key_id", text("What `X-API-Key` names."))
        .field("label", text("Its owner's name for it."))
        .field("merchant_id", id("mer_", "Whose it is."))
        .field("mode", one_of([Mode::Live, Mode::Test].map(Mode::name), "Real money, or simulation."))
        .field("scopes", list(one_of(scopes, "A permission."), "What it may do."))
        .field("signature", one_of(schemes, "How its requests are signed."))
        .field(
            "ip_list",
            list(text("A network such as `203.0.113.0/24`."), "From where it may be used; empty means anywhere."),
        )
        .field("requests_per_minute", whole(1, None, "How many requests a minute it may make."))
        .field("daily_withdraw_caps", list(cap, "How much it may withdraw a day; nothing of an asset that is missing."))
        .field("withdraw_addresses", list(address("An address."), "The only addresses to which it may withdraw."))
        .field("created_at", moment("When it was made."))
        .field("expires_at", or_null(moment("When it ends.")))
        .field("replaced_by", or_null(text("The key that takes its place.")))
        .field("last_used_at", or_null(moment("When it was used before, as far as it was noted: once a minute.")))
        .open()
}

fn rescan_request() -> Shape {
    Fields::new("A transaction to look at.")
        .field("tx_hash", hash("The transaction."))
        .optional("chain", or_null(chain("Its chain, where the deployment has several.")))
        .closed()
}

fn rescan_report() -> Shape {
    let outcomes = ["recorded", "known", "awaited", "refused"];
    let found = Fields::new("A transfer of the transaction to an address of the merchant.")
        .field(
            "outcome",
            one_of(
                outcomes,
                "`recorded` by this call and credited within seconds, `known` already, `awaited` until its block is final, or \
                 `refused` because the address has received no more than what is credited.",
            ),
        )
        .field("invoice_id", or_null(id("inv_", "The invoice whose address was paid.")))
        .field("payment", named_or_null("Payment", "The deposit, once there is one."))
        .field("asset", symbol("What was transferred."))
        .field("amount", amount("50", "How much."))
        .field("to_address", address("To which address."))
        .field("reason", or_null(text("Why it was refused.")))
        .open();
    Fields::new("What a transaction holds for the merchant.")
        .field("tx_hash", hash("The transaction."))
        .field("chain", chain("Its chain."))
        .field("block_number", whole(0, None, "The height of its block."))
        .field("block_hash", hash("The hash of its block."))
        .field("block_time", moment("The time of its block."))
        .field("is_final", flag("Whether its block is final. Before that nothing is recorded by this call."))
        .field("deposits", list(found, "One for each transfer to an address of yours."))
        .open()
}

fn time() -> Shape {
    Fields::new("This host's clock.")
        .field("unix", whole(0, None, "Unix seconds, the form of `X-Timestamp`."))
        .field("time", moment("The same moment."))
        .open()
}

fn readiness() -> Shape {
    let check = Fields::new("One thing that was looked at.")
        .field("name", text("What."))
        .field("ok", flag("Whether it is well."))
        .field("required", flag("Whether the deployment is not ready without it."))
        .optional("reason", text("What is wrong, without details."))
        .open();
    Fields::new("Whether this deployment can do its job.")
        .field("ready", flag("Whether every required part is well."))
        .field("checks", list(check, "What was looked at."))
        .open()
}
