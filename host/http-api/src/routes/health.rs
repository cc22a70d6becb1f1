//! `/healthz` and `/readyz`, for supervisors and load balancers.
//!
//! Healthy means that the process answers. Ready means that it can do its job: the store takes writes, every scanner keeps
//! up, and no required part is broken. The scanner of the simulated chain is shown and not required. Both may be asked by
//! anybody, so they name what is wrong and not why; the why is logged. The probe of the store costs a durable write, so its
//! result is shared by everybody who asks within a second.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;
use xthonpay_domain::access::Mode;
use xthonpay_domain::time::Timestamp;
use xthonpay_payments::catalog::mode_of;
use xthonpay_payments::scanning::status::{ChainStatus, Health, SharedStatus, Stall};

use crate::answer::Answer;
use crate::api::{Api, ComponentHealth};
use crate::error::{ApiError, Outage};
use crate::router::Shared;

/// How old a report may be. Probes come every few seconds; a flood of them must not become a flood of writes.
const REPORT_AGE_MAX: Duration = Duration::from_secs(1);
/// The same of one that says no: whoever starts a host waits for the other answer. Ten writes a second are no burden.
const REFUSAL_AGE_MAX: Duration = Duration::from_millis(100);
/// How long the store may take to store a probe before it counts as not taking writes. Probes usually give up at 5 s.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);

/// The newest report.
#[derive(Default)]
pub(crate) struct Readiness {
    newest: Mutex<Option<(Instant, Report)>>,
}

#[derive(Clone, Serialize)]
struct Report {
    ready: bool,
    checks: Vec<Check>,
}

/// How old a scanner's view may be: the longest step is one question to every node, each with its own limit of seconds.
const VIEW_AGE_MAX: Duration = Duration::from_secs(60);

/// One thing that was looked at.
#[derive(Clone, Serialize)]
struct Check {
    name: String,
    ok: bool,
    /// Whether the deployment is not ready without it.
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Alive {
    alive: bool,
}

pub(crate) fn alive() -> Result<Answer, ApiError> {
    Ok(Answer::data(Alive { alive: true }))
}

pub(crate) async fn ready(shared: &Shared) -> Result<Answer, ApiError> {
    let report = shared.readiness.report(&shared.api).await;
    if report.ready {
        return Ok(Answer::data(report));
    }
    let failing = report.checks.iter().filter(|check| check.required && !check.ok).map(|check| check.name.as_str());
    let cause = format!("not ready: {}", failing.collect::<Vec<_>>().join(", "));
    let data = serde_json::to_value(report).ok();
    Err(ApiError::Host { outage: Outage::NotReady, cause, data })
}

impl Readiness {
    async fn report(&self, api: &Api) -> Report {
        // Held while the report is made: who asks in the meantime waits for the same one.
        let mut newest = self.newest.lock().await;
        if let Some((at, report)) = newest.as_ref()
            && at.elapsed() < if report.ready { REPORT_AGE_MAX } else { REFUSAL_AGE_MAX }
        {
            return report.clone();
        }
        let mut checks = vec![store(api).await];
        let now = api.clock.now();
        for chain in api.chains.iter().map(SharedStatus::get) {
            checks.push(scanner(&chain, api.config.scanner_lag_blocks_max, now));
            checks.push(nodes(&chain));
        }
        checks.extend((api.components)().into_iter().map(component));
        let report = Report { ready: checks.iter().all(|check| check.ok || !check.required), checks };
        *newest = Some((Instant::now(), report.clone()));
        report
    }
}

async fn store(api: &Api) -> Check {
    let reason = match timeout(PROBE_TIME_MAX, api.store.probe()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            warn!(%error, "the store's probe failed");
            Some("does not take writes".to_owned())
        }
        Err(_) => Some(format!("took longer than {} ms to store a probe", PROBE_TIME_MAX.as_millis())),
    };
    Check { name: "store".to_owned(), ok: reason.is_none(), required: true, reason }
}

fn scanner(status: &ChainStatus, lag_blocks_max: u64, now: Timestamp) -> Check {
    let reason = match &status.health {
        Health::Starting => Some("has not read its first block yet".to_owned()),
        Health::Failing { .. } => Some("its last step failed and is tried again".to_owned()),
        Health::Frozen { .. } => Some("has stopped itself; an operator must look".to_owned()),
        Health::Running => match status.lag_blocks() {
            None => Some("does not know its position yet".to_owned()),
            Some(lag) if lag > lag_blocks_max => Some(format!("is {lag} blocks behind its nodes")),
            // A view that nobody renews says nothing about now.
            Some(_) if now.since(status.at) > VIEW_AGE_MAX => {
                Some(format!("has said nothing for {} s", now.since(status.at).as_secs()))
            }
            Some(_) => status.stall(now).map(|stall| match stall {
                Stall::NoNewBlock(since) => format!("has seen no new block for {} s", since.as_secs()),
                Stall::NoNewFinality(since) => format!("has seen no block become final for {} s", since.as_secs()),
            }),
        },
    };
    // Nobody loses money while play money stands still.
    let required = mode_of(&status.chain) == Mode::Live;
    Check { name: format!("scanner:{}", status.chain), ok: reason.is_none(), required, reason }
}

