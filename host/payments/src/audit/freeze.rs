//! Freezes chains on which money is missing, or more is credited than there is, until an operator resumes them.

use super::report::Findings;
use super::{Audit, AuditError};
use crate::scanning::freeze::freeze_chain;

/// How much of the first breach stands in the reason, in characters.
const REASON_CHARS_MAX: usize = 300;

impl Audit {
    /// Freezes every chain with a breach about money that is not frozen yet.
    pub(super) async fn freeze(&self, findings: &mut Findings) -> Result<(), AuditError> {
        for (chain, first) in findings.money().clone() {
            let reason: String = format!("the audit found: {first}").chars().take(REASON_CHARS_MAX).collect();
            let frozen = freeze_chain(self.store.as_ref(), self.clock.as_ref(), &chain, &reason).await;
            if let Some(freeze) = frozen.map_err(AuditError::Freeze)?
                && let Some(audited) = findings.chain(&chain)
            {
                audited.frozen = Some(freeze.reason);
            }
        }
        Ok(())
    }
}
