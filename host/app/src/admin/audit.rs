//! The audit of a running host: one at a time, given up when the host stops or nobody waits for it any more.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xthonpay_domain::block::BlockNumber;
use xthonpay_payments::audit::{Audit, From, Report, Scope};

use super::protocol::{self, AskAudit};
use super::service::{AdminError, chain_name};

/// What the door needs.
struct AuditDoor {
    audit: Audit,
    /// Held while an audit runs: a second one would only make both slower.
    running: Mutex<()>,
    stop: CancellationToken,
}

/// The route of the audit.
pub(super) fn router(audit: Audit, stop: CancellationToken) -> Router {
    let door = AuditDoor { audit, running: Mutex::new(()), stop };
    Router::new().route(protocol::AUDIT, post(run)).with_state(Arc::new(door))
}

/// What is asked for.
///
/// # Errors
/// [`AdminError::Text`] for a chain's name that is none.
pub fn scope(asked: &AskAudit) -> Result<Scope, AdminError> {
    let chain = asked.chain.as_deref().map(chain_name).transpose()?;
    let from = match (asked.from, asked.full) {
        (Some(block), _) => From::Block(BlockNumber(block)),
        (None, true) => From::Beginning,
        (None, false) => From::Recent,
    };
    Ok(Scope { chain, from, freeze: asked.freeze })
}

async fn run(State(door): State<Arc<AuditDoor>>, Json(asked): Json<AskAudit>) -> Result<Json<Report>, AdminError> {
    let scope = scope(&asked)?;
    let Ok(_running) = door.running.try_lock() else { return Err(AdminError::AuditRunning) };
    info!("audit begun");
    let audited = tokio::select! {
        () = door.stop.cancelled() => return Err(AdminError::Stopping),
        audited = door.audit.run(&scope, &|sentence| info!(audit = sentence)) => audited,
    };
    let report = audited?;
    let breaches: u64 = report.breaches_total.values().sum();
    if report.ok {
        info!("audit done: nothing is wrong");
    } else {
        warn!(breaches, complete = report.complete, "audit done: see what it printed");
    }
    Ok(Json(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_scope() {
        let asked = |from, full| AskAudit { chain: Some("bsc".to_owned()), from, full, freeze: true };
        for (from, full, expected) in
            [(None, false, From::Recent), (None, true, From::Beginning), (Some(7), false, From::Block(BlockNumber(7)))]
        {
            let scope = scope(&asked(from, full)).expect("possible");
            assert_eq!((scope.from, scope.freeze), (expected, true));
            assert_eq!(scope.chain.expect("named").as_str(), "bsc");
        }
        let wrong = AskAudit { chain: Some("no chain!".to_owned()), from: None, full: false, freeze: false };
        assert!(matches!(scope(&wrong), Err(AdminError::Text { what: "chain", .. })));
    }
}