/// What may become a problem while the scanner still works: the operator should know, merchants are served.
fn nodes(status: &ChainStatus) -> Check {
    let source = &status.source;
    let down = source.nodes.iter().filter(|node| node.problem.is_some()).count();
    let mut reasons = Vec::new();
    if source.disagreement.is_some() {
        reasons.push("contradict each other".to_owned());
    }
    if down > 0 {
        reasons.push(format!("{down} of {} are not asked because of a problem", source.nodes.len()));
    }
    if source.finality_by_depth {
        reasons.push("do not finalise: blocks count as final by their depth".to_owned());
    }
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    Check { name: format!("nodes:{}", status.chain), ok: reason.is_none(), required: false, reason }
}

fn component(health: ComponentHealth) -> Check {
    let ComponentHealth { name, required, problem } = health;
    if let Some(problem) = &problem {
        warn!(component = name, required, problem, "a component is not well");
    }
    let reason = problem.is_some().then(|| "is not well".to_owned());
    Check { name, ok: reason.is_none(), required, reason }
}

#[cfg(test)]
mod tests {
    use xthonpay_domain::block::{BlockNumber, BlockRef};
    use xthonpay_domain::hash::BlockHash;
    use xthonpay_payments::port::chain::{NodeReport, SourceReport};
    use xthonpay_payments::port::store::Cursor;

    use super::*;

    fn status(health: Health, head: Option<u64>, tip: Option<u64>) -> ChainStatus {
        let block = |number| BlockRef {
            number: BlockNumber(number),
            hash: BlockHash::new([1; 32]),
            parent: BlockHash::new([0; 32]),
            time: Timestamp::EPOCH,
        };
        let chain: xthonpay_domain::text::ChainName = "bsc".parse().expect("a name");
        let cursor =
            |tip| Cursor { chain: chain.clone(), tip: block(tip), finalized: block(0), frozen: None, revision: 1 };
        ChainStatus { health, head: head.map(BlockNumber), cursor: tip.map(cursor), ..ChainStatus::new(chain.clone()) }
    }

    #[test]
    fn a_scanner_is_ready_while_it_runs_and_keeps_up() {
        let secret = || "http://user:pass@10.0.0.1".to_owned();
        for (health, head, tip, ready) in [
            (Health::Running, Some(1_000), Some(1_000), true),
            (Health::Running, Some(1_000), Some(1_001), true), // a node that fell back
            (Health::Running, Some(1_010), Some(1_000), true),
            (Health::Running, Some(1_011), Some(1_000), false),
            (Health::Running, None, Some(1_000), false),
            (Health::Running, Some(1_000), None, false),
            (Health::Starting, Some(1_000), Some(1_000), false),
            (Health::Failing { reason: secret() }, Some(1_000), Some(1_000), false),
            (Health::Frozen { reason: secret() }, Some(1_000), Some(1_000), false),
        ] {
            let check = scanner(&status(health.clone(), head, tip), 10, Timestamp::EPOCH);
            assert_eq!(check.ok, ready, "{health:?} {head:?} {tip:?}");
            assert_eq!(check.reason.is_none(), ready);
            assert!(!check.reason.unwrap_or_default().contains("10.0.0.1"));
        }
    }

    #[test]
    fn a_simulated_chain_that_is_not_well_is_shown_and_makes_nobody_wait() {
        let simulated = ChainStatus::new(xthonpay_payments::catalog::simulated_chain());
        for (status, required) in [(simulated, false), (status(Health::Starting, None, None), true)] {
            let check = scanner(&status, 10, Timestamp::EPOCH);
            assert_eq!((check.ok, check.required), (false, required), "{}", check.name);
        }
    }

    #[test]
    fn a_scanner_that_stands_still_or_says_nothing_is_not_ready() {
        let secs = Timestamp::from_secs;
        let running = || ChainStatus {
            at: secs(1_000),
            tip_at: Some(secs(1_000)),
            finalized_at: Some(secs(1_000)),
            ..status(Health::Running, Some(5), Some(5))
        };
        let reason = |view: &ChainStatus, now| scanner(view, 10, secs(now)).reason;
        assert_eq!(reason(&running(), 1_059), None);
        assert_eq!(reason(&running(), 1_061).as_deref(), Some("has said nothing for 61 s"));
        let no_block = ChainStatus { at: secs(1_100), ..running() };
        assert_eq!(reason(&no_block, 1_100).as_deref(), Some("has seen no new block for 100 s"));
        let not_final = ChainStatus { tip_at: Some(secs(1_100)), ..no_block };
        assert_eq!(reason(&not_final, 1_100).as_deref(), Some("has seen no block become final for 100 s"));
    }

    #[test]
    fn trouble_of_nodes_is_told_without_their_names() {
        let node = |problem: Option<&str>| NodeReport {
            label: "node 1 (10.0.0.1)".to_owned(),
            primary: false,
            problem: problem.map(str::to_owned),
            verification: None,
            head: None,
            finalized: None,
            announces: None,
        };
        let view = |source| ChainStatus { source, ..status(Health::Running, Some(5), Some(5)) };
        let well = nodes(&view(SourceReport { nodes: vec![node(None)], quorum: 1, ..SourceReport::default() }));
        assert!(well.ok && !well.required);
        let source = SourceReport {
            nodes: vec![node(None), node(Some("10.0.0.1 refused"))],
            quorum: 1,
            disagreement: Some("node 1 (10.0.0.1) says".to_owned()),
            finality_by_depth: true,
            ..SourceReport::default()
        };
        let reason = nodes(&view(source)).reason.expect("three reasons");
        assert_eq!(reason.matches(';').count(), 2, "{reason}");
        assert!(reason.contains("1 of 2") && !reason.contains("10.0.0.1"), "{reason}");
    }
}
