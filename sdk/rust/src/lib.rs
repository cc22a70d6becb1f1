#![doc = include_str!("../README.md")]
//!
//! # In this crate
//!
//! Traits with a default for every method ([`InvoiceRules`], [`WebhookFormat`], [`BotFlow`], [`WithdrawalPolicy`]), the macro [`register!`], exact
//! amounts ([`Decimal`], [`Money`]), the capabilities ([`config`], [`log`], [`clock`], [`rates`], [`storage`], [`http`], [`chain`], [`signing`]) and a bench for native tests
//! (`testbench`). It depends on `wit/` alone: it knows nothing of the host's code, holds no secret, and starts
//! nothing by itself.

pub mod chain;
pub mod clock;
pub mod config;
pub mod http;
pub mod log;
pub mod rates;
pub mod signing;
pub mod storage;
#[cfg(not(target_arch = "wasm32"))]
pub mod testbench;
pub mod text;

mod backend;
#[doc(hidden)]
pub mod bot_flow;
mod decimal;
mod error;
#[doc(hidden)]
pub mod invoice_rules;
#[cfg(all(feature = "allocator", target_arch = "wasm32"))]
mod memory;
mod money;
mod plugin;
#[doc(hidden)]
pub mod raw;
mod register;
#[doc(hidden)]
pub mod webhook_format;
#[doc(hidden)]
pub mod withdrawal_policy;

pub use bot_flow::{
    Action, AskSecret, BotFlow, Button, Command, Edit, Effect, Happening, Notice, OtherEffect, Outcome, Press, Reply,
    Update, Wake,
};
pub use decimal::{Decimal, DecimalError, FRACTION_DIGITS_MAX, WHOLE_DIGITS_MAX};
pub use error::{Detail, HookError, HostError};
pub use invoice_rules::{Advice, Draft, DraftRuling, Invoice, InvoiceRules, InvoiceState, Refusal, Terms, Transfer};
pub use money::Money;
pub use plugin::{About, Attrs, Call, ConfigProblem, Millis, attr};
pub use webhook_format::{Event, Message, WebhookFormat};
pub use withdrawal_policy::{Ruling, Verdict, WithdrawalPolicy, WithdrawalRequest};
