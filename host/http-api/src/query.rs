//! Reading query parameters, strictly.

use url::form_urlencoded;

use crate::error::{ApiError, Fault};
use crate::named::Named;

/// Entries of a list that does not say how many it wants.
pub(crate) const LIMIT_DEFAULT: usize = 25;
/// Entries that one answer holds at most. Bounds the work and the size of an answer; callers page.
pub(crate) const LIMIT_MAX: usize = 100;

/// The parameters of a query, decoded.
pub(crate) fn parameters(query: Option<&str>) -> Result<Named<String>, ApiError> {
    let mut parameters = Named::new("query parameter");
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        // Decoding puts this character where the bytes are no UTF-8. Nobody means it.
        if name.contains(char::REPLACEMENT_CHARACTER) || value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(ApiError::caller(Fault::InvalidRequest, "a query parameter is not UTF-8"));
        }
        parameters.add(name.into_owned(), value.into_owned())?;
    }
    Ok(parameters)
}

/// How many entries of a list are wanted.
pub(crate) fn limit(parameters: &mut Named<String>) -> Result<usize, ApiError> {
    let Some(text) = parameters.take("limit") else { return Ok(LIMIT_DEFAULT) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = digits.then(|| text.parse().ok()).flatten().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        ApiError::at(Fault::InvalidRequest, "limit", format!("limit must be a whole number from 1 to {LIMIT_MAX}"))
    })
}
