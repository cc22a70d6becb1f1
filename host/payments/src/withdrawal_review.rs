//! What all policies together say about a withdrawal.
//!
//! A policy can tighten and never loosen: each is asked, the strictest answer counts, and a policy that gives none denies. The
//! first denial ends the question, since nothing can be stricter.

use std::sync::Arc;

use tracing::warn;

use crate::port::hooks::{WithdrawalPolicy, WithdrawalRequest, WithdrawalRuling, WithdrawalVerdict};
use crate::port::lending::storage::Answered;

/// The word of a denial because a policy could not be asked. The merchant may try again.
pub const POLICY_UNAVAILABLE: &str = "policy_unavailable";

/// The strictest of the policies' verdicts, and the first of equally strict ones; allowed when there is no policy. With it
/// comes what the policies keep because of the request.
pub async fn strictest(
    policies: &[Arc<dyn WithdrawalPolicy>],
    request: &WithdrawalRequest,
) -> Answered<WithdrawalVerdict> {
    let (code, message) = (String::new(), String::new());
    let mut strictest = Answered::plain(WithdrawalVerdict { ruling: WithdrawalRuling::Allow, code, message });
    for policy in policies {
        let answered = policy.review(request).await.unwrap_or_else(|failure| {
            warn!(withdrawal = %request.id, %failure, "a policy could not be asked; denied");
            Answered::plain(WithdrawalVerdict {
                ruling: WithdrawalRuling::Deny,
                code: POLICY_UNAVAILABLE.to_owned(),
                message: "a policy for withdrawals could not be asked; try again later".to_owned(),
            })
        });
        strictest.writes.extend(answered.writes);
        if answered.answer.ruling > strictest.answer.ruling {
            strictest.answer = answered.answer;
        }
        if strictest.answer.ruling == WithdrawalRuling::Deny {
            break;
        }
    }
    strictest
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use xthonpay_domain::address::Address;
    use xthonpay_domain::amount::{Amount, Decimals};
    use xthonpay_domain::id::{MerchantId, WithdrawalId};
    use xthonpay_domain::time::Timestamp;

    use super::*;
    use crate::port::hooks::{HookFailure, OnFailure, Requester};
    use WithdrawalRuling::{Allow, Deny, RequireApproval, RequireTotp};

    /// Answers with a ruling, or fails.
    struct Scripted(Option<WithdrawalRuling>, &'static str, Arc<AtomicUsize>);

    #[async_trait]
    impl WithdrawalPolicy for Scripted {
        async fn review(&self, _: &WithdrawalRequest) -> Result<Answered<WithdrawalVerdict>, HookFailure> {
            self.2.fetch_add(1, Ordering::Relaxed);
            let verdict = |ruling| WithdrawalVerdict { ruling, code: self.1.to_owned(), message: "because".to_owned() };
            self.0.map(verdict).map(Answered::plain).ok_or_else(|| HookFailure {
                plugin: "broken".to_owned(),
                hook: "review",
                reason: "a trap".to_owned(),
                policy: OnFailure::Closed,
                transient: false,
            })
        }
    }

    fn request() -> WithdrawalRequest {
        WithdrawalRequest {
            id: WithdrawalId::from_random([1; 16]),
            merchant: MerchantId::from_random([2; 16]),
            destination: Address::new([3; 20]),
            asset: "bsc:USDT".parse().expect("an asset"),
            decimals: Decimals::new(18).expect("in range"),
            amount: Amount::from_units(1),
            requested_by: Requester::Admin,
            requested_at: Timestamp::EPOCH,
            total_24h: Vec::new(),
            destination_uses: 0,
            at: Timestamp::EPOCH,
        }
    }

    #[tokio::test]
    async fn the_strictest_counts_and_a_failure_denies() {
        let cases: [(&[Option<WithdrawalRuling>], WithdrawalRuling, &str, usize); 8] = [
            (&[], Allow, "", 0),
            (&[Some(Allow), Some(Allow)], Allow, "", 2),
            (&[Some(RequireTotp), Some(Allow)], RequireTotp, "p0", 2),
            (&[Some(Allow), Some(RequireTotp), Some(RequireApproval)], RequireApproval, "p2", 3),
            (&[Some(RequireApproval), Some(RequireTotp)], RequireApproval, "p0", 2),
            (&[Some(RequireTotp), Some(RequireTotp)], RequireTotp, "p0", 2),
            (&[Some(Deny), Some(Allow)], Deny, "p0", 1),
            (&[Some(RequireApproval), None, Some(Allow)], Deny, POLICY_UNAVAILABLE, 2),
        ];
        for (script, ruling, code, asked) in cases {
            let count = Arc::new(AtomicUsize::new(0));
            let names = ["p0", "p1", "p2"];
            let policies = script.iter().zip(names).map(|(answer, name)| {
                Arc::new(Scripted(*answer, name, Arc::clone(&count))) as Arc<dyn WithdrawalPolicy>
            });
            let verdict = strictest(&policies.collect::<Vec<_>>(), &request()).await.answer;
            assert_eq!((verdict.ruling, verdict.code.as_str()), (ruling, code), "{script:?}");
            assert_eq!(count.load(Ordering::Relaxed), asked, "{script:?}");
        }
    }
}
