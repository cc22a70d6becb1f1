//! What is common to the administrative commands: how they are refused.

use thiserror::Error;
use xthonpay_domain::access::UnknownWord;
use xthonpay_domain::address::AddressError;
use xthonpay_domain::amount::AmountError;
use xthonpay_domain::hash::HexError;
use xthonpay_domain::id::{IdError, MerchantId};
use xthonpay_domain::text::{ChainName, TextError};
use xthonpay_payments::audit::AuditError;
use xthonpay_payments::keys::KeyError;
use xthonpay_payments::merchants::MerchantError;
use xthonpay_payments::port::store::StoreError;
use xthonpay_payments::scanning::freeze::FreezeError;
use xthonpay_payments::scanning::rescan::RescanError;
use xthonpay_plugin_runtime::ReloadError;

use crate::config::ConfigError;
use crate::kept_plugins::KeptError;
use crate::switches::SwitchesError;

/// A command that was refused.
#[derive(Debug, Error)]
pub enum AdminError {
    /// A name or label that cannot be.
    #[error("{what}: {error}")]
    Text {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        error: TextError,
    },
    /// A merchant id that is none.
    #[error("merchant: {0}")]
    MerchantId(#[from] IdError),
    /// A deposit id that is none.
    #[error("after: {0}")]
    DepositId(IdError),
    /// A scope or signature scheme that does not exist.
    #[error(transparent)]
    Word(#[from] UnknownWord),
    /// A network that is none.
    #[error("`{0}` is not a network: write it as CIDR, such as 203.0.113.7/32")]
    Network(String),
    /// An address of an address book that is none.
    #[error("withdrawal address `{text}`: {error}")]
    WithdrawAddress {
        /// What was written.
        text: String,
        /// What is wrong with it.
        error: AddressError,
    },
    /// A daily cap that is none.
    #[error("daily cap `{text}`: {reason}; write AMOUNT, SYMBOL=AMOUNT or CHAIN:SYMBOL=AMOUNT, such as bsc:USDT=100")]
    Cap {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A span of time that is none.
    #[error("{what}: {reason}")]
    Duration {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such merchant.
    #[error("there is no merchant {0}")]
    UnknownMerchant(MerchantId),
    /// No merchant was made.
    #[error(transparent)]
    Merchant(#[from] MerchantError),
    /// No key was made or changed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A hash that is none.
    #[error("{what}: {error}")]
    Hash {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        error: HexError,
    },
    /// An address that is none.
    #[error("address: {0}")]
    Address(#[from] AddressError),
    /// A run of blocks that ends before it begins.
    #[error("block {from} lies above block {to}")]
    Range {
        /// The lowest.
        from: u64,
        /// The highest.
        to: u64,
    },
    /// A chain that is not in the config.
    #[error("no chain is called {0}")]
    UnknownChain(ChainName),
    /// A plugin that is not in the config.
    #[error("there is no table [plugins.{0}] in the config: add it, or correct the name")]
    UnknownPlugin(String),
    /// A plugin was not exchanged.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// What is switched off was not kept.
    #[error(transparent)]
    Switches(SwitchesError),
    /// The kept versions of plugins.
    #[error(transparent)]
    KeptPlugins(KeptError),
    /// No version of a plugin served before.
    #[error(
        "no other version of the plugin `{0}` is kept: put the old file in its place and `xthonpay plugins reload {0}`"
    )]
    NothingBefore(String),
    /// The config cannot be read anew.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A chain was not frozen or resumed.
    #[error(transparent)]
    Freeze(#[from] FreezeError),
    /// A rescan was not made.
    #[error(transparent)]
    Rescan(#[from] RescanError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An amount that is none.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The audit could not be carried out.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// One audit at a time.
    #[error("an audit is running already")]
    AuditRunning,
    /// The host stops and gives up what takes long.
    #[error("the host is stopping")]
    Stopping,
}

impl AdminError {
    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Text { .. }
            | Self::MerchantId(_)
            | Self::DepositId(_)
            | Self::Word(_)
            | Self::Network(_)
            | Self::WithdrawAddress { .. }
            | Self::Cap { .. }
            | Self::Duration { .. }
            | Self::UnknownMerchant(_)
            | Self::Hash { .. }
            | Self::Address(_)
            | Self::Range { .. }
            | Self::UnknownChain(_)
            | Self::UnknownPlugin(_)
            | Self::NothingBefore(_)
            | Self::Amount(_) => false,
            Self::Freeze(error) => error.is_transient(),
            Self::Reload(error) => error.is_transient(),
            Self::Switches(error) => error.is_transient(),
            Self::KeptPlugins(error) => error.is_transient(),
            Self::Config(error) => error.is_transient(),
            Self::Rescan(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Merchant(error) => error.is_transient(),
            Self::Key(error) => error.is_transient(),
            Self::Audit(error) => error.is_transient(),
            Self::AuditRunning | Self::Stopping => true,
        }
    }
}

/// The chain that an operator names.
///
/// # Errors
/// [`AdminError::Text`] for a name that is none.
pub fn chain_name(text: &str) -> Result<ChainName, AdminError> {
    text.parse().map_err(|error| AdminError::Text { what: "chain", error })
}
