//! What a test does to a chain: deploy, pay, mine, reorganise, look.
//!
//! Transactions are sent without waiting for a block; [`TestChain::wait_receipt`] waits. Gas is always given, so that a
//! transaction that must fail is mined and fails there instead of being refused.

mod blocks;
mod payments;

use alloy_primitives::U256;
use serde_json::{Value, json};
use xthonpay_domain::address::Address;
use xthonpay_domain::hash::TxHash;

pub use self::blocks::Receipt;
use super::call_data::{Argument, Word, encode};
use super::contracts;
use super::rpc::{BoxError, Rpc};

/// More than any single call here needs.
const GAS_CALL: u64 = 500_000;
const GAS_DEPLOY: u64 = 3_000_000;

/// What the payer holds of a new token, in whole tokens.
const PAYER_TOKENS: u64 = 1_000_000_000;

/// A chain under a test's control.
#[derive(Debug)]
pub struct TestChain {
    rpc: Rpc,
    accounts: Vec<Address>,
}

impl TestChain {
    /// The chain of the anvil node at `url`.
    ///
    /// # Errors
    /// When the node does not answer or has no unlocked accounts.
    pub async fn connect(url: &str) -> Result<Self, BoxError> {
        let rpc = Rpc::new(url)?;
        let texts: Vec<String> = serde_json::from_value(rpc.call("eth_accounts", json!([])).await?)?;
        let accounts = texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
        if accounts.is_empty() {
            return Err("the node has no unlocked accounts".into());
        }
        Ok(Self { rpc, accounts })
    }

    /// The raw connection, for what has no method here.
    #[must_use]
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// The unlocked accounts; each holds 10,000 coins.
    #[must_use]
    pub fn accounts(&self) -> &[Address] {
        &self.accounts
    }

    /// The account that sends every payment: the first.
    #[must_use]
    pub fn payer(&self) -> Address {
        self.accounts.first().copied().unwrap_or(Address::ZERO)
    }

    /// Deploys a token and mints 1,000,000,000 whole tokens to the payer. Waits for its blocks; with manual mining, mines.
    ///
    /// # Errors
    /// When a transaction is refused or fails.
    pub async fn deploy_usdt(&self, name: &str, symbol: &str, decimals: u8) -> Result<Address, BoxError> {
        let mut code = contracts::test_usdt_code()?;
        let decimals_word = Word::from(u64::from(decimals));
        let (name, symbol) = (Argument::Text(name.to_owned()), Argument::Text(symbol.to_owned()));
        code.extend(encode(&[name, symbol, Argument::Fixed(decimals_word)]));
        let token = self.deploy(code).await?;
        let unit = U256::from(10u8).checked_pow(U256::from(decimals)).ok_or("too many decimals")?;
        let supply = unit.checked_mul(U256::from(PAYER_TOKENS)).ok_or("too many decimals")?;
        let minted = self.mint(token, self.payer(), supply).await?;
        self.settle(minted).await?;
        Ok(token)
    }

    /// Deploys the contract that pays many recipients at once. Waits for its block; with manual mining, mines.
    ///
    /// # Errors
    /// When the transaction is refused or fails.
    pub async fn deploy_disperse(&self) -> Result<Address, BoxError> {
        self.deploy(contracts::disperse_code()?).await
    }

    /// Puts code at an address; no transaction shows it.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn set_code(&self, address: Address, code: &[u8]) -> Result<(), BoxError> {
        let params = json!([address.to_lower_hex(), format!("0x{}", hex::encode(code))]);
        self.rpc.call("anvil_setCode", params).await.map(drop)
    }

    /// Makes every payment of coins to an address fail from now on.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn reject_payments(&self, address: Address) -> Result<(), BoxError> {
        self.set_code(address, &contracts::rejecter_code()?).await
    }

    async fn deploy(&self, code: Vec<u8>) -> Result<Address, BoxError> {
        let tx = self.send(json!({"data": data_text(&code), "gas": quantity(GAS_DEPLOY)})).await?;
        let receipt = self.settle(tx).await?;
        Ok(receipt.created.ok_or("the transaction created no contract")?)
    }

    /// Waits for a block with the transaction; mines one when nothing else does.
    async fn settle(&self, tx: TxHash) -> Result<Receipt, BoxError> {
        let mining = self.rpc.call("anvil_getIntervalMining", json!([])).await?;
        if mining.is_null() && self.receipt(tx).await?.is_none() {
            self.mine(1).await?;
        }
        let receipt = self.wait_receipt(tx).await?;
        if receipt.succeeded { Ok(receipt) } else { Err(format!("{tx} failed").into()) }
    }
}

fn quantity(number: u64) -> String {
    format!("{number:#x}")
}

fn data_text(data: &[u8]) -> String {
    format!("0x{}", hex::encode(data))
}

fn text(value: &Value) -> Result<&str, BoxError> {
    value.as_str().ok_or_else(|| format!("not a text: {value}").into())
}
