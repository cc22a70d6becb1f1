//! `plugins signed`: the signers that plugins may be lent, and what was signed with them.

use std::sync::Arc;

use super::arguments::Asked;
use super::{CliError, output};
use crate::admin::client::AdminClient;
use crate::admin::signed::{AskSigned, SIGNED, SignedDoor, SignedPage, SignerLine, UseLine, page, signer_lines};
use crate::compose::Deployment;
use crate::config::Config;

/// Where the pages come from.
enum Pages {
    Host(AdminClient),
    Here(Box<Deployment>, SignedDoor),
}

/// `plugins signed`. Prints page by page: there may be millions of uses.
pub(super) async fn signed(asked: &Asked) -> Result<(), CliError> {
    let config = Config::load(&asked.deployment.config)?;
    let pages = match AdminClient::running(&config.admin_socket()).await? {
        Some(client) => Pages::Host(client),
        None => {
            let deployment = Deployment::open(&config).await?;
            let signers = signer_lines(&deployment.signer, &config.signers);
            let door = SignedDoor { store: Arc::clone(&deployment.store) as _, signers };
            Pages::Here(Box::new(deployment), door)
        }
    };
    let printed = print(&pages, asked.json).await;
    if let Pages::Here(deployment, _) = pages {
        deployment.close().await;
    }
    printed
}

async fn print(pages: &Pages, json: bool) -> Result<(), CliError> {
    let (mut asked, mut all) = (AskSigned::default(), None::<SignedPage>);
    loop {
        let found = match pages {
            Pages::Host(client) => client.get(&path(&asked)).await?,
            Pages::Here(_, door) => page(door, &asked).await?,
        };
        asked.after.clone_from(&found.next);
        if !json {
            let is_first = all.is_none();
            let signers = found.signers.iter().filter(|_| is_first).map(signer_line);
            output::lines(&signers.chain(found.uses.iter().map(use_line)).collect::<Vec<_>>())?;
        }
        match &mut all {
            Some(all) if json => all.uses.extend(found.uses),
            Some(_) => {}
            None => all = Some(SignedPage { next: None, ..found }),
        }
        if asked.after.is_none() {
            break;
        }
    }
    match all {
        Some(all) if json => output::json(&all),
        _ => Ok(()),
    }
}

/// Digits and a dot need no escaping.
fn path(asked: &AskSigned) -> String {
    asked.after.as_ref().map_or_else(|| SIGNED.to_owned(), |after| format!("{SIGNED}?after={after}"))
}

fn signer_line(signer: &SignerLine) -> String {
    let SignerLine { signer, scheme, key_id, public_key } = signer;
    format!("signer {signer}: {scheme}, key {key_id}, public key {public_key}")
}

fn use_line(used: &UseLine) -> String {
    let UseLine { at, signer, key_id, plugin, merchant_id, purpose, digest, .. } = used;
    let merchant = merchant_id.as_deref().unwrap_or("no merchant");
    format!("{at} {plugin} signed with {signer} ({key_id}) for {merchant}: {purpose}, sha256 {digest}")
}
