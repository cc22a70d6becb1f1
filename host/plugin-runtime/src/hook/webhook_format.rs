//! The hook `webhook-format`: the body of a webhook.
//!
//! The host signs and adds its own headers afterwards; a format can neither set nor see them.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use xthonpay_domain::amount::Decimals;
use xthonpay_domain::event::Event;
use xthonpay_payments::port::hooks::{HookFailure, Rendered, WebhookFormat};

use super::{Asked, Bound, Hook, Served, answer_of, attrs_bytes, bad, call_id, call_info};
use crate::bindings::webhook_format::exports::xthonpay::hooks::webhook_format as wit_format;
use crate::bindings::webhook_format::{self as bindings, WebhookFormatHookPre};
use crate::fault::CallFault;
use crate::instance::{Call, CallState};

const RENDER: &str = "render";

/// Headers that a format may add: receivers bound the headers of a request as a whole.
const HEADERS_MAX: usize = 32;

/// Bytes of a header's name and of its value. Common servers stop at 8 KiB for all headers together.
const HEADER_NAME_BYTES_MAX: usize = 64;
const HEADER_VALUE_BYTES_MAX: usize = 1_024;

/// Bytes of a media type with its parameters.
const CONTENT_TYPE_BYTES_MAX: usize = 128;

/// How every name begins, so that no header of the protocol can be set.
const HEADER_PREFIX: &str = "x-";

/// Beginnings of names that are refused: the host's own, those that authenticate, and those by which proxies tell whom
/// a request came from.
const HEADER_PREFIXES_REFUSED: [&str; 10] = [
    "x-xthon",
    "x-signature",
    "x-hub-signature",
    "x-auth",
    "x-api-key",
    "x-timestamp",
    "x-csrf",
    "x-forwarded",
    "x-real-ip",
    "x-http-method",
];

/// The hook.
pub(crate) struct WebhookFormatHook;

impl Served for WebhookFormatHook {
    const HOOK: Hook = Hook::WebhookFormat;
    const FUNCTIONS: &'static [&'static str] = &[RENDER];
    type Pre = WebhookFormatHookPre<CallState>;

    fn find_exports(linked: InstancePre<CallState>) -> wasmtime::Result<Self::Pre> {
        WebhookFormatHookPre::new(linked)
    }

    fn linked(pre: &Self::Pre) -> &InstancePre<CallState> {
        pre.instance_pre()
    }

    fn judge(_: &str, answer: Value, _: Decimals) -> Result<(), CallFault> {
        let message: Option<wit_format::Message> = answer_of(answer)?;
        message.map_or(Ok(()), |message| message_from_wit(message).map(drop))
    }

    fn check_types(store: &mut Store<CallState>, instance: &Instance) -> wasmtime::Result<()> {
        bindings::WebhookFormatHook::new(store, instance).map(drop)
    }
}

#[async_trait]
impl WebhookFormat for Bound<WebhookFormatHook> {
    async fn render(&self, event: &Event, target: &str) -> Result<Option<Rendered>, HookFailure> {
        let id = call_id(RENDER, &[event.id.as_str(), target]);
        let merchant = Some(event.merchant.clone());
        let call = Call { function: RENDER, id: id.clone(), at: self.clock.now(), merchant };
        self.guarded(RENDER, &id, self.policies.render, self.rendered(event, target, call)).await
    }
}

impl Bound<WebhookFormatHook> {
    async fn rendered(&self, event: &Event, target: &str, call: Call) -> Result<Option<Rendered>, CallFault> {
        let info = call_info(&call, 1);
        let told = Arc::new((event_to_wit(event), target.to_owned()));
        let (fact, target) = &*told;
        let bytes = fact.data_json.len().saturating_add(fact.id.len()).saturating_add(target.len());
        let shown = Arc::clone(&told);
        let input = Box::new(move || json!({"event": &shown.0, "target": &shown.1}));
        let message = self.call(
            Asked { call, attempt: 1, bytes, input },
            move |store, linked| {
                Box::pin(async move {
                    let guest = linked.instantiate_async(&mut *store).await?;
                    store.data_mut().usage.instantiated();
                    guest.xthonpay_hooks_webhook_format().call_render(store, &info, &told.0, &told.1).await
                })
            },
            |message| message.as_ref().map_or(0, message_bytes),
            |message: Option<wit_format::Message>| message.map(message_from_wit).transpose(),
        );
        // The world of formats has no storage: there is nothing to keep.
        Ok(message.await?.answer)
    }
}

fn event_to_wit(event: &Event) -> wit_format::Event {
    wit_format::Event {
        id: event.id.to_string(),
        kind: event.kind.name().to_owned(),
        created: event.at.as_millis(),
        sequence: event.sequence,
        data_json: event.data_json.clone(),
        attrs: Vec::new(),
    }
}

