//! The one macro that turns a type into a plugin. Owns the wiring between traits and bindings; decides nothing.

/// Makes a type the plugin of this crate.
///
/// Call it once, at the top level of a crate of the type `cdylib`:
///
/// ```
/// struct Mine;
/// impl xthonpay_sdk::InvoiceRules for Mine {}
/// xthonpay_sdk::register!(invoice_rules: Mine);
/// ```
///
/// `register!(webhook_format: Mine)`, `register!(bot_flow: Mine)` and `register!(withdrawal_policy: Mine)` do the same for
/// types that implement `WebhookFormat`, `BotFlow` and `WithdrawalPolicy`. In a native build it only checks that the type implements the trait.
#[macro_export]
macro_rules! register {
    (invoice_rules: $ty:ty) => {
        $crate::__register_plugin!($ty as InvoiceRules, invoice_rules, {
            impl $crate::raw::invoice_rules::exports::xthonpay::hooks::invoice_rules::Guest for Exported {
                fn on_draft(
                    call: $crate::raw::base::xthonpay::host::types::CallInfo,
                    draft: $crate::raw::invoice_rules::exports::xthonpay::hooks::invoice_rules::Draft,
                ) -> ::core::result::Result<
                    $crate::raw::invoice_rules::exports::xthonpay::hooks::invoice_rules::DraftRuling,
                    $crate::HookError,
                > {
                    $crate::invoice_rules::call_on_draft::<$ty>(call, draft)
                }

                fn on_payment(
                    call: $crate::raw::base::xthonpay::host::types::CallInfo,
                    invoice: $crate::raw::base::xthonpay::host::types::InvoiceView,
                    transfers: ::std::vec::Vec<$crate::raw::base::xthonpay::host::types::Transfer>,
                ) -> ::core::result::Result<$crate::Advice, $crate::HookError> {
                    $crate::invoice_rules::call_on_payment::<$ty>(call, invoice, transfers)
                }
            }
        });
    };
    (webhook_format: $ty:ty) => {
        $crate::__register_plugin!($ty as WebhookFormat, webhook_format, {
            impl $crate::raw::webhook_format::exports::xthonpay::hooks::webhook_format::Guest for Exported {
                fn render(
                    call: $crate::raw::base::xthonpay::host::types::CallInfo,
                    event: $crate::Event,
                    target: ::std::string::String,
                ) -> ::core::result::Result<::core::option::Option<$crate::Message>, $crate::HookError> {
                    $crate::webhook_format::call_render::<$ty>(call, event, target)
                }
            }
        });
    };
    (bot_flow: $ty:ty) => {
        $crate::__register_plugin!($ty as BotFlow, bot_flow, {
            impl $crate::raw::bot_flow::exports::xthonpay::hooks::bot_flow::Guest for Exported {
                fn handle(
                    call: $crate::raw::base::xthonpay::host::types::CallInfo,
                    update: $crate::Update,
                    memory: ::core::option::Option<::std::vec::Vec<u8>>,
                ) -> ::core::result::Result<::std::vec::Vec<$crate::Effect>, $crate::HookError> {
                    $crate::bot_flow::call_handle::<$ty>(call, update, memory)
                }
            }
        });
    };
    (withdrawal_policy: $ty:ty) => {
        $crate::__register_plugin!($ty as WithdrawalPolicy, withdrawal_policy, {
            impl $crate::raw::withdrawal_policy::exports::xthonpay::hooks::withdrawal_policy::Guest for Exported {
                fn review(
                    call: $crate::raw::base::xthonpay::host::types::CallInfo,
                    request: $crate::raw::withdrawal_policy::exports::xthonpay::hooks::withdrawal_policy::Request,
                ) -> ::core::result::Result<$crate::Verdict, $crate::HookError> {
                    $crate::withdrawal_policy::call_review::<$ty>(call, request)
                }
            }
        });
    };
}

/// The part of `register!` that all hooks share.
#[doc(hidden)]
#[macro_export]
macro_rules! __register_plugin {
    ($ty:ty as $hook:ident, $world:ident, { $($implementation:item)* }) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Exported;

            impl $crate::raw::base::exports::xthonpay::hooks::plugin::Guest for Exported {
                fn describe() -> $crate::About {
                    <$ty as $crate::$hook>::describe($crate::About::new(
                        ::core::env!("CARGO_PKG_NAME"),
                        ::core::env!("CARGO_PKG_VERSION"),
                        ::core::env!("CARGO_PKG_DESCRIPTION"),
                    ))
                }

                fn check_config() -> ::core::result::Result<(), ::std::vec::Vec<$crate::ConfigProblem>> {
                    <$ty as $crate::$hook>::check_config()
                }
            }

            $($implementation)*

            $crate::raw::base::export!(Exported with_types_in $crate::raw::base);
            $crate::raw::$world::export!(Exported with_types_in $crate::raw::$world);
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn implements<T: $crate::$hook>() {}
            implements::<$ty>();
        };
    };
}
