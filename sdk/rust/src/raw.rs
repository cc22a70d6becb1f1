//! The bindings, as the generator makes them from `wit/`. Owns nothing by hand, and is no interface for authors:
//! its items change with the generator.
//!
//! Every capability and the `plugin` interface are generated once, in [`base`]; each hook reuses their types, so that a
//! `money` is the same type everywhere. The contract's own worlds are not used here: they all export `plugin`, and the
//! generator would make its macro once for each. `register!` joins [`base`] with one hook, which is the same world
//! again; capabilities that a plugin does not call are dropped when it is packed.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code: the bindings cross the boundary of the sandbox by raw memory, and follow their \
              generator's style"
)]

/// Every capability, and what all plugins export.
pub mod base {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package xthonpay:sdk;

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
        world: "xthonpay:sdk/base",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// The hook `bot-flow`.
pub mod bot_flow {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package xthonpay:sdk-bot-flow;

            world bot-flow {
                export xthonpay:hooks/bot-flow@0.1.0;
            }
        ",
        world: "xthonpay:sdk-bot-flow/bot-flow",
        with: { "xthonpay:host/types@0.1.0": crate::raw::base::xthonpay::host::types },
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// The hook `invoice-rules`.
pub mod invoice_rules {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package xthonpay:sdk-invoice-rules;

            world invoice-rules {
                export xthonpay:hooks/invoice-rules@0.1.0;
            }
        ",
        world: "xthonpay:sdk-invoice-rules/invoice-rules",
        with: { "xthonpay:host/types@0.1.0": crate::raw::base::xthonpay::host::types },
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// The hook `withdrawal-policy`.
pub mod withdrawal_policy {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package xthonpay:sdk-withdrawal-policy;

            world withdrawal-policy {
                export xthonpay:hooks/withdrawal-policy@0.1.0;
            }
        ",
        world: "xthonpay:sdk-withdrawal-policy/withdrawal-policy",
        with: { "xthonpay:host/types@0.1.0": crate::raw::base::xthonpay::host::types },
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}

/// The hook `webhook-format`.
pub mod webhook_format {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package xthonpay:sdk-webhook-format;

            world webhook-format {
                export xthonpay:hooks/webhook-format@0.1.0;
            }
        ",
        world: "xthonpay:sdk-webhook-format/webhook-format",
        with: { "xthonpay:host/types@0.1.0": crate::raw::base::xthonpay::host::types },
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq],
        pub_export_macro: true,
    });
}