fn message_bytes(message: &wit_format::Message) -> usize {
    let head = message.content_type.len().saturating_add(attrs_bytes(&message.headers));
    head.saturating_add(message.body.len()).saturating_add(attrs_bytes(&message.attrs))
}

fn message_from_wit(message: wit_format::Message) -> Result<Rendered, CallFault> {
    check_content_type(&message.content_type)?;
    if message.headers.len() > HEADERS_MAX {
        return Err(bad(format!("{} headers, more than {HEADERS_MAX}", message.headers.len())));
    }
    for (position, (name, value)) in message.headers.iter().enumerate() {
        check_header(name, value)?;
        if message.headers.iter().take(position).any(|(earlier, _)| earlier == name) {
            return Err(bad(format!("the header `{name}` stands there twice")));
        }
    }
    Ok(Rendered { content_type: message.content_type, headers: message.headers, body: message.body })
}

/// A media type: `type/subtype`, and parameters behind `;`.
fn check_content_type(text: &str) -> Result<(), CallFault> {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let parts_are_tokens = essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    if !parts_are_tokens || text.len() > CONTENT_TYPE_BYTES_MAX || !is_printable(text) {
        return Err(bad(format!(
            "content-type is not a media type such as `application/json`, in printable ASCII and at most \
             {CONTENT_TYPE_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

fn check_header(name: &str, value: &str) -> Result<(), CallFault> {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let named = name.strip_prefix(HEADER_PREFIX).is_some_and(|rest| !rest.is_empty());
    if !named || name.len() > HEADER_NAME_BYTES_MAX || !name.bytes().all(lower) {
        return Err(bad(format!(
            "a header's name does not begin with `{HEADER_PREFIX}`, or is not in lower-case letters, digits and `-`, or \
             has more than {HEADER_NAME_BYTES_MAX} bytes"
        )));
    }
    if HEADER_PREFIXES_REFUSED.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(bad(format!("the header `{name}` is not for plugins to set")));
    }
    if value.len() > HEADER_VALUE_BYTES_MAX || !is_printable(value) || value.trim() != value {
        return Err(bad(format!(
            "the value of the header `{name}` is not printable ASCII without spaces at its ends, or has more than \
             {HEADER_VALUE_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// A token as HTTP has it.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content_type: &str, headers: &[(&str, &str)]) -> Result<Rendered, CallFault> {
        message_from_wit(wit_format::Message {
            content_type: content_type.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: b"{}".to_vec(),
            attrs: Vec::new(),
        })
    }

    #[test]
    fn passes_what_the_contract_allows() {
        let headers = [("x-shop", "7 up"), ("x-empty", ""), ("x-9-a", "~!")];
        let rendered = message("application/json; charset=utf-8", &headers).expect("allowed");
        assert_eq!(rendered.content_type, "application/json; charset=utf-8");
        assert_eq!(rendered.headers.len(), 3);
        assert_eq!(rendered.body, b"{}");
        for content_type in ["text/plain", "application/vnd.shop+json"] {
            assert!(message(content_type, &[]).is_ok(), "{content_type}");
        }
    }

    #[test]
    fn refuses_content_types_that_are_none() {
        let long = format!("text/{}", "x".repeat(CONTENT_TYPE_BYTES_MAX));
        for content_type in
            ["", "json", "/", "text/", "/plain", "text/pl ain", "text/plain\r\nx-a: b", "täxt/plain", &long]
        {
            assert!(message(content_type, &[]).is_err(), "{content_type:?}");
        }
    }

    #[test]
    fn refuses_headers_that_could_mislead_a_receiver() {
        for name in [
            "",
            "x-",
            "X-Shop",
            "shop",
            "host",
            "webhook-id",
            "authorization",
            "x-shop:",
            "x shop",
            "x-shöp",
            "x-xthon-signature",
            "x-signature",
            "x-api-key",
            "x-auth-token",
            "x-forwarded-for",
            &format!("x-{}", "a".repeat(HEADER_NAME_BYTES_MAX)),
        ] {
            assert!(message("text/plain", &[(name, "v")]).is_err(), "{name:?}");
        }
        for value in ["a\r\nx-b: c", "\u{7f}", "ä", " a", "a ", "a\tb", &"v".repeat(HEADER_VALUE_BYTES_MAX + 1)] {
            assert!(message("text/plain", &[("x-shop", value)]).is_err(), "{value:?}");
        }
        assert!(message("text/plain", &[("x-a", "1"), ("x-a", "2")]).is_err(), "twice");
        let many: Vec<_> = (0..=HEADERS_MAX).map(|n| format!("x-{n}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), "v")).collect();
        assert!(message("text/plain", &many).is_err(), "too many");
        assert!(message("text/plain", &many[1..]).is_ok());
    }
}
