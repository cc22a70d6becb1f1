//! What plugins may know about a chain, from the books and, where those do not hold it, from the nodes.
//!
//! Only what concerns the calling merchant comes out. What the nodes alone say is not agreed by a quorum: it may inform a plugin,
//! and credits nothing.

use std::sync::Arc;

use async_trait::async_trait;
use xthonpay_domain::amount::{Amount, Decimals};
use xthonpay_domain::hash::TxHash;
use xthonpay_domain::id::{InvoiceId, MerchantId};
use xthonpay_domain::transfer::Transfer;

use crate::catalog::Catalog;
use crate::port::chain::ChainSource;
use crate::port::lending::chain_reader::{
    ChainReadError, ChainReader, ChainTip, Fee, InvoicePayments, MerchantTransaction,
};
use crate::port::store::{Cursor, Store, StoreError};

/// Gas of one transfer of a token to an address that has none of it yet: 51,000 to 64,000 with the usual contracts, of which
/// 21,000 are the transaction's own and 22,100 the new entry in the token's table (EIP-2929, EIP-2200).
const TOKEN_TRANSFER_GAS: u64 = 65_000;

/// Transfers of one transaction that are looked at. A transaction can hold thousands, and each costs a look into the store.
const TRANSFERS_MAX: usize = 1_000;

const NO_INVOICE: ChainReadError = ChainReadError::NotFound { what: "the merchant has no such invoice on this chain" };
const NO_TRANSACTION: ChainReadError =
    ChainReadError::NotFound { what: "no such transaction is known that concerns the merchant" };

/// Reads about one chain.
pub struct BookReader {
    /// Records.
    pub store: Arc<dyn Store>,
    /// The chain.
    pub source: Arc<dyn ChainSource>,
    /// Assets and their decimals.
    pub catalog: Arc<Catalog>,
}

impl BookReader {
    async fn cursor(&self) -> Result<Cursor, ChainReadError> {
        self.store.cursor(self.source.name()).await?.ok_or(ChainReadError::NothingYet)
    }

    fn decimals(&self, transfer: &Transfer) -> Option<Decimals> {
        self.catalog.asset(&transfer.identity.asset).map(|asset| asset.decimals)
    }

    /// The transfers to addresses of the merchant.
    async fn of_merchant(
        &self,
        merchant: &MerchantId,
        transfers: Vec<Transfer>,
    ) -> Result<Vec<(Transfer, Decimals)>, StoreError> {
        let mut own = Vec::new();
        for transfer in transfers.into_iter().take(TRANSFERS_MAX) {
            let Some(decimals) = self.decimals(&transfer) else { continue };
            let address = self.store.address(&transfer.identity.to).await?;
            if address.is_some_and(|address| address.merchant == *merchant) {
                own.push((transfer, decimals));
            }
        }
        Ok(own)
    }
}

#[async_trait]
impl ChainReader for BookReader {
    async fn tip(&self) -> Result<ChainTip, ChainReadError> {
        let cursor = self.cursor().await?;
        Ok(ChainTip { tip: cursor.tip, finalized: cursor.finalized })
    }

    async fn payments(&self, merchant: &MerchantId, invoice: &InvoiceId) -> Result<InvoicePayments, ChainReadError> {
        let invoice = self.store.invoice(invoice).await?.filter(|invoice| invoice.merchant == *merchant);
        let invoice = invoice.filter(|invoice| invoice.terms.asset.chain == *self.source.name()).ok_or(NO_INVOICE)?;
        let asset = self.catalog.asset(&invoice.terms.asset).ok_or(NO_INVOICE)?;
        let (asset, decimals) = (asset.id.clone(), asset.decimals);
        let deposits = self.store.deposits_of_invoice(&invoice.id).await?;
        Ok(InvoicePayments { asset, decimals, deposits, tip: self.cursor().await?.tip })
    }

    async fn transaction(&self, merchant: &MerchantId, tx: TxHash) -> Result<MerchantTransaction, ChainReadError> {
        let cursor = self.cursor().await?;
        let found = self.source.transfers_of(tx).await?.ok_or(NO_TRANSACTION)?;
        let transfers = self.of_merchant(merchant, found.transfers).await?;
        if transfers.is_empty() {
            return Err(NO_TRANSACTION);
        }
        let is_final = found.block.number <= cursor.finalized.number;
        Ok(MerchantTransaction { block: found.block, is_final, tip: cursor.tip, transfers })
    }

    async fn fee(&self) -> Result<Fee, ChainReadError> {
        let coin = self.catalog.native(self.source.name());
        let coin = coin
            .ok_or(ChainReadError::NotFound { what: "the chain's own coin is not among the assets of the config" })?;
        let per_gas = self.source.gas_price().await?;
        // More than 2^256 cannot be asked for: it is the most that there is.
        let token_transfer = per_gas.times(TOKEN_TRANSFER_GAS).unwrap_or(Amount::MAX);
        Ok(Fee { asset: coin.id.clone(), decimals: coin.decimals, per_gas, token_transfer })
    }
}
