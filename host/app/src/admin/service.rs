//! What the administrative commands do.

use thiserror::Error;
use xthonpay_domain::access::{Mode, UnknownWord};
use xthonpay_domain::address::AddressError;
use xthonpay_domain::amount::AmountError;
use xthonpay_domain::hash::HexError;
use xthonpay_domain::id::IdError;
use xthonpay_domain::text::{ChainName, TextError};
use xthonpay_payments::audit::AuditError;
use xthonpay_payments::merchants::{KeyRequest, MerchantError, Merchants};
use xthonpay_payments::port::store::StoreError;
use xthonpay_payments::scanning::freeze::FreezeError;
use xthonpay_payments::scanning::rescan::RescanError;
use xthonpay_payments::snapshot::rfc3339;

use super::protocol::{CreateKey, CreateMerchant, KeyCreated, MerchantCreated};

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
    /// The use case refused.
    #[error(transparent)]
    Merchant(#[from] MerchantError),
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
            | Self::Hash { .. }
            | Self::Address(_)
            | Self::Range { .. }
            | Self::UnknownChain(_)
            | Self::Amount(_) => false,
            Self::Freeze(error) => error.is_transient(),
            Self::Rescan(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Merchant(error) => error.is_transient(),
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

/// Makes a merchant.
///
/// # Errors
/// [`AdminError`].
pub async fn create_merchant(merchants: &Merchants, asked: CreateMerchant) -> Result<MerchantCreated, AdminError> {
    let name = asked.name.parse().map_err(|error| AdminError::Text { what: "name", error })?;
    let made = merchants.create(name).await?;
    Ok(MerchantCreated {
        merchant_id: made.merchant.id.to_string(),
        name: made.merchant.name.to_string(),
        deposit_address: made.deposit_address.address.to_string(),
        webhook_secret: made.webhook_secret.to_string(),
        created_at: rfc3339(made.merchant.created_at),
    })
}

/// Makes a key.
///
/// # Errors
/// [`AdminError`].
pub async fn create_key(merchants: &Merchants, asked: CreateKey) -> Result<KeyCreated, AdminError> {
    let network = |text: &String| text.parse().map_err(|_| AdminError::Network(text.clone()));
    let request = KeyRequest {
        merchant: asked.merchant.parse()?,
        label: asked.label.parse().map_err(|error| AdminError::Text { what: "label", error })?,
        scopes: asked.scopes.iter().map(|word| word.parse()).collect::<Result<_, _>>()?,
        scheme: asked.signature.parse()?,
        mode: Mode::Live,
        ip_list: asked.ip.iter().map(network).collect::<Result<_, _>>()?,
    };
    let made = merchants.create_key(request).await?;
    Ok(KeyCreated {
        key_id: made.key.id.to_string(),
        secret: made.secret.to_string(),
        merchant_id: made.key.merchant.to_string(),
        scopes: made.key.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        signature: made.key.scheme.name().to_owned(),
        ip: made.key.ip_list.iter().map(ToString::to_string).collect(),
    })
}
