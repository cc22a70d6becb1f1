//! Requests to addresses that others chose.
//!
//! [`WebhookClient`] implements the payment host's
//! [`WebhookTransport`](xthonpay_payments::port::egress::WebhookTransport). It is the only place that connects to an address
//! which a merchant wrote down, so it decides what may be reached: an address passes only when it is known to be public or
//! the operator named its network. Every spelling of a literal address and every answer of the name service is judged, and
//! the judged address is the one that is dialled.
//!
//! It does not decide when a webhook is sent, how often, or what an answer means for the delivery. It signs nothing: headers
//! and body arrive ready made.
//!
//! | module | owns |
//! |---|---|
//! | `config` | what the operator says, with defaults |
//! | `address` | which addresses of the Internet are public |
//! | `own` | which addresses are this very host's |
//! | `policy` | which URLs and which resolved addresses may be called |
//! | `lookup` | asking the name service, bounded |
//! | `resolver` | the link between the two: only judged addresses reach the connector |
//! | `client` | one request and its failures |
//! | `upstream` | requests of plugins to an upstream that the operator named |
//! | `answer` | reading an answer within bounds |

mod address;
mod answer;
mod client;
mod config;
mod lookup;
mod own;
mod policy;
mod resolver;
mod upstream;

pub use client::WebhookClient;
pub use config::{EgressConfig, EgressSetupError};
pub use lookup::{NameLookup, SystemLookup};
pub use upstream::{UpstreamClient, UpstreamConfig, UpstreamSetupError};
