//! `merchant create`, `merchant list` and `merchant show`.

use serde::Serialize;

use super::arguments::{Asked, CreateMerchantArguments, ShowMerchantArguments};
use super::ask::{Worker, ask_or_do};
use super::{CliError, output};
use crate::admin::merchant::{
    self, CreateMerchant, ListMerchants, MerchantCreated, MerchantLine, MerchantPage, MerchantShown, ShowMerchant,
};
use crate::config::Config;

/// Merchants that are listed; all are counted. Bounds the memory of the command.
const LISTED_MAX: usize = 10_000;

#[derive(Serialize)]
struct Merchants {
    merchants: Vec<MerchantLine>,
    merchants_total: usize,
}

/// `merchant create`.
pub(super) async fn create(asked: CreateMerchantArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let body = CreateMerchant { name: asked.name };
    let made: MerchantCreated =
        ask_or_do(&config, merchant::CREATE, body, async |keys, body| merchant::create(&keys.merchants, body).await)
            .await?;
    if asked.asked.json { output::json(&made) } else { output::lines(&created_lines(&made)) }
}

/// `merchant list`.
pub(super) async fn list(asked: &Asked) -> Result<(), CliError> {
    let config = Config::load(&asked.deployment.config)?;
    let worker = Worker::find(&config).await?;
    let listed = pages(&worker).await;
    worker.end().await;
    let listed = listed?;
    if asked.json {
        return output::json(&listed);
    }
    let mut lines: Vec<String> = listed.merchants.iter().map(line).collect();
    lines.push(format!("{} merchants", listed.merchants_total));
    output::lines(&lines)
}

async fn pages(worker: &Worker) -> Result<Merchants, CliError> {
    let mut listed = Merchants { merchants: Vec::new(), merchants_total: 0 };
    let mut asked = ListMerchants::default();
    loop {
        let page: MerchantPage =
            worker.ask(merchant::LIST, asked, async |keys, body| merchant::list(&keys.merchants, body).await).await?;
        listed.merchants_total = listed.merchants_total.saturating_add(page.merchants.len());
        let room = LISTED_MAX.saturating_sub(listed.merchants.len());
        listed.merchants.extend(page.merchants.into_iter().take(room));
        match page.next {
            Some(next) => asked = ListMerchants { after: Some(next) },
            None => return Ok(listed),
        }
    }
}

/// `merchant show`.
pub(super) async fn show(asked: ShowMerchantArguments) -> Result<(), CliError> {
    let config = Config::load(&asked.asked.deployment.config)?;
    let body = ShowMerchant { merchant: asked.merchant };
    let shown: MerchantShown =
        ask_or_do(&config, merchant::SHOW, body, async |keys, body| merchant::show(&keys.merchants, body).await)
            .await?;
    if asked.asked.json {
        return output::json(&shown);
    }
    let none = || "none".to_owned();
    output::lines(&[
        format!("merchant         {}", shown.line.merchant_id),
        format!("name             {}", shown.line.name),
        format!("mode             {}", shown.line.mode),
        format!("created          {}", shown.line.created_at),
        format!("deposit address  {}", shown.deposit_address.unwrap_or_else(none)),
        format!("test merchant    {}", shown.test_merchant_id.unwrap_or_else(none)),
    ])
}

/// What is shown of a merchant once, its secret included.
pub(super) fn created_lines(made: &MerchantCreated) -> Vec<String> {
    vec![
        format!("merchant         {}", made.merchant_id),
        format!("name             {}", made.name),
        format!("deposit address  {}", made.deposit_address),
        format!("webhook secret   {}   (shown once)", made.webhook_secret),
    ]
}

fn line(merchant: &MerchantLine) -> String {
    let MerchantLine { merchant_id, name, mode, created_at } = merchant;
    format!("{merchant_id}  {mode}  {created_at}  {name}")
}
