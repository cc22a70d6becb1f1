//! The bytes of an event for one target, and the delivery that carries them.
//!
//! The formatter plugin runs once for each event and target, and outside of any transaction; when it fails, the operator's
//! policy decides between the built-in form and trying again.

use std::sync::Arc;

use tracing::warn;
use xthonpay_domain::event::Event;
use xthonpay_domain::id::DeliveryId;
use xthonpay_domain::invoice::url_text::CallbackUrl;

use crate::delivery::builtin_format;
use crate::delivery::schedule::Schedule;
use crate::port::clock::Clock;
use crate::port::hooks::{HookFailure, Hooks, OnFailure, Rendered, WebhookFormat};
use crate::port::store::{Delivery, DeliveryState, Endpoint};

/// What the formatter is told about a delivery to an invoice's own callback URL, which has no endpoint id.
const CALLBACK_TARGET: &str = "callback";
/// Set on a body that the formatter should have shaped and did not.
const FALLBACK_HEADER: (&str, &str) = ("x-format-fallback", "builtin");
/// What formatters' headers begin with.
const FORMAT_HEADER_PREFIX: &str = "x-";
/// Our own signature, which no formatter may set.
const OWN_SIGNATURE_HEADER: &str = "x-xthon-signature";

/// A place where an event is told.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The callback URL of the event's invoice.
    Callback(&'a CallbackUrl),
    /// An endpoint of the merchant.
    Endpoint(&'a Endpoint),
}

impl Target<'_> {
    /// The id of an event's delivery to this place. Made from both, so that whoever makes it makes the same one. An endpoint keeps
    /// its deliveries when its URL changes.
    #[must_use]
    pub fn delivery_id(&self, event: &Event) -> DeliveryId {
        let place = match self {
            Self::Callback(url) => url.as_str(),
            Self::Endpoint(endpoint) => endpoint.id.as_str(),
        };
        DeliveryId::from_fact(&[event.id.as_str(), place])
    }

    /// The word for this place that formatters are told.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Callback(_) => CALLBACK_TARGET,
            Self::Endpoint(endpoint) => endpoint.id.as_str(),
        }
    }

    /// Where deliveries to this place go.
    #[must_use]
    pub fn url(&self) -> &CallbackUrl {
        match self {
            Self::Callback(url) => url,
            Self::Endpoint(endpoint) => &endpoint.url,
        }
    }
}

/// Makes deliveries.
#[derive(Clone)]
pub struct Shaper {
    /// The formatters.
    pub hooks: Arc<dyn Hooks>,
    /// When first attempts are due.
    pub schedule: Schedule,
    /// Time of the records.
    pub clock: Arc<dyn Clock>,
}

impl Shaper {
    /// The delivery of an event to a place, or `None` when the formatter skips it.
    ///
    /// # Errors
    /// [`HookFailure`] when the formatter failed and the operator chose to wait for it.
    pub async fn delivery(&self, event: &Event, target: Target<'_>) -> Result<Option<Delivery>, HookFailure> {
        let rendered = self.render(event, target).await?;
        Ok(rendered.map(|rendered| self.with_body(event, target, rendered)))
    }

    /// The same for an event that has to arrive: what the formatter skips goes in the built-in form.
    ///
    /// # Errors
    /// [`HookFailure`] when the formatter failed and the operator chose to wait for it.
    pub async fn delivery_in_any_case(&self, event: &Event, target: Target<'_>) -> Result<Delivery, HookFailure> {
        let rendered = self.render(event, target).await?;
        Ok(self.with_body(event, target, rendered.unwrap_or_else(|| builtin_format::render(event))))
    }

    async fn render(&self, event: &Event, target: Target<'_>) -> Result<Option<Rendered>, HookFailure> {
        let Some(format) = self.format(target) else { return Ok(Some(builtin_format::render(event))) };
        match format.render(event, target.name()).await {
            Ok(Some(rendered)) if !is_sendable(&rendered) => {
                warn!(event = %event.id, "the formatter's headers cannot be sent; the built-in format is sent instead");
                Ok(Some(fallback(event)))
            }
            Ok(rendered) => Ok(rendered),
            Err(failure) => match failure.policy {
                OnFailure::Builtin => {
                    warn!(%failure, event = %event.id, "the built-in format is sent instead");
                    Ok(Some(fallback(event)))
                }
                OnFailure::Closed | OnFailure::Hold | OnFailure::Silent => Err(failure),
            },
        }
    }

    /// The formatter for a place; `None` means the built-in form.
    fn format(&self, target: Target<'_>) -> Option<Arc<dyn WebhookFormat>> {
        let Target::Endpoint(Endpoint { id, format: Some(name), .. }) = target else {
            return self.hooks.webhook_format();
        };
        self.hooks.webhook_format_named(name).or_else(|| {
            warn!(endpoint = %id, format = %name, "this format is no longer offered; the one of the deployment is used instead");
            self.hooks.webhook_format()
        })
    }

    fn with_body(&self, event: &Event, target: Target<'_>, rendered: Rendered) -> Delivery {
        let now = self.clock.now();
        Delivery {
            id: target.delivery_id(event),
            event: event.id.clone(),
            merchant: event.merchant.clone(),
            endpoint: match target {
                Target::Callback(_) => None,
                Target::Endpoint(endpoint) => Some(endpoint.id.clone()),
            },
            invoice: event.invoice.clone(),
            sequence: event.sequence,
            url: target.url().clone(),
            content_type: rendered.content_type,
            headers: rendered.headers,
            body: rendered.body,
            state: DeliveryState::Pending,
            attempts: 0,
            attempts_on_schedule: 0,
            log: Vec::new(),
            next_at: self.schedule.first_at(now),
            last_status: None,
            last_error: None,
            created_at: now,
            revision: 1,
        }
    }
}

/// Whether the formatter's headers are its own to set, and in characters that HTTP carries.
fn is_sendable(rendered: &Rendered) -> bool {
    let plain = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let own_name = |name: &str| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        name.starts_with(FORMAT_HEADER_PREFIX) && name != OWN_SIGNATURE_HEADER && name.bytes().all(word)
    };
    let typed = !rendered.content_type.is_empty() && plain(&rendered.content_type);
    typed && rendered.headers.iter().all(|(name, value)| own_name(name) && plain(value))
}

/// The built-in form, marked as such.
fn fallback(event: &Event) -> Rendered {
    let mut rendered = builtin_format::render(event);
    rendered.headers.push((FALLBACK_HEADER.0.to_owned(), FALLBACK_HEADER.1.to_owned()));
    rendered
}
