//! The key of the request.

use http::StatusCode;

use super::super::operation::{CallDoc, Group};
use super::super::schema::{named, success};

pub(super) fn read_own() -> CallDoc {
    CallDoc::new("readOwnKey", Group::Keys, "Read the key of this request")
        .details("The shortest way to see that signing works.")
        .answers(StatusCode::OK, "What the key is and may do; never its secret.", success(named("Key")))
}
