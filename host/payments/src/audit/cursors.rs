//! I8: the processed blocks are linked to each other, and what we call final is the chain's.

use xthonpay_domain::block::{BlockNumber, BlockRef};
use xthonpay_domain::text::ChainName;

use super::report::{Findings, Invariant, count};
use super::{Audit, AuditError, Chain};
use crate::port::store::{Cursor, StoreError};

/// Stored blocks that are looked at below the tip: all that a scanner keeps and some.
const BLOCKS_MAX: u64 = 3_000;
/// How often the unfinal blocks are read again while a scanner takes some back.
const ROUNDS_MAX: usize = 5;

/// Why two stored blocks of neighbouring heights are not linked.
fn unlinked(upper: &BlockRef, lower: &BlockRef) -> Option<String> {
    let broken = upper.parent != lower.hash;
    broken.then(|| format!("its parent is {} and block {} is stored as {}", upper.parent, lower.number, lower.hash))
}

impl Audit {
    /// Checks a chain's cursor and the blocks below it.
    pub(super) async fn cursor(&self, chain: &Chain<'_>, findings: &mut Findings) -> Result<(), AuditError> {
        let Cursor { chain: name, tip, finalized, .. } = &chain.cursor;
        if finalized.number > tip.number {
            let detail =
                format!("block {} is final above the tip {}; resume from a backup", finalized.number, tip.number);
            findings.breach(Invariant::Cursor, None, format!("chain {name}"), detail);
        }
        if let Some((subject, detail)) = self.links(name, findings).await? {
            findings.breach(Invariant::Cursor, None, subject, format!("{detail}; freeze the chain and rescan"));
        }
        match chain.source.final_block(finalized.number).await? {
            Some(agreed) if agreed.hash == finalized.hash => {}
            Some(agreed) => {
                let detail = format!(
                    "it is final here as {} and on the chain as {}; freeze the chain and find out which deposits are gone",
                    finalized.hash, agreed.hash
                );
                findings.breach(Invariant::Cursor, None, format!("block {} of {name}", finalized.number), detail);
            }
            None => {
                let what = format!("I8: the nodes do not agree on block {} of {name} yet", finalized.number);
                findings.omit(what, true);
            }
        }
        Ok(())
    }

    /// The first place at which the stored blocks are not linked. Blocks above the final one can be taken back meanwhile; then
    /// the cursor has moved, and they are looked at again.
    async fn links(&self, chain: &ChainName, findings: &mut Findings) -> Result<Option<(String, String)>, StoreError> {
        for _ in 0..ROUNDS_MAX {
            let Some(before) = self.store.cursor(chain).await? else { return Ok(None) };
            let broken = self.broken_link(&before, findings).await?;
            let moved = self.store.cursor(chain).await?.is_none_or(|now| now.revision != before.revision);
            if broken.is_none() || !moved {
                return Ok(broken);
            }
        }
        findings.omit(format!("I8: the tip of {chain} kept moving; audit again"), true);
        Ok(None)
    }

    async fn broken_link(
        &self,
        cursor: &Cursor,
        findings: &mut Findings,
    ) -> Result<Option<(String, String)>, StoreError> {
        let subject = |block: &BlockRef| format!("block {} of {}", block.number, cursor.chain);
        let lowest = cursor.tip.number.0.saturating_sub(BLOCKS_MAX);
        let mut upper: Option<BlockRef> = None;
        for number in (lowest..=cursor.tip.number.0).rev() {
            let stored = self.store.block(&cursor.chain, BlockNumber(number)).await?;
            let Some(stored) = stored else {
                // Below what is kept, or inside a run that was caught up with at once.
                upper = None;
                continue;
            };
            count(&mut findings.checked.blocks);
            for marked in [&cursor.tip, &cursor.finalized] {
                if marked.number == stored.number && marked.hash != stored.hash {
                    let detail = format!("the cursor has it as {} and it is stored as {}", marked.hash, stored.hash);
                    return Ok(Some((subject(marked), detail)));
                }
            }
            if let Some(upper) = &upper
                && let Some(detail) = unlinked(upper, &stored)
            {
                return Ok(Some((subject(upper), detail)));
            }
            upper = Some(stored);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::hash::BlockHash;
    use xthonpay_domain::time::Timestamp;

    use super::*;

    #[test]
    fn a_block_links_to_the_one_below_by_its_hash() {
        let block = |number, hash, parent| BlockRef {
            number: BlockNumber(number),
            hash: BlockHash::new([hash; 32]),
            parent: BlockHash::new([parent; 32]),
            time: Timestamp::EPOCH,
        };
        assert_eq!(unlinked(&block(5, 5, 4), &block(4, 4, 3)), None);
        assert!(unlinked(&block(5, 5, 9), &block(4, 4, 3)).is_some());
    }
}
