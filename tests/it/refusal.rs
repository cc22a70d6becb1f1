//! What an answer must say that refuses a request.

use serde_json::json;
use xthonpay_tests::client::Answer;

use crate::world::{Done, Shop};

/// What an answer must say.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// The header, field or query parameter that it names; empty for none.
    pub(crate) param: &'static str,
}

pub(crate) const fn refusal(status: u16, code: &'static str, param: &'static str) -> Refusal {
    Refusal { status, code, param }
}

pub(crate) const INVALID: Refusal = refusal(400, "INVALID_REQUEST", "");
pub(crate) const UNAUTHORIZED: Refusal = refusal(401, "UNAUTHORIZED", "");

impl Refusal {
    /// Fails unless the answer is this refusal.
    pub(crate) fn check(&self, what: &str, answer: &Answer) {
        assert_eq!(self.difference(what, answer), None);
    }

    /// How the answer differs, for tables that tell all of their rows at once.
    pub(crate) fn difference(&self, what: &str, answer: &Answer) -> Option<String> {
        let body = answer.json();
        let text = |member: &str| body["error"][member].as_str().unwrap_or_default();
        let said = (answer.status, text("code"), text("param"));
        let id = answer.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        let complete = body["status"] == "error" && text("message").len() > 5 && id == Some(text("request_id"));
        let expected = (self.status, self.code, self.param);
        (said != expected || !complete).then(|| format!("{what}: expected {expected:?}, not {}", answer.text))
    }
}

/// The merchant has nothing, however the requests before it ended.
pub(crate) async fn nothing_is_stored(shop: &Shop) -> Done {
    let listed = shop.client.get("/invoices").await?;
    assert_eq!(listed.data()?, json!([]));
    assert_eq!(listed.json()["has_more"], false);
    assert_eq!(shop.balance("USDT").await?, "0");
    Ok(())
}
