//! What happens when a plugin fails: the operator's choice per function of a hook, and the defaults.

use serde::Deserialize;
use xthonpay_payments::port::hooks::OnFailure;

use crate::fault::{Problem, plugin_key};
use crate::hook::Hook;

/// The table `[plugins.<name>.on_failure]`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct OnFailureConfig {
    /// For `on-draft` of `invoice-rules`; the built-in rules by default.
    pub on_draft: Option<DraftFailurePolicy>,
    /// For `on-payment` of `invoice-rules`; asking again by default.
    pub on_payment: Option<PaymentFailurePolicy>,
    /// For `render` of `webhook-format`; the built-in body by default.
    pub render: Option<RenderFailurePolicy>,
    /// For `handle` of `bot-flow`; the fixed reply by default.
    pub handle: Option<HandleFailurePolicy>,
}

/// What to do when rules fail on a draft. Going on without any rule is not offered.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum DraftFailurePolicy {
    /// Open the invoice on the terms so far.
    Builtin,
    /// Open no invoice; the merchant may try again.
    Closed,
}

/// What to do when rules fail on a payment. The merchant is credited either way.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum PaymentFailurePolicy {
    /// Ask again later, and the merchant at last.
    Hold,
    /// Settle what came in time, let the merchant look at what came late.
    Builtin,
}

/// What to do when a format fails.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum RenderFailurePolicy {
    /// Send the built-in body.
    Builtin,
    /// Send nothing yet: try again later.
    Hold,
}

/// What to do when a bot's flow fails.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum HandleFailurePolicy {
    /// Send a short fixed text.
    Reply,
    /// Send nothing.
    Silent,
}

/// The policies of one plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policies {
    pub(crate) on_draft: OnFailure,
    pub(crate) on_payment: OnFailure,
    pub(crate) render: OnFailure,
    pub(crate) handle: OnFailure,
}

impl From<OnFailureConfig> for Policies {
    fn from(config: OnFailureConfig) -> Self {
        Self {
            on_draft: match config.on_draft {
                None | Some(DraftFailurePolicy::Builtin) => OnFailure::Builtin,
                Some(DraftFailurePolicy::Closed) => OnFailure::Closed,
            },
            on_payment: match config.on_payment {
                None | Some(PaymentFailurePolicy::Hold) => OnFailure::Hold,
                Some(PaymentFailurePolicy::Builtin) => OnFailure::Builtin,
            },
            render: match config.render {
                None | Some(RenderFailurePolicy::Builtin) => OnFailure::Builtin,
                Some(RenderFailurePolicy::Hold) => OnFailure::Hold,
            },
            handle: match config.handle {
                None | Some(HandleFailurePolicy::Reply) => OnFailure::Builtin,
                Some(HandleFailurePolicy::Silent) => OnFailure::Silent,
            },
        }
    }
}

/// Notes policies for functions that the hook does not have: most likely the operator thought of another plugin.
pub(crate) fn check(plugin: &str, hook: Hook, config: &OnFailureConfig, problems: &mut Vec<Problem>) {
    let set = [
        ("on-draft", Hook::InvoiceRules, config.on_draft.is_some()),
        ("on-payment", Hook::InvoiceRules, config.on_payment.is_some()),
        ("render", Hook::WebhookFormat, config.render.is_some()),
        ("handle", Hook::BotFlow, config.handle.is_some()),
    ];
    for (function, owner, _) in set.into_iter().filter(|(_, owner, is_set)| *is_set && *owner != hook) {
        let key = plugin_key(plugin, &format!("on_failure.{function}"));
        problems.push(Problem { key, message: format!("belongs to {owner}, and the plugin serves {hook}: remove it") });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sales_go_on_and_payments_wait_unless_the_operator_says_otherwise() {
        let by_default = Policies::from(OnFailureConfig::default());
        let (draft, payment, render) = (OnFailure::Builtin, OnFailure::Hold, OnFailure::Builtin);
        let handle = OnFailure::Builtin;
        assert_eq!(by_default, Policies { on_draft: draft, on_payment: payment, render, handle });

        let text = "on-draft = 'closed'\non-payment = 'builtin'\nrender = 'hold'\nhandle = 'silent'";
        let set = Policies::from(toml::from_str::<OnFailureConfig>(text).expect("known words"));
        let (draft, payment, render) = (OnFailure::Closed, OnFailure::Builtin, OnFailure::Hold);
        let handle = OnFailure::Silent;
        assert_eq!(set, Policies { on_draft: draft, on_payment: payment, render, handle });
    }

    #[test]
    fn notes_a_policy_of_another_hook() {
        let config = OnFailureConfig { on_draft: Some(DraftFailurePolicy::Closed), ..OnFailureConfig::default() };
        let mut problems = Vec::new();
        check("mine", Hook::InvoiceRules, &config, &mut problems);
        assert_eq!(problems, []);
        check("mine", Hook::WebhookFormat, &config, &mut problems);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "plugins.mine.on_failure.on-draft");
    }
}
