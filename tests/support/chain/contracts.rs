//! The code of the test contracts, as `tests/contracts` holds it compiled.

use serde_json::Value;

use super::rpc::BoxError;

const TEST_USDT: &str = include_str!("../../contracts/TestUsdt.json");
const DISPERSE: &str = include_str!("../../contracts/Disperse.json");
const REJECTER: &str = include_str!("../../contracts/Rejecter.json");

/// The code that deploys a `TestUsdt` when its constructor's arguments are appended.
///
/// # Errors
/// When the artefact is damaged.
pub fn test_usdt_code() -> Result<Vec<u8>, BoxError> {
    code(TEST_USDT, "bytecode")
}

/// The code that deploys a `Disperse`.
///
/// # Errors
/// When the artefact is damaged.
pub fn disperse_code() -> Result<Vec<u8>, BoxError> {
    code(DISPERSE, "bytecode")
}

/// The code of a deployed `Rejecter`: at an address, it makes every payment to that address fail.
///
/// # Errors
/// When the artefact is damaged.
pub fn rejecter_code() -> Result<Vec<u8>, BoxError> {
    code(REJECTER, "deployedBytecode")
}

fn code(artefact: &str, member: &str) -> Result<Vec<u8>, BoxError> {
    let artefact: Value = serde_json::from_str(artefact)?;
    let text = artefact[member].as_str().ok_or("no such member")?;
    Ok(hex::decode(text.trim_start_matches("0x"))?)
}
