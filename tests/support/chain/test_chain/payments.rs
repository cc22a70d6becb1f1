//! Money: mints, transfers and many payments in one transaction.

use alloy_primitives::U256;
use serde_json::{Value, json};
use xthonpay_domain::address::Address;
use xthonpay_domain::hash::TxHash;

use super::{GAS_CALL, TestChain, data_text, quantity, text};
use crate::chain::call_data::{Argument, Word, call};
use crate::chain::rpc::BoxError;

/// The most that a transaction may have is 16,777,216.
const GAS_MAX: u64 = 16_000_000;
/// A new token balance costs about 30,000, coins for a new account about 34,000.
const GAS_PER_RECIPIENT: u64 = 60_000;
/// A plain payment to an account costs 21,000; a contract at the address may need more.
const GAS_PAYMENT: u64 = 100_000;

impl TestChain {
    /// Creates tokens out of nothing for `to`.
    ///
    /// # Errors
    /// When the node refuses the transaction.
    pub async fn mint(&self, token: Address, to: Address, amount: impl Into<Word>) -> Result<TxHash, BoxError> {
        let arguments = [Argument::Fixed(to.into()), Argument::Fixed(amount.into())];
        self.send_call(token, &call("mint(address,uint256)", &arguments), GAS_CALL).await
    }

    /// Sends tokens from the payer. More than it holds makes the transaction fail, not the call.
    ///
    /// # Errors
    /// When the node refuses the transaction.
    pub async fn transfer_token(
        &self,
        token: Address,
        to: Address,
        amount: impl Into<Word>,
    ) -> Result<TxHash, BoxError> {
        let arguments = [Argument::Fixed(to.into()), Argument::Fixed(amount.into())];
        self.send_call(token, &call("transfer(address,uint256)", &arguments), GAS_CALL).await
    }

    /// Sends coins from the payer as the value of a plain transaction.
    ///
    /// # Errors
    /// When the node refuses the transaction.
    pub async fn transfer_native(&self, to: Address, amount: impl Into<Word>) -> Result<TxHash, BoxError> {
        let value = amount.into().to_quantity();
        self.send(json!({"to": to.to_lower_hex(), "value": value, "gas": quantity(GAS_PAYMENT)})).await
    }

    /// Sends tokens from the payer to many recipients in one transaction; approves the contract in another one before it.
    /// The hash is that of the payment.
    ///
    /// # Errors
    /// When the node refuses a transaction.
    pub async fn disperse_token(
        &self,
        disperse: Address,
        token: Address,
        payments: &[(Address, Word)],
    ) -> Result<TxHash, BoxError> {
        let arguments = [Argument::Fixed(disperse.into()), Argument::Fixed(Word([0xff; 32]))];
        self.send_call(token, &call("approve(address,uint256)", &arguments), GAS_CALL).await?;
        let (recipients, amounts) = lists(payments);
        let arguments = [Argument::Fixed(token.into()), recipients, amounts];
        let data = call("disperseToken(address,address[],uint256[])", &arguments);
        self.send_call(disperse, &data, gas_for(payments)).await
    }

    /// Sends coins from the payer to many recipients by internal calls of one transaction: no log and no top-level value
    /// shows who received what.
    ///
    /// # Errors
    /// When the node refuses the transaction.
    pub async fn disperse_native(&self, disperse: Address, payments: &[(Address, Word)]) -> Result<TxHash, BoxError> {
        let numbers = payments.iter().map(|(_, amount)| U256::from_be_bytes(amount.0));
        let sum = numbers.fold(U256::ZERO, U256::saturating_add);
        let (recipients, amounts) = lists(payments);
        let data = call("disperseNative(address[],uint256[])", &[recipients, amounts]);
        let (gas, value) = (quantity(gas_for(payments)), Word::from(sum).to_quantity());
        self.send(json!({"to": disperse.to_lower_hex(), "value": value, "gas": gas, "data": data_text(&data)})).await
    }

    /// Sends any transaction; `from` is the payer unless it is given.
    ///
    /// # Errors
    /// When the node refuses it.
    pub async fn send(&self, mut transaction: Value) -> Result<TxHash, BoxError> {
        if transaction.get("from").is_none() {
            transaction["from"] = json!(self.payer().to_lower_hex());
        }
        let hash = self.rpc.call("eth_sendTransaction", json!([transaction])).await?;
        Ok(text(&hash)?.parse()?)
    }

    /// The signed bytes of a known transaction as `0x` text, for sending it again or for [`Self::reorg_with`].
    ///
    /// # Errors
    /// When the node does not know it.
    pub async fn raw_transaction(&self, tx: TxHash) -> Result<String, BoxError> {
        let raw = self.rpc.call("eth_getRawTransactionByHash", json!([tx.to_string()])).await?;
        Ok(text(&raw)?.to_owned())
    }

    /// The coins of an account in the newest block.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn balance(&self, account: Address) -> Result<U256, BoxError> {
        let balance = self.rpc.call("eth_getBalance", json!([account.to_lower_hex(), "latest"])).await?;
        Ok(text(&balance)?.parse()?)
    }

    /// The tokens of an account in the newest block.
    ///
    /// # Errors
    /// When the node does not answer or there is no such token.
    pub async fn token_balance(&self, token: Address, account: Address) -> Result<U256, BoxError> {
        let data = data_text(&call("balanceOf(address)", &[Argument::Fixed(account.into())]));
        let balance = self.rpc.call("eth_call", json!([{"to": token.to_lower_hex(), "data": data}, "latest"])).await?;
        Ok(text(&balance)?.parse()?)
    }

    async fn send_call(&self, to: Address, data: &[u8], gas: u64) -> Result<TxHash, BoxError> {
        self.send(json!({"to": to.to_lower_hex(), "data": data_text(data), "gas": quantity(gas)})).await
    }
}

fn lists(payments: &[(Address, Word)]) -> (Argument, Argument) {
    let recipients = payments.iter().map(|(to, _)| Word::from(*to)).collect();
    let amounts = payments.iter().map(|(_, amount)| *amount).collect();
    (Argument::List(recipients), Argument::List(amounts))
}

fn gas_for(payments: &[(Address, Word)]) -> u64 {
    let recipients = u64::try_from(payments.len()).unwrap_or(u64::MAX);
    recipients.saturating_mul(GAS_PER_RECIPIENT).saturating_add(GAS_CALL).min(GAS_MAX)
}
