//! Blocks: the remembered ones, and the form in which a block stands in other rows.

use surrealdb::types::{RecordId, SurrealValue};
use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::text::ChainName;

use super::{Record, RowError, key_parts, parse, text_part};
use crate::table::{Table, text};
use crate::whole::Whole;

/// A processed block of a chain.
pub(crate) struct ProcessedBlock {
    pub(crate) chain: ChainName,
    pub(crate) block: BlockRef,
}

/// A block as a part of a row.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct BlockPart {
    number: Whole,
    hash: String,
    parent: String,
    time: Whole,
}

/// A processed block as it is stored.
#[derive(SurrealValue)]
#[surreal(crate = "surrealdb::types")]
pub(crate) struct BlockRow {
    id: RecordId,
    block: BlockPart,
}

/// The record of the block at a height.
pub(crate) fn id(chain: &ChainName, number: BlockNumber) -> RecordId {
    Table::Block.composite(vec![text(chain.as_str()), Whole(number.0).into_value()])
}

impl From<&BlockRef> for BlockPart {
    fn from(block: &BlockRef) -> Self {
        Self {
            number: Whole(block.number.0),
            hash: block.hash.to_string(),
            parent: block.parent.to_string(),
            time: block.time.into(),
        }
    }
}

impl BlockPart {
    /// The block.
    pub(crate) fn read(&self) -> Result<BlockRef, RowError> {
        Ok(BlockRef {
            number: BlockNumber(self.number.0),
            hash: parse("hash", &self.hash)?,
            parent: parse("parent", &self.parent)?,
            time: self.time.into(),
        })
    }
}

impl Record for ProcessedBlock {
    const TABLE: Table = Table::Block;
    type Row = BlockRow;

    fn to_row(&self) -> BlockRow {
        BlockRow { id: id(&self.chain, self.block.number), block: (&self.block).into() }
    }

    fn from_row(row: BlockRow) -> Result<Self, RowError> {
        let [chain, number] = key_parts(&row.id)?;
        let block = row.block.read()?;
        if Whole(block.number.0).into_value() != number {
            return Err(RowError::Contradiction("its key names another height"));
        }
        Ok(Self { chain: text_part(&chain)?, block })
    }
}
