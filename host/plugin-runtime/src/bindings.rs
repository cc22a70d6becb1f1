//! The bindings, as the generator makes them from `wit/`. Owns nothing by hand.
//!
//! The capabilities and the `plugin` interface are generated once, in [`base`]; each hook is a world of its own that reuses
//! their types. The contract's worlds are not used as they stand: each would bring its own copy of the shared types.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code follows its generator's style"
)]

/// The served capabilities, and what all plugins export.
pub(crate) mod base {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package xthonpay:runtime;

            world base {
                import xthonpay:host/log@0.1.0;
                import xthonpay:host/clock@0.1.0;
                import xthonpay:host/config@0.1.0;
                import xthonpay:host/rates@0.1.0;
                import xthonpay:host/storage@0.1.0;
                import xthonpay:host/http@0.1.0;
                import xthonpay:host/chain@0.1.0;
                import xthonpay:host/signing@0.1.0;
                export xthonpay:hooks/plugin@0.1.0;
            }
        ",
        world: "xthonpay:runtime/base",
        imports: {
            "xthonpay:host/rates": async | trappable,
            "xthonpay:host/storage": async | trappable,
            "xthonpay:host/http": async | trappable,
            "xthonpay:host/chain": async | trappable,
            "xthonpay:host/signing": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        additional_derives: [serde::Serialize, serde::Deserialize],
        trappable_error_type: { "xthonpay:host/types.host-error" => crate::capability::refusal::Refusal },
        with: {
            "xthonpay:host/storage.space": crate::capability::storage::OpenSpace,
            "xthonpay:host/http.endpoint": crate::capability::http::OpenUpstream,
            "xthonpay:host/chain.network": crate::capability::chain::OpenChain,
            "xthonpay:host/signing.signer": crate::capability::signing::OpenSigner,
        },
    });
}

/// The hook `bot-flow`.
pub(crate) mod bot_flow {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package xthonpay:runtime-bot-flow;

            world bot-flow-hook {
                export xthonpay:hooks/bot-flow@0.1.0;
            }
        ",
        world: "xthonpay:runtime-bot-flow/bot-flow-hook",
        with: { "xthonpay:host/types@0.1.0": super::base::xthonpay::host::types },
        exports: { default: async },
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

/// The hook `invoice-rules`.
pub(crate) mod invoice_rules {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package xthonpay:runtime-invoice-rules;

            world invoice-rules-hook {
                export xthonpay:hooks/invoice-rules@0.1.0;
            }
        ",
        world: "xthonpay:runtime-invoice-rules/invoice-rules-hook",
        with: { "xthonpay:host/types@0.1.0": super::base::xthonpay::host::types },
        exports: { default: async },
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

/// The hook `withdrawal-policy`.
pub(crate) mod withdrawal_policy {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package xthonpay:runtime-withdrawal-policy;

            world withdrawal-policy-hook {
                export xthonpay:hooks/withdrawal-policy@0.1.0;
            }
        ",
        world: "xthonpay:runtime-withdrawal-policy/withdrawal-policy-hook",
        with: { "xthonpay:host/types@0.1.0": super::base::xthonpay::host::types },
        exports: { default: async },
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}

/// The hook `webhook-format`.
pub(crate) mod webhook_format {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package xthonpay:runtime-webhook-format;

            world webhook-format-hook {
                export xthonpay:hooks/webhook-format@0.1.0;
            }
        ",
        world: "xthonpay:runtime-webhook-format/webhook-format-hook",
        with: { "xthonpay:host/types@0.1.0": super::base::xthonpay::host::types },
        exports: { default: async },
        additional_derives: [serde::Serialize, serde::Deserialize],
    });
}
