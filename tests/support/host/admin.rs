//! Administrative commands, as an operator types them, and what they print.

use core::time::Duration;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use super::{HostProcess, without_our_variables};
use crate::BoxError;
use crate::client::{Key, Scheme};

/// Above what a command takes that has to open the store and the vault on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// A merchant as it is shown once.
#[derive(Clone, Debug)]
pub struct Merchant {
    /// Public id.
    pub id: String,
    /// The address for deposits without an invoice.
    pub deposit_address: String,
    /// Signs its webhooks.
    pub webhook_secret: String,
}

/// Runs the binary once, to its end.
///
/// # Errors
/// When it cannot be started or does not end in time; a failure of the command itself is an [`Output`].
pub async fn run(binary: &Path, arguments: &[&str]) -> Result<Output, BoxError> {
    run_within(COMMAND_TIMEOUT, binary, arguments).await
}

/// The same within another time.
///
/// # Errors
/// When it cannot be started or does not end in time.
pub async fn run_within(limit: Duration, binary: &Path, arguments: &[&str]) -> Result<Output, BoxError> {
    let mut command = Command::from(without_our_variables(binary));
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output()).await;
    Ok(output.map_err(|_| format!("{arguments:?} did not end within {limit:?}"))??)
}

impl HostProcess {
    /// Runs an administrative command with this host's config; the arguments stand before `--config`.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn command(&self, arguments: &[&str]) -> Result<Output, BoxError> {
        self.command_within(COMMAND_TIMEOUT, arguments).await
    }

    /// The same, for a command that may take longer.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn command_within(&self, limit: Duration, arguments: &[&str]) -> Result<Output, BoxError> {
        let config = self.config_file();
        let config = config.to_str().ok_or("a path that is no text")?;
        run_within(limit, self.binary(), &[arguments, &["--config", config]].concat()).await
    }

    /// The JSON that a command prints.
    ///
    /// # Errors
    /// When the command fails or prints anything else.
    pub async fn command_json(&self, arguments: &[&str]) -> Result<Value, BoxError> {
        let output = self.command(&[arguments, &["--json"]].concat()).await?;
        if output.status.success() {
            json_in(arguments, &output)
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{arguments:?} ended with {}: {said}", output.status).into())
        }
    }

    /// Makes a merchant.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn create_merchant(&self, name: &str) -> Result<Merchant, BoxError> {
        let made = self.command_json(&["merchant", "create", "--name", name]).await?;
        Ok(Merchant {
            id: text(&made, "merchant_id")?,
            deposit_address: text(&made, "deposit_address")?,
            webhook_secret: text(&made, "webhook_secret")?,
        })
    }

    /// Makes a key; `more` are further arguments.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn create_key(
        &self,
        merchant: &Merchant,
        scopes: &str,
        scheme: Scheme,
        more: &[&str],
    ) -> Result<Key, BoxError> {
        let arguments =
            ["key", "create", "--merchant", merchant.id.as_str(), "--scopes", scopes, "--signature", scheme.name()];
        let made = self.command_json(&[&arguments, more].concat()).await?;
        Ok(Key { id: text(&made, "key_id")?, secret: text(&made, "secret")?, scheme })
    }

    /// What `xthonpay status` says, also when the host is not ready and the command ends with 1.
    ///
    /// # Errors
    /// When it prints no JSON.
    pub async fn status(&self) -> Result<Value, BoxError> {
        let output = self.command(&["status", "--json"]).await?;
        json_in(&["status"], &output)
    }
}

fn json_in(arguments: &[&str], output: &Output) -> Result<Value, BoxError> {
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let parsed = serde_json::from_str(&printed);
    Ok(parsed.map_err(|error| format!("{arguments:?} printed no JSON: {error}: {printed}{said}"))?)
}

fn text(object: &Value, member: &str) -> Result<String, BoxError> {
    let found = object[member].as_str().ok_or_else(|| format!("no {member} in {object}"))?;
    Ok(found.to_owned())
}
