//! `chain freeze` and `chain resume`: asked of the running host, or done here when none runs.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xthonpay_chain_evm::EvmChain;
use xthonpay_payments::port::chain::ChainSource as _;
use xthonpay_payments::scanning::freeze::ChainControl;

use super::arguments::{FreezeArguments, ResumeArguments};
use super::{CliError, output};
use crate::admin::chain::{self, AskFreeze, AskResume, FREEZE, Frozen, LostLine, RESUME, ResumedChain};
use crate::admin::client::AdminClient;
use crate::admin::service::AdminError;
use crate::compose::{self, Deployment, StartError};
use crate::config::Config;

/// How long the host may take: a resumption reads every deposit, and asks the nodes about the lost ones.
const RESUME_MAX: Duration = Duration::from_secs(3_600);

/// `chain freeze`.
pub(super) async fn freeze(asked: FreezeArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let body = AskFreeze { chain: asked.chain, reason: asked.reason };
    let frozen: Frozen = ask_or_do(&config, FREEZE, &body, async |chains| chain::freeze(chains, &body).await).await?;
    if asked.asked.json {
        return output::json(&frozen);
    }
    output::lines(&[
        format!("chain {} is frozen since {}: {}", frozen.chain, frozen.frozen_at, frozen.reason),
        "nothing is credited or withdrawn on it until `xthonpay chain resume`".to_owned(),
    ])
}

/// `chain resume`.
pub(super) async fn resume(asked: ResumeArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let catalog = compose::catalog(&config);
    let body = AskResume { chain: asked.chain, from_block: asked.from_block };
    let resumed: ResumedChain =
        ask_or_do(&config, RESUME, &body, async |chains| chain::resume(chains, &catalog, &body).await).await?;
    if asked.asked.json { output::json(&resumed) } else { output::lines(&lines(&resumed)) }
}

/// The running host's answer; when no host runs, the deployment is opened and the command carried out here.
async fn ask_or_do<T: DeserializeOwned>(
    config: &Config,
    path: &str,
    body: &impl Serialize,
    here: impl AsyncFnOnce(&[ChainControl]) -> Result<T, AdminError>,
) -> Result<T, CliError> {
    if let Some(client) = AdminClient::running(&config.admin_socket()).await? {
        return Ok(client.post_within(path, body, RESUME_MAX).await?);
    }
    let sources = compose::chains(config).map_err(StartError::from)?;
    let deployment = Deployment::open(config).await?;
    let catalog = Arc::new(compose::catalog(config));
    let control = |source: Arc<EvmChain>| ChainControl { books: deployment.books(source.name(), &catalog), source };
    let chains: Vec<ChainControl> = sources.into_iter().map(control).collect();
    let done = here(&chains).await;
    deployment.close().await;
    Ok(done?)
}

fn lines(resumed: &ResumedChain) -> Vec<String> {
    let mut lines = vec![format!(
        "chain {} goes on after block {} {}, final up to {}; {} seen deposits are orphaned until they are found again",
        resumed.chain, resumed.tip, resumed.tip_hash, resumed.finalized, resumed.orphaned
    )];
    if resumed.lost_total > 0 {
        lines.push(format!(
            "{} credited deposits are in blocks that left the chain. They stay credited; decide about them:",
            resumed.lost_total
        ));
        lines.extend(resumed.lost.iter().map(lost_line));
        let unnamed = resumed.lost_total.saturating_sub(resumed.lost.len());
        if unnamed > 0 {
            lines.push(format!("and {unnamed} more"));
        }
    }
    lines
}

fn lost_line(lost: &LostLine) -> String {
    let transaction = lost.tx_hash.as_deref().unwrap_or("in the balance");
    let owner = lost.invoice_id.as_ref().unwrap_or(&lost.merchant_id);
    let now = match lost.mined_again_in {
        Some(number) => format!("mined again in block {number}"),
        None => "not mined again so far".to_owned(),
    };
    format!(
        "{}  {} {} ({owner}), block {}, {transaction}: {now}",
        lost.deposit_id, lost.amount, lost.asset, lost.block_number
    )
}
