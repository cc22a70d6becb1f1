//! Waiting for a host that works beside the audit: what differs because it was in the middle of its work agrees a moment later.

use core::time::Duration;

use tokio::time::{Instant, sleep};
use xthonpay_domain::text::ChainName;

use super::Audit;
use crate::port::store::{Cursor, StoreError};

/// The most that is waited for one thing: twice the time after which a scanner reads the balances of open invoices again.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// After this long without a change no host works on the chain, or it waits for a block: two blocks of BNB Smart Chain.
const STANDS_STILL: Duration = Duration::from_secs(1);
/// Time between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Audit {
    /// Waits until the cursor of a chain is `enough`; `None` when it stands still or that takes too long.
    pub(super) async fn wait_for(
        &self,
        chain: &ChainName,
        enough: impl Fn(&Cursor) -> bool,
    ) -> Result<Option<Cursor>, StoreError> {
        let begun = Instant::now();
        let (mut revision, mut moved_at) = (None, begun);
        loop {
            let Some(cursor) = self.store.cursor(chain).await? else { return Ok(None) };
            if enough(&cursor) {
                return Ok(Some(cursor));
            }
            if revision.replace(cursor.revision) != Some(cursor.revision) {
                moved_at = Instant::now();
            }
            if moved_at.elapsed() >= STANDS_STILL || begun.elapsed() >= PATIENCE {
                return Ok(None);
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
