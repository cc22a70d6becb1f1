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
    pub(crate) fn check(&self, what: &str, answer: &Answer) {
        let error = &answer.json()["error"];
        let param = error["param"].as_str().unwrap_or_default();
        let said = (answer.status, error["code"].as_str().unwrap_or_default(), param);
        assert_eq!(said, (self.status, self.code, self.param), "{what}: {}", answer.text);
        assert_eq!(answer.json()["status"], "error", "{what}");
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 5), "{what}: {}", answer.text);
        let id = answer.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        assert!(id.is_some() && error["request_id"].as_str() == id, "{what}: {}", answer.text);
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
